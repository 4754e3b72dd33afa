"""Edge: what goes on beside the fetches: settled detectors, the clock's own findings, states written down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Final

import structlog

from alerts.event import AlertEvent
from stream.watch import watch_metrics as metrics
from stream.watch.held import Held
from stream.watch.live import Live
from stream.watch.partition import PartitionWatch
from stream.watch.ports import Reach
from stream.watch.slices import Slices
from vitals.clock import Clock

log = structlog.get_logger(__name__)

_SETTLE_S: Final = 0.25
_LOOK_S: Final = 1.0
_OVERDUE_EVERY: Final = 5
"""Looks. A gap is a matter of minutes, and asking costs some 10 us a patient."""
_KEEP_S: Final = 0.25


async def settle(live: Live, clock: Clock) -> None:
    """For ever: let settled detectors see what has become due, one patient after the other."""
    while True:
        await live.keeper.pulse.sure()
        for held in list(live.held.values()):
            await _settle(live, held.watched, clock)
        await asyncio.sleep(_SETTLE_S)


async def _settle(live: Live, watched: PartitionWatch, clock: Clock) -> None:
    if live.has(watched):
        await _in_slices(live, watched, _timed(watched.engine.settle(clock())))


def _timed(steps: Iterator[list[AlertEvent]]) -> Iterator[list[AlertEvent]]:
    """Tell metrics how long each step takes, without what its taker does meanwhile."""
    begun = time.perf_counter()
    for events in steps:
        metrics.SETTLE.observe(time.perf_counter() - begun)
        yield events
        begun = time.perf_counter()


async def _in_slices(live: Live, watched: PartitionWatch, steps: Iterator[list[AlertEvent]]) -> None:
    """Tell what each step finds, and give the loop back now and then."""
    slices = Slices()
    for events in steps:
        live.tell(watched, events)
        if await slices.breathe():
            await live.outbox.room()
            if not live.has(watched):
                return


async def look(live: Live, reach: Reach, clock: Clock) -> None:
    """For ever: what the clock alone says, of partitions that are caught up; and whether all are."""
    for turn in count():
        live.keeper.pulse.beat()
        for held in list(live.held.values()):
            _count_broken(held.watched)
            _count_ignored(held)
            is_due = (turn + held.watched.partition[1]) % _OVERDUE_EVERY == 0
            if _look(held, reach) and is_due:
                # Not timed: asking is cheap and of everybody, it would bury the times of settling.
                await _in_slices(live, held.watched, held.watched.engine.overdue(clock()))
                if live.has(held.watched):
                    live.end_strays(held)
        if live.holds:
            _judge_pipeline(live, clock)
        await asyncio.sleep(_LOOK_S)


def _count_broken(watched: PartitionWatch) -> None:
    for name, times in watched.engine.take_failures().items():
        metrics.BROKEN.labels(name).inc(times)
        log.error("watch_detector_broken", detector=name, times=times)


def _count_ignored(held: Held) -> None:
    now = held.watched.engine.ignored
    metrics.IGNORED.labels("live").inc(now - held.ignored)
    held.ignored = now


def _look(held: Held, reach: Reach) -> bool:
    partition, before = held.watched.partition, held.lag.caught_up
    now = held.lag.look(
        time.monotonic(), held.watched.position, reach.highwater(partition), reach.answered_s(partition)
    )
    if now and not before:
        log.info("watch_caught_up", partition=partition[1])
    return now


def _judge_pipeline(live: Live, clock: Clock) -> None:
    now_s = time.monotonic()
    behind = {partition[1]: held.lag.behind_s(now_s) for partition, held in live.held.items()}
    metrics.BEHIND.set(sum(seconds > 0 for seconds in behind.values()))
    for event in live.pipeline.judge(behind, clock()):
        if event.cleared_at is None:
            log.warning("watch_behind", partitions=sorted(number for number, seconds in behind.items() if seconds))
        else:
            log.info("watch_behind_no_more")
        live.outbox.put([event])


async def keep(live: Live) -> None:
    """For ever: write states down."""
    while True:
        await live.keeper.pulse.sure()
        for held in list(live.held.values()):
            watched = held.watched
            is_ours = partial(live.has, watched)
            gone, held.gone = held.gone, []
            await live.keeper.write(watched, gone, is_ours)
            await live.keeper.keep(watched, is_ours, partial(live.pipeline.open_at, watched.partition[1]))
        await asyncio.sleep(_KEEP_S)
