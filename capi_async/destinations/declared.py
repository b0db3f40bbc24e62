"""Wire structs that are declared field by field: where the value of each comes from.

One declaration makes the struct of one event, and the encoded objects of many by columns, which costs a quarter for
each::

    USER = Part(AcmeUser, em=digests("email"), fn=listed("first_name_plain"), click_id=of_click("acme_id"))
    EVENT = Part(AcmeEvent, name=NAME, time=SECONDS, id=of_event("event_id"), user=USER)

What few events have (an app, a device, choices of consent) is not declared: :meth:`Platform.finish` lays it into the
struct that was made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import trunc
from typing import Any, Final, NamedTuple

from msgspec import NODEFAULT, Struct

from capi_async.destinations.cart import amount_text, shared_brand
from capi_async.destinations.texts import (
    ABSENT,
    Layout,
    Texts,
    View,
    amounts_as_texts,
    as_json,
    digests_of,
    grouped,
    lists_of_digests,
    of_nothing,
    repeated_texts_of,
    texts_of,
)
from capi_async.event import Event
from capi_async.pii.identifiers import Identifiers
from capi_async.rows import Rows

#: Makes a struct of the platform's name of an event, the event, its seconds since the epoch, its identifiers, and a
#: list to which warnings are added.
One = Callable[[str, Event, float, Identifiers, list[str]], Any]


class Code:
    """Source text of the function for one event, while it is put together.

    Attributes:
        before: What is done first, statement by statement.
        names: The objects that it uses.
    """

    def __init__(self) -> None:
        self.before: dict[str, None] = {}
        self.names: dict[str, Any] = {"trunc": trunc, "amount_text": amount_text, "shared_brand": shared_brand}

    def name_of(self, used: object) -> str:
        """A name for an object that the text uses."""
        name = f"_{len(self.names)}"
        self.names[name] = used
        return name


class Source:
    """Where the value of a field comes from.

    Attributes:
        key: Its texts are the same for all destinations, and held under it; empty: they are a destination's own.
    """

    key = ""

    def expression(self, code: Code) -> str:
        """What gives it for one event, in Python."""
        raise NotImplementedError

    def texts(self, view: View) -> Texts:
        """What gives its text for many; they are held where they have a key."""
        raise NotImplementedError

    def held(self, view: View) -> Texts:
        """The same, made for the first one who asks."""
        return view.rows.texts.get(self.key) or self.texts(view)


class Fact(Source):
    """A value that is there, or takes no more than an expression.

    Args:
        key: The texts are the same for all destinations, and held under it; empty: they are a destination's own.
        take: Makes them.
        before: Statements that the expression needs.
    """

    def __init__(self, text: str, key: str, take: Callable[[View], Texts], *before: str) -> None:
        self.key = key
        self._text, self._take, self._before = text, take, before

    def expression(self, code: Code) -> str:
        code.before.update(dict.fromkeys(self._before))
        return self._text

    def texts(self, view: View) -> Texts:
        made = self._take(view)
        if self.key:
            view.rows.texts[self.key] = made
        return made


class Constant(Source):
    """The same for all events."""

    def __init__(self, value: object) -> None:
        self.value = value

    def expression(self, code: Code) -> str:
        return "None" if self.value is None else code.name_of(self.value)

    def texts(self, view: View) -> Texts:
        return texts_of([self.value] * view.rows.size)


class Translated(Source):
    """What a table says of a field of the event; it has an entry for each value that there is."""

    def __init__(self, table: Mapping[Any, Any], field: str) -> None:
        self._table, self._field = table, field

    def expression(self, code: Code) -> str:
        return f"{code.name_of(self._table)}[event.{self._field}]"

    def texts(self, view: View) -> Texts:
        given = view.rows.of(self._field)
        if given.count(given[0]) == len(given):
            return repeated_texts_of([self._table[given[0]]] * len(given))
        return repeated_texts_of(list(map(self._table.__getitem__, given)))


class Condition(NamedTuple):
    """Something that holds for most events, for one in Python, and whether it does for all of many."""

    text: str
    holds: Callable[[View], bool]


class Usually(Source):
    """A value that most events have as it is, and that is computed for the others.

    Args:
        compute: Gets the event, its identifiers, and a list to which warnings are added.
        names: Objects that the condition uses.
    """

    def __init__(
        self,
        condition: Condition,
        then: Source,
        compute: Callable[[Event, Identifiers, list[str]], Any],
        **names: object,
    ) -> None:
        self._condition, self._then, self._compute, self._names = condition, then, compute, names

    def expression(self, code: Code) -> str:
        code.names.update(self._names)
        computed = f"{code.name_of(self._compute)}(event, ids, warnings)"
        return f"({self._then.expression(code)} if {self._condition.text} else {computed})"

    def texts(self, view: View) -> Texts:
        if self._condition.holds(view):
            return self._then.held(view)
        compute, ignored = self._compute, list[str]()
        return texts_of(
            [compute(event, ids, ignored) for event, ids in zip(view.events, view.rows.people, strict=True)]
        )


class Computed(Source):
    """What is computed of the event alone."""

    def __init__(self, compute: Callable[[Event], Any]) -> None:
        self._compute = compute

    def expression(self, code: Code) -> str:
        return f"{code.name_of(self._compute)}(event)"

    def texts(self, view: View) -> Texts:
        return texts_of(list(map(self._compute, view.rows.events)))


class Part(Source):
    """A struct of the platform's.

    Args:
        none_if_empty: There is none where it would hold nothing but its defaults.
        fields: Its fields that are not always as by default.
    """

    def __init__(self, kind: type[Struct], *, none_if_empty: bool = False, **fields: Source) -> None:
        names, keys = kind.__struct_fields__, kind.__struct_encode_fields__
        defaults = dict(zip(reversed(names), reversed(kind.__struct_defaults__), strict=False))
        if odd := fields.keys() - set(names) or {name for name in names if name not in fields} - defaults.keys():
            raise TypeError(f"{kind.__name__}: {', '.join(sorted(odd))}")
        if not kind.__struct_config__.omit_defaults or any(fields[name] for name in fields if defaults.get(name)):
            raise TypeError(f"{kind.__name__}: its fields are left out where they say nothing, which is their default")
        self.kind = kind
        self.none_if_empty = none_if_empty
        last = max(names.index(name) for name in fields)
        # by position and in the struct's order: keywords cost more
        self._sources = tuple([fields.get(name) or Constant(defaults[name]) for name in names[: last + 1]])
        #: What is declared, by its key on the wire, and whether it is required.
        self.fields = [
            (f'"{key}":', fields[name], defaults.get(name, NODEFAULT) is NODEFAULT)
            for name, key in zip(names, keys, strict=True)
            if name in fields
        ]

    def expression(self, code: Code) -> str:
        made = f"{code.name_of(self.kind)}({', '.join([source.expression(code) for source in self._sources])})"
        if not self.none_if_empty:
            return made
        return f"(made if (made := {made}) != {code.name_of(self.kind())} else None)"


class Items(Source):
    """A list of structs, one for each item; ``None`` without items."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._plan = Plan(part)

    def expression(self, code: Code) -> str:
        code.before.update(dict.fromkeys(_ITEM))
        one = self.part.expression(code)
        return f"(({one},) if item is not None else [{one} for item in items] if items else None)"

    def texts(self, view: View) -> Texts:
        if not (count := sum(map(len, view.rows.of("items")))):
            return ABSENT
        return grouped(view.rows, self._plan.objects(view, count))


