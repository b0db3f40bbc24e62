"""The table of destinations, one row each; the configuration, the command line, the pages and the tests derive from it.

A package of its own adds a platform by an entry point of the group ``capi_async.destinations``, named as its type,
that leads to a :class:`Row` (or, without an account to try things out with, to the destination's class)::

    [project.entry-points."capi_async.destinations"]
    acme = "capi_acme:ROW"
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, Final, TypeAlias

from msgspec import Struct

from capi_async.errors import ConfigError
from capi_async.event import STANDARD_EVENTS
from capi_async.nearest import nearest
from capi_async.plain import shown
from capi_async.spec import Destination
from capi_async.traces import place_of

GROUP: Final = "capi_async.destinations"
#: The credential of every account that is made to try things out; the sandbox takes it.
SANDBOX_TOKEN: Final = "sandbox-token"  # noqa: S105 - it opens nothing else

DestinationClass: TypeAlias = type[Destination]


class Row(Struct, frozen=True, kw_only=True):
    """One platform.

    Attributes:
        type: Its name in configurations.
        module: Where its class is; imported when it is first asked for.
        class_name: The class.
        account: Ids of an account of valid form, the credential aside. The sandbox has every such account, and tests
            are made with it. ``None``: its package gives its class alone.
        tables: Settings that such an account must have besides and that are no ids, such as which of its conversions
            an event counts as.
        test_account: Settings that such an account needs besides, before it can send test events.
        every_setting: Settings, besides those that an account must have, that open every branch of the mapping.
        sandbox: Settings that make sense in the sandbox alone, such as a rate that the platform would not take.
        sandbox_note: What is said to whoever uses them, in a few words.
        played: Settings that an account must have for the sandbox to understand it, whatever it has otherwise.
        address: The setting that holds where requests go.
    """

    type: str
    module: str
    class_name: str
    account: Mapping[str, Any] | None = None
    tables: Mapping[str, Any] = {}
    test_account: Mapping[str, Any] = {}
    every_setting: Mapping[str, Any] = {}
    sandbox: Mapping[str, Any] = {}
    sandbox_note: str = ""
    played: Mapping[str, Any] = {}
    address: str = "base_url"

    def load(self) -> DestinationClass:
        """The class.

        Raises:
            ConfigError: There is none at that place.
        """
        try:
            found: Any = getattr(import_module(self.module), self.class_name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"destination type {self.type!r}: {self.module}.{self.class_name} cannot be imported "
                f"({type(error).__name__}); mend or remove the package that brings it"
            ) from error
        return _class(self.type, found)

    @property
    def credential(self) -> str:
        """The setting that holds the credential."""
        return getattr(self.load(), "credential", "access_token")

    def settings(self, *, test: bool = False) -> dict[str, Any]:
        """The settings of an account to try things out with, its credential included.

        Args:
            test: One that can send test events.

        Raises:
            ConfigError: Its package gives no such account.
        """
        if self.account is None:
            raise ConfigError(f"{self.type}: its package gives no account to try it out with; use --config FILE")
        return {**self.account, **self.tables, self.credential: SANDBOX_TOKEN, **(self.test_account if test else {})}


_TEST_CODE: Final = {"test_event_code": "TEST00001"}

#: In the order in which they are documented.
BUILT_IN: Final[Mapping[str, Row]] = {
    row.type: row
    for row in (
        Row(
            type="snap",
            module="capi_async.destinations.snap",
            class_name="Snap",
            account={"pixel_id": "00000000-0000-4000-8000-000000000001"},
            every_setting={"snap_app_id": "7b1ec9b9-7fbb-4f3c-8e6b-0c5b8d1b9f11", "partner": "shop"},
        ),
        Row(
            type="snap_v2",
            module="capi_async.destinations.snap",
            class_name="SnapV2",
            account={"pixel_id": "00000000-0000-4000-8000-000000000002"},
            every_setting={"snap_app_id": "7b1ec9b9-7fbb-4f3c-8e6b-0c5b8d1b9f11"},
        ),
        Row(
            type="pinterest",
            module="capi_async.destinations.pinterest",
            class_name="Pinterest",
            account={"ad_account_id": "549755885175"},
            every_setting={"partner_name": "ss-shop", "tracking_flag": True},
        ),
        Row(
            type="tiktok",
            module="capi_async.destinations.tiktok",
            class_name="TikTok",
            account={"pixel_code": "C00000000SANDBOX0001"},
            test_account=_TEST_CODE,
            every_setting={
                "app_id": "123", "offline_event_set_id": "456", "crm_event_set_id": "789", "test_event_code": "T1",
            },
        ),
        Row(
            type="tiktok_pixel",
            module="capi_async.destinations.tiktok",
            class_name="TikTokPixel",
            account={"pixel_code": "C00000000SANDBOX0002"},
            test_account=_TEST_CODE,
            every_setting={"test_event_code": "T1"},
        ),
        Row(
            type="cutmeshort",
            module="capi_async.destinations.cutmeshort",
            class_name="CutMeShort",
            account={},
            every_setting={
                "event_names": {
                    **dict.fromkeys(sorted(STANDARD_EVENTS - {"refund", "purchase", "subscribe"}), "lead:interest"),
                    "custom": "sale:custom",
                }
            },
            # 60 requests a minute are documented, with one event in each: too slow to try things out with
            sandbox={"requests_per_s": 5_000.0, "burst": 50.0, "max_in_flight": 32},
            sandbox_note="its limit of 60 requests a minute, one event in each, is lifted in this sandbox",
        ),
        Row(
            type="meta",
            module="capi_async.destinations.meta",
            class_name="Meta",
            account={"pixel_id": "1000000000000001"},
            test_account=_TEST_CODE,
            every_setting={"test_event_code": "TEST1", "app_secret": "never-on-the-wire"},
        ),
        Row(
            type="google_ads",
            module="capi_async.destinations.google_ads",
            class_name="GoogleAds",
            account={"customer_id": "1234567890"},
            tables={
                "conversions": {
                    name: str(987_654_320 + number)
                    for number, name in enumerate(sorted(STANDARD_EVENTS - {"refund"}), start=1)
                }
            },
            every_setting={
                "login_customer_id": "987-654-3210", "project": "shop-project", "merchant_id": "5550100",
                "feed_label": "US", "feed_language": "en", "store_id": "store-1", "custom_variables": {"tier": "tier"},
            },
        ),
        Row(
            type="ga4",
            module="capi_async.destinations.ga4",
            class_name="GA4",
            account={"measurement_id": "G-SANDBOX001"},
            every_setting={"analytics_360": True, "user_properties": {"tier": "tier"}, "user_location": True},
            # one visitor in each request, and no rate is documented: 50 a second are our own caution
            sandbox={"requests_per_s": 5_000.0, "burst": 50.0, "max_in_flight": 32},
        ),
        Row(
            type="reddit",
            module="capi_async.destinations.reddit",
            class_name="Reddit",
            account={"pixel_id": "t2_sandbox1"},
            test_account={"test_id": "t2_test1"},
            every_setting={"partner": "shop", "partner_version": "1.2", "user_agent": "shop/1.2"},
        ),
        Row(
            type="linkedin",
            module="capi_async.destinations.linkedin",
            class_name="LinkedIn",
            account={},
            tables={
                "conversions": {
                    name: str(104_010 + number)
                    for number, name in enumerate(sorted(STANDARD_EVENTS - {"refund"}), start=1)
                }
            },
            every_setting={"account_id": "512345", "browser_conversions": {"purchase": "204012"}},
        ),
        Row(
            type="webhook",
            module="capi_async.destinations.webhook",
            class_name="Webhook",
            account={"url": "https://collector.example/events"},
            # 10 requests a second are our own caution towards an endpoint that nobody knows
            sandbox={"requests_per_s": 5_000.0, "burst": 50.0},
            played={"results_path": "results", "ok_path": "ok", "ok_values": (True,), "reason_path": "error"},
            address="url",
        ),
    )
}  # fmt: skip


@cache
def rows() -> Mapping[str, Row]:
    """Every platform's row: those built in, then those of installed packages.

    Raises:
        ConfigError: A package gives something else than a destination, or two give the same type.
    """
    from importlib.metadata import entry_points  # brings the e-mail parser along; hardly anybody needs it

    found = dict(BUILT_IN)
    for point in entry_points(group=GROUP):
        if point.name in BUILT_IN:
            continue
        if point.name in found:
            raise ConfigError(f"two installed packages give the destination type {point.name!r}; remove one")
        found[point.name] = _row(point.name, _loaded(point))
    return found


def row_of(type_name: str) -> Row:
    """The row of a type.

    Raises:
        ConfigError: Nothing of that name is installed.
    """
    if row := BUILT_IN.get(type_name) or rows().get(type_name):
        return row
    there = f"there are {', '.join(rows())}{nearest(type_name, rows())}"
    raise ConfigError(f"no destination type {shown(type_name)!r}; {there}")


def _loaded(point: Any) -> object:
    try:
        return point.load()
    except Exception as error:  # a package's own code, run at import
        raise ConfigError(
            f"the installed package of destination type {point.name!r} cannot be imported "
            f"({type(error).__name__} at {place_of(error)}); mend or remove it"
        ) from error


def _row(type_name: str, given: object) -> Row:
    if isinstance(given, Row):
        if given.type != type_name:
            raise ConfigError(f"entry point {type_name!r} leads to the row of {given.type!r}")
        return given
    kind = _class(type_name, given)
    return Row(type=type_name, module=kind.__module__, class_name=kind.__qualname__)


def _class(type_name: str, found: object) -> DestinationClass:
    if not (isinstance(found, type) and issubclass(found, Destination)):
        raise ConfigError(f"entry point {type_name!r} is not a Destination")
    return found
