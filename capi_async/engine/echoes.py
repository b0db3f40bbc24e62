"""What a request carried is taken out of what its answer says: the credential, and what its events hold in clear.

Destinations redact by pattern; only the engine knows the token that was sent, and the events of the request. What a
destination does not redact is redacted here as well.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from msgspec.structs import replace

from capi_async.outcome import UNREADABLE, Response, Verdict
from capi_async.redaction import MAX_ID, MAX_WORDS, Hidden, forms_of, plain, redact, redact_id
from capi_async.spool.base import Record
from capi_async.thread import OwnedThread

#: More of an answer than this is not shown to the destination: no platform's is as long, and reading it holds the loop.
MAX_READ_BYTES: Final = 1024 * 1024
_MASK: Final = "<redacted>"
_MAX_KNOWN: Final = 256
#: Digests are recognised by their form.
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
#: Such as ``USD``, and numbers that count something.
_COMMON: Final = re.compile(r"[A-Z]{3}|\d{1,4}|\d+[.,]\d+")
_NAME: Final = re.compile(r"[^\W\d_]+(?:[ '’-][^\W\d_]+){1,3}")
_PATH: Final = re.compile(r"(?!.*\d{7})[A-Za-z_$]\w{0,29}(?:[.\[\]]{1,2}\w{0,29}){1,9}")


#: A verdict's attribute and its text.
Said: TypeAlias = tuple[str, str]


class Echoes:
    """Cleans the answers of one destination.

    Args:
        vocabulary: Values that are no secret although events hold them: the platform's names of events.
        thread: Where events are read again; it happens only for words that were not seen before.
    """

    def __init__(self, vocabulary: Iterable[str | None], thread: OwnedThread) -> None:
        self._vocabulary = frozenset(word for word in vocabulary if word)
        self._thread = thread
        self._token = ""
        #: Each with its bytes.
        self._forms: tuple[tuple[str, bytes], ...] = ()
        # Digest of a text to what was made of it. It holds for other requests too: where a text came word for word
        # before, it does not quote what is in this one.
        self._known: dict[bytes, str] = {}

    def without_token(self, response: Response, token: str) -> Response:
        """The answer as the destination may see it: bounded, and without the credential of its request."""
        if token != self._token:
            self._token, self._forms = token, tuple((form, form.encode()) for form in forms_of(token))
        body, headers = response.body, response.headers
        if len(body) > MAX_READ_BYTES:
            body = body[:MAX_READ_BYTES]
        said = "\n".join(headers.values())
        for form, encoded in self._forms:
            if encoded in body:
                body = body.replace(encoded, _MASK.encode())
            if form in said:
                headers = {name: value.replace(form, _MASK) for name, value in headers.items()}
        if body is response.body and headers is response.headers:
            return response
        return replace(response, body=body, headers=headers)

    async def cleaned(self, verdicts: list[Verdict], records: Sequence[Record], token: str) -> list[Verdict]:
        """The verdicts with words that quote nothing; the same list where there is nothing to do (:func:`silent`)."""
        if silent(verdicts):
            return verdicts
        distinct = {id(verdict): verdict for verdict in verdicts}
        texts = {text for verdict in distinct.values() for text in _texts(verdict) if text[1]}
        made = {text: known for text in texts if (known := self._known.get(_key(text))) is not None}
        if fresh := texts - made.keys():
            fresh |= {("trace_id", verdict.trace_id) for verdict in distinct.values()}
            bodies = [record.body for record in records]
            made |= await self._thread.run(_without_values, fresh, bodies, token, self._vocabulary)
            if len(self._known) + len(fresh) > _MAX_KNOWN:
                self._known.clear()
            for text in list(fresh)[:_MAX_KNOWN]:
                if text[0] != "trace_id":  # another one in every answer
                    self._known[_key(text)] = made[text]
        clean = {key: _cleaned(verdict, made) for key, verdict in distinct.items()}
        return [clean[id(verdict)] for verdict in verdicts]


def silent(verdicts: Sequence[Verdict]) -> bool:
    """Whether all are one that holds no words, as nearly always, and its codes have the form of codes."""
    first = verdicts[0]
    if first.reason or first.field or first.fix or verdicts.count(first) != len(verdicts):
        return False
    return not (first.code or first.trace_id) or _codes(first) == (first.code, first.trace_id)


def _codes(verdict: Verdict) -> tuple[str, str]:
    return plain(verdict.code)[:MAX_ID], redact_id(verdict.trace_id)


def _texts(verdict: Verdict) -> tuple[Said, Said, Said]:
    return ("reason", verdict.reason), ("field", verdict.field), ("fix", verdict.fix)


def _key(text: Said) -> bytes:
    return hashlib.blake2b(":".join(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _cleaned(verdict: Verdict, made: Mapping[Said, str]) -> Verdict:
    reason, field, fix = (made.get(text, "") for text in _texts(verdict))
    code, trace_id = _codes(verdict)
    trace_id = made.get(("trace_id", trace_id), trace_id)
    now = (verdict.reason, verdict.field, verdict.fix, verdict.code, verdict.trace_id)
    if now == (reason, field, fix, code, trace_id):
        return verdict
    return replace(verdict, reason=reason, field=field, fix=fix, code=code, trace_id=trace_id)


def _without_values(
    texts: Collection[Said], bodies: Sequence[bytes], token: str, vocabulary: Container[str]
) -> dict[Said, str]:
    """Each text without what these events hold in clear; runs off the loop, for it reads them all."""
    hidden = Hidden(_values(bodies, vocabulary).union(forms_of(token)))
    made: dict[Said, str] = {}
    for kind, text in texts:
        if kind == "trace_id":
            words = "" if hidden.within(text) else text
        else:
            words = redact(text, hidden)
            # a destination's advice is its own, and the path of a field may be long: neither is a token for that
            harmless = (kind == "fix" and text.isprintable() and len(text) <= MAX_WORDS) or _PATH.fullmatch(text)
            if harmless and "<value>" not in words:
                words = text
        made[kind, text] = words
    return made


def _values(bodies: Sequence[bytes], vocabulary: Container[str]) -> set[str]:
    """Every text that the events hold, but for what many events share: their names, keys, currencies, figures."""
    found: set[str] = set()
    keys: set[str] = set()
    for body in bodies:
        try:
            waiting: list[Any] = [msgspec.json.decode(body)]
        except UNREADABLE:  # no JSON: a destination that is not of this package
            continue
        while waiting:
            one = waiting.pop()
            if isinstance(one, dict):
                keys.update(one)
                waiting.extend(one.values())
            elif isinstance(one, list):
                waiting.extend(one)
            elif isinstance(one, str):
                found.add(one)
    values: set[str] = set()
    for value in found - keys:
        if value in vocabulary or _DIGEST.fullmatch(value) or _COMMON.fullmatch(value):
            continue
        values.add(value)
        if _NAME.fullmatch(value):  # the platform may quote a part of a name
            values.update(re.split(r"[ '’-]", value))
    return values
