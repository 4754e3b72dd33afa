"""A TCP relay between a recorder and PostgreSQL that cuts, delays or holds back what passes, where a test says so."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import urlsplit, urlunsplit

Side = Literal["client", "server"]
_HOST: Final = "127.0.0.1"
_CHUNK: Final = 16 * 1024
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST


class _Cut(Exception):
    """This connection ends here."""


class Proxy:
    """An async context manager; `url` leads through it to the server of the URL that it was given."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self.passed: dict[Side, int] = {"client": 0, "server": 0}
        self.cuts = 0
        self.delay_s = 0.0
        self._cut_at: tuple[Side, int] | None = None
        self._lose: bytes | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._port = 0
        await self.open_door()
        login = self._to.netloc.rpartition("@")[0]
        self.url = urlunsplit(self._to._replace(netloc=f"{login}@{_HOST}:{self._port}"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close_door()

    async def close_door(self) -> None:
        """Reset every connection and refuse new ones, as where no server is."""
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def open_door(self) -> None:
        """Take connections (again), at the same port."""
        self._server = await asyncio.start_server(self._relay, _HOST, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def cut_after(self, side: Side, count: int) -> None:
        """Reset the connection once so many bytes of that side have passed, counted from now."""
        self.passed[side] = 0
        self._cut_at = (side, count)

    def lose_answer_to(self, words: bytes) -> None:
        """Pass on what the client says with these words in it, and reset the connection in place of the answer."""
        self._lose = words

    def freeze(self) -> None:
        """Hold everything back; connections stay open."""
        self._flows.clear()

    def thaw(self) -> None:
        """Let everything pass again."""
        self._flows.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        ends = [writer]
        try:
            there = await asyncio.open_connection(self._to.hostname, self._to.port)
            ends.append(there[1])
            self._answer_is_lost = False
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass("client", reader, there[1]))
                both.create_task(self._pass("server", there[0], writer))
        except* (_Cut, OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            for end in ends:
                _reset(end)

    async def _pass(self, side: Side, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            await self._flows.wait()
            await asyncio.sleep(self.delay_s)
            allowed = self._allowed(side, data)
            sink.write(data[:allowed])
            await sink.drain()
            if allowed < len(data):
                self.cuts += 1
                raise _Cut
        raise _Cut

    def _allowed(self, side: Side, data: bytes) -> int:
        """Return how many of these bytes may pass; fewer than all mean the end of the connection."""
        if self._lose is not None and side == "client" and self._lose in data:
            self._lose, self._answer_is_lost = None, True
        elif self._answer_is_lost and side == "server":
            self._answer_is_lost = False
            return 0
        before = self.passed[side]
        self.passed[side] += len(data)
        if self._cut_at is None or self._cut_at[0] != side or self.passed[side] <= self._cut_at[1]:
            return len(data)
        at, self._cut_at = self._cut_at[1], None
        return at - before


def _reset(end: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.transport.abort()
