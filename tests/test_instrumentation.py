"""What error trackers and tracers gather by themselves holds no credential."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.traced import APP_SECRET, EMAIL, OWN, REFRESH, TOKEN


@pytest.mark.parametrize(
    ("tracker", "module"), [("sentry", "sentry_sdk"), ("otel", "opentelemetry.instrumentation.aiohttp_client")]
)
def test_a_tracker_with_its_defaults_is_told_no_credential(tracker: str, module: str) -> None:
    """The access token, app secret and refresh token stand in addresses, which both export; ours they do not see."""
    pytest.importorskip(module)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.traced", tracker],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # it is at work: a request of the application's own is seen
    assert OWN in done.stdout
    assert [secret for secret in (TOKEN, APP_SECRET, REFRESH, EMAIL) if secret[:14] in done.stdout] == []
