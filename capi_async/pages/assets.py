"""The stylesheet and the script, each under a name that changes with what is in it, so that it may be kept for good."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final

from msgspec import Struct


class Asset(Struct, frozen=True):
    """A file of ours that pages load.

    Attributes:
        name: Its address below a page's own.
        content_type: For the answer's header.
    """

    name: str
    content_type: str
    body: bytes


#: A name says what is in the file, so nobody needs to ask again.
ASSET_CACHE: Final = "public, max-age=31536000, immutable"


def _load(stem: str, ending: str, content_type: str) -> Asset:
    body = files("capi_async.pages").joinpath(f"{stem}.{ending}").read_bytes()
    return Asset(f"{stem}-{hashlib.sha256(body).hexdigest()[:12]}.{ending}", f"{content_type}; charset=utf-8", body)


STYLE: Final = _load("page", "css", "text/css")
SCRIPT: Final = _load("page", "js", "text/javascript")
ASSETS: Final = {asset.name: asset for asset in (STYLE, SCRIPT)}
