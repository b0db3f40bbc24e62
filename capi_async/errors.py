"""The error tree. Errors are for callers' mistakes and lost infrastructure.

    CapiError
    ├── ConfigError     settings are missing or contradict each other
    ├── EventError      a malformed event; ``field`` names the culprit
    ├── QueueFull       no room; ``stored`` says what that means for the event
    ├── SpoolError      storage failed; ``stored`` likewise, and the backend's error is ``__cause__``
    ├── ContextError    a stored request context, or its store, cannot be used
    ├── ConsentError    a consent string cannot be read
    ├── TransportError  a request that got no answer (read-back calls only)
    └── ClientClosed    ``aclose()`` has begun, or the client belongs to another loop or process; ``stored`` likewise

Whoever hands an event over elsewhere after one of the three with ``stored`` asks that attribute first: "no" is said
only of what surely was not stored.

What a platform says about an event is never raised: it is an :class:`~capi_async.outcome.Outcome`.
No message of these holds personal data or a credential.
"""

from __future__ import annotations


class CapiError(Exception):
    """Base of everything this package raises on purpose."""


class ConfigError(CapiError):
    """Settings are missing or contradict each other; raised before any I/O."""


class EventError(CapiError, ValueError):
    """A malformed event.

    Attributes:
        field: Path of the culprit inside the event, such as ``user.email`` or ``items[2].price``.
        reason: What is wrong with it, and how to mend it. Never the value itself.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class _HandIn(CapiError):
    """Base of what handing an event in may raise.

    Attributes:
        stored: What became of the event. True: it is stored, and will be delivered. False: it surely is not. ``None``:
            unknown, as when storage did not answer in time; it may be delivered yet. Of events that were handed in
            together: of those after the first ``stored_events``.
        stored_events: How many of the events that were handed in together are stored, from the first on.
    """

    def __init__(self, *args: object, stored: bool | None, stored_events: int = 0) -> None:
        super().__init__(*args)
        self.stored = stored
        self.stored_events = stored_events


class QueueFull(_HandIn):
    """No room within the caller's timeout.

    Attributes:
        stored: Whether the event is stored all the same: True, False, or ``None``: unknown.
        stored_events: How many of the events that were handed in together are stored, from the first on; ``stored``
            is about the others.
    """

    def __init__(self, *args: object, stored: bool | None = False, stored_events: int = 0) -> None:
        super().__init__(*args, stored=stored, stored_events=stored_events)


class SpoolError(_HandIn):
    """Storage failed; the backend's error is ``__cause__``.

    A backend says ``stored=False`` where it knows that nothing was stored, and nothing where it cannot know.

    Attributes:
        stored: Whether the event is stored all the same: True, False, or ``None``: unknown.
        stored_events: How many of the events that were handed in together are stored, from the first on; ``stored``
            is about the others.
    """

    def __init__(self, *args: object, stored: bool | None = None, stored_events: int = 0) -> None:
        super().__init__(*args, stored=stored, stored_events=stored_events)


class ContextError(CapiError):
    """A request context cannot be used.

    Its text was changed, cut, is of another version, or sealed with another key; or the store that keeps it failed, in
    which case the backend's error is ``__cause__``.
    """


class ConsentError(CapiError, ValueError):
    """A consent string, or a state of Google's Consent Mode, cannot be read. Its text is never part of the message."""


class TransportError(CapiError):
    """No usable answer came.

    Attributes:
        kind: A short constant word: ``connect``, ``dns``, ``tls``, ``timeout``, ``reset``, ``protocol``,
            or ``session``: the caller's own aiohttp session is closed.
        sent: True if the platform may have read the request, so that a repeat could count twice.
        why: More about ``kind``, in constant words, such as ``the certificate has expired``; empty if nothing is known.
    """

    def __init__(self, kind: str, *, sent: bool, why: str = "") -> None:
        self.kind = kind
        self.sent = sent
        self.why = why
        super().__init__(f"{self.said}, the request {'may have arrived' if sent else 'did not leave'}")

    @property
    def said(self) -> str:
        """That there is no answer, and why."""
        return f"no answer ({self.kind}{f': {self.why}' if self.why else ''})"


class ClientClosed(_HandIn):
    """``aclose()`` has begun, or the client belongs to another event loop or process.

    Attributes:
        stored: Whether the event is stored all the same: True, False, or ``None``: unknown.
        stored_events: How many of the events that were handed in together are stored, from the first on; ``stored``
            is about the others.
    """

    def __init__(self, *args: object, stored: bool | None = False, stored_events: int = 0) -> None:
        super().__init__(*args, stored=stored, stored_events=stored_events)
