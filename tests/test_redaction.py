"""What a platform says is kept without what it echoes, however it is written, and never grows."""

from __future__ import annotations

import base64
import html
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async.outcome import rejected, retry, split, unauthorized
from capi_async.redaction import MAX_ID, MAX_WORDS, Hidden, plain, redact, redact_id

TOKEN = "ZQtok-9f3a21bc77"
EMAIL = "zq.planted@leak-mail.example"
HIDDEN = Hidden([TOKEN, "Zqfirst", "New York", "zq-cust-7788", "ZqAgent/7.7 (Planted OS)"])


def wide(text: str) -> str:
    """ASCII as East Asian typography writes it."""
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


ENCODINGS = {
    "plain": lambda text: text,
    "upper case": str.upper,
    "percent": lambda text: quote(text, safe=""),
    "percent of every character": lambda text: "".join(f"%{ord(char):02x}" for char in text),
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
    "percent four times": lambda text: quote(quote(quote(quote(text, safe=""), safe=""), safe=""), safe=""),
    "percent u": lambda text: "".join(f"%u{ord(char):04X}" for char in text),
    "entities": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "hexadecimal entities": lambda text: "".join(f"&#x{ord(char):x};" for char in text),
    "named entities": lambda text: html.escape(text).replace("@", "&commat;").replace(".", "&period;"),
    "JSON": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "JSON twice": lambda text: "".join(f"\\\\u{ord(char):04x}" for char in text).replace("\\\\", "\\"),
    "backslash x": lambda text: "".join(f"\\x{ord(char):02x}" for char in text),
    "full width": wide,
    "with zero width characters": lambda text: "\u200b".join(text),
    "with direction marks": lambda text: f"\u202e{text}\u202c",
    "coloured": lambda text: f"\x1b[31m{text}\x1b[0m",
}

PLANTED = {
    "token": TOKEN,
    "long token": "EAAGsecretAccessToken0123456789abcdefghij",
    "digest": "a3f9c60fbcd3f992980d38a4d54e61bbfef51965f4d9b52690c885529e23292e",
    "email": EMAIL,
    "first name": "Zqfirst",
    "customer": "zq-cust-7788",
    "browser": "ZqAgent/7.7 (Planted OS)",
    "IPv4": "198.51.100.77",
    "short IPv4": "9.8.7.6",
    "IPv6": "2001:db8:feed:77::1234",
    "whole IPv6": "2001:db8:0:1:2:3:4:5678",
    "phone": "+14155550199",
    "phone with slashes": "415/555/0199",
    "phone with underscores": "415_555_0199",
    "phone with no-break hyphens": "415\u2011555\u20110199",
    "phone with no-break spaces": "+1\u00a0415\u00a0555\u00a00199",
    "phone with dots and brackets": "(415).555.0199",
    "seven digits": "5550199",
}


#: Every value as it is, an identifier and a credential in every encoding, and of the other pairs every fourth: each
#: value meets several encodings, and hypothesis tries the pairs that are left out.
PAIRS = [
    (planted, encoding)
    for row, planted in enumerate(PLANTED)
    for column, encoding in enumerate(ENCODINGS)
    if encoding == "plain" or planted in ("token", "email") or (row + column) % 4 == 0
]


@pytest.mark.parametrize(("planted", "encoding"), PAIRS)
def test_what_is_planted_does_not_come_through(planted: str, encoding: str) -> None:
    """Neither as it was written, nor for somebody who decodes what is kept."""
    value = PLANTED[planted]
    kept = redact(f"bad value {ENCODINGS[encoding](value)} for field user", HIDDEN)
    read = unicodedata.normalize("NFKC", kept).casefold()
    for part in (value, value[-8:]):
        assert part.casefold() not in read
    assert kept.startswith("bad value ")
    assert kept.endswith(" for field user")


@given(
    before=st.text(max_size=6_000),
    after=st.text(max_size=300),
    planted=st.sampled_from(sorted(PLANTED)),
    encoding=st.sampled_from(sorted(ENCODINGS)),
)
def test_nothing_around_it_hides_what_is_planted(before: str, after: str, planted: str, encoding: str) -> None:
    """Wherever it stands, across the cut included; what is kept is bounded, and is one printable line."""
    value = PLANTED[planted]
    kept = redact(f"{before} {ENCODINGS[encoding](value)} {after}", HIDDEN)
    assert value.casefold() not in f"{before} {after}".casefold()
    assert value.casefold() not in kept.casefold()
    assert len(kept) <= MAX_WORDS
    assert kept.isprintable()


@given(st.text(max_size=700), st.integers(0, 700))
def test_redacting_twice_is_redacting_once(text: str, at: int) -> None:
    """A destination redacts, and so does the engine after it."""
    once = redact(f"{text[:at]} {TOKEN} {text[at:]}", HIDDEN)
    assert redact(once, HIDDEN) == once


@pytest.mark.parametrize("at", range(255, 310, 3))
@pytest.mark.parametrize("planted", ["token", "long token", "email", "phone", "IPv6", "browser"])
def test_the_cut_leaves_no_half(planted: str, at: int) -> None:
    """What straddles the end of what is kept was replaced before the text was cut."""
    value = PLANTED[planted]
    kept = redact(f"{'y ' * (at // 2)}{value}", HIDDEN)
    assert value[:6].casefold() not in kept.casefold()


