"""The recorder as a process, on both brokers, against PostgreSQL: killed at random it neither loses nor doubles."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import numpy as np
import psycopg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ingest.publisher import Publisher
from ingest.record import Record, encode
from tests.services.kafka import ApacheKafka
from tests.services.topics import new_topic
from tests.timeseries.making import query
from timeseries.migrate import migrate
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.postgres import EmbeddedPostgres
from vitals.batch import BatchHeader, sample_columns
from vitals.ids import device_id, patient_id

REPO = Path(__file__).resolve().parents[2]
T0 = 1_717_243_200_000_000
PARTITIONS = 4
SAMPLES = 5
SCRIPT = """
import asyncio, sys
import stream.recorder_app as module
from stream.run import run_app
from timeseries.store import SampleStore

bootstrap, url, topic, session_s = sys.argv[1:]
module.GROUPS = {topic: topic}

async def main():
    policy = module.RecorderPolicy(max_records=30, within_s=0.05, session_s=float(session_s))
    async with SampleStore(url) as store:
        await run_app(module.recorder_app(bootstrap, store, topic=topic, policy=policy))

asyncio.run(main())
"""


class Worker:
    """A recorder in a process of its own; started again, as a supervisor would, where it ended by itself."""

    def __init__(self, bootstrap: str, url: str, topic: str, log: Path, session_s: float = 6.0) -> None:
        self._command = [sys.executable, "-c", SCRIPT, bootstrap, url, topic, str(session_s)]
        self._log = log
        self._wanted = False
        self.start()

    def start(self) -> None:
        self._wanted = True
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=REPO, stdout=log, stderr=log)

    def keep_alive(self) -> None:
        if self._wanted and self._process.poll() is not None:
            self.start()

    def kill(self) -> None:
        """SIGKILL: no handler, no farewell to the broker, no rollback of its own."""
        self._wanted = False
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        self._wanted = False
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@dataclass
class Ledger:
    """What was sent, as the sender knows it."""

    samples: dict[tuple[str, int], float] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    resent: int = 0


class Sender:
    """Sends records without end: good ones, some again, some with an impossible sample, some that cannot be opened."""

    def __init__(self, bootstrap: str, topic: str, seed: int) -> None:
        self.ledger = Ledger()
        self._bootstrap, self._topic = bootstrap, topic
        self._random = random.Random(seed)
        self._sent = 0
        self._stop = asyncio.Event()

    async def run(self, pause_s: float = 0.02) -> None:
        async with Publisher(self._bootstrap) as publisher:
            while not self._stop.is_set():
                await self._send(publisher)
                await asyncio.sleep(pause_s)

    def stop(self) -> None:
        self._stop.set()

    async def send(self, count: int) -> None:
        async with Publisher(self._bootstrap) as publisher:
            for _ in range(count):
                await self._send(publisher)

    async def _send(self, publisher: Publisher) -> None:
        n, self._sent = self._sent, self._sent + 1
        patient = f"p{n % 7}"
        header = BatchHeader(patient_id(patient), device_id(f"d{n % 3}"), "app", "ble")
        start = T0 + (n * SAMPLES + np.arange(SAMPLES)) * 1_000_000
        value = np.float64(60) + (n + np.arange(SAMPLES)) % 50
        kind = self._random.choice(["good"] * 8 + ["again", "impossible", "poison"])
        if kind == "impossible":
            value[2] = 999
            self.ledger.reasons["out_of_range"] += 1
        record = encode(header, sample_columns(start, np.ones(SAMPLES, np.int16), value, received_us=start))
        if kind == "poison":
            record = Record(record.key, b"rubbish", record.headers)
            self.ledger.reasons["undecodable"] += 1
        else:
            told = {(patient, int(t)): float(v) for t, v in zip(start, value, strict=True) if v < 300}
            self.ledger.samples |= told
        for _ in range(2 if kind == "again" else 1):
            await publisher.confirm([await publisher.send(record, topic=self._topic)])
        self.ledger.resent += SAMPLES * (kind == "again")


def found(url: str) -> Ledger:
    """The same, as the database has it. Every sample stands there once, or the count would differ from the dict's."""
    rows = query(
        url,
        "SELECT patient_id, (extract(epoch FROM time) * 1000000)::bigint, value "
        "FROM samples JOIN patients USING (patient_key)",
    )
    samples = {(patient, int(time_us)): float(value) for patient, time_us, value in rows}
    assert len(rows) == len(samples), "a sample is stored twice"
    return Ledger(
        samples,
        Counter(dict(query(url, "SELECT reason, count(*)::int FROM quarantine GROUP BY 1"))),
        int(query(url, "SELECT coalesce(sum(samples), 0)::int FROM duplicates WHERE reason <> 'redelivered'")[0][0]),
    )


async def until_stored(ledger: Ledger, url: str, workers: list[Worker], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while found(url) != ledger:
        for worker in workers:
            worker.keep_alive()
        if time.monotonic() > deadline:
            stored = found(url)
            missing = len(ledger.samples.keys() - stored.samples.keys())
            pytest.fail(
                f"{missing} of {len(ledger.samples)} samples missing, "
                f"quarantine {stored.reasons} for {ledger.reasons}, duplicates {stored.resent} for {ledger.resent}; "
                f"watermarks {query(url, 'SELECT * FROM watermarks')}"
            )
        await asyncio.sleep(0.1)


@dataclass
class Scene:
    """A broker with a topic, a database of its own, and the workers between them."""

    bootstrap: str
    topic: str
    url: str
    folder: Path
    session_s: float = 6.0  # Apache Kafka takes no shorter one; Tansu holds every join for half of it
    workers: list[Worker] = field(default_factory=list)

    def work(self) -> Worker:
        log = self.folder / f"worker{len(self.workers)}.log"
        self.workers.append(Worker(self.bootstrap, self.url, self.topic, log, self.session_s))
        return self.workers[-1]

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3_000:]}" for path in sorted(self.folder.glob("*.log")))


