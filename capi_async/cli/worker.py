"""``capi-async worker``: delivers what web processes left in a spool, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import time
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from aiohttp import web

from capi_async.cli.accounts import configured, mode_of_the_environment
from capi_async.cli.listening import listen
from capi_async.cli.running import plainly, run, say
from capi_async.client import Client
from capi_async.clock import SYSTEM_CLOCK
from capi_async.closing import CloseReport
from capi_async.errors import CapiError, ConfigError
from capi_async.modes import MODE_VARIABLE
from capi_async.spec import Destination
from capi_async.spool import open_spool
from capi_async.spool.base import Spool
from capi_async.telemetry.prometheus import CONTENT_TYPE, exposition

logger = logging.getLogger(__name__)

#: Seconds without a sign from storage after which a worker says that it is not ready.
_STALE_S: Final = 10.0

#: Storage that is not there yet is tried again, with growing pauses in seconds.
_START_S: Final = (0.5, 1.0, 2.0, 5.0)


@plainly
def worker(
    config: Annotated[
        Path | None, typer.Option(help="Destinations and spool of this TOML file, as the web processes have.")
    ] = None,
    spool: Annotated[
        str | None, typer.Option(help="Spool instead of the file's, such as redis://host:6379/0.", metavar="URL")
    ] = None,
    to: Annotated[
        list[str] | None, typer.Option(help="Only for this destination; may be repeated.", metavar="NAME")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(help="Requests under way at once, per destination.", min=1, metavar="N")
    ] = None,
    port: Annotated[
        int, typer.Option(help="Port of /healthz, /readyz and /metrics; 0 takes a free one.", min=0, max=65535)
    ] = 9464,
    host: Annotated[str, typer.Option(help="Address of that port; none with ''.", metavar="H")] = "127.0.0.1",
    otel: Annotated[
        bool, typer.Option("--otel", help="Metrics and traces to OpenTelemetry; run it under opentelemetry-instrument.")
    ] = False,
    grace: Annotated[
        float, typer.Option(help="Seconds that requests under way get to end after SIGTERM.", min=0.0)
    ] = 25.0,
) -> None:
    """Deliver what other processes left in a spool (Client(..., deliver=False)), until SIGTERM or Ctrl-C.

    Then it takes up nothing more, waits for the answers of what is under way, and leaves the rest to the other workers.
    Run as many as are needed, anywhere: they share the queue and each account's request rate.

    The exit code is 0 if everything under way was answered in time, 1 if not (a later worker goes on with it, as after
    a crash), 2 if the configuration is wrong.
    """
    if (mode := mode_of_the_environment().get("mode", "live")) != "live":
        raise ConfigError(f"{MODE_VARIABLE} is {mode}, and a worker sends what waits to the platforms: unset it")
    destinations, options = configured(config, to or [])
    options = {**options, **({"spool": spool} if spool else {}), "deliver": True}
    if otel:
        from capi_async.telemetry.otel import OpenTelemetry  # needs an extra

        options["hooks"] = [OpenTelemetry()]
    if concurrency is not None:
        destinations = [msgspec.structs.replace(one, max_in_flight=concurrency) for one in destinations]
    opened = open_spool(options.get("spool", "memory"), clock=SYSTEM_CLOCK)
    if not opened.durable:
        raise ConfigError('a worker needs the spool that the web processes fill: spool = "redis://host:6379/0"')
    finished = run(Work(destinations, {**options, "spool": opened}, opened).run(host, port, grace))
    raise typer.Exit(0 if finished else 1)


class Work:
    """One worker's life.

    Args:
        options: Of the client.
    """

    def __init__(self, destinations: list[Destination], options: dict[str, Any], spool: Spool) -> None:
        self._names = [one.name for one in destinations]
        self._spool = spool
        self._client = Client(destinations, **options)
        self._stop = asyncio.Event()
        self._ready = False

    async def run(self, host: str, port: int, grace_s: float) -> bool:
        """Work until told to stop; whether everything under way was answered."""
        loop = asyncio.get_running_loop()
        for which in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(which, self._told, which.name)
        runner = await self._serve(host, port) if host else None
        try:
            if not await self._open():
                return True
            self._ready = True
            say(f"capi-async: delivering to {', '.join(self._names)}")
            await self._stop.wait()
            self._ready = False
            report = await self._client.aclose(grace_s, drain=False)
        finally:
            if runner is not None:
                await runner.cleanup()
        self._tell(report)
        return report.unanswered == 0

    async def _open(self) -> bool:
        """Start the client; storage that is not there yet, as when all start together, is waited for."""
        pauses = iter(_START_S)
        pause_s = next(pauses)
        while not self._stop.is_set():
            try:
                await self._client.__aenter__()
            except ConfigError:
                raise
            except CapiError as error:
                say(f"capi-async: waiting for storage: {error}")
            else:
                return True
            try:
                async with asyncio.timeout(pause_s):
                    await self._stop.wait()
            except TimeoutError:
                pause_s = next(pauses, pause_s)
        return False

    def _told(self, name: str) -> None:
        if self._stop.is_set() and name == "SIGINT":
            raise KeyboardInterrupt
        say(f"capi-async: {name}: finishing what is under way")
        self._ready = False
        self._stop.set()

    def _tell(self, report: CloseReport) -> None:
        for name, counts in report.ledger.items():
            if counts.pending:
                say(f"capi-async: {name}: {counts.pending} left for other workers")
        if report.unanswered:
            say(f"capi-async: {report.unanswered} requests were cut off")

    async def _serve(self, host: str, port: int) -> web.ServerRunner:
        routes = {
            ("GET", "/healthz"): self._health,
            ("GET", "/readyz"): self._readiness,
            ("GET", "/metrics"): self._show,
        }
        runner = await listen(routes, host, port, local_names_only=True)
        where = runner.addresses[0]
        say(f"health and metrics on http://{where[0]}:{where[1]}/")
        return runner

    async def _health(self, _request: web.Request) -> web.Response:
        """That this is answered is all there is to say: the loop turns."""
        return web.Response(text="alive\n")

    async def _readiness(self, _request: web.Request) -> web.Response:
        if not self._ready:
            return web.Response(text="not ready\n", status=503)
        if self._silent_s() > _STALE_S:
            return web.Response(text="storage is out of reach\n", status=503)
        return web.Response(text="ready\n")

    def _silent_s(self) -> float:
        """Seconds for which storage that can be away has been."""
        return self._spool.health().away_s

    async def _show(self, _request: web.Request) -> web.Response:
        used = resource.getrusage(resource.RUSAGE_SELF)
        more = {
            "capi_process_cpu_seconds": used.ru_utime + used.ru_stime,
            "capi_process_max_rss_kilobytes": used.ru_maxrss,
            "capi_time_seconds": time.time(),
        }
        text = exposition(self._client, more)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})
