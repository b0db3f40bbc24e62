"""Which refusal is which, and what it tells."""

from __future__ import annotations

import pytest

from capi_async.errors import CapiError
from capi_async.sources.tiktok_shop import errors
from capi_async.sources.tiktok_shop.errors import (
    RULES,
    Retry,
    TikTokShopAPIError,
    TikTokShopAuthError,
    TikTokShopNotFoundError,
    TikTokShopRateLimitError,
    TikTokShopServerError,
    TikTokShopValidationError,
    error_of,
    network_error,
)
from capi_async.sources.tiktok_shop.retries import Retries

#: The platform's table, as documented; what is not listed here is in none of its rows.
TABLE: list[tuple[tuple[int, ...], type[TikTokShopAPIError], Retry]] = [
    ((36009002,), TikTokShopRateLimitError, "yes"),
    ((36009003, 45101001, 10002014, 10002015, 10037002, 10037003, 10037004, 38007001), TikTokShopServerError, "yes"),
    ((36009007,), TikTokShopServerError, "reads"),
    ((105002,), TikTokShopAuthError, "refresh"),
    ((105001, 105005, 106001, 101000, 36009033, 36009043, 36009044), TikTokShopAuthError, "no"),
    ((106013, 36009009, 36009010, 36009014, 36009021, 36009022, 36009023), TikTokShopValidationError, "no"),
    ((36009037, 45101004), TikTokShopRateLimitError, "no"),
    ((12019150, 12052032, 12052260, 12052556, 28001007), TikTokShopNotFoundError, "no"),
    ((12052048, 21008111, 10006402, 25020005, 12019114), TikTokShopAuthError, "no"),
    ((12052990, 21000001, 25000001, 28001022, 98001004, 12052180), TikTokShopValidationError, "no"),
    ((36004001, 36004004, 36004005), TikTokShopAuthError, "no"),
]


@pytest.mark.parametrize(("codes", "kind", "again"), TABLE, ids=lambda value: str(value)[:24])
@pytest.mark.parametrize("http_status", [200, 400, 401, 429, 500])
def test_the_code_decides_whatever_the_http_status(
    codes: tuple[int, ...], kind: type[TikTokShopAPIError], again: Retry, http_status: int
) -> None:
    """HTTP 200 with an error code is an error, and HTTP 500 with a caller's mistake is the caller's mistake."""
    for code in codes:
        error = error_of(code, "words", http_status=http_status, request_id="20220808")
        assert (type(error), error.retry) == (kind, again), code
        assert (error.code, error.http_status, error.request_id) == (code, http_status, "20220808")


def test_every_declared_code_is_in_the_documented_table() -> None:
    """No rule without a source, beside the codes of creators and of the token host's weaker sources."""
    listed = {code for codes, _, _ in TABLE for code in codes}
    assert set(RULES) - listed == {170001016, 98001005, 98001006}


MIXED = {
    "Invalid credentials. The 'app_key' query parameter is invalid.": TikTokShopAuthError,
    "Invalid credentials. The 'sign' query parameter is missing.": TikTokShopAuthError,
    "Invalid credentials. The 'x-tts-access-token' header is invalid.": TikTokShopAuthError,
    "Invalid credentials. The 'timestamp' query parameter is expired.": TikTokShopAuthError,
    "signature is invalid": TikTokShopAuthError,
    "Unexpected identifier: shop_cipher": TikTokShopValidationError,
    "Invalid shop_id": TikTokShopValidationError,
    "Invalid parameters. detail: param body.address is missing": TikTokShopValidationError,
    "": TikTokShopValidationError,
}


@pytest.mark.parametrize("message", MIXED)
def test_the_mixed_code_is_told_apart_by_its_words(message: str) -> None:
    """One code for who asks and for what is asked; never tried again."""
    error = error_of(36009004, message, http_status=400)
    assert type(error) is MIXED[message]
    assert error.retry == "no"


@pytest.mark.parametrize(("skew_s", "words"), [(600.4, "600 s ahead"), (-601.0, "601 s behind"), (0.4, "right")])
def test_a_complaint_about_time_names_the_clock(skew_s: float, words: str) -> None:
    """The usual culprit, and by how much it is off."""
    message = "Invalid credentials. The 'timestamp' query parameter is expired."
    error = error_of(36009004, message, http_status=401, skew_s=skew_s)
    assert isinstance(error, TikTokShopAuthError)
    assert error.clock
    assert "check this machine's clock" in str(error)
    assert words in str(error)
    assert not error_of(36009004, "The 'app_key' is invalid", http_status=401).clock  # type: ignore[attr-defined]


BY_STATUS = {
    400: TikTokShopValidationError, 401: TikTokShopAuthError, 403: TikTokShopAuthError, 404: TikTokShopNotFoundError,
    413: TikTokShopValidationError, 429: TikTokShopRateLimitError, 500: TikTokShopServerError,
    502: TikTokShopServerError, 503: TikTokShopServerError, 301: TikTokShopAPIError, 418: TikTokShopAPIError,
}  # fmt: skip


