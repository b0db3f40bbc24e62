"""A client that reaches nobody and remembers what it was given, and what each platform would have been sent."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

from capi_async.client import Client
from capi_async.destinations import destination_types, row_of
from capi_async.event import Event
from capi_async.sandbox import Sandbox
from capi_async.spec import Destination
from capi_async.sync import SyncClient

#: Seconds for which a test without an event loop waits for what it handed in without waiting.
_PATIENCE_S: Final = 2.0
_UNSET: Final = object()
#: Fields that may say who somebody is: a failing test does not show what stands in them.
_PERSONAL: Final = ("user", "click", "page", "properties", "extra", "meta", "snap", "pinterest", "tiktok", "cutmeshort")


class Recorder:
    """Gives the code under test a client whose events end in a strict sandbox inside the process.

    ::

        recorder = Recorder()
        async with recorder.client as client:
            await checkout(client)
            event = recorder.sent("purchase", order_id="1001")
            assert event.value == Decimal("72.39")
            assert recorder.wire("meta")[0]["event_name"] == "Purchase"

    Args:
        destinations: Those of the code under test; default: an account at every platform. Their credentials
            are not used.
        options: More of :class:`~capi_async.Client`'s.

    Attributes:
        client: For asyncio; enter it as ever.
    """

    def __init__(self, destinations: Sequence[Destination] = (), **options: Any) -> None:
        self._destinations = tuple(destinations) or tuple(
            row_of(name).load()(name=name, **row_of(name).settings()) for name in destination_types()
        )
        self._options = {"linger_s": 0.0, **options}
        self._before: Callable[[Event], Event | None] | None = self._options.pop("before_send", None)
        self._events: list[Event] = []
        self._came = threading.Condition()
        self._sync: SyncClient | None = None
        self.client = Client(self._destinations, mode="sandbox", before_send=self._record, **self._options)

    @property
    def sync_client(self) -> SyncClient:
        """For code without an event loop; made when first asked for, and closed by :meth:`close`."""
        if self._sync is None:
            self._sync = SyncClient(self._destinations, mode="sandbox", before_send=self._record, **self._options)
        return self._sync

    @property
    def events(self) -> Sequence[Event]:
        """All events that were handed in, as they are sent, in their order."""
        return tuple(self._events)

    def wire(self, destination_type: str) -> list[Any]:
        """What a platform was sent so far: the decoded event objects, hashed identifiers and all, in their order."""
        return [arrival.event for box in self._sandboxes() for arrival in box.arrivals(destination_type)]

    def clear(self) -> None:
        """Forget everything recorded so far."""
        self._events.clear()
        for box in self._sandboxes():
            box.clear()

    def close(self) -> None:
        """Close the blocking client, if there is one."""
        if self._sync is not None:
            self._sync.close()

    def sent(self, name: str, **fields: Any) -> Event:
        """The one event of that name and these fields; ``user__external_id="7"`` looks inside.

        Without a running event loop it waits up to two seconds for what was handed in without waiting (``track``).

        Raises:
            AssertionError: There is none, or there are several; the text shows how the others of that name differ.
        """
        found = self._matching(name, fields)
        if not found and not _in_loop():
            deadline = time.monotonic() + _PATIENCE_S
            with self._came:
                while not (found := self._matching(name, fields)) and (left := deadline - time.monotonic()) > 0:
                    self._came.wait(left)
        if len(found) == 1:
            return found[0]
        asked = _shown(fields)
        if found:
            raise AssertionError(f"{len(found)} events {name!r}{asked} were sent, not one")
        raise AssertionError(f"no event {name!r}{asked} was sent; {self._differences(name, fields)}")

    def not_sent(self, name: str, **fields: Any) -> None:
        """No such event was handed in so far.

        Raises:
            AssertionError: There are some.
        """
        if found := self._matching(name, fields):
            raise AssertionError(f"{len(found)} events {name!r}{_shown(fields)} were sent, and none should have been")

    def _record(self, event: Event) -> Event | None:
        kept = event if self._before is None else self._before(event)
        if kept is not None:
            with self._came:
                self._events.append(kept)
                self._came.notify_all()
        return kept

    def _matching(self, name: str, fields: dict[str, Any]) -> list[Event]:
        return [
            event
            for event in self.events
            if event.name == name and all(_equal(_field(event, field), value) for field, value in fields.items())
        ]

    def _differences(self, name: str, fields: dict[str, Any]) -> str:
        others = self.events
        if not others:
            return "nothing was sent at all"
        lines = [f"{len(others)} others were:"]
        for event in others:
            if event.name != name:
                lines.append(f"  {event.name} {event.event_id}")
                continue
            apart = [
                # what stands in a person's fields is not shown, not even here
                f"{field} is {'another' if field.startswith(_PERSONAL) else repr(found)}"
                for field, value in fields.items()
                if not _equal(found := _field(event, field), value)
            ]
            lines.append(f"  {event.name} {event.event_id}: {', '.join(apart)}")
        return "\n".join(lines)

    def _sandboxes(self) -> list[Sandbox]:
        boxes = [self.client.sandbox, self._sync.sandbox if self._sync is not None else None]
        return [box for box in boxes if box is not None]

    def __repr__(self) -> str:
        return f"Recorder({len(self._events)} events)"


def _field(event: Event, path: str) -> Any:
    found: Any = event
    for part in path.split("__"):
        found = found.get(part, _UNSET) if isinstance(found, dict) else getattr(found, part, _UNSET)
    if found is _UNSET:
        raise AssertionError(f"an Event has no field {path.replace('__', '.')!r}")
    return found


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(found, Decimal) and isinstance(wanted, (str, float)):
        # money is exact inside an event, and a test may say it as the code under test does
        return str(found) == str(wanted)
    return bool(found == wanted)


def _shown(fields: dict[str, Any]) -> str:
    return "".join(
        f", {field}={'...' if field.startswith(_PERSONAL) else repr(value)}" for field, value in fields.items()
    )


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
