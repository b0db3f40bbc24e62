"""What the gateway checks before an operation runs, in its order: path, app, time, signature, token, shop."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from capi_async.sandbox.platforms.base import Call
from capi_async.sandbox.platforms.tiktok_shop.envelope import (
    BAD_METHOD,
    BAD_PATH,
    BAD_SIGN,
    BAD_VERSION,
    CONTENT_TYPE,
    CREDENTIALS,
    DEAUTHORIZED,
    EXPIRED,
    MISMATCH,
    NO_CIPHER,
    NO_SCOPE,
    Failure,
    credentials,
    parameter,
)
from capi_async.sandbox.platforms.tiktok_shop.model import Shop
from capi_async.sandbox.platforms.tiktok_shop.oauth import App, Authorizations, Grant
from capi_async.sandbox.platforms.tiktok_shop.operations import OPERATIONS, Operation
from capi_async.sandbox.platforms.tiktok_shop.signing import request_sign, retired_sign, same

EARLY_S, LATE_S = 300, 30
TOKEN_HEADER = "x-tts-access-token"  # noqa: S105 - a header's name

_TEN_DIGITS = re.compile(r"[0-9]{10}\Z")


class Admitted(Struct, frozen=True):
    """A call that may run: what it asks for, who asks, and for which shop."""

    operation: Operation
    parts: dict[str, str]
    app: App
    grant: Grant
    shop: Shop


def admit(call: Call, known: Authorizations, shops: Sequence[Shop]) -> Admitted:
    """Check one call; raises ``Failure`` with the first thing that is wrong."""
    operation, parts = _route(call)
    app = _app(call, known)
    _check_time(call)
    _check_sign(call, app, operation)
    grant = _grant(call, known, app, operation)
    return Admitted(operation, parts, app, grant, _shop(call, grant, operation, shops))


def read_body(call: Call, operation: Operation) -> dict[str, Any]:
    """The JSON object of the body; empty where there is none to read."""
    if operation.multipart or call.method == "GET" or not call.body:
        return {}
    if call.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise Failure(CONTENT_TYPE, "Content-Type must be application/json")
    try:
        body = msgspec.json.decode(call.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise parameter("body", "is not JSON") from None
    if not isinstance(body, dict):
        raise parameter("body", "is not an object")
    return body


def _route(call: Call) -> tuple[Operation, dict[str, str]]:
    """The operation asked for: a wrong path, version and method each have a code of their own."""
    other_version = other_method = False
    for operation in OPERATIONS:
        match = operation.pattern.match(call.path)
        if match is None:
            continue
        parts = match.groupdict()
        version = parts.pop("version", "")
        if operation.versions and version not in operation.versions:
            other_version = True
        elif operation.method != call.method:
            other_method = True
        else:
            return operation, parts
    if other_method:
        raise Failure(BAD_METHOD, "Invalid method for this path")
    if other_version:
        raise Failure(BAD_VERSION, "Invalid API version in the path")
    raise Failure(BAD_PATH, "Invalid path")


def _app(call: Call, known: Authorizations) -> App:
    key = call.query.get("app_key", "")
    app = known.apps.get(key)
    if app is None:
        raise credentials(f"The 'app_key' query parameter is {'invalid' if key else 'missing'}.")
    return app


def _check_time(call: Call) -> None:
    text = call.query.get("timestamp", "")
    if not _TEN_DIGITS.match(text):
        raise credentials(f"The 'timestamp' query parameter is {'invalid' if text else 'missing'}.")
    ahead = int(text) - call.now
    if not -EARLY_S <= ahead <= LATE_S:
        raise credentials("The 'timestamp' query parameter is expired: too far from the current time.")


def _check_sign(call: Call, app: App, operation: Operation) -> None:
    sign = call.query.get("sign", "")
    if not sign:
        raise credentials("The 'sign' query parameter is missing.")
    query = list(call.query.items())
    # A GET has no body, whatever was sent along.
    body = b"" if call.method == "GET" else call.body
    right = [request_sign(app.secret, call.path, query, body, call.headers.get("Content-Type", ""))]
    if operation.retired:
        right.append(retired_sign(app.secret, call.path, query))
    if not any(same(sign, one) for one in right):
        raise Failure(BAD_SIGN, "Invalid credentials. The 'sign' query parameter is invalid.")


def _grant(call: Call, known: Authorizations, app: App, operation: Operation) -> Grant:
    token = call.headers.get(TOKEN_HEADER, "")
    if not token and operation.retired:
        token = call.query.get("access_token", "")
    if not token:
        raise credentials(f"The '{TOKEN_HEADER}' header is missing.")
    grant = known.find(token)
    if grant is None or grant.app_key not in ("", app.key):
        raise credentials(f"The '{TOKEN_HEADER}' header is invalid.")
    if grant.revoked:
        raise Failure(DEAUTHORIZED, "The access token has been deauthorized.")
    if grant.access_expires <= call.now:
        raise Failure(EXPIRED, f"Expired credentials. The '{TOKEN_HEADER}' header has expired.")
    if grant.user_type != operation.user_type and not operation.retired:
        raise Failure(MISMATCH, "The user type of the access token does not fit this API.")
    if operation.scope and operation.scope not in grant.scopes and not operation.retired:
        raise Failure(NO_SCOPE, f"Access denied. The access token lacks the scope {operation.scope}.")
    return grant


def _shop(call: Call, grant: Grant, operation: Operation, shops: Sequence[Shop]) -> Shop:
    # A creator has none; the retired paths take creators too.
    own = [shop for shop in shops if shop.seller == grant.owner] or shops
    cipher = call.query.get("shop_cipher", "")
    if not operation.cipher and not (cipher and operation.retired):
        if cipher:
            raise Failure(CREDENTIALS, "Unexpected identifier: shop_cipher", status=400)
        return own[0]
    if not cipher:
        raise Failure(NO_CIPHER, "The 'shop_cipher' query parameter is missing.")
    for shop in own:
        if shop.cipher == cipher:
            return shop
    raise Failure(MISMATCH, "The access token and the shop_cipher do not match.")
