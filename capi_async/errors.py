"""The error tree. Errors are for callers' mistakes and lost infrastructure.

    CapiError
    ├── ConfigError     settings are missing or contradict each other
    ├── EventError      a malformed event; ``field`` names the culprit
    ├── QueueFull       no room; nothing was stored
    ├── SpoolError      storage failed; the backend's error is ``__cause__``
    ├── TransportError  a request that got no answer (read-back calls only)
    └── ClientClosed    ``aclose()`` has begun, or the client belongs to another loop or process

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


class QueueFull(CapiError):
    """No room within the caller's timeout; nothing was stored."""


class SpoolError(CapiError):
    """Storage failed; the backend's error is ``__cause__``."""


class TransportError(CapiError):
    """No usable answer came.

    Attributes:
        kind: A short constant word: ``connect``, ``dns``, ``tls``, ``timeout``, ``reset``, ``protocol``.
        sent: True if the platform may have read the request, so that a repeat could count twice.
    """

    def __init__(self, kind: str, *, sent: bool) -> None:
        super().__init__(f"no answer ({kind}), the request {'may have arrived' if sent else 'did not leave'}")
        self.kind = kind
        self.sent = sent


class ClientClosed(CapiError):
    """``aclose()`` has begun, or the client belongs to another event loop or process."""
