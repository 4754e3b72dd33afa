"""A withdrawal, with real recorders on a real broker: what comes later is counted and stored nowhere.

Three ways lead to the recorders: live, records that already lie in the topic, and a spool that is drained afterwards.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psycopg
import pytest

from ingest.publisher import Publisher
from ingest.record import Record, encode
from ingest.spool import Arrival, Place, Spool
from ingest.topics import SAMPLES, SAMPLES_BACKFILL
from tests.services.topics import new_topic
from tests.timeseries.making import query
from timeseries.consent import Consents, Purpose
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.ports import HOST, free_port
from vitals.batch import BatchHeader, sample_columns
from vitals.clock import from_datetime, system_clock, to_datetime
from vitals.ids import device_id, patient_id

REPO = Path(__file__).resolve().parents[2]
SAMPLES_EACH = 4
WITHIN_S = 3.0
SCRIPT = """
import asyncio, sys
import stream.recorder_app as module
from stream.run import run_app
from timeseries.gate import GateReader
from timeseries.store import SampleStore

bootstrap, url, topic = sys.argv[1:]
module.GROUPS = {topic: topic}

async def main():
    policy = module.RecorderPolicy(max_records=50, within_s=0.05, session_s=3.0)
    async with SampleStore(url) as store, GateReader(url, strict=False, require_consent=True) as gate:
        app = module.recorder_app(bootstrap, store, topic=topic, policy=policy, gate=gate.current)
        await run_app(app)