@pytest.fixture(params=["tansu", pytest.param("kafka", marks=pytest.mark.kafka)])
def bootstrap(request: pytest.FixtureRequest) -> str:
    server: EmbeddedBroker | ApacheKafka = request.getfixturevalue("broker" if request.param == "tansu" else "kafka")
    return server.bootstrap


@pytest.fixture
async def scene(bootstrap: str, database: str, tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(bootstrap, await new_topic(bootstrap, PARTITIONS), database, tmp_path)
    try:
        yield made
    finally:
        for worker in made.workers:
            worker.kill()
        print(made.logs())


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    with tempfile.TemporaryDirectory(prefix="vigil-app-") as folder, EmbeddedPostgres(Path(folder) / "data") as server:
        yield server


async def test_records_are_stored_once_and_the_worker_ends_in_good_order(scene: Scene) -> None:
    sender = Sender(scene.bootstrap, scene.topic, seed=1)
    await sender.send(150)
    worker = scene.work()
    await until_stored(sender.ledger, scene.url, [worker])
    await sender.send(50)
    await until_stored(sender.ledger, scene.url, [worker])
    marks = query(scene.url, "SELECT sum(next_offset)::int, max(epoch) FROM watermarks")
    assert marks == [(200 + sender.ledger.resent // SAMPLES, 0)]
    assert worker.stop() == 0
    assert found(scene.url) == sender.ledger


@pytest.mark.slow
async def test_two_workers_killed_at_random_and_a_database_killed_under_them(
    bootstrap: str, own_postgres: EmbeddedPostgres, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """One stream: workers are killed three times, also while both share the partitions, the database once."""
    seed = int(os.environ.get("VIGIL_TEST_SEED", uuid4().int % 10**6))
    print(f"VIGIL_TEST_SEED={seed}")
    draw = random.Random(seed)
    migrate(own_postgres.url)
    session_s = 6 if "kafka" in request.node.callspec.id else 3
    scene = Scene(bootstrap, await new_topic(bootstrap, PARTITIONS), own_postgres.url, tmp_path, session_s)
    sender = Sender(bootstrap, scene.topic, seed)
    sending = asyncio.ensure_future(sender.run())
    try:
        first, second = scene.work(), scene.work()
        await _progress(scene)
        await asyncio.sleep(draw.random())
        first.kill()
        await _progress(scene)  # the survivor takes over
        own_postgres.kill()
        await asyncio.sleep(0.5 + draw.random())
        own_postgres.start()
        await _progress(scene)
        first.start()
        await asyncio.sleep(draw.random() * session_s)  # at some instruction of joining
        second.kill()
        await _progress(scene)
        await asyncio.sleep(draw.random())
        first.kill()
        second.start()
        first.start()
        sender.stop()
        await sending
        await until_stored(sender.ledger, scene.url, scene.workers, 90)
        assert [worker.stop() for worker in scene.workers] == [0, 0]
        assert found(scene.url) == sender.ledger
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        for worker in scene.workers:
            worker.kill()
        print(scene.logs())


async def _progress(scene: Scene, samples: int = 100, timeout_s: float = 60.0) -> None:
    """Wait until that many more samples are stored."""
    deadline = time.monotonic() + timeout_s
    wanted: int | None = None
    while time.monotonic() < deadline:
        for worker in scene.workers:
            worker.keep_alive()
        with suppress(psycopg.Error):
            ((count,),) = query(scene.url, "SELECT count(*) FROM samples")
            wanted = count + samples if wanted is None else wanted
            if count >= wanted:
                return
        await asyncio.sleep(0.1)
    pytest.fail(f"no progress in {timeout_s} s")


@pytest.mark.slow
async def test_a_broker_that_lost_its_log_is_recorded_from_its_new_beginning(database: str, tmp_path: Path) -> None:
    """Tansu keeps nothing over a restart: offsets begin at 0 again, far below the watermark, under a living worker."""
    with EmbeddedBroker() as own:
        topic = await new_topic(own.bootstrap, 1)
        scene = Scene(own.bootstrap, topic, database, tmp_path, session_s=2)
        sender = Sender(own.bootstrap, topic, seed=4)
        try:
            await sender.send(120)
            worker = scene.work()
            await until_stored(sender.ledger, database, [worker])
            own.kill()
            own.start()
            admin = AIOKafkaAdminClient(bootstrap_servers=own.bootstrap)
            await admin.start()
            await admin.create_topics([NewTopic(topic, 1, 1)])
            await admin.close()
            await sender.send(30)
            for _ in range(30):  # live traffic goes on
                await sender.send(1)
                with suppress(AssertionError):
                    if found(database) == sender.ledger:
                        break
                await asyncio.sleep(1)
            await until_stored(sender.ledger, database, [worker], 30)
            assert query(database, "SELECT epoch FROM watermarks") == [(1,)]
        finally:
            for one in scene.workers:
                one.kill()
            print(scene.logs())
