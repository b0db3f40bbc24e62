"""The reply envelope and its codes. The HTTP status alone proves nothing: only ``code`` 0 is success."""

from __future__ import annotations

from typing import Any

OK = 0
TOO_MANY, INTERNAL, CREDENTIALS = 36009002, 36009003, 36009004
BAD_PATH, BAD_METHOD, BAD_VERSION = 36009009, 36009010, 36009014
FILE_SIZE, CONTENT_TYPE = 36009021, 36009022
DEAUTHORIZED, EXPIRED, NO_SCOPE, BAD_SIGN = 105001, 105002, 105005, 106001
NO_CIPHER, MISMATCH = 106013, 101000
BAD_CODE, NO_RECORD, REFRESH_EXPIRED, BAD_PARAMETER = 36004004, 36004005, 36004001, 98001004

_STATUS = {
    TOO_MANY: 429,
    INTERNAL: 500,
    BAD_PATH: 404,
    BAD_METHOD: 405,
    BAD_VERSION: 400,
    FILE_SIZE: 413,
    CONTENT_TYPE: 415,
    DEAUTHORIZED: 401,
    EXPIRED: 401,
    NO_SCOPE: 403,
    BAD_SIGN: 401,
    NO_CIPHER: 400,
    MISMATCH: 403,
}


class Failure(Exception):
    """The API's refusal of one call.

    Args:
        status: HTTP status; by default the gateway's own for its codes, and 200 for codes of the business.
    """

    def __init__(
        self, code: int, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = _STATUS.get(code, 200) if status is None else status
        self.retry_after_s = retry_after_s


def credentials(message: str) -> Failure:
    """36009004 about who asks. The same code, for parameters, is ``parameter``: only the text tells them apart."""
    return Failure(CREDENTIALS, f"Invalid credentials. {message}", status=401)


def parameter(name: str, fault: str = "is invalid") -> Failure:
    """36009004 about a parameter of the query or the body."""
    return Failure(CREDENTIALS, f"Invalid parameters. detail: param {name} {fault}", status=400)


def envelope(code: int, message: str, request_id: str, data: Any = None) -> dict[str, Any]:
    """The body of an answer; refusals come without ``data``."""
    body: dict[str, Any] = {"code": code, "message": message, "request_id": request_id}
    if data is not None:
        body["data"] = data
    return body
