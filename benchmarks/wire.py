"""Bytes a sample on the wire: what Apache Kafka keeps in its log of what our publisher sent."""

from __future__ import annotations

import asyncio
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cramjam

from benchmarks.recorder import PARTITIONS, make_records
from ingest.admin import create_topics
from ingest.publisher import Publisher
from ingest.record import Record, encode
from ingest.topics import SAMPLES
from tests.services.kafka import ApacheKafka, ensure_jars

RECORDS = 8_000
SAMPLES_A_RECORD = 100


def run() -> Iterator[dict[str, object]]:
    """Measure at 100 samples a record; the yardstick is each record compressed by itself."""
    ensure_jars()
    records = [encode(*record) for record in make_records(SAMPLES_A_RECORD, RECORDS)]
    with tempfile.TemporaryDirectory(prefix="vigil-bench-") as folder:
        with ApacheKafka(Path(folder)) as kafka:
            asyncio.run(_send(kafka.bootstrap, records))
        logs = [file for file in Path(folder).rglob("*.log") if file.parent.name.startswith(f"{SAMPLES}-")]
        batches = [batch for log in logs for batch in batches_of(log.read_bytes())]
    sent, size = sum(count for count, _ in batches), sum(length for _, length in batches)
    if sent != RECORDS:
        raise SystemExit(f"the broker's log holds {sent} of {RECORDS} records")
    alone = sum(len(bytes(cramjam.zstd.compress(one.value))) for one in records)
    yield {
        "name": "wire_100_samples_a_record",
        "bytes_a_sample": round(size / (RECORDS * SAMPLES_A_RECORD), 2),
        "yardstick": "zstd of each record by itself, without Kafka's own headers",
        "yardstick_bytes_a_sample": round(alone / (RECORDS * SAMPLES_A_RECORD), 2),
        "ratio": round(size / alone, 3),
        "records_a_broker_batch": round(sent / len(batches), 1),
    }


def batches_of(log: bytes) -> Iterator[tuple[int, int]]:
    """Yield (records, bytes) of every batch in a log segment (Kafka protocol, Record Batch, magic 2)."""
    at = 0
    while at + 27 <= len(log):
        length, last_offset_delta = struct.unpack_from(">i", log, at + 8)[0], struct.unpack_from(">i", log, at + 23)[0]
        if length <= 0:
            return  # the rest of the segment was allocated ahead
        yield last_offset_delta + 1, length + 12
        at += length + 12


async def _send(bootstrap: str, records: list[Record]) -> None:
    await create_topics(bootstrap, partitions=PARTITIONS)
    async with Publisher(bootstrap, linger_ms=20) as publisher:
        await publisher.confirm([await publisher.send(record, topic=SAMPLES) for record in records])
