"""``capi-async explain``: what each platform would be told of one event, offline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from capi_async.cli.accounts import destinations_for
from capi_async.cli.mapping import Mapper
from capi_async.cli.readers import Good, Note, Problem, open_source, read
from capi_async.cli.running import plainly, say
from capi_async.cli.terminal import write, write_json
from capi_async.client import Client
from capi_async.engine.explain import Explanation
from capi_async.errors import ConfigError
from capi_async.event import Event


@plainly
def explain(
    file: Annotated[
        str, typer.Argument(help="A file with one event or several, JSON or CSV; - is stdin.", metavar="FILE")
    ],
    line: Annotated[int | None, typer.Option(help="Which line of the file.", min=1, metavar="N")] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="TOML file that says which CSV column is which field.", metavar="FILE")
    ] = None,
    to: Annotated[
        list[str] | None, typer.Option(help="Only this destination; may be repeated.", metavar="NAME")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Destinations of this TOML file.", metavar="FILE")] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Accounts of the sandbox, one per platform.")] = False,
    test: Annotated[bool, typer.Option("--test", help="As in each platform's test mode.")] = False,
    phone_region: Annotated[
        str | None, typer.Option(help="Country of phones without country code, such as US.", metavar="CODE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what each platform would be sent for one event, and why.

    Nothing is sent. Personal values are hashed or masked in what is shown: the wire object, the identifiers used and
    refused, and the verdict to expect.
    """
    if sandbox and config:
        raise ConfigError("--sandbox and --config exclude each other")
    event = _event(file, line, Mapper.load(mapping) if mapping else None)
    destinations, options = destinations_for(sandbox, config, to or (), test=test)
    if phone_region:
        options["phone_region"] = phone_region
    found = Client(destinations, **options).explain(event)
    if as_json:
        write_json(found, indent=2)
    else:
        for shown in _lines(event, found):
            write(shown)


def _event(name: str, line: int | None, mapper: Mapper | None) -> Event:
    """The event asked for: the only one of a file, or the one on a line."""
    source = open_source(name, "auto")
    first: Event | None = None
    with closing(read(source, mapper)) as pieces:
        for one in (one for piece in pieces for one in piece):
            if isinstance(one, Note):
                say(str(one))
            elif line is None and (first is not None or isinstance(one, Problem)):
                where = str(one) if isinstance(one, Problem) else f"{name}: holds several events"
                raise ConfigError(f"{where} (of a file with several events, choose one by --line)")
            elif line is None and isinstance(one, Good):
                first = one.event
            elif one.line == line:
                if isinstance(one, Problem):
                    raise ConfigError(str(one))
                return one.event
    if first is None:
        raise ConfigError(f"{name}: there is no event{f' on line {line}' if line else ' in it'}")
    return first


def _lines(event: Event, found: Mapping[str, Explanation]) -> Iterator[str]:
    yield f"{event.name}, event id {event.event_id}, {event.time.isoformat()}"
    for name, one in found.items():
        verdict = "would be sent" if one.verdict == "pending" else one.verdict
        yield ""
        yield f"{name}: {verdict}"
        if one.reason:
            yield f"  reason      {f'{one.field}: ' if one.field else ''}{one.reason}"
        if one.fix:
            yield f"  fix         {one.fix}"
        yield f"  identifiers {', '.join(one.used) or 'none'}"
        if one.unused:
            yield f"  no use for  {', '.join(one.unused)}"
        for field, reason in one.refused.items():
            yield f"  refused     {field}: {reason}"
        for warning in one.warnings:
            yield f"  note        {warning}"
        if one.wire is not None:
            yield "  wire"
            text = json.dumps(one.wire, indent=2, ensure_ascii=False)
            yield from (f"    {shown}" for shown in text.split("\n"))
