"""A stretch cut by metric, once for all detectors that look at it: each metric's columns, contiguous and in its order.

Twenty detectors would otherwise mask the same rows twenty times; a numpy call on a few hundred rows costs a
microsecond or two whatever it does, and that is what watching costs.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.detectors.observation import Observations
from vitals.clock import US_PER_S
from vitals.quality import TRUSTWORTHY, Context

_NO_CONTACT: Final = int(Context.NO_CONTACT)


class Series(NamedTuple):
    """Samples of one metric in the order of their ends: columns of shape (n,) that nobody writes to.

    `place`: where each stands in the stretch.
    """

    place: NDArray[np.intp]
    start_us: NDArray[np.int64]
    end_us: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.float32]
    context: NDArray[np.int16]
    duration_ms: NDArray[np.int32]

    def pick(self, which: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Series:
        """Return the samples that the mask, the positions or the slice select."""
        return Series(
            self.place[which], self.start_us[which], self.end_us[which], self.value[which], self.quality[which],
            self.context[which], self.duration_ms[which],
        )  # fmt: skip


class Stretch:
    """All samples of a stretch, by metric and within a metric as they came.

    `all_well` tells whether each is trustworthy and of a sensor on the body, `any_context` has every bit that any of
    them has, `longest_ms` is the longest duration, `bits` has the bit of each metric's number.
    """

    __slots__ = (
        "_columns", "_context", "_ends_us", "_extremes", "_first", "_known", "_longest", "_none", "_received",
        "_trusted", "_well", "all_well", "any_context", "bits", "longest_ms", "seen",
    )  # fmt: skip

    def __init__(self, seen: Observations) -> None:
        self.seen = seen
        metric = seen["metric"]
        order = metric.argsort(kind="stable")
        start, duration = seen["start_us"][order], seen["duration_ms"][order]
        quality, context = seen["quality"][order], seen["context"][order]
        self.longest_ms = int(np.maximum.reduce(duration, initial=0))
        end = start + duration.astype(np.int64) * 1_000 if self.longest_ms else start
        self.any_context = int(np.bitwise_or.reduce(context))
        trustworthy = np.minimum.reduce(quality, initial=1.0) >= TRUSTWORTHY
        self.all_well = bool(trustworthy) and not self.any_context & _NO_CONTACT
        self._context: int | None = None
        self._well: NDArray[np.bool_] | None = None
        self._columns = Series(order, start, end, seen["value"][order], quality, context, duration)
        self._first: dict[int, tuple[int, int]] = {}
        self.bits = first = 0
        for number, count in enumerate(np.bincount(metric).tolist()):
            if count:
                self._first[number] = (first, first + count)
                self.bits |= 1 << number
                first += count
        self._none: NDArray[np.bool_] | None = None
        self._ends_us: NDArray[np.int64] | None = None
        self._received: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
        self._extremes: dict[int, tuple[float, float]] | None = None
        self._longest: dict[int, int] | None = None
        self._known: dict[int, Series] = {}
        self._trusted: dict[int, Series | None] = {}

    @property
    def metrics(self) -> list[int]:
        """The metrics there are, ascending."""
        return list(self._first)

    @property
    def none(self) -> NDArray[np.bool_]:
        """A flag a sample, all down and not to be written to: what a technical detector distrusts, nearly always."""
        if self._none is None:
            self._none = np.zeros(len(self.seen), np.bool_)
            self._none.flags.writeable = False
        return self._none

    @property
    def context(self) -> int:
        """The context of all samples where they agree, else -1."""
        if self._context is None:
            every = int(np.bitwise_and.reduce(self._columns.context))
            self._context = every if every == self.any_context else -1
        return self._context

    @property
    def well(self) -> NDArray[np.bool_]:
        """Of each sample of `whole` whether it is trustworthy and of a sensor on the body."""
        if self._well is None:
            self._well = self._columns.quality >= TRUSTWORTHY
            if self.any_context & _NO_CONTACT:
                self._well &= (self._columns.context & _NO_CONTACT) == 0
        return self._well

    @property
    def ends_us(self) -> NDArray[np.int64]:
        """When each measurement ended, in the order of `seen`: ascending."""
        if self._ends_us is None:
            self._ends_us = np.empty(len(self.seen), np.int64)
            self._ends_us[self._columns.place] = self._columns.end_us
        return self._ends_us

    @property
    def received(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """When each sample was received, in the order of `seen`: in microseconds, and in whole seconds."""
        if self._received is None:
            received = np.ascontiguousarray(self.seen["received_us"])
            self._received = received, received // US_PER_S
        return self._received

    def reduced(self, ufunc: np.ufunc, column: NDArray[Any]) -> dict[int, Any]:
        """Return what a column as long as `whole` comes to, by metric."""
        found = ufunc.reduceat(column, [begin for begin, _ in self._first.values()])
        return dict(zip(self._first, found.tolist(), strict=True))

    def extremes(self, metric: int) -> tuple[float, float]:
        """Return the least and the greatest value of a metric that there is, trustworthy or not."""
        if self._extremes is None:
            low, high = self.reduced(np.minimum, self._columns.value), self.reduced(np.maximum, self._columns.value)
            self._extremes = {number: (low[number], high[number]) for number in self._first}
        return self._extremes[metric]

    def longest_of(self, metric: int) -> int:
        """Return the longest duration (ms) of a metric that there is."""
        if self.longest_ms == 0:
            return 0
        if self._longest is None:
            self._longest = self.reduced(np.maximum, self._columns.duration_ms)
        return self._longest[metric]

    @property
    def whole(self) -> Series:
        """All metrics, one after the other."""
        return self._columns

    def bounds(self, metric: int) -> tuple[int, int]:
        """Return where a metric begins in `whole`, and where it ends."""
        return self._first.get(metric, (0, 0))

    def of(self, metric: int) -> Series | None:
        """Return the samples of a metric; None without any."""
        known = self._known.get(metric)
        if known is None and metric in self._first:
            first, last = self._first[metric]
            known = self._known[metric] = self._columns.pick(slice(first, last))
        return known

    def several(self, which: NDArray[np.bool_]) -> tuple[Series, NDArray[np.int16]]:
        """Return the samples of the metrics that a table by number names, in the order of `seen`, and their metrics."""
        metric = self.seen["metric"]
        place = which[metric].nonzero()[0]
        seen, ends = self.seen, self.ends_us
        columns = (seen[name][place] for name in ("value", "quality", "context", "duration_ms"))
        return Series(place, seen["start_us"][place], ends[place], *columns), metric[place]

    def trusted(self, metric: int) -> Series | None:
        """Return the samples of a metric that are trustworthy and of a sensor on the body; None without any."""
        if self.all_well or metric not in self._first:
            return self.of(metric)
        if metric in self._trusted:
            return self._trusted[metric]
        first, last = self._first[metric]
        well = self.well[first:last]
        series = self.of(metric)
        if series is not None and not well.all():
            series = series.pick(well) if well.any() else None
        self._trusted[metric] = series
        return series


_newest: Stretch | None = None


def by_metric(seen: Observations) -> Stretch:
    """Return the stretch cut by metric: made once for the newest `seen`, which nobody writes to meanwhile."""
    global _newest  # noqa: PLW0603 - a memory of one; who finds another's makes its own
    newest = _newest
    if newest is None or newest.seen is not seen:
        newest = _newest = Stretch(seen)
    return newest
