"""Recorded samples through the production engine, the clock being the recording's own. Pure.

Time goes in steps: all that was received within one is a fetch, then what is due is settled, and what only the clock
can say (a gap) is asked. A step changes nothing but how finely the clock moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import AlertEvent
from stream.watch.engine import Engine
from vitals.batch import BatchHeader, SampleColumns
from vitals.clock import US_PER_S

STEP_S: Final = 5.0
_GAPS_EVERY_S: Final = 30.0
_QUIET_S: Final = 600.0
_SILENCE_S: Final = 26 * 3_600.0
_LOOK_S: Final = 300.0
"""Nothing received for longer than the first: the clock only looks now and then, and after the second not at all.
What silence raises carries its own times, so a late look finds the same."""

Told = tuple[BatchHeader, SampleColumns]


def replay(
    engine: Engine,
    told: Sequence[Told],
    *,
    step_s: float = STEP_S,
    finish: bool = True,
    until_us: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[AlertEvent]:
    """Yield the alert events of what devices told, in the order in which they are raised.

    Samples come in the order of their `received_us`, however they lie in `told`. `finish` settles what still waits at
    the end, so that an episode of the last seconds is seen. With `until_us` the clock goes on until then, so that a
    silence after the last sample is seen. `progress` is told the time (us) now and then.
    """
    parts = [(header, _in_turn(columns)) for header, columns in told]
    ticks = _ticks([columns.received_us for _, columns in parts], step_s, until_us)
    cuts = [np.searchsorted(columns.received_us, ticks, side="right") for _, columns in parts]
    asked_us, now_us = 0, 0
    for at, tick in enumerate(ticks.tolist()):
        now_us = tick
        yield from _fetch(engine, parts, [(cut[at - 1] if at else 0, cut[at]) for cut in cuts], now_us)
        for events in engine.settle(now_us):
            yield from events
        if now_us - asked_us >= _GAPS_EVERY_S * US_PER_S:
            asked_us = now_us
            if progress is not None:
                progress(now_us)
            for events in engine.overdue(now_us):
                yield from events
    if finish:
        yield from engine.finish(now_us)


def _in_turn(columns: SampleColumns) -> SampleColumns:
    """Return samples in the order in which they were received; the same ones, uncopied, where they are already."""
    received = columns.received_us
    is_sorted = bool((received[1:] >= received[:-1]).all())
    return columns if is_sorted else columns.take(np.argsort(received, kind="stable"))


def _fetch(engine: Engine, parts: Sequence[Told], cuts: Sequence[tuple[int, int]], now_us: int) -> list[AlertEvent]:
    fresh = [
        (header, columns.take(np.arange(first, last)))
        for (header, columns), (first, last) in zip(parts, cuts, strict=True)
        if last > first
    ]
    if not fresh:
        return []
    counts = np.array([len(columns) for _, columns in fresh], np.int64)
    columns = fresh[0][1] if len(fresh) == 1 else SampleColumns.concat([one for _, one in fresh])
    return engine.see([header for header, _ in fresh], counts, columns, now_us)


def _ticks(received: Sequence[NDArray[np.int64]], step_s: float, until_us: int | None) -> NDArray[np.int64]:
    """Return the times (us) at which the clock stands: the grid wherever something came, and for a while after."""
    step_us = round(step_s * US_PER_S)
    came = np.unique(np.concatenate([-(-one // step_us) for one in received])) if received else np.empty(0, np.int64)
    if until_us is not None and len(came):
        came = np.union1d(came, max(until_us // step_us, came[-1]))
    after = np.union1d(np.arange(0, _QUIET_S, step_s), np.arange(_QUIET_S, _SILENCE_S, _LOOK_S))
    after = np.unique(np.ceil(after / step_s).astype(np.int64))
    gap = np.diff(came)
    wide = np.flatnonzero(gap > 1)
    looks = np.searchsorted(after, gap[wide])  # those before the next sample
    nth = np.arange(looks.sum()) - np.repeat(np.cumsum(looks) - looks, looks)
    return np.union1d(came, np.repeat(came[wide], looks) + after[nth]) * step_us
