"""Running the command line inside the test process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from capi_async.cli.app import app

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"


class Ran:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        """What was printed, as JSON."""
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``capi-async`` with these arguments; no destination is in the environment."""
    for name in ("SNAP", "PINTEREST", "TIKTOK", "META", "CMS", "CUTMESHORT", "REDDIT"):
        for rest in ("PIXEL_ID", "ACCESS_TOKEN", "AD_ACCOUNT_ID", "BEARER_TOKEN", "API_KEY"):
            monkeypatch.delenv(f"{name}_{rest}", raising=False)

    def command(*arguments: object, stdin: bytes | None = None) -> Ran:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return command


@pytest.fixture
def examples() -> Iterator[None]:
    """The modules beside the demo can be imported, as when it runs as a script."""
    sys.path.insert(0, str(EXAMPLES))
    yield
    sys.path.remove(str(EXAMPLES))


def purchase(number: int, **changes: Any) -> dict[str, Any]:
    """A good event that every platform takes."""
    return {
        "name": "purchase",
        "order_id": f"order-{number}",
        "time": datetime.now(UTC).isoformat(),
        "value": "12.50",
        "currency": "GBP",
        "user": {
            "email": "secret.person@mail.example",
            "phone": "+447700900123",
            "external_id": "customer-77",
            "first_name": "Rosalinde",
            "last_name": "Quillfeather",
            "ip": "192.0.2.44",
            "user_agent": "Mozilla/5.0 (Test)",
        },
        "page": {"url": "https://shop.example/thanks"},
        "click": {"ga_client_id": "1234567890.1687654321"},
        "items": [{"id": "sku-1", "quantity": 2, "price": "6.25"}],
        **changes,
    }


def jsonl(*events: Any) -> bytes:
    """One JSON value per line; text stays as it is."""
    return b"".join((one if isinstance(one, str) else json.dumps(one)).encode() + b"\n" for one in events)
