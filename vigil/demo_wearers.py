"""The demo's people: some well, one getting worse, one whose sensor has come off. Each has a phone that pairs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from devices.simulator import Deterioration, Wearer, simulate, wearer
from ingest.client import AsyncGatewayClient, Gateway, GatewayError, RetryPolicy
from vitals.batch import SampleColumns
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S, system_clock
from vitals.quality import Context

_HISTORY_S: Final = 1_800
_STEP_S: Final = 1.0
_LOOSE: Final = 2
"""The third person's sensor comes off, so many seconds after the beginning:"""
_OFF_AFTER_S: Final = 10
_STEPS: Final = BY_CODE["steps"].number


_TRIES: Final = RetryPolicy(first_s=0.2, longest_s=0.5, give_up_s=30.0)
"""The gateway starts at the same time as they do."""
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Phone:
    """A person's phone: what it simulates, and its own client with its own token."""

    wearer: Wearer
    client: AsyncGatewayClient
    is_loose: bool


async def stream_wearers(
    gateway_url: str, tokens: Mapping[str, str], people: Sequence[Wearer], start_us: int, over: Callable[[], bool]
) -> None:
    """Send half an hour of history and then live data, second by second, until `over`. `tokens` are by patient."""
    off_us = start_us + _OFF_AFTER_S * US_PER_S
    async with AsyncExitStack() as stack:
        phones = [
            Phone(one, AsyncGatewayClient(Gateway(gateway_url, tokens[one.patient_id]), retry=_TRIES), number == _LOOSE)
            for number, one in enumerate(people)
        ]
        for phone in phones:
            await stack.enter_async_context(phone.client)
        turn = asyncio.Semaphore(_AT_ONCE)
        begins = [start_us - _HISTORY_S * US_PER_S] * len(phones)
        now_us = start_us
        while not over():
            sent = await asyncio.gather(
                *(_send(phone, begin, now_us, off_us, turn) for phone, begin in zip(phones, begins, strict=True))
            )
            # What did not arrive is sent again, a little longer: nothing is lost, nothing is stored twice.
            begins = [now_us if arrived else begin for begin, arrived in zip(begins, sent, strict=True)]
            await asyncio.sleep(_STEP_S)
            now_us = system_clock()


def wearers(count: int, start_us: int) -> Sequence[Wearer]:
    """Return the people; the second one is getting worse as the demo begins."""
    people = [wearer(seed, patient=f"demo-{seed:02d}", beats=False) for seed in range(1, count + 1)]
    if count > 1:
        worse = Deterioration(start_us - 15 * US_PER_S, rise_s=20.0, hold_s=120.0, recover_s=60.0)
        people[1] = replace(people[1], scenarios=(worse,))
    return people


async def _send(phone: Phone, start_us: int, end_us: int, off_us: int, turn: asyncio.Semaphore) -> bool:
    """Send one person's stretch and tell whether it arrived."""
    async with turn:
        samples = simulate(phone.wearer, start_us, end_us)
        if phone.is_loose:
            samples = _without_contact(samples, off_us)
        try:
            await phone.client.send(samples, device=phone.wearer.device_id, source_app="simulator")
        except GatewayError:
            return False
        return True


def _without_contact(samples: SampleColumns, off_us: int) -> SampleColumns:
    """Return what a watch tells whose sensor comes off at `off_us`: it goes on measuring, and says that it cannot."""
    worn = (samples.metric == _STEPS) | (samples.start_us < off_us)
    return replace(
        samples,
        quality=np.where(worn, samples.quality, 0).astype(np.float32),
        context=np.where(worn, samples.context, samples.context | int(Context.NO_CONTACT)).astype(np.int16),
    )
