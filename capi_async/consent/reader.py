"""Consent out of a request: what consent tools leave in cookies, and what it means when there is nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias
from urllib.parse import unquote

import msgspec
from msgspec.structs import replace

from capi_async.consent.google import CHOICES, consent_of_google
from capi_async.consent.gpp import consent_of_gpp, us_privacy
from capi_async.consent.tcf import PURPOSES, consent_of_tcf
from capi_async.errors import CapiError, ConfigError, ConsentError, EventError
from capi_async.event import Consent
from capi_async.log import Log
from capi_async.pii.reference import EEA as EEA

logger = Log(__name__)

#: What it means that a visitor said nothing.
Absent: TypeAlias = Literal["denied", "granted", "unknown"]

DENIED: Final = Consent(ad_storage=False, ad_user_data=False, ad_personalization=False, analytics_storage=False)
GRANTED: Final = Consent(ad_storage=True, ad_user_data=True, ad_personalization=True, analytics_storage=True)
_FIELDS: Final = (*CHOICES, "sale_opt_out")
_json: Final = msgspec.json.Decoder(dict[str, Any])
_told: set[str] = set()


class Asked(Protocol):
    """What is read of a request; :class:`capi_async.context.Request` is one."""

    @property
    def cookies(self) -> Mapping[str, tuple[str, ...]]:
        """Values by name."""

    def header(self, name: str) -> str | None:
        """The first line of a header."""


class ConsentReader:
    """Reads a visitor's consent from a request; give it to ``ContextSettings(consent=...)``.

    Where several sources speak, the strictest answer counts: denied before granted before silence. A string that is
    there and cannot be read denies everything, which is logged once.

    Args:
        tcf_cookie: With a TC string of version 2. ``None``: not read.
        gpp_cookie: With a GPP string; its name is each consent tool's own. ``None``: not read.
        us_privacy_cookie: With a string such as ``1YNN``. ``None``: not read.
        google_cookie: With the state of Google's Consent Mode as JSON, which your page writes. ``None``: not read.
        gpc: Whether the header ``Sec-GPC`` (Global Privacy Control) opts out of sale.
        vendors: Numbers of the Global Vendor List that must all be consented to; see ``capi_async.consent.VENDORS``.
        purposes: Which purposes of the TCF make a choice.
        region: The visitor's region, such as ``DE`` or ``US-CA``: a function of the request, or the name of a header
            that holds a country, such as ``cf-ipcountry``.
        absent: What it means when nothing of this is there, by region: ``denied``, ``granted``, or ``unknown`` (no
            consent is stated). ``US-CA`` goes before ``US``, before ``EEA``, before ``*``.

    Raises:
        ConfigError: A setting is malformed.
    """

    def __init__(
        self,
        *,
        tcf_cookie: str | None = "euconsent-v2",
        gpp_cookie: str | None = None,
        us_privacy_cookie: str | None = "usprivacy",
        google_cookie: str | None = None,
        gpc: bool = True,
        vendors: Collection[int] = (),
        purposes: Mapping[str, tuple[int, ...]] = PURPOSES,
        region: Callable[[Asked], str | None] | str | None = None,
        absent: Absent | Mapping[str, Absent] = "unknown",
    ) -> None:
        self._tcf, self._gpp, self._usp, self._google = tcf_cookie, gpp_cookie, us_privacy_cookie, google_cookie
        self._gpc = gpc
        self._by_table: dict[str, Any] = {"vendors": frozenset(vendors), "purposes": dict(purposes)}
        if unknown := set(purposes) - set(CHOICES):
            raise ConfigError(f"purposes: there is no choice {min(unknown)}; there are {', '.join(CHOICES)}")
        self._region = region
        self._absent: Mapping[str, Absent] = {"*": absent} if isinstance(absent, str) else dict(absent)
        if any(meaning not in ("denied", "granted", "unknown") for meaning in self._absent.values()):
            raise ConfigError("absent: needs denied, granted or unknown, or regions with one of them each")
        if region is None and set(self._absent) - {"*"}:
            raise ConfigError("absent: by region, it needs region=..., which says where the visitor is")

    def __call__(self, request: Asked) -> Consent | None:
        """What the visitor of this request agreed to; ``None``: nothing is known."""
        said = [found for found in (self._read_tcf(request), self._read_gpp(request), self._read_google(request),
                                    self._read_us(request)) if found is not None]  # fmt: skip
        region = self._where(request)
        # the strings of the United States speak of sale alone, however they are written: of the rest nothing was said
        if all(getattr(one, choice) is None for one in said for choice in CHOICES):
            said.append(self._nothing(region or next((one.region for one in said if one.region), None)))
        consent = strictest(said)
        if consent.region is None and region is not None:
            consent = _in_region(consent, region)
        return None if consent == Consent() or consent == Consent(region=consent.region) else consent

    def _read_tcf(self, request: Asked) -> Consent | None:
        text = _cookie(request, self._tcf)
        return _tried("a TC string", text, lambda known: consent_of_tcf(known, **self._by_table))

    def _read_gpp(self, request: Asked) -> Consent | None:
        text = _cookie(request, self._gpp)
        return _tried("a GPP string", text, lambda known: consent_of_gpp(known, **self._by_table))

    def _read_google(self, request: Asked) -> Consent | None:
        return _tried("a state of Google's Consent Mode", _cookie(request, self._google), _google)

    def _read_us(self, request: Asked) -> Consent | None:
        if self._gpc and request.header("sec-gpc") == "1":
            return Consent(sale_opt_out=True)
        text = _cookie(request, self._usp)
        return _tried("a US Privacy string", text, lambda known: Consent(sale_opt_out=us_privacy(known)))

    def _where(self, request: Asked) -> str | None:
        if self._region is None:
            return None
        found = request.header(self._region.lower()) if isinstance(self._region, str) else self._region(request)
        region = (found or "").strip().upper()
        # Cloudflare's words for a country that it does not know, and for Tor
        return region if region not in ("", "XX", "T1") else None

    def _nothing(self, region: str | None) -> Consent:
        names = [region, (region or "").partition("-")[0], "EEA" if (region or "")[:2] in EEA else None, "*"]
        meaning = next((self._absent[name] for name in names if name and name in self._absent), "unknown")
        return {"denied": DENIED, "granted": GRANTED, "unknown": Consent()}[meaning]


def strictest(said: Collection[Consent]) -> Consent:
    """One consent of several: of each choice the strictest, of the others the first that is stated."""
    chosen: dict[str, Any] = {}
    for name in _FIELDS:
        answers = [answer for one in said if (answer := getattr(one, name)) is not None]
        if answers:
            chosen[name] = any(answers) if name == "sale_opt_out" else all(answers)
    for name in ("region", "tcf", "gpp"):
        chosen[name] = next((text for one in said if (text := getattr(one, name))), None)
    return Consent(**chosen)


def _cookie(request: Asked, name: str | None) -> str | None:
    values = request.cookies.get(name, ()) if name else ()
    text = next((value for value in values if value.strip()), None)
    return unquote(text) if text and "%" in text else text


def _google(text: str) -> Consent:
    if not text.lstrip().startswith("{"):
        return consent_of_google(text)
    try:
        return consent_of_google(_json.decode(text))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise ConsentError("a state of Google's Consent Mode is no JSON object") from None


def _tried(what: str, text: str | None, read: Callable[[str], Consent]) -> Consent | None:
    if text is None:
        return None
    try:
        return read(text)
    except CapiError as error:
        note = f"{what} could not be read, and everything counts as denied: {error}"
        if note not in _told:
            _told.add(note)
            logger.warning("consent: %s; look at the consent tool of the site (this is said once per process)", note)
        return DENIED


def _in_region(consent: Consent, region: str) -> Consent:
    try:
        return replace(consent, region=region)
    except EventError:  # of a header that anybody may send, or that says "unknown"
        return consent
