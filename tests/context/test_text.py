"""A context as a text, to keep with an order."""

from __future__ import annotations

import base64
import contextlib
import logging
import zlib
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from capi_async import ConfigError, Consent
from capi_async.context import ContextSettings, RequestContext
from capi_async.errors import ContextError

NOW = datetime(2026, 1, 15, 10, 0, 0, 123000, tzinfo=UTC)
OLD, NEW = (base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2))


def context(consent: Consent | None = None) -> RequestContext:
    return RequestContext.from_parts(
        "https://shop.example/thanks?gclid=Cj0KCQiA-example&fbclid=IwAR1aBcD",
        headers={
            "user-agent": "Mozilla/5.0 (X11; Linux x86_64)",
            "accept-language": "de-AT",
            "referer": "https://a.example/",
        },
        cookies={"_pin_unauth": "dWlkPQ", "_fbp": "fb.1.1596403881668.1116446470"},
        peer="2001:db8::7",
        settings=ContextSettings(set_cookies=(), consent=lambda request: consent),
        now=NOW,
    )


@pytest.mark.parametrize("keys", [(), (NEW,), (NEW, OLD)])
@pytest.mark.parametrize(
    "consent", [None, Consent(), Consent(ad_storage=True, sale_opt_out=False, tcf="CPX", region="DE")]
)
def test_a_text_gives_the_same_context_back(keys: tuple[str, ...], consent: Consent | None) -> None:
    """All of it but the notes and the cookies of a response that has long been sent."""
    made = context(consent)
    text = made.dump(keys=keys)
    assert RequestContext.load(text, keys=keys) == made
    assert text.isascii()
    assert len(text) < 800
    assert RequestContext.load(RequestContext().dump()).event("purchase").user.ip is None


def test_a_purchase_of_tomorrow_has_the_visitor_of_today() -> None:
    """The payment provider's own request says nothing of them."""
    event = RequestContext.load(context().dump()).event("purchase", value=12, currency="EUR", order_id="1001")
    assert (event.user.ip, event.click.gclid) == ("2001:db8::7", "Cj0KCQiA-example")
    assert event.click.fbclid_seen == NOW
    assert event.time > NOW


def test_keys_can_be_changed() -> None:
    """The old one stays behind the new one as long as there are texts of it."""
    old = context().dump(keys=[OLD])
    assert RequestContext.load(old, keys=[NEW, OLD]) == context()
    with pytest.raises(ContextError, match="not among those given"):
        RequestContext.load(old, keys=[NEW])


def test_an_encrypted_text_shows_nothing() -> None:
    """And a plain one is not taken where keys are given: anybody can have made it."""
    sealed = context().dump(keys=[NEW])
    assert b"Cj0K" not in base64.urlsafe_b64decode(sealed.rpartition(".")[2] + "==")
    with pytest.raises(ContextError, match="give the keys"):
        RequestContext.load(sealed)
    with pytest.raises(ContextError, match="not encrypted"):
        RequestContext.load(context().dump(), keys=[NEW])
    with pytest.raises(ConfigError, match="32 random bytes"):
        context().dump(keys=["short"])


@pytest.mark.parametrize("key", [None, "", b"", 7, NEW[:-4], "\ud800"])
def test_keys_that_are_none_are_told_without_being_quoted(key: Any) -> None:
    """Such as that of a variable that is not set."""
    for call in (lambda: context().dump(keys=[key]), lambda: RequestContext.load("c1e.a.b", keys=[NEW, key])):
        with pytest.raises(ConfigError, match="must be 32 random bytes"):
            call()


@pytest.mark.parametrize("keys", [(), (NEW,)])
def test_a_changed_text_is_refused(keys: tuple[str, ...]) -> None:
    """One letter changed, dropped or added, anywhere."""
    text = context().dump(keys=keys)
    for place in range(len(text)):
        for other in (
            text[:place] + text[place + 1 :],
            text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :],
        ):
            try:
                found = RequestContext.load(other, keys=keys)
            except ContextError:
                continue
            # the last letter of Base64 holds bits that stand for nothing
            assert place == len(text) - 1
            assert found == context()


@pytest.mark.parametrize("text", ["c2.00000000.AAAA", "c10.x", "c2e.name.AAAA"])
def test_a_text_of_another_version_says_so(text: str) -> None:
    """After a downgrade, for example."""
    with pytest.raises(ContextError, match="another version"):
        RequestContext.load(text)


def plain(value: object) -> str:
    data = b"\x00" + msgspec.msgpack.encode(value)
    return f"c1.{zlib.crc32(data):08x}.{base64.urlsafe_b64encode(data).rstrip(b'=').decode()}"


KEPT: list[Any] = [None, None, None, None, None, 0.0, {}, {}, {}, {}]


@pytest.mark.parametrize(
    "text",
    [
        "", "hello", "c1", "c1.", "c1.0.", "c1.00000000.", "c1..!!!", plain({}), plain([]), plain(KEPT[:-1]),
        plain([7, *KEPT[1:]]), plain([*KEPT[:5], 1e300, *KEPT[6:]]), plain([*KEPT[:5], float("nan"), *KEPT[6:]]),
        plain([*KEPT[:9], {"": True, "ad_storage": "yes"}]), plain([*KEPT[:9], {"": True, "region": "Bavaria"}]),
        plain([*KEPT[:7], {"fbclid": 1e300}, {}, {}]), "c1." + "A" * 70_000, "c1e.x.y", "é.c1",
    ],
)  # fmt: skip
def test_whatever_is_no_context_is_refused(text: str) -> None:
    """With the one error that is documented, and without a word of the text."""
    with pytest.raises(ContextError) as raised:
        RequestContext.load(text)
    assert len(str(raised.value)) < 200


def test_a_bomb_is_not_unpacked() -> None:
    """Compressed data may be a thousand times larger than its text."""
    data = b"\x01" + zlib.compress(b"\x00" * 30_000_000, 9)
    with pytest.raises(ContextError):
        RequestContext.load(f"c1.{zlib.crc32(data):08x}.{base64.urlsafe_b64encode(data).rstrip(b'=').decode()}")


def test_a_click_of_a_platform_to_come_is_passed_over() -> None:
    """A later release may know more fields; the rest of the context is good."""
    later = plain([*KEPT[:6], {"gclid": "Cj0K", "newclid": "1"}, {}, {}, {}])
    assert RequestContext.load(later).click.gclid == "Cj0K"


@given(
    st.text(max_size=200)
    | st.binary(max_size=200).map(lambda data: f"c1.{zlib.crc32(data):08x}.{base64.urlsafe_b64encode(data).decode()}")
)
@example("c1.00000000.\udc80")
def test_no_text_raises_anything_else(text: str) -> None:
    """Not even one whose checksum is right."""
    with contextlib.suppress(ContextError):
        RequestContext.load(text)


def test_errors_hold_nothing_of_the_visitor(caplog: pytest.LogCaptureFixture) -> None:
    """Nor do their causes."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ContextError) as raised:
        RequestContext.load(plain([*KEPT[:9], {"": True, "region": "jane@example.com"}]))
    assert raised.value.__cause__ is None
    assert "jane" not in f"{raised.value!r} {caplog.text}"