class Plan:
    """How the objects of many events are put together.

    Args:
        single: Each event has one item.
    """

    def __init__(self, part: Part, *, single: bool = False) -> None:
        self._part = part
        self._single = single
        self._leaves: list[tuple[str, Source]] = []
        self._look_into(part)
        self._layouts: dict[tuple[str, ...], Layout] = {}

    def objects(self, view: View, size: int) -> list[str]:
        """The object of each event, or item."""
        held = view.rows.texts.get
        texts = [held(key) or leaf.texts(view) for key, leaf in self._leaves]
        kinds = tuple([kind for kind, _ in texts])
        layout = self._layouts.get(kinds)
        if layout is None:
            if len(self._layouts) >= _MAX_LAYOUTS:
                self._layouts.clear()
            layout = self._layouts[kinds] = self._laid_out(kinds)
        return layout.lines(texts, size)

    def _within(self, source: Source) -> tuple[Part, tuple[str, str]] | None:
        """The part that a field holds, and what encloses it."""
        if isinstance(source, Part):
            return source, ("{", "}")
        if isinstance(source, Items) and self._single:
            return source.part, ("[{", "}]")
        return None

    def _look_into(self, part: Part) -> None:
        for _, source, _ in part.fields:
            if inner := self._within(source):
                self._look_into(inner[0])
            else:
                self._leaves.append((source.key, source))

    def _laid_out(self, kinds: Sequence[Any]) -> Layout:
        whole, found = Layout(), Layout()
        places = iter(range(len(kinds)))
        self._lay(found, self._part, kinds, places)
        whole.within("", found, ("{", "}"), left_out=False)
        return whole

    def _lay(self, layout: Layout, part: Part, kinds: Sequence[Any], places: Any) -> None:
        for key, source, required in part.fields:
            if inner := self._within(source):
                below = Layout()
                self._lay(below, inner[0], kinds, places)
                layout.within(key, below, inner[1], left_out=inner[0].none_if_empty)
            else:
                place = next(places)
                layout.field(key, kinds[place], place, required=required)