@pytest.mark.parametrize("at", range(4_075, 4_100, 2))
@pytest.mark.parametrize("planted", ["token", "long token", "email", "phone", "IPv6", "browser"])
def test_nor_does_the_end_of_what_is_looked_at(planted: str, at: int) -> None:
    """A text that shrinks, because it is one long run, would bring the cut into sight."""
    value = PLANTED[planted]
    kept = redact(f"{'x' * (at - 1)} {value} {'z ' * 400}", HIDDEN)
    assert value[:6].casefold() not in kept.casefold()
    assert len(kept) <= MAX_WORDS


def test_a_value_that_somebody_else_cut_is_found_by_its_beginning() -> None:
    """The platform, or a destination before the engine, may have cut through it."""
    assert redact("no such city: New Yo…", HIDDEN) == "no such city:…"
    assert redact(f"token {TOKEN[:9]}…", HIDDEN) == "token…"


@pytest.mark.parametrize(
    "harmless",
    [
        "HTTP 400",
        "HTTP 502 with a page instead of an answer",
        "event_time: must not be in the future",
        "code 40002, at 12:30:45",
        "std::vector is empty; 100% of 3 & 4",
        "Ungültiger Wert für „currency“",
        "4 of 12 events",
        "custom_data.contents[0].price",
    ],
)
def test_ordinary_words_stay_as_they_are(harmless: str) -> None:
    """Reasons are there to be read."""
    assert redact(harmless, HIDDEN) == harmless


def test_short_values_are_replaced_as_words_only() -> None:
    """Or a person called Ann would make other words unreadable."""
    assert redact("Ann cannot cancel the annual plan", Hidden(["Ann", "an"])) == "<value> cannot cancel the annual plan"


@pytest.mark.parametrize(
    "hostile",
    [
        "x" * 4_000_000, "1" * 4_000_000, "a:" * 3_000, "::" * 3_000, "%25" * 2_000, "&#37;" * 1_000, "a@" * 3_000,
        "1 " * 3_000, "(" * 5_000, "\\u" * 3_000, "\x1b[" * 3_000, "zqf" * 2_000, "&" * 5_000, "\ud800" * 5_000,
    ],
    ids=lambda text: text[:4].encode("unicode_escape").decode(),
)  # fmt: skip
@pytest.mark.timeout(10)
def test_a_hostile_text_costs_little(hostile: str) -> None:
    """No pattern goes back over what it has read."""
    for _ in range(20):
        assert len(redact(hostile, HIDDEN)) <= MAX_WORDS


@given(st.text())
def test_plain_text_is_one_printable_line(text: str) -> None:
    """Whatever it was made of."""
    assert plain(text).isprintable()


@pytest.mark.parametrize("good", ["A1b2-C3_d4", "202303141300390EF6F5D96D1798201C51", "1-67891233:abc/def+=.", "777"])
def test_ids_of_requests_are_kept(good: str) -> None:
    """Support asks for them."""
    assert redact_id(good) == good


@pytest.mark.parametrize(
    "bad",
    [
        "", EMAIL, "x" * (MAX_ID + 1), "a b", "a\n", "\x1b[31m", "198.51.100.77", "2001:db8::1", "<b>", "ümlaut",
        "rid-<redacted>",
    ],
)  # fmt: skip
def test_what_is_no_id_is_none(bad: str) -> None:
    """A header or a body can echo anything."""
    assert redact_id(bad) == ""


@pytest.mark.parametrize("make", [rejected, retry, split, unauthorized])
def test_verdicts_are_made_of_redacted_words(make: object) -> None:
    """Whoever writes a destination need not think of it."""
    made = make(f"no {EMAIL}\r\n", trace_id=f"rid {EMAIL}")  # type: ignore[operator]
    assert (made.reason, made.trace_id) == ("no <email>", "")


def test_base64_of_a_credential_is_a_long_run() -> None:
    """Basic authentication carries it so."""
    assert redact(f"Basic {base64.b64encode(b'user:' + TOKEN.encode()).decode()}") == "Basic <redacted>"


@pytest.mark.parametrize(
    "said",
    [
        "DUPLICATE_TRANSACTION_ID",
        "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED",
        "WARNING_REASON_CART_DATA_ITEM_MERCHANT_PRODUCT_ID_MISSING: see user_data.user_identifiers",
    ],
)
def test_long_constants_and_paths_of_platforms_are_no_credentials(said: str) -> None:
    """They are all that tells what to mend."""
    assert redact(said) == said


@pytest.mark.parametrize(
    "said",
    [
        "EAAGm0PX4ZCpsBAKZC_abcdefgh", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwx",
        "sk_live_abcdefghijk_1mnop",
        "Correct_Horse_Battery_Staple", "ya29.abcdefghijklmnopqrstuvwxyzabcd", "aaaaaaaaaaaaaaaaaaaaaaaaa_b",
    ],
)  # fmt: skip
def test_what_only_looks_a_little_like_a_constant_is_still_hidden(said: str) -> None:
    """Digits, both cases, or a run of letters longer than any word."""
    assert redact(said) == "<redacted>"
