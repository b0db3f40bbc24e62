"""A wire as it may be shown: nothing that somebody could be known by, and of digests only that they are there.

What is not known to be harmless is masked: a new field of a platform shows its name, and not its value.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from capi_async.redaction import redact

#: Keys whose values say nothing of a person, in lower case and without marks between their words.
_HARMLESS: Final = frozenset({
    "actionsource", "apiversion", "apptrackingtransparencyenabled", "clientdedupid", "contentids",
    "contenttype", "conversionaction", "conversiondatetime", "conversiontype", "currency", "currencycode",
    "customeventname", "dataprocessingoptions", "dataprocessingoptionscountry", "dataprocessingoptionsstate",
    "deliverycategory", "event", "eventid", "eventname", "eventsource", "eventsourcetype", "eventtime",
    "eventtimestamp", "eventtype", "invoiceid", "itemcount", "itemids", "itemprice", "limiteddatause", "numberitems",
    "numitems", "optout", "optouttype", "orderid", "partneragent", "partnername", "predictedltv", "price", "quantity",
    "timestamp", "timestampmicros", "trackingtype", "transactionid", "value",
})  # fmt: skip
#: Of these only numbers, also as text: a property of the caller's may be called so too.
_AMOUNTS: Final = frozenset(
    {"amount", "itemcount", "itemprice", "numberitems", "numitems", "predictedltv", "price", "quantity", "value"}
)
#: Words of platforms, shown wherever they stand.
_WORDS: Final = frozenset({
    "app", "consent_denied", "consent_granted", "currency", "denied", "email", "granted", "mobile_app", "offline",
    "online", "phone", "product", "product_group", "server", "system_generated", "unspecified", "web",
    "website", "yes", "no",
})  # fmt: skip
_AMOUNT: Final = re.compile(r"-?\d{1,12}(\.\d{1,6})?")
#: Keys that are harmless below these only: an id of what was bought, the name of an event.
_BELOW: Final = {
    "id": frozenset({"contents", "items", "lineitems", "products"}),
    "contentid": frozenset({"contents", "items", "lineitems", "products"}),
    "itemid": frozenset({"contents", "items", "lineitems", "products"}),
    "name": frozenset({"events"}),
}
_MARKS: Final = re.compile(r"[_\-\s]")
_DIGEST: Final = re.compile(r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}")
_ALGORITHMS: Final = {32: "md5", 40: "sha1", 64: "sha256"}
#: Characters of a digest that are shown: enough to tell two apart, far too few to tell whose it is.
_SHOWN: Final = 4
#: Characters of a harmless text, levels, elements of a list, and characters of the whole that are shown.
_MOST, _DEEPEST, _LONGEST, _LARGEST = 80, 12, 20, 6_000
#: Bytes of a wire that is looked into at all.
MAX_BYTES: Final = 64 * 1024


def masked(body: bytes) -> str:
    """The JSON of one event, indented."""
    if len(body) > MAX_BYTES:
        return f"({len(body):,} bytes: too long to be shown)"
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return "(no JSON that could be shown)"
    shown = msgspec.json.format(msgspec.json.encode(_masked(found, "", "", 0)), indent=2).decode()
    return shown if len(shown) <= _LARGEST else shown[:_LARGEST] + "\n…"


def shown_id(said: str) -> str:
    """An id as the application chose it, unless it holds what looks like an e-mail address."""
    if "@" in said or "%40" in said:
        return "<id with an address>"
    return "".join(one if one.isprintable() else " " for one in said[:120])


def _masked(value: Any, key: str, above: str, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {_key(name): _masked(one, _plain(name), key, depth + 1) for name, one in value.items()}
    if isinstance(value, list):
        found = [_masked(one, key, above, depth + 1) for one in value[:_LONGEST]]
        return found if len(value) <= _LONGEST else [*found, f"… {len(value) - _LONGEST} more"]
    harmless = key in _HARMLESS or above in _BELOW.get(key, ())
    if isinstance(value, str):
        if _DIGEST.fullmatch(value):
            return f"<{_ALGORITHMS[len(value)]} {value[:_SHOWN].lower()}…>"
        if value.lower() in _WORDS:
            return value
        if key in _AMOUNTS:
            return value if _AMOUNT.fullmatch(value) else f"<{key}>"
        return _text(value, key) if harmless else f"<{_shown_key(key)}>"
    return value if harmless or key in _AMOUNTS else f"<{_shown_key(key)}>"


def _text(value: str, key: str) -> str:
    """A text that is harmless by its place; that it is, is not taken for granted."""
    said = value[:_MOST]
    if key.endswith(("id", "ids")):
        return shown_id(said)
    if key in ("eventtime", "conversiondatetime", "timestamp"):
        return said if all(char in "0123456789-+:.TZ " for char in said) else f"<{key}>"
    return redact(said, limit=_MOST)


def _shown_key(key: str) -> str:
    return redact(key, limit=_MOST) or "text"


def _key(name: Any) -> str:
    """A key is the platform's word, or the caller's: then it may hold anything."""
    return redact(str(name)[:_MOST], limit=_MOST)


def _plain(name: Any) -> str:
    return _MARKS.sub("", str(name)[:_MOST]).lower()
