"""All checks, in their order; destinations beside one another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.doctor.accounts import SendTest, account, test_event
from capi_async.doctor.credentials import credential
from capi_async.doctor.deliveries import deliveries
from capi_async.doctor.environment import environment
from capi_async.doctor.findings import Finding, Report
from capi_async.doctor.reach import reach
from capi_async.doctor.spools import spool_health
from capi_async.spec import Destination, Transport
from capi_async.spool.base import Spool
from capi_async.telemetry.snapshot import Snapshot


async def examine(
    destinations: Sequence[Destination],
    spool: Spool,
    transport: Transport,
    *,
    trust_env: bool = False,
    send_test: SendTest | None = None,
    snapshot: Snapshot | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Report:
    """Look at everything; nothing is changed, and nothing sent unless ``send_test`` is given.

    Args:
        snapshot: Of a client that runs: what has become of its events is told too.
    """
    found = list(environment())
    async with asyncio.TaskGroup() as group:
        each = [group.create_task(_one(one, transport, trust_env, send_test, clock)) for one in destinations]
        stored = group.create_task(spool_health(spool, {one.name for one in destinations}, ends=snapshot is None))
    for task in each:
        found += task.result()
    return Report([*found, *(deliveries(snapshot) if snapshot is not None else ()), *stored.result()])


async def _one(
    destination: Destination, transport: Transport, trust_env: bool, send_test: SendTest | None, clock: Clock
) -> list[Finding]:
    found: list[Finding] = []
    try:
        form, token = await credential(destination)
        found += [form, *await reach(destination, transport, clock, trust_env=trust_env)]
        if token and not any(one.check == "reach" and one.level == "failure" for one in found):
            said = await account(destination, token, transport)
            if send_test is None or said.level != "note":
                found.append(said)
            if send_test is not None:
                found.append(await test_event(destination, token, transport, send_test))
    except Exception as error:  # of the destination's own code, whose words may hold anything: the others are looked at
        text = f"its own code failed ({type(error).__name__}), and no more of it was looked at"
        found.append(Finding(destination.name, "destination", "failure", text, "mend the destination"))
    return found
