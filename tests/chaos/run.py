"""Sends the plan through real services while they are killed at random, then reconciles."""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg
from aiokafka import AIOKafkaProducer

from ingest.admin import create_topics
from ingest.record import Record, encode
from ingest.topics import SAMPLES, SAMPLES_BACKFILL
from tests.chaos.plan import METRICS, SENT, Batch, columns_of, expected, make
from tests.chaos.reconcile import reconcile
from tests.services.kafka import ApacheKafka
from timeseries.migrate import migrate
from vigil.embedded.postgres import EmbeddedPostgres
from vigil.supervisor import Supervisor, Worker
from vitals.batch import BatchHeader
from vitals.ids import device_id, patient_id

_PARTITIONS: Final = 6
_SESSION_S: Final = "6"
_ONE: Final = np.array([(0, METRICS[0], 0, 0, 0.0, False, True)], SENT)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much, how long, how bad."""

    samples: int = 3_050_000
    patients: int = 500
    kills: int = 12
    send_s: float = 240.0
    settle_s: float = 240.0
    seed: int = 1


def run(plan: Plan, say: Callable[[str], None] = lambda _: None) -> dict[str, object]:
    """Return the reconciliation; `ok` is True only if everything adds up."""
    begun = time.monotonic()
    batches = make(plan.samples, plan.patients, plan.seed, int(time.time()) // 86_400 * 86_400 - 86_400)
    say(f"{len(batches):,} records planned")
    with (
        tempfile.TemporaryDirectory(prefix="vigil-chaos-") as name,
        ApacheKafka(Path(name) / "kafka") as kafka,
        EmbeddedPostgres(Path(name) / "data") as postgres,
    ):
        migrate(postgres.url)
        asyncio.run(create_topics(kafka.bootstrap, partitions=_PARTITIONS))
        environment = {
            "DATABASE_URL": postgres.url,
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
            "VIGIL_SESSION_S": _SESSION_S,
            "VIGIL_LOG_FORMAT": "json",
        }
        workers = [
            Worker("recorder-1", ["recorder"], environment, Path(name)),
            Worker("recorder-2", ["recorder"], environment, Path(name)),
            Worker("recorder-backfill", ["recorder", "--lane", "backfill"], environment, Path(name)),
        ]
        with Supervisor(workers, most_pause_s=2.0):
            killer = Killer(kafka, postgres, workers, plan, say)
            ends = asyncio.run(_send_while(kafka.bootstrap, batches, plan.send_s, killer))
            say(f"all sent after {time.monotonic() - begun:.0f} s, {len(killer.killed)} kills")
            settled = _settle(postgres, ends, plan.settle_s)
        found = reconcile(postgres.url, expected(batches))
        logs = (
            {} if found["ok"] and settled else {log.name: log.read_text()[-3_000:] for log in Path(name).glob("*.log")}
        )
    kills = {target: killer.killed.count(target) for target in sorted(set(killer.killed))}
    return {
        "name": "chaos", **found, "ok": bool(found["ok"]) and settled, "settled": settled, "kills": kills,
        "patients": plan.patients, "seconds": round(time.monotonic() - begun, 1), **({"logs": logs} if logs else {}),
    }  # fmt: skip


class Killer:
    """Kills random targets by SIGKILL, in a thread of its own; broker and database it starts again itself."""

    def __init__(
        self,
        kafka: ApacheKafka,
        postgres: EmbeddedPostgres,
        workers: list[Worker],
        plan: Plan,
        say: Callable[[str], None],
    ) -> None:
        self._targets: list[tuple[str, Callable[[], None]]] = [
            *((worker.name, worker.kill) for worker in workers),
            ("broker", lambda: _again(kafka)),
            ("database", lambda: _again(postgres)),
        ]
        self._draw = random.Random(plan.seed)
        self._kills = plan.kills
        self._pause_s = plan.send_s / (plan.kills + 1)
        self._say = say
        self._over = threading.Event()
        self.killed: list[str] = []

    def work(self) -> None:
        """Kill until the number is reached, each target in turn before any comes again."""
        while len(self.killed) < self._kills:
            for name, kill in self._draw.sample(self._targets, len(self._targets)):
                if self._over.wait(self._pause_s * self._draw.uniform(0.5, 1.5)) or len(self.killed) >= self._kills:
                    return
                self._say(f"killing {name}")
                kill()
                self.killed.append(name)


def _again(service: ApacheKafka | EmbeddedPostgres) -> None:
    service.kill()
    service.start()


async def _send_while(
    bootstrap: str, batches: list[Batch], send_s: float, killer: Killer
) -> dict[tuple[str, int], int]:
    """Send at an even pace; return the end of every partition's log, as the acknowledgements tell it."""
    killing = asyncio.create_task(asyncio.to_thread(killer.work))
    ends: dict[tuple[str, int], int] = {}
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        compression_type="zstd",
        linger_ms=20,
        request_timeout_ms=180_000,  # longer than any outage: the producer never gives a record up
    )
    await producer.start()
    try:
        begun = time.monotonic()
        pending: list[asyncio.Future[Any]] = []
        for number, batch in enumerate(batches):
            record = record_of(batch)
            topic = SAMPLES_BACKFILL if batch.backfill else SAMPLES
            pending.append(await producer.send(topic, value=record.value, key=record.key, headers=list(record.headers)))
            ahead = number / len(batches) * send_s - (time.monotonic() - begun)
            if ahead > 0.02:
                await asyncio.sleep(ahead)
            if len(pending) >= 2_000:
                await _note(pending, ends)
        await _note(pending, ends)
        await killing
    finally:
        await producer.stop()
    return ends


async def _note(pending: list[asyncio.Future[Any]], ends: dict[tuple[str, int], int]) -> None:
    for ack in await asyncio.gather(*pending):
        key = (ack.topic, ack.partition)
        ends[key] = max(ends.get(key, 0), ack.offset + 1)
    pending.clear()


def record_of(batch: Batch) -> Record:
    """Return the Kafka record of a batch; garbage keeps its headers, so that it is known whose it was."""
    header = BatchHeader(patient_id(f"p{batch.patient}"), device_id(f"d{batch.patient}"), "app", "chaos")
    if batch.samples is None:
        whole = encode(header, columns_of(_ONE))
        return Record(whole.key, b"\xff\xff\xff\xff garbage", whole.headers)
    return encode(header, columns_of(batch.samples))


def _settle(postgres: EmbeddedPostgres, ends: dict[tuple[str, int], int], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            rows = connection.execute("SELECT topic, partition, next_offset FROM watermarks").fetchall()
        at = {(topic, partition): offset for topic, partition, offset in rows}
        if all(at.get(key, 0) >= end for key, end in ends.items()):
            return True
        time.sleep(0.5)
    return False