#: Combinations of what events have and have not.
_MAX_LAYOUTS: Final = 256
#: Nearly all orders are of one item: a tuple costs half of a list.
_ITEM: Final = ("items = event.items", "item = items[0] if len(items) == 1 else None")
_MONEY: Final = "(None if (value := {0}) is None else text if 'E' not in (text := str(value)) else amount_text(value))"


def of_event(field: str) -> Source:
    """A field of the event."""
    return Fact(f"event.{field}", field, lambda view: texts_of(view.rows.of(field)))


def known(attribute: str) -> Source:
    """An attribute of :class:`Identifiers` in clear."""
    return Fact(f"ids.{attribute}", f"ids.{attribute}", lambda view: _texts_of(view.rows.of_people(attribute)))


def _texts_of(values: Sequence[Any] | None) -> Texts:
    return ABSENT if values is None else texts_of(values)


def digest(attribute: str) -> Source:
    """One that is a digest."""
    return Fact(f"ids.{attribute}", f"ids.{attribute}", lambda view: digests_of(view.rows.of_people(attribute)))


def listed(attribute: str) -> Source:
    """The same as a list of one."""
    return Fact(
        f"((one,) if (one := ids.{attribute}) else None)",
        f"listed {attribute}",
        lambda view: digests_of(view.rows.of_people(attribute), kind="listed"),
    )


def digests(attribute: str) -> Source:
    """One that holds digests."""
    return Fact(f"ids.{attribute}", f"ids.{attribute}", lambda view: lists_of_digests(view.rows.of_people(attribute)))


def first(attribute: str) -> Source:
    """The first of these."""

    def texts(view: View) -> Texts:
        values = view.rows.of_people(attribute)
        return ABSENT if values is None else digests_of([one[0] if one else None for one in values])

    return Fact(f"(several[0] if (several := ids.{attribute}) else None)", f"first {attribute}", texts)


def of_click(field: str) -> Source:
    """A click id."""
    return Fact(
        f"click.{field}",
        "",
        lambda view: ABSENT if view.clicks is None else texts_of([getattr(one, field) for one in view.clicks]),
        "click = event.click",
    )


def of_item(field: str) -> Source:
    """A field of an item; for the struct of :class:`Items`."""
    return Fact(f"item.{field}", f"item.{field}", lambda view: texts_of(view.rows.of_items(field)))


def money(field: str) -> Source:
    """An amount of the event as text."""
    amounts = of_event(field)
    return Fact(
        _MONEY.format(f"event.{field}"),
        f"money {field}",
        lambda view: amounts_as_texts(amounts.held(view), view.rows.of(field)),
    )