@pytest.mark.parametrize("http_status", BY_STATUS)
def test_without_a_code_the_http_status_decides(http_status: int) -> None:
    """A proxy's page, for instance."""
    error = error_of(0, "", http_status=http_status)
    assert type(error) is BY_STATUS[http_status]
    assert str(http_status) in str(error)


def test_an_unknown_code_is_the_base_class_and_final() -> None:
    """Until somebody reads what it means."""
    error = error_of(77777777, "new", http_status=200)
    assert (type(error), error.retry) == (TikTokShopAPIError, "no")


def test_an_unreadable_success_is_a_server_error() -> None:
    """Nobody can tell what came of it: only what reads is tried again."""
    error = error_of(0, "the answer cannot be read", http_status=200)
    assert (type(error), error.retry) == (TikTokShopServerError, "reads")


def test_one_family() -> None:
    """All of them under one name, under the package's own."""
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and one.__name__.startswith("TikTokShop")]
    assert len(kinds) == 8
    assert all(issubclass(kind, TikTokShopAPIError) for kind in kinds)
    assert issubclass(TikTokShopAPIError, CapiError)
    error = TikTokShopRateLimitError("slow down", http_status=429)
    assert (error.status_code, error.retry_after, error.message) == (429, 1.0, "slow down")


def test_a_missing_scope_is_named() -> None:
    """So that the app's settings can be mended."""
    error = error_of(105005, "Access denied", http_status=403, scope="seller.order.info")
    assert "seller.order.info" in str(error)


def test_a_platforms_echo_is_not_repeated() -> None:
    """Tokens, addresses, phone numbers, and ids that are none."""
    message = "bad token TTP_abcdefghijklmnopqrstuvwxyz0123 for ada@mail.example, call +1 415 555 2671"
    error = error_of(105002, message, http_status=401, request_id="x y; drop")
    for hidden in ("TTP_abc", "ada@", "555", "drop"):
        assert hidden not in f"{error} {error!r} {error.message} {error.request_id}"


# How often, and how long between.


def waits(error: TikTokShopAPIError, *, reads: bool = True, repeatable: bool = False) -> list[float | None]:
    """What the same trouble again and again leads to."""
    retries = Retries(reads=reads, repeatable=repeatable, max_wait_s=60)
    return [retries.wait_s(error) for _ in range(5)]


def test_three_repeats_after_rate_limits_and_two_after_the_rest() -> None:
    """1, 2, 4 seconds and up to a quarter more."""
    limited = waits(error_of(36009002, "", http_status=429))
    assert [wait is None for wait in limited] == [False, False, False, True, True]
    for wait, base in zip(limited, (1, 2, 4), strict=False):
        assert wait is not None
        assert base <= wait <= 1.25 * base
    for error in (error_of(36009003, "", http_status=500), network_error("reset", sent=True)):
        assert [wait is None for wait in waits(error)] == [False, False, True, True, True]


def test_retry_after_wins_unless_it_is_too_long() -> None:
    """Then it is the caller's to wait."""
    error = error_of(36009002, "", http_status=429, retry_after_s=7.0)
    assert waits(error)[:3] == [7.0, 7.0, 7.0]
    error = error_of(36009002, "", http_status=429, retry_after_s=61.0)
    assert waits(error) == [None] * 5
    assert error.retry_after == 61.0


def test_what_may_have_been_done_is_done_again_only_where_that_is_harmless() -> None:
    """A publication is not; a rate limit did nothing, and a request that did not leave neither."""
    server, lost = error_of(36009003, "", http_status=500), network_error("timeout", sent=True)
    unsent, limited = network_error("connect", sent=False), error_of(36009002, "", http_status=429)
    assert waits(server, reads=False)[0] is None
    assert waits(lost, reads=False)[0] is None
    assert waits(unsent, reads=False)[0] is not None
    assert waits(limited, reads=False)[0] is not None
    assert waits(server, reads=False, repeatable=True)[0] is not None
    assert waits(lost, reads=False, repeatable=True)[0] is not None
    timed_out = error_of(36009007, "", http_status=200)
    assert waits(timed_out)[0] is not None
    assert waits(timed_out, reads=False, repeatable=True)[0] is None


def test_each_kind_of_trouble_has_a_budget_of_its_own() -> None:
    """And all of them together an end."""
    retries = Retries(reads=True, repeatable=True, max_wait_s=60)
    errors = [
        error_of(36009002, "", http_status=429),
        error_of(0, "", http_status=502),
        network_error("dns", sent=False),
    ]
    granted = [retries.wait_s(errors[number % 3]) is not None for number in range(30)]
    assert sum(granted) == 7
    assert not any(granted[12:])
