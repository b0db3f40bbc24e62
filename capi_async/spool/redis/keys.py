"""Names of keys. All of a spool begin with its prefix in braces: a hash tag, so that a Cluster keeps them together."""

from __future__ import annotations

from msgspec import Struct


class Of(Struct, frozen=True):
    """Keys of one destination; see :mod:`capi_async.spool.redis.scripts` for what is in them."""

    stream: str
    bell: str
    ledger: str
    state: str
    wait: str
    holders: str
    stops: str
    stopped: str
    sent: str


class Keys:
    """Keys of one spool."""

    def __init__(self, prefix: str) -> None:
        self._base = base = f"{{{prefix}}}:"
        self._of: dict[str, Of] = {}
        self.names = base + "names"
        self.workers = base + "workers"
        self.letters = base + "letters"
        self.letter_data = base + "letter-data"
        self.news = base + "news"
        self.rate = base + "rate:"

    def of(self, destination: str) -> Of:
        """Those of a destination."""
        of = self._of.get(destination)
        if of is None:
            base = f"{self._base}to:{destination}:"
            of = self._of[destination] = Of(*(base + name for name in Of.__struct_fields__))
        return of

    def sequence(self, process: str) -> str:
        """Number of the last append of a process; with ``:ids`` behind it, what came of that."""
        return f"{self._base}append:{process}"

    def saved(self, process: str, destination: str) -> str:
        """What came of the last that a process stored of what happened to a destination's entries."""
        return f"{self._base}saved:{process}:{destination}"
