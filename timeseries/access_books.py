"""Edge: what the gateway keeps beside the stream: tokens' use, anchors, refusals counted; and what it asks the tables.

Notes are taken in memory and written every two seconds. While the database is away they are kept, the newest of each
kind and so many of them that memory is bounded; nothing that a sender was promised depends on them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from timeseries.access_tokens import OVERLAP, SQL, rotatable, rotation
from timeseries.answers import patiently
from timeseries.model import StoreRefused, StoreUnavailable
from timeseries.one_connection import Connection, OneConnection
from vitals.access import Principal, new_token
from vitals.clock import Clock, from_datetime, system_clock, to_datetime

MOST_NOTES: Final = 100_000
MOST_ANCHORS: Final = 2_000
MOST_TYPES: Final = 500
"""Anchors kept of one client; HealthKit has fewer types."""
_MOST_TYPE_CHARS: Final = 200
_MOST_ANCHOR_CHARS: Final = 4_096
_OPTIONS: Final = "-c statement_timeout=10000 -c lock_timeout=5000 -c timezone=UTC"


@dataclass(frozen=True, slots=True)
class NewestSample:
    """The newest stored sample of a device's metric; times are microseconds UTC."""

    device_id: str
    metric: str
    start_us: int
    received_us: int


@dataclass(slots=True)
class _Notes:
    """What is not written yet: when each token was used, anchors by token and type, refused samples by day."""

    used: dict[str, int] = field(default_factory=dict)
    anchors: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    refused: dict[tuple[date, str, int], int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.used or self.anchors or self.refused)

    def after(self, older: _Notes) -> _Notes:
        """Return older notes and these together, bounded: of what is too much the oldest goes."""
        refused = dict(older.refused)
        for key, samples in self.refused.items():
            refused[key] = refused.get(key, 0) + samples
        return _Notes(
            _newest({**older.used, **self.used}, MOST_NOTES),
            _newest({**older.anchors, **self.anchors}, MOST_ANCHORS),
            _newest(refused, MOST_NOTES),
        )


