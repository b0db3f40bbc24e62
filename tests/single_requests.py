"""Answers for code that makes single requests, without a server: aioresponses, made to work with today's aiohttp.

Delivery is tested against real servers; here it is about which request one call makes, to the byte, at the platform's
own address, which a local server cannot have.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock, patch

import aiohttp
from aioresponses import aioresponses
from yarl import URL


class _Answer(aiohttp.ClientResponse):
    """aiohttp 3.14 wants to know what wrote the request; nothing did."""

    def __init__(self, method: str, url: URL, **options: Any) -> None:
        options.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(method, url, **options)


def _reader(loop: Any = None) -> aiohttp.StreamReader:
    # the reader of aiohttp 3.14 asks its protocol's parser whether it may go on
    return aiohttp.StreamReader(Mock(_reading_paused=False), limit=2**16, loop=loop)


@contextmanager
def answered() -> Iterator[aioresponses]:
    """Every request of aiohttp within gets the answers that were added, and none leaves this process."""
    with (
        patch("aioresponses.core.ClientResponse", _Answer),
        patch("aioresponses.core.stream_reader_factory", _reader),
        aioresponses() as answers,
    ):
        yield answers
