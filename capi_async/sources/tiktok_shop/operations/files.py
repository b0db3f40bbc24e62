"""Files on their way to the platform."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path
from typing import Final

from capi_async.sources.tiktok_shop.connection import Body
from capi_async.sources.tiktok_shop.errors import TikTokShopValidationError
from capi_async.sources.tiktok_shop.operations.base import unsupported

#: A form may carry so much; beyond it the platform wants a chunked upload, which is not offered here.
MAX_FILE_BYTES: Final = 10 * 1024 * 1024

#: A file to upload: its bytes, or where it lies.
File = bytes | os.PathLike[str]


async def content_of(file: File) -> bytes:
    """A file's bytes, read off the loop.

    Raises:
        TikTokShopValidationError: It is empty or cannot be read.
        TikTokShopUnsupportedError: It is larger than a form may carry.
    """
    if isinstance(file, bytes | bytearray | memoryview):
        size, content = len(file), bytes(file)
    else:
        path = Path(file)
        try:
            size = (await asyncio.to_thread(path.stat)).st_size
            content = await asyncio.to_thread(path.read_bytes) if size <= MAX_FILE_BYTES else b""
        except OSError as error:
            raise TikTokShopValidationError(f"{path.name}: cannot be read ({type(error).__name__})") from None
    if not size:
        raise TikTokShopValidationError("the file is empty")
    if size > MAX_FILE_BYTES:
        raise unsupported("takes a file over 10 MB in one piece", "its chunked upload is not offered here")
    return content


def form(content: bytes, name: str) -> Body:
    """A form with the one field that file uploads have. Its bytes are not part of the signature."""
    boundary = secrets.token_hex(16)
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="data"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    data = b"%b%b\r\n--%b--\r\n" % (head.encode(), content, boundary.encode())
    return Body(data, f"multipart/form-data; boundary={boundary}")
