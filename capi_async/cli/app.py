"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

import capi_async
from capi_async.cli import google_ads, queue, tiktok_shop
from capi_async.cli.bench import bench
from capi_async.cli.dashboard import dashboard
from capi_async.cli.doctor import doctor
from capi_async.cli.explain import explain
from capi_async.cli.first_mapping import mapping
from capi_async.cli.followup import followup
from capi_async.cli.new_destination import new_destination
from capi_async.cli.sandbox import sandbox
from capi_async.cli.send import send
from capi_async.cli.top import top
from capi_async.cli.worker import worker

app = typer.Typer(
    name="capi-async",
    help="Forward conversion events to ad platforms.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command()(send)
app.command()(explain)
app.command()(mapping)
app.command()(doctor)
app.command()(followup)
app.command()(sandbox)
app.command()(bench)
app.command()(worker)
app.command()(top)
app.command()(dashboard)
app.command()(new_destination)
app.add_typer(queue.app, name="queue")
app.add_typer(google_ads.app, name="google-ads")
app.add_typer(tiktok_shop.app, name="tiktok-shop")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"capi-async {capi_async.__version__}")
        raise typer.Exit


@app.callback()
def capi_async_(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Forward conversion events to ad platforms."""
