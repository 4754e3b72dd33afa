"""The publisher on both brokers: records land whole, compressed, and a broker that is away is an error in time."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest

from ingest.publisher import BrokerUnreachable, Publisher, can_be_idempotent
from ingest.record import decode, encode
from ingest.record_arrow import MAX_SAMPLES
from tests.ingest.test_record import HEADER, heart_rates
from tests.services.kafka import ApacheKafka
from tests.services.topics import new_topic, read
from tests.vitals.test_batch import assert_same
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.ports import HOST, free_port
from vitals.batch import SampleColumns, sample_columns

ZSTD = 4
"""Compression codec number in a record batch's attributes (KIP-110)."""


@pytest.fixture(params=["tansu", pytest.param("kafka", marks=pytest.mark.kafka)])
def bootstrap(request: pytest.FixtureRequest) -> str:
    server: EmbeddedBroker | ApacheKafka = request.getfixturevalue("broker" if request.param == "tansu" else "kafka")
    return server.bootstrap


async def test_only_apache_kafka_gives_producer_ids(bootstrap: str, request: pytest.FixtureRequest) -> None:
    assert await can_be_idempotent(bootstrap) is ("kafka" in request.node.callspec.id)


async def test_three_records_land_with_key_headers_and_value(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    batches = [heart_rates(5), heart_rates(50), heart_rates(1)]
    async with Publisher(bootstrap) as publisher:
        for batch in batches:
            await publisher.publish(HEADER, batch, topic=topic)
    landed = await _read(bootstrap, topic, 3)
    for record, batch in zip(landed, batches, strict=True):
        sent = encode(HEADER, batch)
        assert (record.key, tuple(record.headers)) == (sent.key, sent.headers)
        header, samples = decode(record.key, record.value, record.headers)
        assert header == HEADER
        assert_same(samples, batch)


async def test_records_that_wait_together_are_compressed_together(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with Publisher(bootstrap, linger_ms=200) as publisher:
        acks = [await publisher.send(encode(HEADER, heart_rates(100)), topic=topic) for _ in range(16)]
        await publisher.confirm(acks)
    wire = await _fetch_bytes(bootstrap, topic)
    codecs = [batch["codec"] for batch in _record_batches(wire)]
    assert set(codecs) == {ZSTD}
    assert len(wire) < 16 * 100 * 10, "ten bytes a sample"


async def test_an_idempotent_producer_numbers_its_batches(bootstrap: str, request: pytest.FixtureRequest) -> None:
    topic = await new_topic(bootstrap)
    async with Publisher(bootstrap) as publisher:
        for _ in range(3):
            await publisher.publish(HEADER, heart_rates(), topic=topic)
    batches = list(_record_batches(await _fetch_bytes(bootstrap, topic)))
    if "kafka" in request.node.callspec.id:
        assert all(batch["producer_id"] >= 0 for batch in batches)
        assert [b["sequence"] - a["sequence"] for a, b in pairwise(batches)] == [1, 1]
    else:
        assert {batch["producer_id"] for batch in batches} == {-1}


async def test_a_batch_larger_than_a_record_is_sent_as_several(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with Publisher(bootstrap) as publisher:
        await publisher.publish(HEADER, heart_rates(2 * MAX_SAMPLES + 1), topic=topic)
    landed = await _read(bootstrap, topic, 3)
    assert [len(decode(r.key, r.value, r.headers)[1]) for r in landed] == [MAX_SAMPLES, MAX_SAMPLES, 1]


async def test_the_largest_record_that_cannot_be_compressed_is_taken(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    draw = np.random.default_rng(3)
    noise: SampleColumns = sample_columns(
        draw.integers(1, 2**62, MAX_SAMPLES),
        np.ones(MAX_SAMPLES, np.int16),
        draw.random(MAX_SAMPLES),
        received_us=draw.integers(1, 2**62, MAX_SAMPLES),
        written_us=draw.integers(1, 2**62, MAX_SAMPLES),
        duration_ms=draw.integers(1, 2**62, MAX_SAMPLES),
        sample_id=draw.integers(1, 255, (MAX_SAMPLES, 16)).astype(np.uint8),
    )
    async with Publisher(bootstrap) as publisher:
        await publisher.publish(HEADER, noise, topic=topic)
    (record,) = await _read(bootstrap, topic, 1)
    assert_same(decode(record.key, record.value, record.headers)[1], noise)


async def test_many_publishes_at_once_keep_a_patients_order(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with Publisher(bootstrap, max_pending=3) as publisher:
        acks = [await publisher.send(encode(HEADER, heart_rates(n)), topic=topic) for n in range(1, 60)]
        await publisher.confirm(acks)
    landed = await _read(bootstrap, topic, 59)
    assert [len(decode(r.key, r.value, r.headers)[1]) for r in landed] == list(range(1, 60))


async def test_nobody_listens() -> None:
    publisher = Publisher(f"{HOST}:{free_port()}")
    started = time.monotonic()
    with pytest.raises(BrokerUnreachable, match="no Kafka broker answers"):
        await publisher.start()
    assert time.monotonic() - started < 10
    with pytest.raises(BrokerUnreachable, match="not started"):
        await publisher.publish(HEADER, heart_rates())


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that takes connections and never answers, as a hung broker or a firewall does."""
    with socket.create_server((HOST, 0), backlog=100) as server:
        yield f"{HOST}:{server.getsockname()[1]}"


async def test_a_broker_that_never_answers_is_given_up_in_time(silent: str) -> None:
    started = time.monotonic()
    with pytest.raises(BrokerUnreachable):
        await Publisher(silent, timeout_s=1).start()
    assert 1 < time.monotonic() - started < 6


async def test_a_broker_that_dies_is_named_in_time_and_a_restarted_one_is_found() -> None:
    with EmbeddedBroker() as own:
        topic = await new_topic(own.bootstrap)
        async with Publisher(own.bootstrap, timeout_s=3) as publisher:
            await publisher.publish(HEADER, heart_rates(), topic=topic)
            own.kill()
            started = time.monotonic()
            with pytest.raises(BrokerUnreachable):
                await publisher.publish(HEADER, heart_rates(), topic=topic)
            assert time.monotonic() - started < 10
            own.start()
            async with asyncio.timeout(30):
                await _recreate(own.bootstrap, topic)
                while True:  # the client finds the broker again by itself
                    try:
                        await publisher.publish(HEADER, heart_rates(2), topic=topic)
                        break
                    except BrokerUnreachable:
                        continue
        (record,) = await _read(own.bootstrap, topic, 1)
        assert len(decode(record.key, record.value, record.headers)[1]) == 2


async def test_what_a_broken_off_stop_gave_up_is_not_sent_afterwards() -> None:
    """aiokafka's sender goes on where its stop is cancelled: it would connect to whatever broker comes, for nobody."""
    with EmbeddedBroker() as own:
        topic = await new_topic(own.bootstrap)
        publisher = Publisher(own.bootstrap)
        await publisher.start()
        await publisher.publish(HEADER, heart_rates(), topic=topic)
        own.kill()
        ack = await publisher.send(encode(HEADER, heart_rates(2)), topic=topic)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await publisher.stop()
        assert "Sender" not in repr(asyncio.all_tasks())
        own.start()
        await _recreate(own.bootstrap, topic)
        assert await read(own.bootstrap, topic, 1, timeout_s=1.5) == []
        ack.cancel()


@pytest.mark.kafka
async def test_an_idempotent_producer_gives_a_dead_broker_up_in_time_too(kafka: ApacheKafka) -> None:
    """By itself it tries for ever, and a gateway behind it would never reach for its spool."""
    topic = await new_topic(kafka.bootstrap)
    publisher = Publisher(kafka.bootstrap, timeout_s=2)
    await publisher.start()
    try:
        await publisher.publish(HEADER, heart_rates(), topic=topic)
        kafka.kill()
        started = time.monotonic()
        with pytest.raises(BrokerUnreachable):
            await publisher.publish(HEADER, heart_rates(2), topic=topic)
        assert time.monotonic() - started < 8
        started = time.monotonic()
        await publisher.stop()
        assert time.monotonic() - started < 8, "stopping does not wait for the broker either"
    finally:
        await publisher.stop()
        await asyncio.to_thread(kafka.start)


async def _recreate(bootstrap: str, topic: str) -> None:
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()


@asynccontextmanager
async def _consumer(bootstrap: str, tp: TopicPartition) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([tp])
        consumer.seek(tp, 0)
        yield consumer
    finally:
        await consumer.stop()


async def _read(bootstrap: str, topic: str, count: int) -> list[ConsumerRecord]:
    async with _consumer(bootstrap, TopicPartition(topic, 0)) as consumer, asyncio.timeout(20):
        return [await consumer.getone() for _ in range(count)]


async def _fetch_bytes(bootstrap: str, topic: str) -> bytes:
    """The partition's record batches as the broker keeps them."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        client.add_topic(topic)
        await client.force_metadata_update()
        node = client.cluster.leader_for_partition(TopicPartition(topic, 0))
        request: Any = FetchRequest(500, 1, 10_000_000, 0, [(topic, [(0, 0, 10_000_000)])])
        answer = await client.send(node, request)
        return bytes(answer.topics[0][1][0][-1])
    finally:
        await client.close()


def _record_batches(wire: bytes) -> Iterator[dict[str, int]]:
    """Read the heads of record batches, format version 2 (Kafka documentation, Record Batch)."""
    at = 0
    while at + 61 <= len(wire):
        (length,) = struct.unpack_from(">i", wire, at + 8)
        (attributes,) = struct.unpack_from(">h", wire, at + 21)
        producer_id, _, sequence = struct.unpack_from(">qhi", wire, at + 43)
        yield {"codec": attributes & 7, "producer_id": producer_id, "sequence": sequence}
        at += 12 + length


async def test_the_fetch_helper_sees_plain_records_as_plain(bootstrap: str) -> None:
    """The proof above would be worth nothing if the helper called everything zstd."""
    topic = await new_topic(bootstrap)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(topic, b"plain")
    assert [batch["codec"] for batch in _record_batches(await _fetch_bytes(bootstrap, topic))] == [0]
