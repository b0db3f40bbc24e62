"""What a caller's own functions change of an event before it is mapped: ``before_send``, and a destination's ``value``.

They are called in the prepare thread. An exception in one rejects its event, and the outcome says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from msgspec.structs import replace

from capi_async.amounts import amount
from capi_async.engine.check import check
from capi_async.errors import EventError
from capi_async.event import Event
from capi_async.outcome import Outcome
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import Destination, Refusal, Wire

BeforeSend: TypeAlias = Callable[[Event], Event | None]

#: What the log calls it; no destination can be called so.
BEFORE_SEND: Final = "before_send()"
_VETO: Final = Outcome(kind="skipped", reason="before_send gave None for it", reason_code="vetoed")
_MEND: Final = "mend the before_send function of the client"


def edited(event: Event, before_send: BeforeSend, destinations: Sequence[str]) -> Event | Outcome:
    """The event that is sent in the place of another one, or what becomes of it everywhere.

    Args:
        destinations: The names that ``to`` may hold.
    """
    try:
        made = before_send(event)
    except BaseException as error:  # the type only: the text may quote the event
        return _misled(f"before_send raised {type(error).__name__}")
    if made is None:
        return _VETO
    if type(made) is not Event:
        reason = f"before_send gave neither an Event nor None, but a value of type {type(made).__name__}"
        return _misled(reason)
    if made.event_id != event.event_id:
        # receipts, the ledger and the browser's own event know it by this id
        return _misled("before_send changed its event_id", "event_id")
    try:
        check(made, destinations)
    except EventError as error:
        return _misled(error.reason, error.field)
    return made


def _misled(reason: str, field: str = "") -> Outcome:
    return Outcome(kind="rejected", reason=reason, field=field, fix=_MEND, reason_code="user_code")


def with_own_value(destination: Destination) -> Callable[[Event, Identifiers], Wire | Refusal]:
    """The ``to_wire`` of a destination that gets another value than the event's."""
    to_wire, chosen = destination.to_wire, destination.value

    def choose(event: Event) -> Any:
        return event.properties.get(chosen) if isinstance(chosen, str) else chosen(event)

    def mapped(event: Event, ids: Identifiers) -> Wire | Refusal:
        try:
            valued = replace(event, value=amount(choose(event), "value"))
        except EventError as error:
            return _unvalued(destination, f"what the value setting gives {error.reason}")
        except Exception as error:
            return _unvalued(destination, f"the value setting raised {type(error).__name__}")
        return to_wire(valued, ids)

    return mapped


def _unvalued(destination: Destination, reason: str) -> Refusal:
    where = "the property" if isinstance(destination.value, str) else "the function"
    return Refusal(
        kind="rejected", field="value", reason=reason, fix=f"mend {where} that value= of this destination names"
    )
