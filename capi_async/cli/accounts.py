"""Which destinations a command works with: a file's, the environment's, or the sandbox's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from capi_async.config import from_env, load, make
from capi_async.destinations import destination_types
from capi_async.errors import ConfigError
from capi_async.spec import Destination

_TOKEN: Final = {"access_token": "sandbox-token"}

#: An account of valid form on each platform that the sandbox plays; every such account exists there.
SANDBOX_ACCOUNTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "snap": {"pixel_id": "00000000-0000-4000-8000-000000000001", **_TOKEN},
    "snap_v2": {"pixel_id": "00000000-0000-4000-8000-000000000002", **_TOKEN},
    "pinterest": {"ad_account_id": "549755885175", **_TOKEN},
    "tiktok": {"pixel_code": "C00000000SANDBOX0001", **_TOKEN},
    "tiktok_pixel": {"pixel_code": "C00000000SANDBOX0002", **_TOKEN},
    "cutmeshort": {"token": "sandbox-token"},
    "meta": {"pixel_id": "1000000000000001", **_TOKEN},
}

_TEST_CODE: Final = {"test_event_code": "TEST00001"}
_NEED_TEST_CODE: Final = frozenset({"tiktok", "tiktok_pixel", "meta"})

#: CutMeShort documents 60 requests a minute and takes one event in each: too slow to try things out with.
FAST_CUTMESHORT: Final[Mapping[str, Any]] = {"requests_per_s": 5_000.0, "burst": 50.0, "max_in_flight": 32}
LIFTED: Final = "cutmeshort: its limit of 60 requests a minute, one event in each, is lifted in this sandbox"


def sandbox_destinations(
    url: Callable[[str], str],
    names: Sequence[str] = (),
    *,
    test: bool = False,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Destination]:
    """An account in the sandbox for each of ``names`` (default: of every platform), CutMeShort without its rate.

    Args:
        url: Platform to its base URL.
        test: In each platform's test mode.
        overrides: Further settings by name.

    Raises:
        ConfigError: No such platform in the sandbox.
    """
    known = [name for name in destination_types() if name in SANDBOX_ACCOUNTS]
    _known(names, known)
    return [
        make(
            name,
            {
                **SANDBOX_ACCOUNTS[name],
                **(FAST_CUTMESHORT if name == "cutmeshort" else {}),
                **(_TEST_CODE if test and name in _NEED_TEST_CODE else {}),
                "base_url": url(name),
                "test": test,
                **(overrides or {}).get(name, {}),
            },
        )
        for name in known
        if not names or name in names
    ]


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


def _known(names: Sequence[str], known: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"--to: no destination {', '.join(unknown)}; there are {', '.join(known)}")


def destinations_for(
    sandbox: bool, config: Path | None, names: Sequence[str] = (), *, test: bool = False
) -> tuple[list[Destination], dict[str, Any]]:
    """The destinations of a command that sends nothing, and what of the client's options bears on an event.

    Raises:
        ConfigError: As :func:`sandbox_destinations` and :func:`configured`.
    """
    if sandbox:
        return sandbox_destinations(lambda name: f"http://127.0.0.1/{name}", names, test=test), {}
    destinations, options = configured(config, names, test=test)
    return destinations, {key: value for key, value in options.items() if key in ("consent", "phone_region")}
