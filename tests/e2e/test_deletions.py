"""Deletions by sample id through the services: told before or after its sample, in thousands, by whomever."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import numpy as np
import pytest

from ingest.deletion_record import encode_deletions
from ingest.publisher import Publisher
from ingest.record import Record, encode
from ingest.topics import DELETIONS, SAMPLES, SAMPLES_BACKFILL
from stream import deleter
from tests.e2e.conftest import Stack
from timeseries.deletion_store import DeletionStore
from timeseries.rollup import refresh
from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.catalogue import BY_CODE
from vitals.ids import device_id, patient_id

S = 1_000_000
HEART = BY_CODE["heart_rate"].number


@pytest.fixture
async def deleting(stack: Stack) -> AsyncIterator[Publisher]:
    """The deleter beside those that the services run, if any: the two share the work as members of one group."""
    async with DeletionStore(stack.url) as store, Publisher(stack.bootstrap) as publisher:
        running = asyncio.create_task(deleter.run(stack.bootstrap, store, session_timeout_ms=6_000))
        try:
            yield publisher
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


def header(patient: str) -> BatchHeader:
    return BatchHeader(patient_id(patient), device_id(f"watch-{patient}"), "vigil-ios", "gateway", None, "req-1")


def beats(ids: list[UUID], start_us: int, *, written_us: int) -> SampleColumns:
    at = start_us + np.arange(len(ids)) * S
    return sample_columns(
        at, np.full(len(ids), HEART, np.int16), 60 + np.arange(len(ids), dtype=np.float64) % 40,
        received_us=np.maximum(at, written_us), written_us=written_us, sample_id=raw(ids),
    )  # fmt: skip


def raw(ids: list[UUID]) -> np.ndarray:
    return np.frombuffer(b"".join(one.bytes for one in ids), np.uint8).reshape(-1, 16)


def deletion(patient: str, ids: list[UUID], told_us: int) -> Record:
    return encode_deletions(header(patient), raw(ids), told_us=told_us, received_us=told_us)


async def send(publisher: Publisher, record: Record, topic: str) -> None:
    await publisher.confirm([await publisher.send(record, topic=topic)])


def shown(stack: Stack, patient: str) -> int:
    return stack.count("SELECT count(*) FROM current_samples WHERE patient_id = %s", patient)


def settled(stack: Stack, patient: str) -> dict[str, int]:
    return dict(
        stack.rows(
            "SELECT coalesce(outcome, 'open'), count(*) FROM deletions_told JOIN patients USING (patient_key) "
            "WHERE patient_id = %s GROUP BY 1",
            patient,
        )
    )


async def wait(stack: Stack, patient: str, samples: int, outcomes: dict[str, int]) -> None:
    deadline = time.monotonic() + 60
    while (found := (shown(stack, patient), settled(stack, patient))) != (samples, outcomes):
        assert time.monotonic() < deadline, f"{found} and not {(samples, outcomes)}: {stack.logs()}"
        await asyncio.sleep(0.1)


async def test_what_a_phone_deletes_is_gone_whichever_came_first(stack: Stack, deleting: Publisher) -> None:
    now = time.time_ns() // 1_000
    live, old, early = [uuid4() for _ in range(10)], [uuid4() for _ in range(20)], [uuid4() for _ in range(5)]
    me, other = "deletes", "keeps"
    await send(deleting, deletion(me, early, now), DELETIONS)
    start = now // (60 * S) * 60 * S - 60 * S
    await send(deleting, encode(header(me), beats(live, start, written_us=now - S)), SAMPLES)
    history = beats(old, start - 86_400 * S, written_us=now - S)
    await send(deleting, encode(header(me), history), SAMPLES_BACKFILL)
    await send(deleting, encode(header(other), beats(live, start, written_us=now - S)), SAMPLES)
    await wait(stack, me, 30, {"open": 5})
    refresh(stack.url)
    told = deletion(me, [*live[:4], *old[10:]], now)
    for _ in range(2):
        await send(deleting, told, DELETIONS)
    await wait(stack, me, 16, {"open": 5, "done": 14})
    await send(deleting, encode(header(me), beats(early, start - 600 * S, written_us=now - S)), SAMPLES_BACKFILL)
    await wait(stack, me, 16, {"done": 19})
    assert shown(stack, other) == 10
    refresh(stack.url)
    ((count,),) = stack.rows("SELECT sum(n) FROM vitals_1m JOIN patients USING (patient_key) WHERE patient_id = %s", me)
    assert count == 16


async def test_five_thousand_ids_in_one_record(stack: Stack, deleting: Publisher) -> None:
    now = time.time_ns() // 1_000
    ids = [uuid4() for _ in range(5_000)]
    start = now - 20 * 86_400 * S
    await send(deleting, deletion("many", ids, now), DELETIONS)
    for first in range(0, 5_000, 1_000):
        batch = beats(ids[first : first + 1_000], start + first * S, written_us=now - S)
        await send(deleting, encode(header("many"), batch), SAMPLES_BACKFILL)
    await wait(stack, "many", 0, {"done": 5_000})
    rejected = 'SELECT count(*) FROM quarantine JOIN quarantine_records USING (topic, partition, epoch, "offset") '
    assert stack.count(rejected + "WHERE patient_id = 'many'") == 0
