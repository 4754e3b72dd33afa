"""The watch as it runs: its own Faust app on a real broker, killed, rebalanced, cut off from its broker."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer

from ingest.admin import create_topics
from ingest.publisher import Publisher
from ingest.topics import ALERTS, SAMPLES, SAMPLES_BACKFILL
from stream.watch.log_end import offsets_since
from stream.watch.pipeline import PATIENT
from tests.services.kafka import ApacheKafka
from vigil.embedded.broker import EmbeddedBroker
from vigil.supervisor import Worker
from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.catalogue import BY_CODE
from vitals.ids import device_id, patient_id

HEADER = BatchHeader(patient_id("p1"), device_id("d1"), "app", "test")
S = 1_000_000


def _beats(start_us: int, values: list[float]) -> SampleColumns:
    number = np.full(len(values), BY_CODE["heart_rate"].number, np.int16)
    start = start_us + np.arange(len(values)) * S
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


async def _until(
    bootstrap: str, true: Callable[[list[dict[str, Any]]], bool], timeout_s: float = 40.0
) -> list[dict[str, Any]]:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = await _alerts(bootstrap, 0.5)
        if true(found):
            return found
    raise AssertionError(f"it did not happen; there is {Counter((one['rule'], one['state']) for one in found)}")


def _has(state: str, times: int = 1) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda found: sum(one["state"] == state for one in found) >= times


def _environment(bootstrap: str, **more: str) -> dict[str, str]:
    return {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "VIGIL_POLICY": "demo", "DATABASE_URL": "", **more}


def _each_once(found: list[dict[str, Any]]) -> bool:
    return set(Counter((one["alert_id"], one["state"]) for one in found).values()) == {1}


@pytest.mark.slow
async def test_killed_in_an_episode_it_tells_nothing_twice_and_still_clears(tmp_path: Path) -> None:
    with EmbeddedBroker(log=tmp_path / "broker.log") as broker:
        await create_topics(broker.bootstrap, partitions=2)
        begun_us = time.time_ns() // 1_000 - 120 * S
        worker = Worker("watch", ["watch"], _environment(broker.bootstrap), tmp_path)
        async with Publisher(broker.bootstrap) as publisher:
            with worker:
                await publisher.publish(HEADER, _beats(begun_us, [150.0] * 20))
                (raised,) = await _until(broker.bootstrap, _has("raised"))
                worker.kill()
            with worker:
                await publisher.publish(HEADER, _beats(begun_us + 20 * S, [150.0] * 20 + [80.0] * 20))
                await _until(broker.bootstrap, _has("cleared"))
        events = await _alerts(broker.bootstrap, 0.5)
    assert [(one["alert_id"], one["state"]) for one in events] == [
        (raised["alert_id"], "raised"), (raised["alert_id"], "cleared"),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(180)
async def test_two_share_the_work_and_one_that_leaves_leaves_nothing_behind(kafka: ApacheKafka, tmp_path: Path) -> None:
    """Also: what was open before the compacted topic was read is closed by whoever has it then."""
    await create_topics(kafka.bootstrap, partitions=4)
    run = uuid4().hex[:6]
    headers = [BatchHeader(patient_id(f"r{run}-{n}"), device_id("d1"), "app", "test") for n in range(12)]
    environment = _environment(kafka.bootstrap, VIGIL_WATCH_SNAPSHOT_S="2")
    one, other = (Worker(f"watch-{n}", ["watch"], environment, tmp_path) for n in (1, 2))
    begun_us = time.time_ns() // 1_000 - 120 * S

    def ours(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [event for event in found if event["patient_id"].startswith(f"r{run}-")]

    async def say(first: int, values: list[float]) -> None:
        async with Publisher(kafka.bootstrap) as publisher:
            for header in headers:
                await publisher.publish(header, _beats(begun_us + first * S, values))

    def tell(state: str) -> Callable[[list[dict[str, Any]]], bool]:
        return lambda found: (
            {event["patient_id"] for event in ours(found) if event["state"] == state}
            == {header.patient_id for header in headers}
        )

    with one:
        await say(0, [150.0] * 20)
        await _until(kafka.bootstrap, tell("raised"))
        with other:
            await _until_logged(tmp_path / "watch-2.log", "watch_restored")
            await say(20, [150.0] * 10)
        await say(30, [80.0] * 20)
        await _until(kafka.bootstrap, tell("cleared"))
    found = ours(await _alerts(kafka.bootstrap, 1.0))
    assert _each_once(found)
    assert len(found) == 2 * len(headers)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_an_outage_of_the_broker_is_one_alert_about_the_pipeline(kafka: ApacheKafka, tmp_path: Path) -> None:
    """Apache Kafka of its own: the log must be there again afterwards."""
    with ApacheKafka(tmp_path / "kafka") as own:
        await create_topics(own.bootstrap, partitions=2)
        begun_us = time.time_ns() // 1_000
        worker = Worker("watch", ["watch"], _environment(own.bootstrap, VIGIL_WATCH_BEHIND_S="5"), tmp_path)
        with worker:
            async with Publisher(own.bootstrap) as publisher:
                for n in range(5):
                    header = BatchHeader(patient_id(f"o{n}"), device_id("d1"), "app", "test")
                    await publisher.publish(header, _beats(begun_us - 60 * S, [150.0] * 20))
            await _until(own.bootstrap, _has("raised", 5))
            await _until_logged(tmp_path / "watch.log", "watch_caught_up")
            own.kill()
            await asyncio.sleep(9.0)  # the outage itself
            own.start()
            found = await _until(own.bootstrap, _has("cleared"), 90.0)
    assert Counter(one["patient_id"] for one in found if one["patient_id"] == PATIENT) == {PATIENT: 2}
    assert len(found) == 7
    assert _each_once(found)


async def _until_logged(log: Path, event: str, timeout_s: float = 40.0) -> None:
    deadline = time.monotonic() + timeout_s
    while event not in await asyncio.to_thread(log.read_text):
        assert time.monotonic() < deadline, f"no {event}"
        await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_history_is_for_review_only(tmp_path: Path) -> None:
    with EmbeddedBroker(log=tmp_path / "broker.log") as broker:
        await create_topics(broker.bootstrap, partitions=2)
        hours_ago_us = time.time_ns() // 1_000 - 5 * 3_600 * S
        with Worker("watch", ["watch"], _environment(broker.bootstrap), tmp_path):
            async with Publisher(broker.bootstrap) as publisher:
                values = [150.0] * 60 + [80.0] * 60
                await publisher.publish(HEADER, _beats(hours_ago_us, values), topic=SAMPLES_BACKFILL)
            found = await _until(broker.bootstrap, _has("cleared"))
    assert all(one["retrospective"] for one in found)
    assert _each_once(found)


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
