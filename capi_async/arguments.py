"""What is checked of a client's arguments before anything else, so that an error names the argument."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import get_args

from capi_async.engine.edits import BeforeSend
from capi_async.engine.prepare import ConsentPolicy
from capi_async.errors import ConfigError
from capi_async.modes import MODES, Mode
from capi_async.spec import Destination, require_apart


def check_choices(mode: Mode, consent: ConsentPolicy, before_send: BeforeSend | None, recent_events: int) -> None:
    """Raises ``ConfigError`` for a choice that there is not."""
    for name, value, choices in (("mode", mode, MODES), ("consent", consent, get_args(ConsentPolicy))):
        if value not in choices:
            raise ConfigError(f"{name} is one of {', '.join(choices)}")
    if before_send is not None and (not callable(before_send) or inspect.iscoroutinefunction(before_send)):
        raise ConfigError("before_send must be a plain function: it is called in a thread")
    if recent_events < 0:
        raise ConfigError("recent_events must be 0 or more")


def check_destinations(destinations: Sequence[Destination]) -> None:
    """Raises ``ConfigError`` unless they can be told apart, by name and by account."""
    if not destinations:
        raise ConfigError("a client needs at least one destination")
    names: set[str] = set()
    for destination in destinations:
        if not isinstance(destination, Destination):
            raise ConfigError(f"{type(destination).__name__} is no destination")
        if destination.name in names:
            raise ConfigError(f"two destinations are called {destination.name!r}: give each a name=...")
        names.add(destination.name)
    require_apart(destinations)
