"""Sample received to notification message, under live load, with the database there and with it stopped.

The broker is Apache Kafka: what a fetch costs Tansu grows with its log (0.17 of a core after 20,000 records, 0.9 after
110,000), and after a minute that would be all that is measured.

20,000 samples/s of 2,000 patients (one record of ten samples a second each) go through broker, watch and dispatch, the
recorder beside them. Every patient has a fast heart for 12 s of each minute, under the demo's short delays, so that
some 33 alerts a second are raised and as many cleared. Latency is from the moment at which the deciding sample's record
was handed to the producer until the notification stands on its topic, read by a consumer of ours.

The yardstick has the same broker, load and hops and none of the thought: two bare aiokafka relays, records of a fast
heart (a header says which) to one topic, from there to another. All share the machine with the sender; `cores` says
how much of one each process took.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from alerts.notification import Notification
from benchmarks.cores import Cores
from benchmarks.latency_load import ALARM_S, FAST, METRICS
from ingest.admin import create_topics
from ingest.record import decode
from ingest.topics import NOTIFICATIONS, NOTIFICATIONS_STATUS, QUARANTINE, SAMPLES
from tests.services.kafka import AS_SHIPPED, ApacheKafka, ensure_jars
from timeseries.migrate import migrate
from vigil.embedded.postgres import EmbeddedPostgres
from vigil.supervisor import SERVICES, Worker
from vitals.clock import from_datetime

PATIENTS: Final = 2_000
PARTITIONS: Final = 4
JOIN_S: Final = 15.0
WARM_S: Final = 20.0
MEASURE_S: Final = 60.0
RUNNING: Final = ("watch", "recorder", "dispatch")
# The yardstick's relays need topics; no service of ours runs while they use these.
_FIRST_HOP, _SECOND_HOP = QUARANTINE, NOTIFICATIONS_STATUS


@dataclass(frozen=True, slots=True)
class Measured:
    """Latencies, and how much of a core each process took meanwhile."""

    latencies_ms: list[float]
    cores: dict[str, float]

    def ms(self) -> tuple[float, float]:
        """Return the median and the 99th percentile."""
        p50, p99 = np.percentile(self.latencies_ms, [50, 99])
        return float(p50), float(p99)


def run() -> Iterator[dict[str, object]]:
    """Measure with the database, without it, then the bare relays."""
    ensure_jars()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vigil-bench-")))
        postgres = stack.enter_context(EmbeddedPostgres(folder / "data"))
        broker = stack.enter_context(ApacheKafka(folder / "kafka", jvm=AS_SHIPPED))
        migrate(postgres.url)
        asyncio.run(create_topics(broker.bootstrap, partitions=PARTITIONS))
        yield from asyncio.run(_all(broker, postgres, folder))


async def _all(broker: ApacheKafka, postgres: EmbeddedPostgres, folder: Path) -> list[dict[str, object]]:
    bootstrap = broker.bootstrap
    environment = {
        "DATABASE_URL": postgres.url, "KAFKA_BOOTSTRAP_SERVERS": bootstrap, "VIGIL_POLICY": "demo",
        "VIGIL_LOG_LEVEL": "warning",
    }  # fmt: skip
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(name, SERVICES[name], environment, folder)) for name in RUNNING]
        pids = {"broker": broker.pid, "postgres": postgres.pid} | {one.name: one.pid for one in workers}
        with_database = await _under_load(bootstrap, NOTIFICATIONS, _of_notification, WARM_S + JOIN_S, pids)
        postgres.stop()
        without = await _under_load(bootstrap, NOTIFICATIONS, _of_notification, WARM_S, pids)
        postgres.start()
    pids = {"broker": broker.pid}
    async with _relay(bootstrap, SAMPLES, _FIRST_HOP, _is_fast), _relay(bootstrap, _FIRST_HOP, _SECOND_HOP):
        bare = await _under_load(bootstrap, _SECOND_HOP, _of_record, WARM_S, pids)
    return [_result("database", with_database, bare), _result("no_database", without, bare, with_database)]


def _result(name: str, found: Measured, bare: Measured, before: Measured | None = None) -> dict[str, object]:
    (p50, p99), (bare50, bare99) = found.ms(), bare.ms()
    told = {
        "name": f"latency_{name}",
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "notifications": len(found.latencies_ms),
        "cores": found.cores,
        "yardstick": "two bare aiokafka relays over the same broker under the same load",
        "yardstick_p50_ms": round(bare50, 1),
        "yardstick_p99_ms": round(bare99, 1),
        "ratio": round(p50 / bare50, 2),
        "samples_per_s": PATIENTS * len(METRICS),
        "patients": PATIENTS,
    }
    if before is not None:
        with50, with99 = before.ms()
        told |= {"against_database_p50": round(p50 / with50, 2), "against_database_p99": round(p99 / with99, 2)}
    return told


async def _under_load(
    bootstrap: str,
    topic: str,
    latency_ms: Callable[[Any, float], float | None],
    warm_s: float,
    pids: Mapping[str, int | None],
) -> Measured:
    """Return the latencies of what appears on `topic` while the load runs, once it has run for `warm_s`."""
    found: list[float] = []
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="latest", fetch_max_wait_ms=20)
    await consumer.start()
    await consumer.seek_to_end()
    command = [sys.executable, "-m", "benchmarks.latency_load", bootstrap, str(PATIENTS), str(warm_s + MEASURE_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:  # noqa: ASYNC220 - starts at once
        pids = {**pids, "load": load.pid, "reader": os.getpid()}
        begun, warm, cores = time.monotonic(), None, None
        try:
            while load.poll() is None:
                got = await consumer.getmany(timeout_ms=50)
                now_us = time.time_ns() / 1_000
                if time.monotonic() - begun < warm_s:
                    continue
                warm = warm or Cores.now(pids)
                told = [latency_ms(record, now_us) for records in got.values() for record in records]
                found += [one for one in told if one is not None]
                if cores is None and time.monotonic() - warm.at_s > MEASURE_S - 2:
                    cores = Cores.now(pids).since(warm)
        finally:
            load.terminate()
            await consumer.stop()
        said = load.stdout.read().split() if load.stdout else []
    if len(said) != 2 or not found or cores is None:
        raise SystemExit(f"the load ended early, or nothing came on {topic}")
    p50, p99 = np.percentile(found, [50, 99])
    _say(f"{topic}: {len(found)} in {MEASURE_S:.0f} s, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    _say(f"{said[0]} records sent, the sender {said[1]} ms late at worst")
    return Measured(found, cores)


def _of_notification(record: Any, now_us: float) -> float | None:
    alert = Notification.model_validate_json(record.value).alert
    if alert.rule != "heart_rate_high":
        return None
    return (now_us - from_datetime(alert.measured_at)) / 1_000


def _of_record(record: Any, now_us: float) -> float | None:
    _, columns = decode(record.key, record.value, record.headers)
    return float(now_us - columns.received_us.max()) / 1_000


def _is_fast(record: Any) -> bool:
    # Two of the seconds of an alarm, so that as many records are told as alerts are: one raised, one cleared.
    return FAST in record.headers and record.offset % (ALARM_S // 2) == 0


@asynccontextmanager
async def _relay(
    bootstrap: str, source: str, target: str, wanted: Callable[[Any], bool] = lambda _: True
) -> AsyncIterator[None]:
    consumer = AIOKafkaConsumer(source, bootstrap_servers=bootstrap, auto_offset_reset="latest", fetch_max_wait_ms=50)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await consumer.start()
    await producer.start()

    async def work() -> None:
        await consumer.seek_to_end()
        while True:
            got: dict[Any, Sequence[Any]] = await consumer.getmany(timeout_ms=50)
            told = [record for records in got.values() for record in records if wanted(record)]
            sent = [await producer.send(target, one.value, key=one.key, headers=list(one.headers)) for one in told]
            for acknowledged in sent:
                await acknowledged

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        broken = task.done()
        task.cancel()
        found = await asyncio.gather(task, return_exceptions=True)
        await consumer.stop()
        await producer.stop()
        if broken:
            raise SystemExit(f"a relay of the yardstick ended: {found[0]!r}")


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
