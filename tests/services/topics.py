"""Topics and records for tests, on any broker that speaks Kafka's protocol."""

from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic


async def new_topic(bootstrap: str, partitions: int = 1) -> str:
    """A topic nobody else uses."""
    name = f"test.{uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
    finally:
        await admin.close()
    return name


async def read(bootstrap: str, topic: str, count: int, partition: int = 0, timeout_s: float = 20) -> list[bytes]:
    """The values of the first `count` records of a partition; fewer where no more came within `timeout_s`."""
    where = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([where])
        consumer.seek(where, 0)
        return await _values(consumer, count, timeout_s)
    finally:
        await consumer.stop()


async def _values(consumer: AIOKafkaConsumer, count: int, timeout_s: float) -> list[bytes]:
    values: list[bytes] = []
    while len(values) < count:
        batches = await consumer.getmany(timeout_ms=int(timeout_s * 1000))
        if not batches:
            break
        values += [record.value for batch in batches.values() for record in batch]
    return values
