"""Forward conversion events from an asyncio application to every ad platform at once."""

from capi_async.client import Client
from capi_async.closing import CloseReport
from capi_async.engine.receipt import Receipt
from capi_async.errors import (
    CapiError,
    ClientClosed,
    ConfigError,
    ConsentError,
    ContextError,
    EventError,
    QueueFull,
    SpoolError,
    TransportError,
)
from capi_async.event import App, ClickIds, Consent, Device, Event, Hashed, Item, Page, User
from capi_async.outcome import Outcome
from capi_async.platform_fields import (
    CutMeShortFields,
    LinkedInFields,
    MetaFields,
    OriginalEvent,
    PinterestFields,
    SnapFields,
    TikTokFields,
)
from capi_async.sync import SyncClient
from capi_async.telemetry.base import Hook, RequestDone, Settled, StateChanged
from capi_async.telemetry.outcome_hook import EventOutcome, on_outcome

__all__ = [
    "App",
    "CapiError",
    "ClickIds",
    "Client",
    "ClientClosed",
    "CloseReport",
    "ConfigError",
    "Consent",
    "ConsentError",
    "ContextError",
    "CutMeShortFields",
    "Device",
    "Event",
    "EventError",
    "EventOutcome",
    "Hashed",
    "Hook",
    "Item",
    "LinkedInFields",
    "MetaFields",
    "OriginalEvent",
    "Outcome",
    "Page",
    "PinterestFields",
    "QueueFull",
    "Receipt",
    "RequestDone",
    "Settled",
    "SnapFields",
    "SpoolError",
    "StateChanged",
    "SyncClient",
    "TikTokFields",
    "TransportError",
    "User",
    "on_outcome",
]

__version__ = "0.1.0"
