"""The watch as it runs: its own Faust app on a real broker, killed in the middle of an episode."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer

from ingest.admin import create_topics
from ingest.publisher import Publisher
from ingest.topics import ALERTS, SAMPLES
from stream.watch_app import offsets_since
from vigil.embedded.broker import EmbeddedBroker
from vigil.supervisor import Worker
from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.catalogue import BY_CODE
from vitals.ids import device_id, patient_id

HEADER = BatchHeader(patient_id("p1"), device_id("d1"), "app", "test")


def _beats(start_us: int, values: list[float]) -> SampleColumns:
    number = np.full(len(values), BY_CODE["heart_rate"].number, np.int16)
    start = start_us + np.arange(len(values)) * 1_000_000
    return sample_columns(start, number, np.array(values), received_us=start + 200_000)


async def _alerts(bootstrap: str, wait_s: float) -> list[dict[str, Any]]:
    """Every event on the alert topic, once none came for `wait_s`."""
    async with AIOKafkaConsumer(
        ALERTS, bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    ) as consumer:
        found: list[dict[str, Any]] = []
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < wait_s:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [json.loads(record.value) for record in records]
                quiet_since = time.monotonic()
        return found


async def _until_some(bootstrap: str, timeout_s: float = 30.0) -> list[dict[str, Any]]:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = await _alerts(bootstrap, 0.5)
        if found:
            return found
    raise AssertionError("the watch raised nothing")


@pytest.mark.slow
async def test_killed_in_an_episode_it_raises_nothing_anew_and_still_clears(tmp_path: Path) -> None:
    with EmbeddedBroker(log=tmp_path / "broker.log") as broker:
        await create_topics(broker.bootstrap, partitions=2)
        environment = {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap, "VIGIL_POLICY": "demo"}
        begun_us = time.time_ns() // 1_000 - 120_000_000
        worker = Worker("watch", ["watch"], environment, tmp_path)
        async with Publisher(broker.bootstrap) as publisher:
            with worker:
                await publisher.publish(HEADER, _beats(begun_us, [150.0] * 20))
                (raised,) = await _until_some(broker.bootstrap)
                worker.kill()
            with worker:
                await publisher.publish(HEADER, _beats(begun_us + 20_000_000, [150.0] * 20 + [80.0] * 20))
                await _until_cleared(broker.bootstrap)
        events = await _alerts(broker.bootstrap, 0.5)
    assert {event["alert_id"] for event in events} == {raised["alert_id"]}
    assert events[-1]["state"] == "cleared"


async def _until_cleared(bootstrap: str, timeout_s: float = 40.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not any(event["state"] == "cleared" for event in await _alerts(bootstrap, 0.5)):
        assert time.monotonic() < deadline, "the episode was not cleared"


async def test_offsets_since_finds_the_first_young_record(broker: EmbeddedBroker, tmp_path: Path) -> None:
    await create_topics(broker.bootstrap, partitions=2)
    async with Publisher(broker.bootstrap) as publisher:
        await publisher.publish(HEADER, _beats(time.time_ns() // 1_000, [70.0]))
    partitions = [(SAMPLES, 0), (SAMPLES, 1)]
    since = await offsets_since(broker.bootstrap, partitions, 0)
    assert since == {(SAMPLES, 0): 0, (SAMPLES, 1): 0}
    await asyncio.sleep(0.01)
    later = await offsets_since(broker.bootstrap, partitions, time.time_ns() // 1_000_000 - 60_000)
    assert set(later) == set(partitions)
