"""How Snap's answers are read, in both versions: every field may be missing, null or joined by unknown ones."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from capi_async.outcome import Response, Verdict, by_edge, by_status, split, unauthorized

# What says on its face which event it means is read; a value of another type makes the answer unreadable,
# which is safer than half an answer.


class Errors(Struct):
    """v3: why an event or a request was refused."""

    codes: Sequence[str | int] | None = None
    error_msgs: Sequence[str] | None = None


class EventLog(Struct):
    """v3 validate: what was said about one event; ``event`` counts from 0 or 1, which is not documented."""

    event: int | None = None
    status: str | None = None
    errors: Errors | None = None
    warnings: Sequence[str] | None = None

    @property
    def code(self) -> str:
        return _codes(self.errors)

    @property
    def words(self) -> str:
        return "; ".join((self.errors and self.errors.error_msgs) or ())


class AnswerV3(Struct):
    """v3 production and validate; ``status`` is ``VALID`` or ``INVALID``."""

    status: str | None = None
    reason: str | None = None
    errors: Errors | None = None
    event_logs: Sequence[EventLog] | None = None

    @property
    def code(self) -> str:
        return _codes(self.errors)

    @property
    def words(self) -> str:
        return "; ".join((self.errors and self.errors.error_msgs) or ()) or self.reason or ""

    def logs_in_order(self, count: int) -> list[EventLog] | None:
        """One log per event of the request, in its order, or ``None`` if they do not tell which is which."""
        logs = list(self.event_logs or ())
        if len(logs) != count or any(log.status not in ("VALID", "INVALID") for log in logs):
            return None
        numbers = [log.event for log in logs if log.event is not None]
        if not numbers:
            return logs
        first = min(numbers)
        if first not in (0, 1) or sorted(numbers) != list(range(first, first + count)):
            return None
        return sorted(logs, key=lambda log: log.event or 0)


class Record(Struct):
    """v2: one reason and the events that it is about; a Launchpad's own answers spell the key in camel case."""

    reason: str | None = None
    record_indexes: Sequence[int] | None = None
    camel_indexes: Sequence[int] | None = msgspec.field(default=None, name="recordIndexes")

    @property
    def indexes(self) -> Sequence[int]:
        return self.record_indexes or self.camel_indexes or ()


class ValidatedFields(Struct):
    """v2 validate: what was read of one event."""

    record_index: int | None = None
    validated_fields: dict[str, Any] | None = None


class AnswerV2(Struct):
    """v2 production and validate; ``status`` is ``SUCCESS`` or ``FAILED``."""

    status: str | None = None
    reason: str | None = None
    error_records: Sequence[Record] | None = None
    camel_records: Sequence[Record] | None = msgspec.field(default=None, name="errorRecords")
    warning_records: Sequence[Record] | None = None
    validated_fields: Sequence[ValidatedFields] | None = None

    @property
    def errors(self) -> Sequence[Record]:
        return self.error_records or self.camel_records or ()

    def by_index(self) -> dict[int, str]:
        """Why each named event was refused; empty if a reason names no event, since it may mean any."""
        reasons: dict[int, str] = {}
        for record in self.errors:
            if not record.indexes:
                return {}
            for index in record.indexes:
                reasons.setdefault(index, record.reason or self.reason or "refused without a reason")
        return reasons

    @property
    def words(self) -> str:
        reasons = [record.reason for record in self.errors if record.reason]
        return "; ".join(dict.fromkeys(reasons)) or self.reason or ""


class LogEntry(Struct):
    """One entry of either version's logs."""

    event_name: str | None = None
    raw_event_name: str | None = None
    event_type: str | None = None
    event_time: str | int | None = None
    timestamp: str | int | None = None
    action_source: str | None = None
    event_conversion_type: str | None = None
    status: str | None = None
    integration: str | None = None
    asset_id: str | None = None
    event_metadata: dict[str, Any] | None = None
    error_records: Sequence[str] | None = None
    warning_records: Sequence[str] | None = None


class LogsAnswer(Struct):
    """Either version's logs; ``status`` is ``SUCCESS`` or a failure."""

    status: str | None = None
    reason: str | None = None
    logs: Sequence[LogEntry] | None = None


class Counts(Struct):
    """Traffic of one kind."""

    latest_event_ts: int | None = None
    event_count_past_hour: int | None = None


class StatsData(Struct):
    """Test and live traffic."""

    test: Counts | None = None
    live: Counts | None = None


class StatsAnswer(Struct):
    """Either version's stats."""

    status: str | None = None
    reason: str | None = None
    stats: StatsData | None = None


def _codes(errors: Errors | None) -> str:
    return ",".join(map(str, (errors and errors.codes) or ()))


decode_v3: Final = msgspec.json.Decoder(AnswerV3).decode
decode_v2: Final = msgspec.json.Decoder(AnswerV2).decode
decode_logs: Final = msgspec.json.Decoder(LogsAnswer).decode
decode_stats: Final = msgspec.json.Decoder(StatsAnswer).decode


# "unexpected token" is a JSON parser speaking
_TOKEN: Final = re.compile(
    r"(?<!unexpected )\btokens?\b|(un|not )authori[sz]ed|unauthenticated|credential|permission", re.IGNORECASE
)
_FIX: Final = "check access_token, that it may use this asset, and base_url"


def speaks_of_token(said: str) -> bool:
    """Whether a refusal means the credential rather than an event."""
    return bool(_TOKEN.search(said))


def unsuccessful(
    response: Response, count: int, said: str, code: str = "", *, of_events: bool = False
) -> list[Verdict]:
    """The reading of an answer that is no success and names no event for certain.

    Snap documents 400, 401 and 429 only. Expired tokens are reported both as 401 and as a 400 that speaks
    of the token, hence the look at the words. Whether anything of a refused request was stored is unknown.

    Args:
        of_events: The words are about some events only, so they cannot speak of the account.
    """
    if (edge := by_edge(response)) is not None:
        return [edge] * count
    status = response.status
    words = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    if status in (401, 403, 404) or (status in (200, 400) and not of_events and speaks_of_token(said)):
        verdict = unauthorized(words, code=code, fix=_FIX)
    elif status == 200 or (400 <= status < 500 and status not in (408, 413, 429)):
        verdict = split(words, code=code, atomic=False)
    else:
        return by_status(response, count)
    return [verdict] * count


def unsuccessful_raw(response: Response, count: int) -> list[Verdict]:
    """The same for a body that is not the documented JSON: a 2xx is ambiguous, else the text itself is looked at."""
    if 200 <= response.status < 300:
        return by_status(response, count)
    text = " ".join(response.body[:1000].decode("utf-8", "replace").split())
    # words of a proxy or a relay are worth telling, their markup is not
    return unsuccessful(response, count, "" if text.startswith(("<", "{", "[")) else text)


def positions(indexes: Collection[int], count: int) -> dict[int, int] | None:
    """Each named index with its place in the request, or ``None`` if that cannot be known.

    Whether Snap counts from 0 or from 1 is not documented; a set of indexes that fits only one of the two
    readings settles it.
    """
    if not indexes:
        return None
    low, high = min(indexes), max(indexes)
    from_zero = low >= 0 and high < count
    from_one = low >= 1 and high <= count
    if from_zero is from_one:
        return None
    return {index: index - from_one for index in indexes}
