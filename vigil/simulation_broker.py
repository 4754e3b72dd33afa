"""Edge: simulated people onto the broker: live, at any speed, or a history all at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from devices.simulator import Stretch, Wearer, tell
from devices.simulator.post import deliver, in_order
from devices.simulator.simulate import LATENCY_US
from ingest.publisher import BrokerUnreachable, Publisher
from ingest.record import encode, split
from ingest.topics import WAVEFORMS
from ingest.waveform_record import encode_chunk
from vigil.simulation import ADAPTER, Ledger, Plan, chunks_of, pieces_of
from vitals.batch import BatchHeader
from vitals.clock import US_PER_S, Clock

_RECORD_SAMPLES: Final = 1_000
_AHEAD_US: Final = 60 * US_PER_S
_TICK_S: Final = 1.0


async def send_history(plan: Plan, broker: str, topic: str, ledger: Ledger, progressed: Callable[[], None]) -> None:
    """Send everything at once, wearer by wearer, each piece in the order in which its samples arrive.

    Raises `BrokerUnreachable`; sending it all again stores nothing twice.
    """
    async with Publisher(broker, linger_ms=20) as publisher:
        for who in plan.people:
            for start_us, end_us in pieces_of(plan):
                told = tell(who, start_us, end_us)
                acks = await _send(publisher, who, [in_order(one) for one in told.stretches], topic)
                acks += await _send_chunks(publisher, plan, who, start_us, end_us, ledger)
                await publisher.confirm(acks)
                ledger.note(who, told.counts, end_us)
                ledger.samples += told.samples
                progressed()


@dataclass(slots=True)
class _Line:
    """One wearer, live: what was told and has not arrived, and how far they are made and sent."""

    who: Wearer
    made_us: int
    sent_us: int
    waiting: list[Stretch] = field(default_factory=list)


async def send_live(
    plan: Plan, broker: str, topic: str, speed: float, ledger: Ledger, clock: Clock, progressed: Callable[[float], None]
) -> None:
    """Send each sample when it arrives, on a clock that runs `speed` times as fast as ours from the plan's start.

    Ends with the plan, once the last stray sample has arrived, or in good order on Ctrl-C: the ledger then is that of
    what was sent. While the broker is away samples wait, and are sent when it is back.
    """
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    lines = [_Line(who, plan.start_us, plan.start_us) for who in plan.people]
    began_us = clock()
    async with Publisher(broker, linger_ms=20) as publisher:
        while not over.is_set():
            now_us = plan.start_us + round((clock() - began_us) * speed)
            for place, line in enumerate(lines):
                _make(plan, line, now_us, speed, place / len(lines), ledger)
                await _catch_up(publisher, plan, line, now_us, topic, ledger)
            progressed(min(1.0, (now_us - plan.start_us) / max(plan.end_us - plan.start_us, 1)))
            if all(line.sent_us >= plan.end_us and not line.waiting for line in lines):
                return
            await _pause(over)
    for line in lines:
        ledger.cut(plan, line.who, line.sent_us)


def _make(plan: Plan, line: _Line, now_us: int, speed: float, stagger: float, ledger: Ledger) -> None:
    """Make a wearer's next stretch where the last one runs out; the first ones end at different times, to share out."""
    while line.made_us < min(now_us, plan.end_us):
        first = line.made_us == plan.start_us
        ahead_us = round(_AHEAD_US * max(1.0, speed) * (1.0 + (stagger if first else 0.0)))
        end_us = min(line.made_us + ahead_us, plan.end_us)
        told = tell(line.who, line.made_us, end_us)
        ledger.note(line.who, told.counts, end_us)
        line.waiting += told.stretches
        line.made_us = end_us


async def _catch_up(publisher: Publisher, plan: Plan, line: _Line, now_us: int, topic: str, ledger: Ledger) -> None:
    arrived, waiting = deliver(line.waiting, now_us)
    until_us = max(line.sent_us, min(now_us - LATENCY_US, plan.end_us))
    chunks = ledger.chunks
    try:
        acks = await _send(publisher, line.who, arrived, topic)
        acks += await _send_chunks(publisher, plan, line.who, line.sent_us, until_us, ledger)
        await publisher.confirm(acks)
    except BrokerUnreachable:
        ledger.chunks = chunks
        return  # the same again a second later: nothing is lost, nothing is stored twice
    line.waiting, line.sent_us = waiting, until_us
    ledger.samples += sum(len(one.samples) for one in arrived)


async def _send(publisher: Publisher, who: Wearer, told: list[Stretch], topic: str) -> list[asyncio.Future[Any]]:
    headers = [BatchHeader(who.patient_id, one.device_id, ADAPTER, ADAPTER) for one in told]
    return [
        await publisher.send(encode(header, piece), topic=topic)
        for header, one in zip(headers, told, strict=True)
        for piece in split(one.samples, _RECORD_SAMPLES)
    ]


async def _send_chunks(
    publisher: Publisher, plan: Plan, who: Wearer, start_us: int, end_us: int, ledger: Ledger
) -> list[asyncio.Future[Any]]:
    header = BatchHeader(who.patient_id, who.device_id, ADAPTER, ADAPTER)
    chunks = chunks_of(who, plan.waveforms, start_us, end_us) if plan.waveforms else []
    acks = [await publisher.send(encode_chunk(header, chunk), topic=WAVEFORMS) for chunk in chunks]
    ledger.chunks += len(acks)
    return acks


async def _pause(over: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_TICK_S):
            await over.wait()
    except TimeoutError:
        return
