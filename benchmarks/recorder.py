"""The recorder, Kafka to table with all checks on, beside a bare binary COPY of the same rows into the same table.

The yardstick has no broker, no decoding, no validation, no watermark: of the same samples in the same order it takes as
many as the recorder's transaction has, sorts them by the index key, makes them COPY wire form and writes them. (Sorting
all of them beforehand would let it write the index from end to end, which nothing that stores what comes can do.) Both
are measured twice, in turn, on one server with fsync on; the ratio is that of the means.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import psutil
import psycopg

from ingest.admin import create_topics
from ingest.publisher import Publisher
from ingest.record import encode
from ingest.topics import SAMPLES
from stream.assemble import RawRecord, place, validate
from timeseries.migrate import migrate
from timeseries.rows import COLUMNS, Rows, sort_order, to_copy
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.postgres import EmbeddedPostgres
from vigil.supervisor import Worker
from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.catalogue import BY_CODE
from vitals.ids import device_id, patient_id

PATIENTS = 500
METRICS = ("heart_rate", "spo2", "respiratory_rate", "pulse_rate")
ROWS_A_TRANSACTION = 50_000
PARTITIONS = 4
TUNED = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}


def run() -> Iterator[dict[str, object]]:
    """Measure at 100 samples a record, with one worker and with two, then at 10."""
    yield _measure(100, 2_000_000, workers=1)
    yield _measure(100, 2_000_000, workers=2)
    yield _measure(10, 400_000, workers=1)


def _measure(samples_a_record: int, samples: int, *, workers: int) -> dict[str, object]:
    records = make_records(samples_a_record, samples // samples_a_record)
    rows = as_rows(records)
    runs: list[Run] = []
    copy_rates = []
    with (
        tempfile.TemporaryDirectory(prefix="vigil-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "data", settings=TUNED) as postgres,
        EmbeddedBroker(log=Path(folder) / "broker.log") as broker,
    ):
        asyncio.run(publish(broker.bootstrap, records))
        for turn in range(2):
            copy_rates.append(bare_copy(fresh_database(postgres.url, f"copy_{turn}"), rows))
            _say(f"COPY {copy_rates[-1]:,.0f} rows/s")
            url = fresh_database(postgres.url, f"recorder_{turn}")
            at_once = ROWS_A_TRANSACTION // samples_a_record
            runs.append(record_all(broker.bootstrap, url, Path(folder), len(records), samples, workers, at_once))
            _say(f"recorder {runs[-1].rate:,.0f} samples/s")
    rate = mean(one.rate for one in runs)
    return {
        "name": f"recorder_{samples_a_record}_samples_a_record_{workers}_worker{'s' if workers > 1 else ''}",
        "samples_per_s": round(rate),
        "yardstick": "bare binary COPY into the same table",
        "yardstick_rows_per_s": round(mean(copy_rates)),
        "ratio": round(rate / mean(copy_rates), 3),
        "runs": [round(one.rate) for one in runs],
        "yardstick_runs": [round(one) for one in copy_rates],
        "peak_rss_mb_a_worker": round(max(one.peak_rss for one in runs) / 1e6),
        "samples": samples,
    }


@dataclass(frozen=True, slots=True)
class Run:
    """Samples a second, from the first commit to the last, and the largest worker's resident bytes."""

    rate: float
    peak_rss: int