asyncio.run(main())
"""


@dataclass
class Scene:
    """Two people with consent, a broker with both lanes, and what was sent of whom in which way."""

    bootstrap: str
    url: str
    live: str
    backfill: str
    folder: Path
    sent: dict[tuple[str, str], int] = field(default_factory=dict)
    last_us: int = 0

    def record(self, patient: str, way: str) -> Record:
        """The next samples of a patient; `way` is their source app."""
        self.sent[patient, way] = self.sent.get((patient, way), 0) + SAMPLES_EACH
        self.last_us = max(system_clock(), self.last_us) + SAMPLES_EACH
        start = self.last_us - np.arange(SAMPLES_EACH)[::-1]
        header = BatchHeader(patient_id(patient), device_id(f"of-{patient}"), way, "ble")
        columns = sample_columns(start, np.ones(SAMPLES_EACH, np.int16), np.full(SAMPLES_EACH, 60.0), received_us=start)
        return encode(header, columns)

    @contextmanager
    def recorder(self, topic: str) -> Iterator[None]:
        log = (self.folder / f"{topic}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, self.bootstrap, self.url, topic], cwd=REPO, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()
            log.close()

    def stored(self) -> dict[tuple[str, str], int]:
        found = query(
            self.url,
            "SELECT patient_id, source_app, count(*)::int FROM samples JOIN patients USING (patient_key) "
            "JOIN origins USING (origin_key) GROUP BY 1, 2",
        )
        return {(patient, way): count for patient, way, count in found}

    def counted(self) -> int:
        return int(query(self.url, "SELECT coalesce(sum(samples), 0)::int FROM not_consented")[0][0])

    async def until(self, settled: Callable[[], bool], timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not settled():
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-2_000:] for path in self.folder.glob("*.log"))
                pytest.fail(f"sent {self.sent}, stored {self.stored()}, counted {self.counted()}\n{logs}")
            await asyncio.sleep(0.1)


@pytest.fixture
async def scene(broker: EmbeddedBroker, database: str, tmp_path: Path) -> Scene:
    live, backfill = await new_topic(broker.bootstrap, 2), await new_topic(broker.bootstrap, 2)
    with psycopg.connect(database, autocommit=True) as connection:
        for patient in ("p1", "p2"):
            Consents(connection, "nurse-1").grant(patient, ["vital"], Purpose.CARE, document="c-1")
    return Scene(broker.bootstrap, database, live, backfill, tmp_path)


async def spool(scene: Scene, count: int) -> None:
    """Records that a bridge took while the broker was away."""
    async with Arrival(Publisher(f"{HOST}:{free_port()}", timeout_s=1), Spool(scene.folder / "spool")) as arrival:
        for _ in range(count):
            for patient in ("p1", "p2"):
                record = scene.record(patient, "spool")
                assert await arrival.accept(record, topic=SAMPLES, later=SAMPLES_BACKFILL) is Place.SPOOL


async def send(scene: Scene, publisher: Publisher, way: str, stop: asyncio.Event) -> None:
    while not stop.is_set():
        acks = [await publisher.send(scene.record(patient, way), topic=scene.live) for patient in ("p1", "p2")]
        await publisher.confirm(acks)
        await asyncio.sleep(0.02)


def withdraw(scene: Scene) -> int:
    with psycopg.connect(scene.url, autocommit=True) as connection:
        Consents(connection, "nurse-1").withdraw("p1", document="w-1")
    ((at,),) = query(scene.url, "SELECT max(withdrawn_at) FROM consents")
    return from_datetime(at)


async def drain(scene: Scene) -> None:
    """The bridge finds the broker again: its spool goes onto the backfill lane."""
    with Spool(scene.folder / "spool") as left:
        async with Publisher(scene.bootstrap) as publisher:
            for one in left.take(1_000):
                await publisher.confirm([await publisher.send(one.record, topic=scene.backfill)])


async def test_whatever_way_it_takes_nothing_gets_in_after_a_withdrawal(scene: Scene) -> None:
    await spool(scene, 20)
    async with Publisher(scene.bootstrap) as publisher:
        with scene.recorder(scene.live), scene.recorder(scene.backfill):
            before, after = asyncio.Event(), asyncio.Event()
            sending = asyncio.create_task(send(scene, publisher, "before", before))
            await scene.until(lambda: scene.stored().get(("p1", "before"), 0) > 0)
            withdrawn_us = withdraw(scene)  # in the middle of the stream
            await asyncio.sleep(WITHIN_S)  # the bar itself: what comes later than this is let in nowhere
            before.set()
            await sending
            sending = asyncio.create_task(send(scene, publisher, "after", after))
            await asyncio.sleep(2.0)
            after.set()
            await sending
            await drain(scene)
            total = sum(scene.sent.values())
            await scene.until(lambda: sum(scene.stored().values()) + scene.counted() == total)
    stored = scene.stored()
    assert ("p1", "after") not in stored
    assert ("p1", "spool") not in stored
    assert {way: stored["p2", way] for way in ("before", "after", "spool")} == {
        way: scene.sent["p2", way] for way in ("before", "after", "spool")
    }, "another patient's go on"
    ((last,),) = query(
        scene.url, "SELECT max(time) FROM samples JOIN patients USING (patient_key) WHERE patient_id = 'p1'"
    )
    late_s = (from_datetime(last) - withdrawn_us) / 1e6
    assert late_s < WITHIN_S, to_datetime(withdrawn_us)
    print(f"the last stored sample is {late_s:+.2f} s from the withdrawal")
    assert query(scene.url, "SELECT count(*) FROM quarantine") == [(0,)]


async def test_what_lies_in_the_topic_when_consent_is_withdrawn_is_counted_when_it_is_read(scene: Scene) -> None:
    async with Publisher(scene.bootstrap) as publisher:
        records = [scene.record(patient, "in-topic") for _ in range(100) for patient in ("p1", "p2")]
        await publisher.confirm([await publisher.send(one, topic=scene.live) for one in records])
    withdraw(scene)
    with scene.recorder(scene.live):
        await scene.until(lambda: sum(scene.stored().values()) + scene.counted() == sum(scene.sent.values()))
    assert scene.stored() == {("p2", "in-topic"): scene.sent["p2", "in-topic"]}
    assert query(scene.url, "SELECT adapter, metric_key, samples::int FROM not_consented") == [
        ("ble", 1, scene.sent["p1", "in-topic"])
    ]
