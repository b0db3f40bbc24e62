"""``capi-async send``: events from files to platforms."""

from __future__ import annotations

from contextlib import nullcontext
from enum import StrEnum
from inspect import cleandoc
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from capi_async.cli.accounts import (
    configured,
    destinations_for,
    mode_of_the_environment,
    sandbox_destinations,
    sandbox_notes,
)
from capi_async.cli.delivery import Delivery, Ended
from capi_async.cli.dry_run import DryRun, dry_run, show_dry_run
from capi_async.cli.mapping import EXAMPLE, Mapper
from capi_async.cli.readers import Source, open_source
from capi_async.cli.running import EXIT_INTERRUPTED, EXIT_LOST, plainly, run
from capi_async.cli.table import show
from capi_async.cli.terminal import say, show_line, write_json
from capi_async.errors import ConfigError
from capi_async.sandbox import Sandbox


class Format(StrEnum):
    """How input files are read."""

    AUTO = "auto"
    JSONL = "jsonl"
    CSV = "csv"


def _with_example(text: str) -> str:
    """A command's help and the form of a mapping file, kept line by line."""
    indented = "".join(f"  {line}\n" for line in EXAMPLE.splitlines() if line)
    return f"{cleandoc(text)}\n\n\b\nA mapping file for CSV:\n{indented}"


@plainly
def send(
    files: Annotated[list[str], typer.Argument(help="JSONL or CSV files, gzipped or not; - is stdin.", metavar="FILE")],
    to: Annotated[
        list[str] | None, typer.Option(help="Only to this destination; may be repeated.", metavar="NAME")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Destinations of this TOML file instead of the environment's.", metavar="FILE")
    ] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="To a sandbox inside this process, one account per platform.")
    ] = False,
    mapping: Annotated[
        Path | None, typer.Option(help="TOML file that says which CSV column is which field.", metavar="FILE")
    ] = None,
    form: Annotated[
        Format,
        typer.Option("--format", help="Form of the input; auto goes by the file's name.", metavar="auto|jsonl|csv"),
    ] = Format.AUTO,
    group_lines: Annotated[
        str, typer.Option(help="One event of neighbouring CSV rows that are equal in this field.", metavar="FIELD")
    ] = "",
    dry: Annotated[bool, typer.Option("--dry-run", help="Send nothing: say what would become of every event.")] = False,
    test: Annotated[bool, typer.Option("--test", help="Use each platform's test mode.")] = False,
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait for room in a queue that does not move.", min=0.0, metavar="SECONDS")
    ] = 60.0,
    deadline: Annotated[
        float,
        typer.Option(help="Seconds to go on delivering after the last line was read.", min=0.0, metavar="SECONDS"),
    ] = 300.0,
    phone_region: Annotated[
        str | None, typer.Option(help="Country of phones without country code, such as US.", metavar="CODE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Send events from files, and say what became of them.

    Without --config or --sandbox, destinations come from the environment, such as SNAP_PIXEL_ID and SNAP_ACCESS_TOKEN.
    JSON holds one event per line, an array of events, or events over several lines. A bad line is reported with its
    number and field and does not stop the others. A first mapping for a CSV is written by 'capi-async mapping FILE'.

    The exit code is 0 if nothing was rejected or lost, 1 if something was, a line was bad or no event at all was
    delivered (also where a file holds none), 2 if the command or its configuration is wrong, 130 after Ctrl-C.
    """
    if sandbox and config:
        raise ConfigError("--sandbox and --config exclude each other")
    mapper = Mapper.load(mapping) if mapping else None
    sources = [open_source(name, form.value) for name in files]
    for source in sources:
        if source.format == "csv" and mapper is None:
            raise ConfigError(
                f"{source.name}: CSV needs --mapping FILE; 'capi-async mapping {source.name}' writes a first one"
            )
        if source.format != "csv" and group_lines:
            raise ConfigError("--group-lines is for CSV; an event of JSON holds its items already")
    more = {"phone_region": phone_region} if phone_region else {}
    if dry:
        destinations, options = destinations_for(sandbox, config, to or (), test=test)
        expected = dry_run(destinations, {**options, **more}, sources, mapper, group_lines)
        _tell(expected, as_json)
        raise typer.Exit(EXIT_LOST if expected.lost else 0)
    ended = run(_send(sources, mapper, sandbox, config, to or [], test, more, timeout, deadline, group_lines))
    _tell(ended, as_json)
    raise typer.Exit(EXIT_INTERRUPTED if ended.interrupted else EXIT_LOST if ended.lost else 0)


send.__doc__ = _with_example(send.__doc__ or "")


async def _send(
    sources: list[Source],
    mapper: Mapper | None,
    sandbox: bool,
    config: Path | None,
    to: list[str],
    test: bool,
    more: dict[str, str],
    timeout_s: float,
    deadline_s: float,
    group_by: str,
) -> Ended:
    server = Sandbox(rates={"cutmeshort": None}, keep_events=False) if sandbox else None
    async with server or nullcontext():
        if server:
            destinations = sandbox_destinations(server.url, to, test=test)
            options: dict[str, object] = {}
            for note in sandbox_notes(destinations):
                say(note)
        else:
            destinations, options = configured(config, to, test=test)
            options = {**options, **mode_of_the_environment()}
        delivery = Delivery(
            destinations, {**options, **more}, timeout_s=timeout_s, deadline_s=deadline_s, group_by=group_by
        )
        return await delivery.run(sources, mapper)


def _tell(ended: Ended | DryRun, as_json: bool) -> None:
    if as_json:
        write_json(ended, indent=2)
        return
    console = Console(highlight=False)
    if isinstance(ended, DryRun):
        show_dry_run(console, ended)
        return
    show(console, ended.destinations)
    for line in ended.unread:
        show_line(console, f"not read: {line}")
    lines = f"{ended.events:,} events read in {ended.seconds:.1f} s"
    bad = f", {ended.bad_lines:,} bad lines" if ended.bad_lines else ""
    stopped = f"; stopped: {ended.stopped}" if ended.stopped else ""
    nothing = "; no event was delivered" if not _any_delivered(ended) else ""
    show_line(console, f"{lines}{bad}{stopped}{nothing}")


def _any_delivered(ended: Ended) -> bool:
    return any(one.delivered for one in ended.destinations.values())
