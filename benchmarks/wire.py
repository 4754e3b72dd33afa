"""Bytes a sample on the wire: as Apache Kafka keeps them in its log, with sixteen records to a broker batch."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

from aiokafka import AIOKafkaProducer

from benchmarks.recorder import PARTITIONS, make_records
from ingest.admin import create_topics
from ingest.record import encode
from ingest.topics import SAMPLES
from tests.services.kafka import ApacheKafka, ensure_jars

RECORDS = 8_000


def run() -> Iterator[dict[str, object]]:
    """Measure at 100 samples a record, with one and with sixteen records a batch."""
    ensure_jars()
    with tempfile.TemporaryDirectory(prefix="vigil-bench-") as folder:
        one = _bytes_a_sample(Path(folder) / "one", 1)
        sixteen = _bytes_a_sample(Path(folder) / "sixteen", 16)
    yield {
        "name": "wire_100_samples_a_record",
        "bytes_a_sample": round(sixteen, 2),
        "yardstick": "the same records, one to a broker batch",
        "yardstick_bytes_a_sample": round(one, 2),
        "ratio": round(sixteen / one, 3),
        "records_a_batch": 16,
    }


def _bytes_a_sample(folder: Path, records_a_batch: int) -> float:
    with ApacheKafka(folder) as kafka:
        asyncio.run(_send(kafka, records_a_batch))
    logs = [file for file in folder.rglob("*.log") if file.parent.name.startswith(f"{SAMPLES}-")]
    if not logs:
        raise SystemExit("the broker's log is not where it was looked for")
    return sum(file.stat().st_size for file in logs) / (RECORDS * 100)


async def _send(kafka: ApacheKafka, records_a_batch: int) -> None:
    encoded = [encode(*record) for record in make_records(100, RECORDS)]
    await create_topics(kafka.bootstrap, partitions=PARTITIONS)
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap,
        acks="all",
        compression_type="zstd",
        max_batch_size=10**6,
        linger_ms=1_000,
    )
    await producer.start()
    try:
        for at in range(0, len(encoded), records_a_batch):
            batch = producer.create_batch()
            for record in encoded[at : at + records_a_batch]:
                batch.append(key=record.key, value=record.value, timestamp=None, headers=list(record.headers))
            await producer.send_batch(batch, SAMPLES, partition=at // records_a_batch % PARTITIONS)
        await producer.flush()
    finally:
        await producer.stop()
