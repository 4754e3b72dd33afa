"""Edge: tells open pages that something changed. One question to the database for all of them, and none for nobody."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Final

from console.ports import Reader
from timeseries.console_model import ReaderUnavailable
from vitals.clock import Clock, to_datetime
from vitals.errors import VigilError

BEAT_S: Final = 10.0
"""A page that hears nothing for three of these says that it is no longer live."""
MAX_STREAM_S: Final = 3_600.0
"""Streams end after an hour and browsers come back, so that a session that ended is noticed."""


class TooManyListeners(VigilError):
    """As many pages are open as this console serves live; the page goes on by asking now and then."""


class Hub:
    """Watches the reader's version while anybody listens and wakes every listener when it changes."""

    def __init__(self, reader: Reader, clock: Clock, *, every_s: float, max_listeners: int) -> None:
        self._reader = reader
        self._clock = clock
        self._every_s = every_s
        self._max = max_listeners
        self._listeners: set[asyncio.Event] = set()
        self._state = ("waiting", "")
        self._wanted = asyncio.Event()
        self._closed = False

    @property
    def listeners(self) -> int:
        """How many pages listen."""
        return len(self._listeners)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self._wanted.wait()
            await self._look()
            await asyncio.sleep(self._every_s)

    def close(self) -> None:
        """End every stream: a server that stops would otherwise wait for them."""
        self._closed = True
        self._wake()

    async def _look(self) -> None:
        try:
            version = await self._reader.version()
            state = ("changed", hashlib.sha256(version.encode()).hexdigest()[:16])
        except ReaderUnavailable:
            state = ("trouble", "the database does not answer")
        if state != self._state:
            self._state = state
            self._wake()

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.set()

    @contextmanager
    def _listening(self, woken: asyncio.Event) -> Iterator[None]:
        self._listeners.add(woken)
        self._wanted.set()
        try:
            yield
        finally:
            self._listeners.discard(woken)
            if not self._listeners:
                self._wanted.clear()

    def check_room(self) -> None:
        """Raise `TooManyListeners` where one more is too many."""
        if len(self._listeners) >= self._max:
            raise TooManyListeners("too many pages are open")

    async def stream(self) -> AsyncGenerator[str, None]:
        """Yield server-sent events: `changed` or `trouble` at once and at every change, `beat` in between."""
        if len(self._listeners) >= self._max:  # several may have passed `check_room` together
            return
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        ends = loop.time() + MAX_STREAM_S
        with self._listening(woken):
            yield "retry: 3000\n\n" + self._event(*self._state)
            while not self._closed and loop.time() < ends:
                try:
                    await asyncio.wait_for(woken.wait(), BEAT_S)
                except TimeoutError:
                    yield ": still here\n" + self._event("beat", "")
                    continue
                woken.clear()
                yield self._event(*self._state)

    def _event(self, kind: str, text: str) -> str:
        data = json.dumps({"text": text, "now": to_datetime(self._clock()).isoformat()})
        return f"event: {kind}\ndata: {data}\n\n"
