"""The demo's people: some well, one getting worse, one whose sensor has come off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from devices.simulator import Deterioration, Wearer, simulate, wearer
from ingest.publisher import BrokerUnreachable, Publisher
from vitals.batch import BatchHeader, SampleColumns
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S, system_clock
from vitals.quality import Context

_HISTORY_S: Final = 1_800
_STEP_S: Final = 1.0
_LOOSE: Final = 2
"""The third person's sensor comes off, so many seconds after the beginning:"""
_OFF_AFTER_S: Final = 10
_STEPS: Final = BY_CODE["steps"].number


async def stream_wearers(bootstrap_servers: str, count: int, over: Callable[[], bool]) -> None:
    """Send half an hour of history and then live data, second by second, until `over`."""
    start_us = system_clock()
    people, off_us = wearers(count, start_us), start_us + _OFF_AFTER_S * US_PER_S
    async with Publisher(bootstrap_servers) as publisher:
        await _send(publisher, people, start_us - _HISTORY_S * US_PER_S, start_us, off_us=off_us)
        sent_us = start_us
        while not over():
            await asyncio.sleep(_STEP_S)
            now_us = system_clock()
            try:
                await _send(publisher, people, sent_us, now_us, off_us=off_us)
            except BrokerUnreachable:
                continue  # the same stretch again, a little longer: nothing is lost, nothing is stored twice
            sent_us = now_us


def wearers(count: int, start_us: int) -> Sequence[Wearer]:
    """Return the people; the second one is getting worse as the demo begins."""
    people = [wearer(seed, patient=f"demo-{seed:02d}", beats=False) for seed in range(1, count + 1)]
    if count > 1:
        worse = Deterioration(start_us - 15 * US_PER_S, rise_s=20.0, hold_s=120.0, recover_s=60.0)
        people[1] = replace(people[1], scenarios=(worse,))
    return people


async def _send(publisher: Publisher, people: Sequence[Wearer], start_us: int, end_us: int, *, off_us: int) -> None:
    for number, one in enumerate(people):
        samples = simulate(one, start_us, end_us)
        if number == _LOOSE:
            samples = _without_contact(samples, off_us)
        if len(samples):
            header = BatchHeader(one.patient_id, one.device_id, "simulator", "simulator")
            await publisher.publish(header, samples)


def _without_contact(samples: SampleColumns, off_us: int) -> SampleColumns:
    """Return what a watch tells whose sensor comes off at `off_us`: it goes on measuring, and says that it cannot."""
    worn = (samples.metric == _STEPS) | (samples.start_us < off_us)
    return replace(
        samples,
        quality=np.where(worn, samples.quality, 0).astype(np.float32),
        context=np.where(worn, samples.context, samples.context | int(Context.NO_CONTACT)).astype(np.int16),
    )
