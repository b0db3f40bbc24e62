"""``manage.py capi_check``: whether the settings are right, before a visitor finds out."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from capi_async.errors import CapiError
from capi_async.event import Event, Page, User
from capi_async.integrations.django.client import client, how_to_read

_MIDDLEWARE = "capi_async.integrations.django.CapiMiddleware"


class Command(BaseCommand):  # type: ignore[misc]  # Django has no types
    """Prints each account and what is wrong; with ``--send`` it sends one page view marked as a test."""

    help = "Check the settings of capi_async."

    def add_arguments(self, parser: Any) -> None:
        """``--send``."""
        parser.add_argument("--send", action="store_true", help="send a page view marked as a test to every account")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        """Fail with the first thing that is wrong."""
        if _MIDDLEWARE not in settings.MIDDLEWARE:
            raise CommandError(f"MIDDLEWARE lacks {_MIDDLEWARE!r}: put it first")
        try:
            read = how_to_read()
            found = client()
        except CapiError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"requests: {read!r}")
        kept = "kept over a crash" if found.durable else "lost with the process that holds them: set a durable spool"
        self.stdout.write(f"events that wait: {kept}")
        if not options["send"]:
            for name in found.states():
                self.stdout.write(f"{name}: configured")
            return
        self._send(found)

    def _send(self, found: Any) -> None:
        event = Event(
            "page_view", test=True, user=User(email="check@capi.example"), page=Page(url="https://capi.example/check")
        )
        failed = []
        for name, outcome in found.send(event).outcomes(timeout_s=20).items():
            self.stdout.write(f"{name}: {outcome.kind} {outcome.reason or ''}".rstrip())
            if outcome.kind not in ("delivered", "skipped"):
                failed.append(name)
        if failed:
            raise CommandError(f"not delivered: {', '.join(failed)}")
