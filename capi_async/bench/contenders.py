"""Who runs: every contender, with its configuration and how many of its events make a run of a few seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from capi_async.destinations import destination_types


class Entry(Struct, frozen=True, kw_only=True):
    """One line of the table.

    Attributes:
        key: Short name, for ``--only`` and results.
        title: Library and way.
        module, kind, options: What the child runs.
        share: Of ``--events``, for those that take long per event.
        peer: Distribution that must be there; empty for ours and the floors.
        against: Keys of those of ours that do the same work; the first gives the ratio of the table.
        loop: Whether there is an event loop to watch.
    """

    key: str
    title: str
    module: str
    kind: str
    options: dict[str, Any] = {}
    share: float = 1.0
    peer: str = ""
    against: tuple[str, ...] = ()
    loop: bool = True

    @property
    def panel(self) -> str:
        """Where it stands in the chart, among those whose work is like its own."""
        if self.options.get("way") == "single" or self.options.get("batch") == 1:
            return "One event per request"
        return "Five destinations at once" if self.options.get("to") == 5 else "In batches, one destination"


def _ours(key: str, title: str, *, share: float = 1.0, **options: Any) -> Entry:
    return Entry(key=key, title=f"capi_async, {title}", module="ours", kind="Ours", options=options, share=share)


ENTRIES: Final[tuple[Entry, ...]] = (
    _ours("many", "send_many, 1 destination"),
    _ours("tasks", "1,000 tasks with send, 1 destination", way="tasks"),
    _ours("many5", "send_many, 5 destinations", to=5, share=0.5),
    _ours("sqlite", "send_many, 1 destination, SQLite", spool="sqlite"),
    _ours("sqlite5", "send_many, 5 destinations, SQLite", to=5, spool="sqlite", share=0.5),
    _ours("single", "1 event per request, one at a time", way="single", tasks=1, share=0.05),
    _ours("single32", "1 event per request, 32 at a time", way="single", tasks=32, share=0.1),
    _ours("many_meta", "send_many, Meta", to="meta"),
    _ours("single_meta", "1 event per request, one at a time, Meta", to="meta", way="single", tasks=1, share=0.05),
    _ours("many_snap_v2", "send_many, Snap v2", to="snap_v2", share=0.5),
    Entry(
        key="floor", title="floor: encoded before, batch 2,000", module="floor", kind="Floor",
        options={"encoded": True}, share=2.0, against=("many",),
    ),
    Entry(
        key="floor_single", title="floor: encoded before, 1 event", module="floor", kind="Floor",
        options={"encoded": True, "batch": 1}, share=0.05, against=("single",),
    ),
    Entry(
        key="hand", title="by hand, batch 2,000", module="floor", kind="Floor",
        options={"encoded": False}, against=("many",),
    ),
    Entry(
        key="hand_single", title="by hand, 1 event", module="floor", kind="Floor",
        options={"encoded": False, "batch": 1}, share=0.05, against=("single",),
    ),
    Entry(
        key="snap_sdk", title="snap_business_sdk, batch 2,000", module="peers", kind="SnapSdk", loop=False,
        options={"batch": 2_000}, share=0.1, peer="snap_business_sdk", against=("many", "many_snap_v2"),
    ),
    Entry(
        key="snap_sdk_single", title="snap_business_sdk, 1 event", module="peers", kind="SnapSdk", loop=False,
        options={"batch": 1}, share=0.02, peer="snap_business_sdk", against=("single",),
    ),
    Entry(
        key="meta_sdk", title="facebook-business, batch 1,000", module="peers", kind="MetaSdk", loop=False,
        options={"batch": 1_000}, share=0.2, peer="facebook-business", against=("many", "many_meta"),
    ),
    Entry(
        key="meta_sdk_single", title="facebook-business, 1 event", module="peers", kind="MetaSdk", loop=False,
        options={"batch": 1}, share=0.02, peer="facebook-business", against=("single", "single_meta"),
    ),
    Entry(
        key="meta_async", title="facebook-business async, batch 1,000", module="peers", kind="MetaAsyncSdk",
        options={"batch": 1_000}, share=0.2, peer="facebook-business", against=("many", "many_meta"),
    ),
    Entry(
        key="meta_async_single", title="facebook-business async, 1 event", module="peers", kind="MetaAsyncSdk",
        options={"batch": 1}, share=0.002, peer="facebook-business", against=("single", "single_meta"),
    ),
    Entry(
        key="segment", title="segment-analytics-python, batches of 500", module="peers", kind="Segment", loop=False,
        options={"batch": 500}, share=0.2, peer="segment-analytics-python", against=("many",),
    ),
    Entry(
        key="posthog", title="posthog, batches of 1,000", module="peers", kind="PostHog", loop=False,
        options={"batch": 1_000}, share=0.2, peer="posthog", against=("many",),
    ),
)  # fmt: skip

#: Peers and the versions that ``--install-peers`` takes.
PEERS: Final = {
    "snap_business_sdk": "1.0.0",
    "facebook-business": "26.0.3",
    "posthog": "7.91.1",
    "segment-analytics-python": "2.4.0",
}


def chosen(only: list[str] | None) -> list[Entry]:
    """The entries of these keys, or all.

    Raises:
        ValueError: No such key.
    """
    if not only:
        return list(ENTRIES)
    known = {entry.key: entry for entry in ENTRIES}
    unknown = [key for key in only if key not in known]
    if unknown:
        raise ValueError(f"no contender {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[key] for key in only]


#: Share of the events that a destination gets whose platform takes few of them in a request.
_FEW: Final = {"cutmeshort": 0.02, "ga4": 0.1, "tiktok_pixel": 0.2, "webhook": 0.3}

#: Type of a destination to this library alone at it.
AT: Final[Mapping[str, Entry]] = {
    name: _ours(f"at_{name}", f"send_many, {name}", to=name, share=_FEW.get(name, 0.5)) for name in destination_types()
}


def at_destinations(types: list[str]) -> list[Entry]:
    """This library alone, at each of these types of destinations.

    Raises:
        ValueError: No such type.
    """
    if unknown := [name for name in types if name not in AT]:
        raise ValueError(f"no destination {', '.join(unknown)}; there are {', '.join(AT)}")
    return [AT[name] for name in types]
