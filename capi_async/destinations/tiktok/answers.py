"""How to read an answer of TikTok's: by the code in its body, whatever the HTTP status.

Codes and names: github.com/tiktok/tiktok-business-api-sdk, read 2026-11. What to do about a code is inferred from its
name where TikTok documents nothing. Two of them are UNVERIFIED: 51021 is taken as a rate limit, which costs a wait,
and 40050 as delivered before, which a repeat could only confirm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from capi_async.outcome import (
    UNREADABLE,
    Response,
    Verdict,
    ambiguous,
    by_status,
    redact,
    redact_id,
    rejected,
    retry,
    retry_after_s,
    split,
    unauthorized,
)
from capi_async.spec import MINUTE


class _Answer(Struct):
    """The envelope of every JSON answer. Only ``code`` tells the outcome, whatever the HTTP status says."""

    code: Any = None
    message: Any = None
    request_id: Any = None
    data: msgspec.Raw = msgspec.Raw(b"")


_answer: Final = msgspec.json.Decoder(_Answer)

OK: Final = 0
PARTIAL_OK: Final = 20_001
#: Read as "already delivered": an inference from its name, UNVERIFIED. TikTok would answer a repeat in the same way.
DUPLICATED_REQUEST: Final = 40_050
MAINTENANCE: Final = 60_001
WRITE_CONFLICT: Final = 40_202

THROTTLED: Final = frozenset({40_100, 40_132, 51_021, 61_000})
#: The account or the configuration is refused, so every event would be.
ACCOUNT: Final = frozenset(
    {
        40_001, 40_003, 40_006, 40_007, 40_051, 40_063, *range(40_101, 40_108), 40_110, 40_113, 40_118, 40_130,
        40_400, 41_000, 41_001,
    }
)  # fmt: skip
#: Asking again is useless: an expired token stays expired.
EXPIRED_TOKEN: Final = frozenset({40_102, 40_103, 40_107})

_PERMISSION: Final = "the token's owner needs the Admin or Operator role, and its app the scope, for this event source"
_FIXES: Final[Mapping[int, str]] = {
    40_001: _PERMISSION,
    40_003: _PERMISSION,
    40_006: "check api_version",
    40_051: "check api_version",
    40_007: "check the pixel code, app id or event set id",
    40_061: "lower max_batch_events",
    40_062: "hash what Event.extra puts into the user",
    40_063: "leave partner_name out, or use the name agreed with TikTok",
    40_101: "leave partner_name out, or use the name agreed with TikTok",
    40_102: "make a new access token",
    40_103: "make a new access token",
    40_107: "make a new access token",
    40_104: "the Access-Token header did not arrive: check what stands between here and TikTok",
    40_105: "check access_token: it is wrong or revoked",
    40_113: _PERMISSION,
    40_118: _PERMISSION,
    40_130: _PERMISSION,
    40_400: "check base_url and api_version",
    41_000: "ask TikTok's support, with the trace id",
    41_001: "TikTok has retired this endpoint; destination type 'tiktok' uses the current one",
}

#: Such as ``Batch.1.properties.contents.0.content_id``. The first word is UNVERIFIED: both known ones are read, and a
#: batch whose message has neither is halved.
_ROW: Final = re.compile(r"(?<![\w.])(?:batch|data)(?:\.(\d{1,4})\b|\[(\d{1,4})\])\.?([\w.]*)", re.IGNORECASE)
_FIELD: Final = re.compile(r"Invalid value for ([\w.]{1,80})")


def read_answer(response: Response, count: int, source_ids: Sequence[str | None]) -> list[Verdict]:
    """One verdict per event, by the code in the body; only an answer without a code is read by its HTTP status.

    HTTP 401 may mean "slow down" (40100), and HTTP 200 may be a refusal.

    Args:
        source_ids: The account's own ids, which messages repeat word for word; removed from the reasons.
    """
    try:
        answer = _answer.decode(response.body)
    except UNREADABLE:
        return by_status(response, count)
    code = answer.code
    trace_id = redact_id(answer.request_id) if isinstance(answer.request_id, str) else ""
    if type(code) is not int:
        return [msgspec.structs.replace(verdict, trace_id=trace_id) for verdict in by_status(response, count)]
    said = answer.message if isinstance(answer.message, str) else ""
    for source_id in source_ids:
        if source_id:
            said = said.replace(source_id, "<source id>")
    said = said or f"code {code}"
    if code in (OK, DUPLICATED_REQUEST):
        reason = "received before" if code == DUPLICATED_REQUEST else ""
        verdict = Verdict(kind="accepted", reason=reason, code=str(code), trace_id=trace_id)
    elif code == PARTIAL_OK:
        verdict = _partial(said, bytes(answer.data), count, trace_id)
    elif code in THROTTLED:
        verdict = retry(
            said, after_s=retry_after_s(response.headers), throttled=True, code=str(code), trace_id=trace_id
        )
    elif code in ACCOUNT:
        verdict = unauthorized(
            said, fix=_FIXES.get(code, ""), code=str(code), trace_id=trace_id, probe=code not in EXPIRED_TOKEN
        )
    elif code == WRITE_CONFLICT or 50_000 <= code < 70_000:
        after_s = retry_after_s(response.headers)
        if after_s is None and code == MAINTENANCE:
            after_s = 5 * MINUTE
        verdict = retry(said, after_s=after_s, code=str(code), trace_id=trace_id)
    elif 40_000 <= code < 50_000:
        return _refused(said, code, count, trace_id)
    elif 200 <= response.status < 300:
        verdict = ambiguous(f"code {code}, which TikTok does not document: {said}", trace_id=trace_id)
    else:
        return [
            msgspec.structs.replace(verdict, code=str(code), trace_id=trace_id)
            for verdict in by_status(response, count)
        ]
    return [verdict] * count


def _partial(said: str, data: bytes, count: int, trace_id: str) -> Verdict:
    """Part of the batch was stored. Which part is UNVERIFIED: all leaves again in halves; event ids absorb copies."""
    words = f"{said}: {data.decode('utf-8', 'replace')}" if data else said
    if count > 1:
        return split(words, code=str(PARTIAL_OK), trace_id=trace_id, atomic=False)
    return Verdict(kind="accepted", reason=redact(words), code=str(PARTIAL_OK), trace_id=trace_id)


def _refused(said: str, code: int, count: int, trace_id: str) -> list[Verdict]:
    """One bad row refuses a whole request. Where the message names it, the others may leave again at once."""
    fix = _FIXES.get(code, "")
    rows = {int(match[1] or match[2]): match[3].rstrip(".") for match in _ROW.finditer(said)}
    if rows and max(rows) < count:
        innocent = retry("refused for another event of its request", after_s=0.0, code=str(code), trace_id=trace_id)
        return [
            rejected(said, field=rows[row][:100], fix=fix, code=str(code), trace_id=trace_id)
            if row in rows
            else innocent
            for row in range(count)
        ]
    field = _FIELD.search(said)
    return [split(said, field=field[1] if field else "", fix=fix, code=str(code), trace_id=trace_id)] * count
