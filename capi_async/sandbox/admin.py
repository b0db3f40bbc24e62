"""The ``/_sandbox`` routes: read what arrived, set faults and rates.

``DELETE`` empties what its path names: ``arrivals`` the record, ``stats`` the counters, ``faults``, ``rates`` (back to
the documented ones), and the bare ``/_sandbox`` all that was received, as ``Sandbox.clear()`` does. What stands under
``tiktok_shop`` is told in ``capi_async.sandbox.platforms.tiktok_shop.admin``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from capi_async.sandbox.arrivals import Arrival, ArrivalLine, Stats
from capi_async.sandbox.faults import Fault
from capi_async.sandbox.platforms.base import Reply, json_reply
from capi_async.sandbox.platforms.tiktok_shop import TikTokShop
from capi_async.sandbox.platforms.tiktok_shop.admin import administer_shop
from capi_async.sandbox.rates import Rate

ADMIN = "_sandbox"


class Steered(Protocol):
    """What these routes need of a sandbox; :class:`~capi_async.sandbox.Sandbox` says what each of it does."""

    @property
    def tiktok_shop(self) -> TikTokShop: ...
    def arrivals(self, platform: str | None = None) -> list[Arrival]: ...
    def dropped(self, platform: str | None = None) -> int: ...
    def stats(self) -> dict[str, Stats]: ...
    def details(self) -> dict[str, dict[str, Any]]: ...
    def faults(self) -> list[Fault]: ...
    def add_fault(self, fault: Fault) -> None: ...
    def remove_fault(self, number: int) -> None: ...
    def clear_faults(self) -> None: ...
    def rates(self) -> dict[str, Rate | None]: ...
    def set_rate(self, platform: str, rate: Rate | int | None) -> None: ...
    def reset_rates(self) -> None: ...
    def clear_arrivals(self) -> None: ...
    def clear_stats(self) -> None: ...
    def clear(self) -> None: ...


class RateBody(Struct, forbid_unknown_fields=True):
    """Body of ``POST /_sandbox/rates``; a ``limit`` of null lifts the limit."""

    platform: str
    limit: int | None
    per_s: float | None = None


_decode_faults = msgspec.json.Decoder(Fault | list[Fault]).decode
_decode_rate = msgspec.json.Decoder(RateBody).decode


def administer(sandbox: Steered, method: str, path: str, query: Mapping[str, str], body: bytes) -> Reply:
    """Answer one request for the sandbox itself."""
    try:
        part, _, rest = path.strip("/").partition("/")
        if part == TikTokShop.name:
            return administer_shop(sandbox.tiktok_shop, method, rest, query, body) or _nowhere()
        match method, path.rstrip("/"):
            case "GET", "arrivals":
                return _arrivals(sandbox, query)
            case "DELETE", "arrivals":
                sandbox.clear_arrivals()
            case "GET", "stats":
                detailed = query.get("detail", "") in ("1", "true")
                return json_reply(200, sandbox.details() if detailed else sandbox.stats())
            case "DELETE", "stats":
                sandbox.clear_stats()
            case "DELETE", "":
                sandbox.clear()
            case "GET", "faults":
                return json_reply(200, sandbox.faults())
            case "POST", "faults":
                faults = _decode_faults(body)
                for fault in faults if isinstance(faults, list) else [faults]:
                    sandbox.add_fault(fault)
                return json_reply(200, sandbox.faults())
            case "DELETE", "faults":
                sandbox.clear_faults()
            case "GET", "rates":
                return json_reply(200, sandbox.rates())
            case "POST", "rates":
                _set_rate(sandbox, _decode_rate(body))
                return json_reply(200, sandbox.rates())
            case "DELETE", "rates":
                sandbox.reset_rates()
            case _:
                return _nowhere()
    except (ValueError, msgspec.MsgspecError) as error:
        return error_reply(400, str(error))
    except RecursionError:
        return error_reply(400, "the body is nested too deeply")
    return Reply(204, b"")


def _nowhere() -> Reply:
    return error_reply(404, "no such page; there are arrivals, stats, faults, rates and tiktok_shop")


def error_reply(status: int, message: str) -> Reply:
    """An answer of the sandbox itself, not of a platform."""
    return json_reply(status, {"error": message})


def _arrivals(sandbox: Steered, query: Mapping[str, str]) -> Reply:
    platform = query.get("platform") or None
    arrivals = sandbox.arrivals(platform)
    if limit := int(query.get("limit") or 0):
        arrivals = arrivals[-limit:]
    dropped = {"X-Sandbox-Dropped": str(sandbox.dropped(platform))}
    return json_reply(200, [ArrivalLine.of(arrival) for arrival in arrivals], dropped)


def _set_rate(sandbox: Steered, body: RateBody) -> None:
    rate: Rate | int | None = body.limit
    if body.limit is not None and body.per_s is not None:
        rate = Rate(body.limit, body.per_s)
    sandbox.set_rate(body.platform, rate)