class AccessBooks(OneConnection):
    """One connection and one task that writes. Use as an async context manager; leaving writes what is left.

    `rotate` and what asks raise `StoreUnavailable`; to note never raises and never waits.
    """

    def __init__(
        self, url: str, *, every_s: float = 2.0, within_s: float = 5.0, clock: Clock = system_clock,
        failed: Callable[[str], None] = lambda _why: None, prepare_threshold: int | None = 5,
    ) -> None:  # fmt: skip
        """Write to `url` every `every_s`; `failed` hears why that went wrong. Nothing takes longer than `within_s`."""
        super().__init__(
            url, options=_OPTIONS, prepare_threshold=prepare_threshold, application_name="vigil gateway: books"
        )
        self._every_s, self._within_s, self._clock, self._failed = every_s, within_s, clock, failed
        self._notes = _Notes()
        self._turn = asyncio.Lock()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> AccessBooks:
        self._task = asyncio.get_running_loop().create_task(self._keep_writing())
        return self

    async def close(self) -> None:
        """Write what is left, as far as the database answers, and stop."""
        self._stop.set()
        if self._task is not None:
            await self._task  # never in the midst of a write: what is counted must not be counted twice
        await self._try_to_write()
        await super().close()

    def used(self, token_id: str, now_us: int) -> None:
        """Note that a token was used."""
        notes = self._notes.used
        notes.pop(token_id, None)
        notes[token_id] = now_us
        _bound(notes, MOST_NOTES)

    def anchored(self, token_id: str, anchors: Mapping[str, str]) -> None:
        """Note how far a client has come, by type. What the table cannot hold is left out: it is sent again."""
        notes, now_us = self._notes.anchors, self._clock()
        for kind, anchor in anchors.items():
            if _storable(kind, 1, _MOST_TYPE_CHARS) and _storable(anchor, 0, _MOST_ANCHOR_CHARS):
                notes.pop((token_id, kind), None)
                notes[token_id, kind] = anchor, now_us
        _bound(notes, MOST_ANCHORS)

    def not_consented(self, adapter: str, counts: Mapping[int, int]) -> None:
        """Note how many samples, by metric number, were refused for want of consent."""
        notes, day = self._notes.refused, to_datetime(self._clock()).date()
        for metric, samples in counts.items():
            notes[day, adapter, metric] = notes.get((day, adapter, metric), 0) + samples
        _bound(notes, MOST_NOTES)

    async def anchors(self, token_id: str) -> dict[str, str]:
        """Return the anchors of a client, through all its rotations, by type. Raises `StoreUnavailable`."""
        with contextlib.suppress(StoreRefused):
            await self.write()
        return dict(await self._ask("anchors", {"token": token_id}))

    async def last_samples(self, principal: Principal) -> list[NewestSample]:
        """Return the newest stored sample by device and metric of what it may send for. Raises `StoreUnavailable`."""
        devices = None if principal.devices is None else sorted(principal.devices)
        rows = await self._ask("last_samples", {"patient": principal.patient_id, "devices": devices})
        return [NewestSample(device, code, _us(start), _us(received)) for device, code, start, received in rows]

    async def rotate(self, token_id: str, now_us: int) -> str:
        """Return a new token of the same scope and lifetime; when it expires stands in its credential.

        The old one ends when the new is first used, in a day at the latest. Raises `StoreUnavailable`, and
        `TokenRefused` for a platform's token or one that stands no more.
        """
        self.used(token_id, now_us)
        with contextlib.suppress(StoreRefused):
            await self.write()  # a successor already in use must not pass for one lost on the way
        made = new_token()
        async with self._connected() as connection, connection.transaction():
            rotatable(await (await connection.execute(SQL["lock"], {"token": token_id})).fetchone())
            await connection.execute(SQL["rotate"], rotation(token_id, made, "gateway", OVERLAP))
        return made.text

    async def write(self) -> None:
        """Write what was noted. Raises `StoreUnavailable`, then it is kept, and `StoreRefused`, then it is not."""
        taken, self._notes = self._notes, _Notes()
        refused: StoreRefused | None = None
        try:
            for kind in _STATEMENTS:
                try:
                    await self._write(taken, kind)
                except StoreRefused as error:
                    refused = error  # these very rows would be refused for ever, and keep the others waiting
                getattr(taken, kind).clear()
        finally:
            if taken:
                self._notes = self._notes.after(taken)
        if refused is not None:
            raise refused

    async def _write(self, notes: _Notes, kind: str) -> None:
        if getattr(notes, kind):
            async with self._connected() as connection, connection.transaction():
                for name, values in _STATEMENTS[kind](notes):
                    await connection.execute(SQL[name], values)

    async def _keep_writing(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._stop.wait()
            await self._try_to_write()

    async def _try_to_write(self) -> None:
        try:
            await self.write()
        except (StoreUnavailable, StoreRefused) as error:
            self._failed(str(error))

    async def _ask(self, name: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        async with self._connected() as connection:
            return await (await connection.execute(SQL[name], values)).fetchall()

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        with patiently():
            async with asyncio.timeout(self._within_s), self._turn:
                try:
                    yield await self._open()
                except BaseException:
                    await super().close()
                    raise


def _of_used(notes: _Notes) -> list[tuple[str, dict[str, Any]]]:
    times = [to_datetime(at) for at in notes.used.values()]
    return [("used", {"tokens": list(notes.used), "times": times}), ("end_replaced", {"tokens": list(notes.used)})]


def _of_anchors(notes: _Notes) -> list[tuple[str, dict[str, Any]]]:
    tokens, types = zip(*notes.anchors, strict=True)
    anchors, times = zip(*notes.anchors.values(), strict=True)
    values = {"tokens": list(tokens), "types": list(types), "anchors": list(anchors), "most": MOST_TYPES}
    return [("anchored", values | {"times": [to_datetime(at) for at in times]})]


def _of_refused(notes: _Notes) -> list[tuple[str, dict[str, Any]]]:
    days, adapters, metrics = zip(*notes.refused, strict=True)
    values = {"days": list(days), "adapters": list(adapters), "metrics": list(metrics)}
    return [("not_consented", values | {"samples": list(notes.refused.values())})]


_STATEMENTS: Final[Mapping[str, Callable[[_Notes], list[tuple[str, dict[str, Any]]]]]] = {
    "used": _of_used,
    "anchors": _of_anchors,
    "refused": _of_refused,
}


def _storable(text: str, least: int, most: int) -> bool:
    """Tell whether PostgreSQL takes it: no NUL, no half of a surrogate pair, neither too short nor too long."""
    return least <= len(text) <= most and "\x00" not in text and not any("\ud800" <= one <= "\udfff" for one in text)


def _bound(notes: dict[Any, Any], most: int) -> None:
    while len(notes) > most:
        del notes[next(iter(notes))]


def _newest(notes: dict[Any, Any], most: int) -> dict[Any, Any]:
    _bound(notes, most)
    return notes


def _us(moment: datetime) -> int:
    return from_datetime(moment)
