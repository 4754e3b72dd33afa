"""Recorders as processes: bounded memory before a database that takes nothing; a broker killed as partitions move."""

import asyncio
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import numpy as np
import psutil
import pytest

from ingest.admin import create_topics
from ingest.publisher import Publisher
from ingest.record import encode
from ingest.topics import SAMPLES
from tests.faults.proxy import Proxy
from tests.services.kafka import ApacheKafka
from tests.services.topics import new_topic
from tests.stream.test_recorder_app import PARTITIONS, Scene, Sender, found, until_stored
from tests.timeseries.making import query
from vigil.embedded.broker import EmbeddedBroker
from vigil.supervisor import Worker
from vitals.batch import BatchHeader, sample_columns
from vitals.ids import device_id, patient_id

RECORDS, A_RECORD = 10_000, 100
MOST_MB = 300


class Resident:
    """Looks at a process's resident memory ten times a second, as a context manager; `most_mb` is the most of it."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.most_mb = 0.0

    async def __aenter__(self) -> "Resident":
        self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            self.most_mb = max(self.most_mb, self._process.memory_info().rss / 2**20)
            await asyncio.sleep(0.1)


async def _publish(bootstrap: str) -> None:
    now_us = time.time_ns() // 1_000
    values = 60 + np.random.default_rng(1).normal(0, 5, A_RECORD)
    async with Publisher(bootstrap, linger_ms=20) as publisher:
        sent = []
        for n in range(RECORDS):
            header = BatchHeader(patient_id(f"p{n % 50}"), device_id("d1"), "app", "ble")
            start = now_us - (RECORDS - n) * A_RECORD * 1_000_000 + np.arange(A_RECORD) * 1_000_000
            made = sample_columns(start, np.ones(A_RECORD, np.int16), values, received_us=now_us)
            sent.append(await publisher.send(encode(header, made), topic=SAMPLES))
        await publisher.confirm(sent)


async def _until(url: str, statement: str, wanted: Callable[[int], bool], timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not wanted((await asyncio.to_thread(query, url, statement))[0][0]):  # noqa: ASYNC110 - PostgreSQL knows
            await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_memory_is_bounded_before_a_frozen_and_a_slow_database(proxy: Proxy, url: str, tmp_path: Path) -> None:
    """A million samples wait at the broker; the recorder holds a few batches of them, however long it takes."""
    taken = "SELECT coalesce(sum(next_offset), 0)::int FROM watermarks"
    with EmbeddedBroker(log=tmp_path / "broker.log") as broker:
        await create_topics(broker.bootstrap, partitions=PARTITIONS)
        await _publish(broker.bootstrap)
        settings = {"DATABASE_URL": proxy.url, "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap, "VIGIL_SESSION_S": "3"}
        with Worker("recorder", ["recorder"], settings, tmp_path) as worker:
            assert worker.pid is not None
            async with Resident(worker.pid) as resident:
                await _until(url, taken, lambda offset: offset > 0)
                proxy.freeze()
                await asyncio.sleep(3.0)
                assert query(url, taken)[0][0] < RECORDS / 2, "the rest waits at the broker"
                proxy.delay_s = 0.02
                proxy.thaw()
                await asyncio.sleep(1.5)
                proxy.delay_s = 0.0
                await _until(url, taken, lambda offset: offset == RECORDS)
            assert worker.pid is not None, "the same process all along"
    assert query(url, "SELECT count(*) FROM samples") == [(RECORDS * A_RECORD,)]
    assert query(url, "SELECT count(*) FROM quarantine") == [(0,)]
    print(f"at most {resident.most_mb:.0f} MB")
    assert 50 < resident.most_mb < MOST_MB


@pytest.mark.slow
@pytest.mark.kafka
async def test_a_broker_killed_while_partitions_move(kafka: ApacheKafka, url: str, tmp_path: Path) -> None:
    """Data flow; a second worker joins, the broker dies at some moment of that, then the first worker leaves."""
    seed = int(os.environ.get("VIGIL_TEST_SEED", uuid4().int % 10**6))
    print(f"VIGIL_TEST_SEED={seed}")
    scene = Scene(kafka.bootstrap, await new_topic(kafka.bootstrap, PARTITIONS), url, tmp_path)
    sender = Sender(kafka.bootstrap, scene.topic, seed)
    sending = asyncio.create_task(sender.run())
    try:
        first = scene.work()
        await _more_stored(scene)
        second = scene.work()
        await asyncio.sleep(4.0 * random.Random(seed).random())  # starting, joining, or done with it
        kafka.kill()
        await asyncio.to_thread(kafka.start)
        await _more_stored(scene)
        assert await asyncio.to_thread(first.stop) == 0
        await _more_stored(scene)
        sender.stop()
        await sending
        await until_stored(sender.ledger, url, [second], 60)
        assert second.stop() == 0
        assert found(url) == sender.ledger
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        for worker in scene.workers:
            worker.kill()
        print(scene.logs())


async def _more_stored(scene: Scene) -> None:
    """Wait until more is stored than now; start a worker again that ended, as a supervisor does."""
    count = "SELECT count(*) FROM samples"
    ((now,),) = query(scene.url, count)
    async with asyncio.timeout(60):
        while query(scene.url, count)[0][0] < now + 100:
            for worker in scene.workers:
                worker.keep_alive()
            await asyncio.sleep(0.1)
