"""Edge: several devices of one patient, each on a link of its own, in one process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from ingest.ble.courier import Courier, WayIn
from ingest.ble.finder import Finder
from ingest.ble.link import Link
from ingest.ble.memory import Memory
from ingest.ble.policy import LinkPolicy
from ingest.ble.session import Parts, Wearable
from ingest.ble.telling import Event, Teller
from vitals.batch import BatchHeader
from vitals.clock import Clock, system_clock
from vitals.ids import PatientId

ADAPTER: Final = "ble"
SOURCE_APP: Final = "vigil-bridge"
_FINISH_S: Final = 10.0


async def bridge(
    wearables: Sequence[Wearable],
    patient: PatientId,
    way_in: WayIn,
    *,
    policy: LinkPolicy,
    finder: Finder | None = None,
    clock: Clock = system_clock,
) -> None:
    """Bridge devices until cancelled; then every device is left in good order and what was heard is delivered."""
    hush()
    finder = finder or Finder()
    desks = [_parts(one, patient, way_in, finder, policy, clock) for one in wearables]
    links = _started(*(Link(desk).run() for desk in desks))
    couriers = _started(*(desk.courier.run() for desk in desks))
    finding = _started(finder.run())
    try:
        # Not gather: it would cancel them all when it is cancelled, and those that say goodbye a second time below.
        done, _ = await asyncio.wait([*links, *couriers, *finding], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for tasks in (links, finding, couriers):
            await _ended(tasks)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FINISH_S):
                await asyncio.gather(*(desk.courier.finish() for desk in desks))
        for desk in desks:
            desk.teller.tell(Event.STOPPED)


def hush() -> None:
    """Silence the libraries' own logs: their lines have device paths in them, and so addresses."""
    for name in ("bleak", "dbus_fast"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _parts(
    wearable: Wearable, patient: PatientId, way_in: WayIn, finder: Finder, policy: LinkPolicy, clock: Clock
) -> Parts:
    header = BatchHeader(patient, wearable.device_id, SOURCE_APP, ADAPTER)
    teller, memory = Teller(wearable.device_id), Memory(policy)
    courier = Courier(header, way_in, teller, policy=policy.batch, clock=clock, on_safe=memory.safe)
    return Parts(wearable, finder, courier, teller, memory, policy)


def _started(*work: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(one) for one in work]


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