def make_records(samples_a_record: int, count: int) -> list[tuple[BatchHeader, SampleColumns]]:
    """Return `count` records at 1 Hz, patient after patient; each goes on where the patient's last one ended."""
    numbers = np.array([BY_CODE[code].number for code in METRICS], np.int16)
    position = np.arange(samples_a_record)
    draw = np.random.default_rng(1)
    made = []
    start_us = (time.time_ns() // 1_000 - 86_400_000_000) // 1_000_000 * 1_000_000
    phase_us = draw.integers(0, 1_000_000, PATIENTS)  # nobody's device ticks with anybody else's
    for number in range(count):
        patient, turn = number % PATIENTS, number // PATIENTS
        sample = turn * samples_a_record + position
        header = BatchHeader(patient_id(f"p{patient}"), device_id(f"d{patient}"), "app", "bench")
        start = start_us + phase_us[patient] + sample // len(METRICS) * 1_000_000
        received = start + draw.integers(1_000_000, 2_000_000)
        values = draw.uniform(60, 90, samples_a_record).round()
        columns = sample_columns(start, numbers[sample % len(METRICS)], values, received_us=received)
        made.append((header, columns))
    return made


def as_rows(records: Sequence[tuple[BatchHeader, SampleColumns]]) -> Rows:
    """Return the same samples as rows, in the order in which they come."""
    encoded = [encode(*record) for record in records]
    raw = [RawRecord(SAMPLES, 0, 0, 0, one.key, one.value, one.headers) for one in encoded]
    validated = validate(raw)
    keys = {patient: number for number, patient in enumerate(sorted(validated.patients), 1)}
    origins = {origin: number for number, origin in enumerate(sorted(validated.origins), 1)}
    placed = place(validated, keys, origins)
    return placed.rows[np.lexsort((placed.index, placed.record))]


async def publish(
    bootstrap: str, records: Sequence[tuple[BatchHeader, SampleColumns]], partitions: int = PARTITIONS
) -> None:
    """Put records onto a new topic."""
    await create_topics(bootstrap, partitions=partitions)
    async with Publisher(bootstrap, linger_ms=20) as publisher:
        await publisher.confirm([await publisher.send(encode(*record), topic=SAMPLES) for record in records])


def fresh_database(url: str, name: str) -> str:
    """Return the address of a new database with the schema in it."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    made = f"{url.rpartition('/')[0]}/{name}"
    migrate(made)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CHECKPOINT")  # what the run before left to be written is not this one's to wait for
    return made


def bare_copy(url: str, rows: Rows) -> float:
    """Return rows a second of COPY into `samples`."""
    statement = f"COPY samples ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
    begun = time.perf_counter()
    with psycopg.connect(url, autocommit=True) as connection:
        for at in range(0, len(rows), ROWS_A_TRANSACTION):
            part = rows[at : at + ROWS_A_TRANSACTION]
            data = memoryview(to_copy(part[sort_order(part)]))
            with connection.cursor() as cursor, cursor.copy(statement) as copy:
                for first in range(0, len(data), 256 * 1024):
                    copy.write(data[first : first + 256 * 1024])
    return len(rows) / (time.perf_counter() - begun)


def record_all(
    bootstrap: str, url: str, folder: Path, records: int, samples: int, workers: int, records_a_transaction: int
) -> Run:
    """Run `vigil recorder` until everything is stored."""
    environment = {
        "DATABASE_URL": url,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "VIGIL_RECORDER_MAX_RECORDS": str(records_a_transaction),
        "VIGIL_LOG_LEVEL": "warning",
    }
    deadline = time.monotonic() + 120
    first: tuple[float, int] | None = None
    peak = 0
    with ExitStack() as stack, psycopg.connect(url, autocommit=True) as connection:
        running = [
            stack.enter_context(Worker(f"recorder-{number}", ["recorder"], environment, folder))
            for number in range(workers)
        ]
        while time.monotonic() < deadline:
            row = connection.execute("SELECT coalesce(sum(next_offset), 0)::bigint FROM watermarks").fetchone()
            done, now = 0 if row is None else int(row[0]), time.perf_counter()
            peak = max(peak, 0, *(psutil.Process(one.pid).memory_info().rss for one in running if one.pid))
            if done and first is None:
                first = (now, done)
            if first is not None and done == records:
                return Run((records - first[1]) / records * samples / (now - first[0]), peak)
            time.sleep(0.02)
    raise SystemExit(f"not finished in time; the log of one: {running[0].log.read_text()[-2_000:]}")


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