#: The currency of its amounts.
CURRENCY: Final[Source] = Fact("event.currency", "currency", lambda view: repeated_texts_of(view.rows.of("currency")))
#: The platform's name of the event.
NAME: Final[Source] = Fact("name", "", lambda view: repeated_texts_of(view.names))
#: When it happened, in whole seconds since the epoch.
SECONDS: Final[Source] = Fact("trunc(at)", "seconds", lambda view: texts_of(list(map(int, view.rows.times))))
_ID: Final = of_item("id")
_PRICE: Final = of_item("price")
_QUANTITY: Final = of_item("quantity")
#: The price of an item as text.
PRICE_TEXT: Final[Source] = Fact(
    _MONEY.format("item.price"),
    "price text",
    lambda view: amounts_as_texts(_PRICE.held(view), view.rows.of_items("price")),
)
#: How many of it there are, as text.
QUANTITY_TEXT: Final[Source] = Fact(
    "str(item.quantity)", "quantity text", lambda view: Texts("quoted", _QUANTITY.held(view).column)
)


def _item_ids(view: View) -> Texts:
    rows = view.rows
    if not any(rows.of("items")):
        return ABSENT
    if not rows.single:
        return grouped(rows, as_json(rows.of_items("id")))
    kind, texts = _ID.held(view)
    return Texts("listed" if kind == "quoted" else "alone", texts)


#: The ids of all items.
ITEM_IDS: Final[Source] = Fact(
    "((item.id,) if item is not None else [item.id for item in items] if items else None)",
    "item ids",
    _item_ids,
    *_ITEM,
)


def _pieces(event: Event) -> int | None:
    if event.num_items is not None or not event.items:
        return event.num_items
    return sum([item.quantity for item in event.items])


def _all_pieces(view: View) -> Texts:
    rows = view.rows
    if rows.single and of_nothing(rows.of("num_items")):
        return _QUANTITY.held(view)
    return texts_of(list(map(_pieces, rows.events)))


#: How many pieces the event is about, as it says, or as its items do.
PIECES: Final[Source] = Fact(
    "(event.num_items if event.num_items is not None or not items"
    " else item.quantity if item is not None else sum([item.quantity for item in items]))",
    "pieces",
    _all_pieces,
    *_ITEM,
)


def _brands_of(rows: Rows) -> list[Any]:
    return rows.of_items("brand") if rows.single else list(map(shared_brand, rows.events))


#: The brand of all items, if they share one.
BRAND: Final[Source] = Fact(
    "(item.brand if item is not None else shared_brand(event))",
    "brands",
    lambda view: texts_of(_brands_of(view.rows)),
    *_ITEM,
)


#: The same, if it is more than empty text.
BRAND_IF_ANY: Final[Source] = Fact(
    "((item.brand if item is not None else shared_brand(event)) or None)",
    "brands if any",
    lambda view: texts_of([brand or None for brand in _brands_of(view.rows)]),
    *_ITEM,
)


def all_of_the_web(rows: Rows) -> bool:
    """Whether all happened on a website."""
    return rows.held("website", lambda: rows.of("source").count("website") == rows.size)


#: It happened on a website.
ON_THE_WEB: Final = Condition("event.source == 'website'", lambda view: all_of_the_web(view.rows))


class Form(NamedTuple):
    """How a platform's own object of an event is made.

    Attributes:
        notes: What is to be warned of with every event.
    """

    part: Part
    notes: tuple[str, ...] = ()

    def one(self, finish: Callable[[Any, Event, Identifiers, list[str]], None] | None) -> One:
        """The function that makes it of one event: written out, as by hand, because it runs for every event.

        Args:
            finish: See :meth:`Platform.finish`.
        """
        code = Code()
        made = self.part.expression(code)
        lines = [*code.before, f"body = {made}"]
        if self.notes:
            lines.insert(0, f"warnings.extend({code.name_of(self.notes)})")
        if finish is not None:
            lines += [f"if {_UNUSUAL}:", f"    {code.name_of(finish)}(body, event, ids, warnings)"]
        text = "\n    ".join(["def one(name, event, at, ids, warnings):", *lines, "return body"])
        # nothing of anybody's is in the text but the names of fields
        exec(compile(text, f"<{self.part.kind.__name__}>", "exec"), code.names)  # noqa: S102
        function: One = code.names["one"]
        return function


_UNUSUAL: Final = (
    "event.app is not None or event.device is not None or event.consent is not None or event.source == 'app'"
)
