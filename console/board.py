"""Edge: asks the reader for what a page needs. Pages that are open together share one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from datetime import tzinfo
from time import monotonic
from typing import Final, Generic, TypeVar

from console.board_view import SILENT_AFTER, SPARK_LENGTH, SPARK_STEP_S, BoardView, board_view
from console.chart_view import Range
from console.moment import Now
from console.patient_view import CHARTED, PatientView, patient_view
from console.ports import Reader
from console.tiles import HEART
from timeseries.console_model import Overview, Series
from vitals.clock import Clock, to_datetime
from vitals.ids import PatientId

PAGE_SIZE: Final = 60
MAX_ALERTS: Final = 60
MAX_PATIENT_ALERTS: Final = 100
_OVERVIEW_S: Final = 0.5
_SPARKS_S: Final = 10.0
_LONG_CHARTS_S: Final = 60.0
LONG_STEP_S: Final = 900
"""Charts in steps of this many seconds or more are asked for once a minute, not at every change."""
_MAX_KEPT: Final = 64
_MAX_LONG_CHARTS: Final = 8
"""Each may hold 15,000 points."""

T = TypeVar("T")


@dataclass(slots=True)
class Shared(Generic[T]):
    """Answers kept for `keep_s` seconds, by key; who asks meanwhile waits for the same answer."""

    keep_s: float
    most: int = _MAX_KEPT
    _kept: dict[Hashable, tuple[float, T]] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the answer for `key`, asking where there is none or it is too old."""
        async with self._lock:
            kept = self._kept.get(key)
            if kept is not None and monotonic() - kept[0] < self.keep_s:
                return kept[1]
            if len(self._kept) >= self.most:
                self._kept.clear()
            answer = await ask()
            self._kept[key] = (monotonic(), answer)
            return answer

    def forget(self) -> None:
        """Ask anew from now on."""
        self._kept.clear()


class Board:
    """What the pages show, as of now. Raises `ReaderUnavailable` where the database does not answer."""

    def __init__(self, reader: Reader, clock: Clock, zone: tzinfo) -> None:
        self._reader = reader
        self._clock = clock
        self._zone = zone
        self._overviews: Shared[Overview] = Shared(_OVERVIEW_S)
        self._sparks: Shared[tuple[Series, ...]] = Shared(_SPARKS_S)
        self._long_charts: Shared[tuple[Series, ...]] = Shared(_LONG_CHARTS_S, _MAX_LONG_CHARTS)

    def now(self) -> Now:
        """Return this moment."""
        return Now(to_datetime(self._clock()), self._zone)

    def changed(self) -> None:
        """Forget what is kept: somebody acknowledged something and wants to see it."""
        self._overviews.forget()

    async def overview(self, page: int) -> BoardView:
        """Return the first page's part `page` (from 1)."""
        now = self.now()
        found = await self._overviews.get(page, lambda: self._ask_overview(page, now))
        sparks = await self._sparks.get(found.patients, lambda: self._ask_sparks(found.patients, now))
        return board_view(found, sparks, now, page, PAGE_SIZE)

    async def patient(self, patient: PatientId, shown: Range) -> PatientView | None:
        """Return one person's page; None where nobody has that id."""
        now = self.now()
        record = await self._reader.patient(patient, alert_limit=MAX_PATIENT_ALERTS)
        if record is None:
            return None
        return patient_view(record, await self._charts(patient, shown, now), shown, now)

    async def _charts(self, patient: PatientId, shown: Range, now: Now) -> tuple[Series, ...]:
        start = shown.starts(now)

        async def ask() -> tuple[Series, ...]:
            return await self._reader.series([patient], CHARTED, start, now.at, shown.step_s)

        return await (self._long_charts.get((patient, start), ask) if shown.step_s >= LONG_STEP_S else ask())

    async def _ask_overview(self, page: int, now: Now) -> Overview:
        return await self._reader.overview(
            silent_since=now.at - SILENT_AFTER,
            limit=PAGE_SIZE,
            offset=(page - 1) * PAGE_SIZE,
            alert_limit=MAX_ALERTS,
        )

    async def _ask_sparks(self, patients: tuple[str, ...], now: Now) -> tuple[Series, ...]:
        return await self._reader.series(patients, HEART, now.at - SPARK_LENGTH, now.at, SPARK_STEP_S)
