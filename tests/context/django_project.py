"""A Django project of the tests' own: configured once per process, with a database in a file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest


def configure() -> None:
    """Make the project ready, with its tables; without Django the test is skipped."""
    django = pytest.importorskip("django", reason="Django is not installed: pip install 'capi_async[test]'")
    from django.conf import settings

    if settings.configured:
        return
    folder = Path(tempfile.mkdtemp(prefix="capi-django-"))
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db.sqlite3")}},
        INSTALLED_APPS=["capi_async.context.django"],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    close()


def close() -> None:
    """Close the connections of this thread, which Django does at the end of a request."""
    from django.db import connections

    connections.close_all()
