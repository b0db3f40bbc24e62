"""Destinations by name. Each platform's module is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from capi_async.errors import ConfigError
from capi_async.plain import shown
from capi_async.spec import Destination

if TYPE_CHECKING:
    from capi_async.destinations.cutmeshort import CutMeShort
    from capi_async.destinations.meta import Meta
    from capi_async.destinations.pinterest import Pinterest
    from capi_async.destinations.snap import Snap, SnapV2
    from capi_async.destinations.tiktok import TikTok, TikTokPixel

__all__ = [
    "CutMeShort",
    "Meta",
    "Pinterest",
    "Snap",
    "SnapV2",
    "TikTok",
    "TikTokPixel",
    "destination_class",
    "destination_types",
]

#: Configuration type to module and class.
_REGISTRY: Final[dict[str, tuple[str, str]]] = {
    "snap": ("snap", "Snap"),
    "snap_v2": ("snap", "SnapV2"),
    "pinterest": ("pinterest", "Pinterest"),
    "tiktok": ("tiktok", "TikTok"),
    "tiktok_pixel": ("tiktok", "TikTokPixel"),
    "cutmeshort": ("cutmeshort", "CutMeShort"),
    "meta": ("meta", "Meta"),
}
_MODULES: Final = {name: module for module, name in _REGISTRY.values()}
_GROUP: Final = "capi_async.destinations"


def destination_types() -> list[str]:
    """The built-in types, in the order in which they are documented."""
    return list(_REGISTRY)


def destination_class(type_name: str) -> type[Destination]:
    """The class of a type, built in or registered under the entry-point group ``capi_async.destinations``.

    Raises:
        ConfigError: Nothing of that name is installed.
    """
    if found := _REGISTRY.get(type_name):
        module, name = found
        loaded: Any = getattr(import_module(f"{__name__}.{module}"), name)
        return loaded  # type: ignore[no-any-return]
    from importlib.metadata import entry_points  # brings the e-mail parser along; hardly anybody needs it

    for point in entry_points(group=_GROUP):
        if point.name == type_name:
            third_party: Any = point.load()
            if not (isinstance(third_party, type) and issubclass(third_party, Destination)):
                raise ConfigError(f"entry point {type_name!r} is not a Destination")
            return third_party
    raise ConfigError(f"no destination type {shown(type_name)!r}; there are {', '.join(_REGISTRY)}")


def __getattr__(name: str) -> Any:
    if module := _MODULES.get(name):
        return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
