"""A web process of the fleet: sends at a steady pace until it is told to end, and writes down what it was told.

``python -m tests.chaos.redis_web CONFIG LOG RUN EVENTS_PER_S``. Each line of the log is an answer and an event id:
``y`` accepted, ``n`` surely not stored, ``?`` unknown, ``f`` a person was forgotten.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from capi_async import Client, ClientClosed, QueueFull, SpoolError, User
from capi_async.event import Event
from tests.chaos.sender import event

#: Every so many events are of somebody who is forgotten now and then.
FORGOTTEN_EVERY = 25
_PEOPLE = 7
_TASKS = 6
_TIMEOUT_S = 2.0
#: Seconds between two wishes to be forgotten.
_FORGET_S = 2.0


def sale(run: int, number: int) -> Event:
    """One event of this process."""
    one = event(run, number)
    if number % FORGOTTEN_EVERY == 0:
        return replace(one, user=replace(one.user, email=_gone(number)))
    return one


def _gone(number: int) -> str:
    return f"gone{number % _PEOPLE}@example.com"


async def work(config: Path, log: Path, run: int, events_per_s: float) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    notes = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    numbers = iter(range(10**9))

    async def send(client: Client) -> None:
        while not stop.is_set():
            number = next(numbers)
            try:
                await client.send(sale(run, number), timeout_s=_TIMEOUT_S)
                answer = "y"
            except (QueueFull, SpoolError, ClientClosed) as error:
                answer = {True: "y", False: "n", None: "?"}[error.stored]
            os.write(notes, f"{answer} {run}-{number}\n".encode())
            await asyncio.sleep(_TASKS / events_per_s)

    async def forget(client: Client) -> None:
        for number in range(10**9):
            with suppress(TimeoutError):
                async with asyncio.timeout(_FORGET_S):
                    await stop.wait()
            if stop.is_set():
                return
            try:
                await client.forget(User(email=_gone(number)))
            except (SpoolError, ClientClosed):
                continue
            os.write(notes, f"f {number % _PEOPLE}\n".encode())

    while not stop.is_set():
        try:
            async with Client.from_config(config, deliver=False) as client:
                print("ready", flush=True)
                async with asyncio.TaskGroup() as group:
                    for _ in range(_TASKS):
                        group.create_task(send(client))
                    group.create_task(forget(client))
        except SpoolError:  # Redis is away while this process starts
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
