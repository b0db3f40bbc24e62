"""Every identifier of an event's user, wire-ready, computed once for all destinations that share it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import astuple

from capi_async.errors import ConfigError
from capi_async.event import Page, User
from capi_async.pii.direct import Country, Ip, LastName, PlaceField, UserAgent, Zip
from capi_async.pii.fields import NOBODYS, RULES, Notes, TextField, one_by_one, spread
from capi_async.pii.lists import LIST_RULES, Emails, ExternalIds, Phones
from capi_async.pii.normalize import scrub_url
from capi_async.pii.reference import country_code
from capi_async.pii.refused import NOT_UNICODE
from capi_async.pii.urls import is_bare

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
#: Longer page addresses are refused; the longest that browsers pass on reliably are a fraction of this.
_MAX_URL: Final = 32_768


class Identifiers(Struct, gc=False):
    """What is known about a user, in the forms that platforms take. An absent identifier is ``None``.

    Tuples and single digests are lower-case SHA-256 hex. ``*_clear``, ``*_letters`` of places, ``city_trimmed``,
    ``*_soundex``, ``zip_google``, ``idfv``, ``ip``, ``user_agent`` and the page's addresses are clear text.

    Attributes:
        refused: User field to the reason why it gave nothing; never the value.
        warnings: What was read or left out, as sentences that begin with the field, such as ``user.email: …``.
        several: Attribute that holds one text to all values that there are, the held one first, of a person who has
            more than one: several cities, say. ``None``: nobody of the usual ones has.
    """

    # The order is that of RULES and LIST_RULES: a Plan fills the places by position.
    email: tuple[str, ...] | None = None
    email_google: tuple[str, ...] | None = None
    email_reddit: tuple[str, ...] | None = None
    email_clear: str | None = None
    phone_digits: tuple[str, ...] | None = None
    phone_e164: tuple[str, ...] | None = None
    external_id: tuple[str, ...] | None = None
    external_id_lower: tuple[str, ...] | None = None
    external_id_plain: tuple[str, ...] | None = None
    external_id_clear: str | None = None
    first_name_plain: str | None = None
    first_name_joined: str | None = None
    first_name_spaced: str | None = None
    first_name_letters: str | None = None
    first_name_google: str | None = None
    first_name_soundex: str | None = None
    first_name_clear: str | None = None
    middle_name_plain: str | None = None
    middle_name_soundex: str | None = None
    last_name_plain: str | None = None
    last_name_joined: str | None = None
    last_name_spaced: str | None = None
    last_name_letters: str | None = None
    last_name_google: str | None = None
    last_name_soundex: str | None = None
    last_name_clear: str | None = None
    city_joined: str | None = None
    city_plain: str | None = None
    city_soundex: str | None = None
    city_clear: str | None = None
    city_letters: str | None = None
    city_trimmed: str | None = None
    state_code: str | None = None
    state_code_na: str | None = None
    state_plain: str | None = None
    state_soundex: str | None = None
    state_clear: str | None = None
    state_letters: str | None = None
    zip_us5: str | None = None
    zip_plain: str | None = None
    zip_google: str | None = None
    zip_clear: str | None = None
    country: str | None = None
    country_clear: str | None = None
    gender: str | None = None
    gender_binary: str | None = None
    dob: str | None = None
    dob_month: str | None = None
    dob_day: str | None = None
    mobile_ad_id: str | None = None
    idfa_upper: str | None = None
    mobile_ad_id_clear: str | None = None
    idfv_hashed: str | None = None
    idfv: str | None = None
    ip_hashed: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    page_url: str | None = None
    page_referrer: str | None = None
    refused: Mapping[str, str] = _NOTHING
    warnings: tuple[str, ...] = ()
    several: Mapping[str, tuple[str, ...]] | None = None

    def __repr__(self) -> str:
        names = [name for name in self.__struct_fields__ if getattr(self, name) not in (None, (), _NOTHING)]
        return f"Identifiers({', '.join(f'{name}=…' for name in names)})"


#: Attribute of :class:`Identifiers` to the field that it comes from (a field of ``event.user`` unless it has a dot).
IDENTIFIER_SOURCES: Final[Mapping[str, str]] = MappingProxyType(
    {attribute: field for table in (LIST_RULES, RULES) for field, rules in table.items() for attribute in rules}
    | {"page_url": "page.url", "page_referrer": "page.referrer"}
)


class Known:
    """The identifiers of many users, by columns.

    Attributes:
        columns: In the order of the attributes of :class:`Identifiers`; ``None``: nobody has it.
        odd: Index of those of whom there is something to report to their identifiers; they have no sensible place in
            the columns.
    """

    __slots__ = ("_people", "_size", "columns", "odd")

    def __init__(self, columns: Sequence[Sequence[Any] | None], size: int, odd: Mapping[int, Identifiers]) -> None:
        self.columns = columns
        self.odd = odd
        self._size = size
        self._people: list[Identifiers] | None = None

    @staticmethod
    def of(people: Sequence[Identifiers]) -> Known:
        """What is known of these users, one by one."""
        odd = {index: one for index, one in enumerate(people) if one.refused or one.warnings or one.several}
        known = Known(list(zip(*map(astuple, people), strict=True)), len(people), odd)
        known._people = list(people)
        return known

    @property
    def people(self) -> list[Identifiers]:
        """User by user."""
        if self._people is None:
            columns = [NOBODYS if column is None else column for column in self.columns]
            self._people = list(islice(map(Identifiers, *columns), self._size))
            for index, one in self.odd.items():
                self._people[index] = one
        return self._people


# Fields whose values come back often enough to be worth holding (states and zips too), and are not one per person.
_HELD: Final = frozenset({"first_name", "middle_name", "city", "gender", "date_of_birth"})
_NEED_COUNTRY: Final = frozenset(
    {"phone_digits", "phone_e164", "state_code", "state_code_na", "state_clear", "zip_us5"}
)
_INNER_COUNTRY: Final = frozenset({"country_clear"})


class Plan:
    """Which identifiers a set of destinations wants; compiled once, applied to every event.

    Not thread-safe: :meth:`identify` is called from one thread at a time.

    Args:
        wanted: Attributes of :class:`Identifiers`; the union over all destinations.
        phone_region: Country of phone numbers that have no country code, where the event names none.
        cache_size: Values held per field of few distinct values (first names and places, never last names, e-mail
            addresses, phone numbers or ids); 0 holds none.

    Raises:
        ConfigError: An unknown attribute or country.
    """

    def __init__(self, wanted: Iterable[str], *, phone_region: str | None = None, cache_size: int = 65_536) -> None:
        self.wanted: Final = frozenset(wanted)
        unknown = sorted(self.wanted - IDENTIFIER_SOURCES.keys())
        if unknown:
            raise ConfigError(f"no such identifier: {', '.join(unknown)}")
        self._region = None
        if phone_region is not None:
            self._region = country_code(phone_region)
            if self._region is None:
                raise ConfigError("phone_region needs an ISO 3166-1 code such as US")
        self._notes = notes = Notes()
        emails, phones, ids = Emails(self.wanted, notes), Phones(self.wanted, notes), ExternalIds(self.wanted, notes)
        self._emails = emails.read if emails.wanted else emails.skip
        self._phones = phones.read if phones.wanted else phones.skip
        self._external_ids = ids.read if ids.wanted else ids.skip
        self._lists = emails, phones, ids
        last_name, ip, agent = LastName(self.wanted, notes), Ip(self.wanted, notes), UserAgent(self.wanted, notes)
        self._last_name, self._ip, self._agent = last_name.read, ip.read, agent.read
        self._directs = last_name, ip, agent
        needs_country = not self.wanted.isdisjoint(_NEED_COUNTRY)

        def field(name: str) -> TextField:
            return TextField(name, self.wanted, notes, size=cache_size if name in _HELD else 0)

        self._first_name, self._middle_name = field("first_name"), field("middle_name")
        self._city = field("city")
        inner = _INNER_COUNTRY if needs_country else frozenset()
        self._country = Country("country", self.wanted, notes, size=cache_size, inner=inner)
        self._state = PlaceField("state", self.wanted, notes, size=cache_size)
        self._zip = Zip(self.wanted, notes, size=cache_size)
        self._gender, self._born = field("gender"), field("date_of_birth")
        self._ad_id, self._idfv = field("mobile_ad_id"), field("idfv")
        self._clear_country = "country_clear" in self.wanted
        self._page_url, self._page_referrer = "page_url" in self.wanted, "page_referrer" in self.wanted

    def identify(self, user: User, page: Page | None = None) -> Identifiers:
        """The wanted identifiers of ``user`` and ``page``. Never raises: what cannot be read is ``refused``."""
        # Written out, because it runs for every event: an absent field costs one comparison, a held one one lookup.
        value: Any
        if self._notes.any:  # of one that failed half-way
            self._notes.take()
        digest, country = _TWO if (value := user.country) is None else self._country[value]
        url, referrer = _TWO if page is None else self._page(page)
        notes = self._notes
        places: tuple[Any, ...] = (
            *(_FOUR if (value := user.email) is None else self._emails(value)),
            *(
                _TWO
                if (value := user.phone) is None
                else self._phones(value, country.upper() if country else self._region)
            ),
            *(_FOUR if (value := user.external_id) is None else self._external_ids(value)),
            *(_SEVEN if (value := user.first_name) is None else self._first_name[value]),
            *(_TWO if (value := user.middle_name) is None else self._middle_name[value]),
            *(_SEVEN if (value := user.last_name) is None else self._last_name(value)),
            *(_SIX if (value := user.city) is None else self._city[value]),
            *(_SIX if (value := user.state) is None else self._state[value, country]),
            *(_FOUR if (value := user.zip) is None else self._zip[value, country]),
            digest,
            country if self._clear_country else None,
            *(_TWO if (value := user.gender) is None else self._gender[value]),
            *(_THREE if (value := user.date_of_birth) is None else self._born[value]),
            *(_THREE if (value := user.mobile_ad_id) is None else self._ad_id[value]),
            *(_TWO if (value := user.idfv) is None else self._idfv[value]),
            *(_TWO if (value := user.ip) is None else self._ip(value)),
            *(_ONE if (value := user.user_agent) is None else self._agent(value)),
            url,
            referrer,
        )
        if not notes.any:
            return Identifiers(*places)
        return Identifiers(*places, *notes.take())

    def identify_all(self, users: Sequence[User], pages: Sequence[Page]) -> list[Identifiers]:
        """What :meth:`identify` gives for each user and page, at two thirds of its cost when there are many."""
        if len(users) < _MANY:
            return list(map(self.identify, users, pages))
        columns, odd = self._columns(users, pages)
        found = list(islice(map(Identifiers, *columns), len(users)))
        for index in odd:
            found[index] = self.identify(users[index], pages[index])
        return found

    def known(self, users: Sequence[User], pages: Sequence[Page]) -> Known:
        """The same by columns, for who needs no more than some of them."""
        if len(users) < _MANY:
            return Known.of(list(map(self.identify, users, pages)))
        columns, odd = self._columns(users, pages)
        return Known(
            [None if column is NOBODYS else column if type(column) is list else list(column) for column in columns],
            len(users),
            {index: self.identify(users[index], pages[index]) for index in odd},
        )

    def _columns(self, users: Sequence[User], pages: Sequence[Page]) -> tuple[tuple[Iterable[Any], ...], set[int]]:
        """What there is of each attribute, and the users of whom there is something to report."""
        (
            email, phone, external_id, first_name, middle_name, last_name, city, state, zip_code, country, gender,
            born, ip, agent, ad_id, idfv,
        ) = zip(*map(astuple, users), strict=True)  # fmt: skip
        odd: set[int] = set()
        emails, phones, ids = self._lists
        last, ips, agents = self._directs
        digests, countries = self._country.columns(country, odd)
        countries = list(islice(countries, len(users)))
        # in the order of Identifiers, as in identify()
        columns: tuple[Iterable[Any], ...] = (
            *emails.columns(email, odd),
            *phones.columns_in(phone, countries, self._region, odd),
            *ids.columns(external_id, odd),
            *self._first_name.columns(first_name, odd),
            *self._middle_name.columns(middle_name, odd),
            *last.columns(last_name, odd),
            *self._city.columns(city, odd),
            *self._state.columns_in(state, countries, odd),
            *self._zip.columns_in(zip_code, countries, odd),
            digests,
            countries if self._clear_country else NOBODYS,
            *self._gender.columns(gender, odd),
            *self._born.columns(born, odd),
            *self._ad_id.columns(ad_id, odd),
            *self._idfv.columns(idfv, odd),
            *ips.columns(ip, odd),
            *agents.columns(agent, odd),
            self._addresses("page.url", [page.url for page in pages], odd) if self._page_url else NOBODYS,
            self._addresses("page.referrer", [page.referrer for page in pages], odd)
            if self._page_referrer
            else NOBODYS,
        )
        return columns, odd

    def _addresses(self, field: str, urls: Sequence[str | None], odd: set[int]) -> Iterable[str | None]:
        some = list(filter(None, urls))
        text = "\n".join(some)
        given = urls if len(some) == len(urls) else [url or None for url in urls]
        # all that _address would look for, in all of them at once; what comes out is text and no subclass of it
        usual = text.startswith("http") and text.count("\nhttp") == len(some) - 1
        if (
            usual
            and text.isascii()
            and (len(text) <= _MAX_URL or max(map(len, some)) <= _MAX_URL)
            and not _may_hold_address(text)
        ):
            plain = text.split()
            if plain == some:
                return spread(given, plain, len(plain))
        clean = partial(self._address, field)
        found = one_by_one(lambda url: (clean(url),), given, _ONE, self._notes, odd)
        return [url for (url,) in found]

    def _page(self, page: Page) -> tuple[str | None, str | None]:
        return (
            self._address("page.url", page.url) if self._page_url and page.url else None,
            self._address("page.referrer", page.referrer) if self._page_referrer and page.referrer else None,
        )

    def _address(self, field: str, url: str) -> str | None:
        if len(url) > _MAX_URL:
            self._notes.refuse(field, f"longer than {_MAX_URL} characters")
            return None
        if _usual_address(url):
            return url
        if not url.isascii():
            try:
                url.encode()
            except UnicodeEncodeError:
                self._notes.refuse(field, NOT_UNICODE)
                return None
        address = url.strip()
        # of all white space only the blank itself is printable
        if " " in address or (not address.isprintable() and len(address.split()) > 1):
            address = "".join([quote(char) if char.isspace() else char for char in address])
            self._notes.warn(field, "white space in it was encoded")
        if not address.startswith("http") and (scheme := address[:8].lower()).startswith(("https://", "http://")):
            address = scheme + address[8:] if scheme == "https://" else scheme[:7] + address[7:]
        clean = scrub_url(address)
        if clean is not address and clean != address:
            self._notes.warn(field, "an e-mail address was removed from it")
        return clean or None


#: An address of which nothing need be changed: ASCII without white space and without what an at sign may begin with.
_usual_address: Final = re.compile(r"https?://[!-$'-?A-\[\]-~]*+(?:&(?![#cC])[!-$'-?A-\[\]-~]*+)*+").fullmatch
#: Fewer are identified one by one.
_MANY: Final = 4
#: What an ``@`` in an address begins with, however it is encoded, in small letters.
_ENTITIES: Final = ("&#", "&commat")
_AT_SIGNS: Final = (*_ENTITIES, "@", "%40", "%25", "%u", "%ef", "%26", "%5c", "\\")


def _may_hold_address(text: str) -> bool:
    """Whether an at sign may stand in it, however it is encoded."""
    if is_bare(text):
        return False
    # most addresses have an "&" and nothing else of these
    signs = _AT_SIGNS if "%" in text or "@" in text or "\\" in text else _ENTITIES
    return any(map(text.lower().count, signs))


_ONE: Final = (None,)
_TWO: Final = (None, None)
_THREE: Final = (None, None, None)
_FOUR: Final = (None, None, None, None)
_SIX: Final = (None, None, None, None, None, None)
_SEVEN: Final = (None, None, None, None, None, None, None)
