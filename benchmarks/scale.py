"""How many web processes, workers and Redis servers a rate of events takes, and what gives out first.

``python benchmarks/scale.py [--measured FILE] [--destinations N] [--json]``

A model, fed by what one event costs at each stage: the defaults below, or the output of ``bench_redis.py --json``. It
adds nothing that was not measured except the assumptions named in :class:`Assumed`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, structs


class Measured(Struct, frozen=True, kw_only=True):
    """CPU microseconds per event and destination, unless said otherwise; see ``scale.md`` for where and when.

    Attributes:
        web_us: At the web process: preparing and appending.
        worker_us: At the worker: reading, batching, posting, settling.
        redis_append_us, redis_drain_us: In Redis, with ``appendfsync always``.
        redis_bytes: What one waiting record takes of Redis's memory.
        wire_bytes: Body of one event at the platform.
    """

    web_us: float = 48.0
    worker_us: float = 10.8
    redis_append_us: float = 7.4
    redis_drain_us: float = 2.3
    redis_bytes: float = 1_048.0
    wire_bytes: float = 890.0


class Assumed(Struct, frozen=True, kw_only=True):
    """What was not measured.

    Attributes:
        load: Of a core, so that peaks find room.
        outage_s: Seconds of a platform's absence that Redis must have memory for.
        memory: Bytes of one Redis server.
        network: Bits per second of one server.
        account_events_per_s: What a platform takes of one account: Snap publishes 1,000 requests of 2,000 events.
        copies: How often a record crosses Redis's network: in, out, and to one replica.
    """

    load: float = 0.6
    outage_s: float = 900.0
    memory: float = 64e9
    network: float = 10e9
    account_events_per_s: float = 2_000_000.0
    copies: float = 3.0


class Plan(Struct, frozen=True, kw_only=True):
    """What a rate takes."""

    events_per_s: float
    web_processes: int
    worker_processes: int
    redis_by_cpu: int
    redis_by_memory: int
    redis_by_network: int
    redis_servers: int
    first: str
    redis_gbit_per_s: float
    platform_gbit_per_s: float
    outage_gb: float
    requests_per_s: float
    accounts: int


def plan(rate: float, destinations: int, cost: Measured, given: Assumed) -> Plan:
    """What ``rate`` events per second take, each to so many destinations."""
    records = rate * destinations
    redis_bits = records * cost.redis_bytes * given.copies * 8
    held = records * cost.redis_bytes * given.outage_s
    shards = {
        "cpu": math.ceil(records * (cost.redis_append_us + cost.redis_drain_us) / 1e6 / given.load),
        "memory": math.ceil(held / (given.memory * given.load)),
        "network": math.ceil(redis_bits / (given.network * given.load)),
    }
    # what one more of would be needed for first, in shares of a server
    shares = {
        "Redis CPU": records * (cost.redis_append_us + cost.redis_drain_us) / 1e6,
        "Redis memory in an outage": held / given.memory,
        "Redis network": redis_bits / given.network,
        "one worker core": records * cost.worker_us / 1e6,
        "the platform's rate": rate / given.account_events_per_s,
    }
    return Plan(
        events_per_s=rate,
        web_processes=math.ceil(records * cost.web_us / 1e6 / given.load),
        worker_processes=math.ceil(records * cost.worker_us / 1e6 / given.load),
        redis_by_cpu=shards["cpu"],
        redis_by_memory=shards["memory"],
        redis_by_network=shards["network"],
        redis_servers=max(1, *shards.values()),
        first=max(shares, key=lambda name: shares[name]),
        redis_gbit_per_s=redis_bits / 1e9,
        platform_gbit_per_s=records * cost.wire_bytes * 8 / 1e9,
        outage_gb=held / 1e9,
        requests_per_s=records / 2_000,
        accounts=math.ceil(rate / given.account_events_per_s),
    )


def measured(file: Path) -> Measured:
    """Costs from what ``bench_redis.py --json`` printed: of the row with ``always`` and one worker."""
    rows = [json.loads(line) for line in file.read_text().splitlines() if line.startswith("{")]
    row: Mapping[str, Any] = next(one for one in rows if one["log"] == "always" and one["workers"] == 1)
    return Measured(
        web_us=row["append_cpu_us"],
        worker_us=row["drain_cpu_us"],
        redis_append_us=row["redis_append_us"],
        redis_drain_us=row["redis_drain_us"],
        redis_bytes=row["redis_bytes"],
    )


def main() -> None:
    """Print the plan for each factor of ten."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measured", type=Path)
    parser.add_argument("--destinations", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    cost = measured(arguments.measured) if arguments.measured else Measured()
    plans = [plan(rate, arguments.destinations, cost, Assumed()) for rate in (2e3, 2e4, 2e5, 2e6)]
    if arguments.json:
        for one in plans:
            print(json.dumps(structs.asdict(one)))
        return
    print(f"{cost}\n{Assumed()}\n")
    names = [name for name in Plan.__struct_fields__ if name != "events_per_s"]
    print("| | " + " | ".join(f"{one.events_per_s:,.0f}/s" for one in plans) + " |")
    print("|---|" + "---:|" * len(plans))
    for name in names:
        cells = [getattr(one, name) for one in plans]
        texts = [
            cell if isinstance(cell, str) else f"{cell:,.1f}" if isinstance(cell, float) else f"{cell:,}"
            for cell in cells
        ]
        print(f"| {name.replace('_', ' ')} | " + " | ".join(texts) + " |")


if __name__ == "__main__":
    main()
