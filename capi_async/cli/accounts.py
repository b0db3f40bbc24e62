"""Which destinations a command works with: a file's, the environment's, or the sandbox's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from capi_async.config import from_env, load, make
from capi_async.destinations import destination_types, installed_types, row_of
from capi_async.errors import ConfigError
from capi_async.modes import environment_options
from capi_async.nearest import nearest
from capi_async.spec import Destination


def sandbox_destinations(
    url: Callable[[str], str],
    names: Sequence[str] = (),
    *,
    platforms: Sequence[str] = (),
    test: bool = False,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Destination]:
    """An account in the sandbox for each of ``names`` (default: of every platform), without rates too slow to try out.

    Args:
        url: Platform to its base URL.
        platforms: Those that the sandbox plays; default: all that are built in.
        test: In each platform's test mode.
        overrides: Further settings by name.

    Raises:
        ConfigError: No such platform in the sandbox.
    """
    known = list(platforms or destination_types())
    _known(names, known)
    return [
        make(
            name,
            {
                **row_of(name).settings(test=test),
                **row_of(name).sandbox,
                **row_of(name).played,
                row_of(name).address: url(name),
                "test": test,
                **(overrides or {}).get(name, {}),
            },
        )
        for name in known
        if not names or name in names
    ]


def sandbox_notes(destinations: Sequence[Destination]) -> list[str]:
    """What is different in the sandbox for these, in a line each."""
    rows = [row_of(destination.type) for destination in destinations]
    return [f"{row.type}: {row.sandbox_note}" for row in rows if row.sandbox_note]


def configured(
    config: Path | None, names: Sequence[str] = (), *, test: bool = False
) -> tuple[list[Destination], dict[str, Any]]:
    """The destinations of a file, else of the environment, and the client's options.

    Args:
        test: In each platform's test mode, whatever is configured.

    Raises:
        ConfigError: There are none, one is wrong, or one of ``names`` is not among them.
    """
    options: dict[str, Any] = {}
    if config is not None:
        destinations, settings = load(config)
        options = msgspec.structs.asdict(settings)
    else:
        try:
            destinations = from_env()
        except ConfigError as error:
            raise ConfigError(f"{error}; or use --config FILE or --sandbox") from None
    _known(names, [destination.name for destination in destinations])
    chosen = [one for one in destinations if not names or one.name in names]
    return [msgspec.structs.replace(one, test=True) for one in chosen] if test else chosen, options


def mode_of_the_environment() -> dict[str, Any]:
    """The client's ``mode`` and ``sandbox_url``, where the environment says that platforms are to be left alone.

    Raises:
        ConfigError: See :func:`~capi_async.modes.environment_options`.
    """
    return {key: value for key, value in environment_options().items() if key in ("mode", "sandbox_url")}


def _known(names: Sequence[str], known: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in known]:
        there = f"there are {', '.join(known)}{nearest(unknown[0], known)}"
        raise ConfigError(f"--to: no destination {', '.join(unknown)}; {there}")


def destinations_for(
    sandbox: bool, config: Path | None, names: Sequence[str] = (), *, test: bool = False
) -> tuple[list[Destination], dict[str, Any]]:
    """The destinations of a command that sends nothing, and what of the client's options bears on an event.

    Raises:
        ConfigError: As :func:`sandbox_destinations` and :func:`configured`.
    """
    if sandbox:
        # nothing is sent, so those of installed packages can be tried out, too
        known = [name for name in installed_types() if row_of(name).account is not None]
        made = sandbox_destinations(lambda name: f"http://127.0.0.1/{name}", names, platforms=known, test=test)
        return made, {}
    destinations, options = configured(config, names, test=test)
    return destinations, {key: value for key, value in options.items() if key in ("consent", "phone_region")}
