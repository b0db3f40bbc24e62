"""``capi-async explain``: what each platform would be told of one event, offline."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from capi_async.cli.accounts import configured, sandbox_destinations
from capi_async.cli.failing import plainly
from capi_async.cli.readers import Problem, open_source, read
from capi_async.client import Client
from capi_async.engine.explain import Explanation
from capi_async.errors import CapiError, ConfigError
from capi_async.event import Event


@plainly
def explain(
    file: Annotated[
        str, typer.Argument(help="A file with one event as JSON, or with one per line; - is stdin.", metavar="FILE")
    ],
    line: Annotated[int | None, typer.Option(help="Which line of a JSONL file.", min=1, metavar="N")] = None,
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
    event = _event(file, line)
    options: dict[str, Any] = {}
    if sandbox:
        destinations = sandbox_destinations(lambda name: f"http://127.0.0.1/{name}", to or (), test=test)
    else:
        destinations, options = configured(config, to or (), test=test)
    options = (
        {"phone_region": phone_region}
        if phone_region
        else {key: value for key, value in options.items() if key in ("consent", "phone_region")}
    )
    found = Client(destinations, **options).explain(event)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    else:
        sys.stdout.write("\n".join(_lines(event, found)) + "\n")


def _event(name: str, line: int | None) -> Event:
    """The event asked for: a whole file that is one JSON object, or one line of many."""
    source = open_source(name, "jsonl")
    if line is None:
        with closing(source):
            try:
                # a JSON object over several lines is no JSONL
                return Event.from_json(source.stream.read())
            except CapiError as error:
                raise ConfigError(
                    f"{name}: {error} (of a file with one event per line, choose one by --line)"
                ) from None
    with closing(read(source, None)) as pieces:
        for piece in pieces:
            for one in piece:
                if one.line == line:
                    if isinstance(one, Problem):
                        raise ConfigError(str(one))
                    return one.event
    raise ConfigError(f"{name}: there is no event on line {line}")


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
            yield from (f"    {shown}" for shown in text.splitlines())
