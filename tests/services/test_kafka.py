"""Apache Kafka keeps what it acknowledged, and takes an idempotent producer."""

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import UnknownTopicOrPartitionError

from tests.services.kafka import ApacheKafka
from tests.services.topics import new_topic, read

pytestmark = pytest.mark.kafka


async def test_acknowledged_records_survive_a_kill(kafka: ApacheKafka) -> None:
    topic = await new_topic(kafka.bootstrap)
    sent = [f"record {number}".encode() for number in range(500)]
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
        for acknowledgement in [await producer.send(topic, value) for value in sent]:
            await acknowledgement
        kafka.kill()
    kafka.start()
    assert await read(kafka.bootstrap, topic, len(sent)) == sent


async def test_idempotent_producer(kafka: ApacheKafka) -> None:
    topic = await new_topic(kafka.bootstrap)
    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, enable_idempotence=True, compression_type="zstd"
    ) as producer:
        await producer.send_and_wait(topic, b"once")
    assert await read(kafka.bootstrap, topic, 1) == [b"once"]


async def test_no_topic_comes_into_being_by_itself(kafka: ApacheKafka) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, request_timeout_ms=1000) as producer:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send_and_wait("nobody.made.this", b"lost")
