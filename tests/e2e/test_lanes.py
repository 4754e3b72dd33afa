"""History never stands before a heartbeat: a long import on the backfill lane, live samples beside it."""

import asyncio
import time

import numpy as np
import psycopg
import pytest

from ingest.publisher import Publisher
from ingest.record import encode
from ingest.topics import SAMPLES_BACKFILL
from tests.e2e.conftest import Stack
from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.catalogue import BY_CODE
from vitals.ids import device_id, patient_id

HEART_RATE = BY_CODE["heart_rate"].number
IMPORTED = 1_500_000
A_RECORD = 1_000


def _history(first: int, count: int, start_us: int) -> SampleColumns:
    start = start_us + np.arange(first, first + count) * 1_000_000
    values = (60 + np.arange(count) % 30).astype(np.float64)
    return sample_columns(start, np.full(count, HEART_RATE, np.int16), values, received_us=time.time_ns() // 1_000)


@pytest.mark.slow
async def test_a_long_import_delays_nobodys_live_data(stack: Stack) -> None:
    importer = BatchHeader(patient_id("long-import"), device_id("phone"), "app", "test")
    start_us = time.time_ns() // 1_000 - 4 * IMPORTED * 1_000_000
    history = [encode(importer, _history(first, A_RECORD, start_us)) for first in range(0, IMPORTED, A_RECORD)]
    waits_s: list[float] = []
    during = 0
    async with (
        Publisher(stack.bootstrap, linger_ms=20) as publisher,
        await psycopg.AsyncConnection.connect(stack.url, autocommit=True) as connection,
    ):
        await _live(publisher, connection, 99)  # the recorder has its partitions now
        await publisher.confirm([await publisher.send(record, topic=SAMPLES_BACKFILL) for record in history])
        for number in range(15):
            waits_s.append(await _live(publisher, connection, number))
            during += await _imported(connection) < IMPORTED
            await asyncio.sleep(0.05)
    assert during >= 5, f"the import was over too soon to tell anything ({during})"
    assert max(waits_s[:during]) < 3.0, waits_s
    query = "SELECT count(*) FROM current_samples WHERE patient_id = 'long-import'"
    stack.wait(lambda: stack.count(query) == IMPORTED, "the import", timeout_s=60)


async def _live(publisher: Publisher, connection: psycopg.AsyncConnection[tuple[object, ...]], number: int) -> float:
    """Send one live sample of somebody else; return the seconds until it is stored."""
    patient = f"live-{number}"
    now_us = time.time_ns() // 1_000
    sample = sample_columns(np.array([now_us]), np.array([HEART_RATE], np.int16), np.array([70.0]), received_us=now_us)
    begun = time.monotonic()
    await publisher.publish(BatchHeader(patient_id(patient), device_id(patient), "app", "test"), sample)
    query = "SELECT count(*) FROM latest JOIN patients USING (patient_key) WHERE patient_id = %s"
    while time.monotonic() - begun < 20:
        row = await (await connection.execute(query, (patient,))).fetchone()
        if row is not None and row[0]:
            break
        await asyncio.sleep(0.02)
    return time.monotonic() - begun


async def _imported(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> int:
    query = (
        """SELECT count(*)::int FROM samples s JOIN patients p USING (patient_key) WHERE p.patient_id = 'long-import'"""
    )
    row = await (await connection.execute(query)).fetchone()
    assert row is not None
    return int(str(row[0]))
