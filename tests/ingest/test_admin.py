"""Creating topics: once, right, on a broker that counts partitions and keeps configurations."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from ingest.admin import TopicRefused, create_topics
from ingest.publisher import BrokerUnreachable
from ingest.topics import TOPICS, Topic
from tests.services.kafka import ApacheKafka
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.ports import HOST, free_port


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    """The topics have fixed names: a broker that nobody else uses."""
    with EmbeddedBroker() as server:
        yield server


@pytest.fixture(scope="module")
def own_kafka(kafka: ApacheKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    with ApacheKafka(Path(tmp_path_factory.mktemp("own-kafka"))) as server:
        yield server


async def test_topics_are_created_once_on_tansu(own_broker: EmbeddedBroker) -> None:
    assert await create_topics(own_broker.bootstrap, partitions=2) == [topic.name for topic in TOPICS]
    assert await create_topics(own_broker.bootstrap, partitions=2) == []
    async with _admin(own_broker.bootstrap) as admin:
        assert set(await admin.list_topics()) >= {topic.name for topic in TOPICS}


@pytest.mark.kafka
async def test_topics_on_apache_kafka(own_kafka: ApacheKafka) -> None:
    with pytest.raises(TopicRefused, match=r"vigil\.samples: InvalidReplicationFactorError"):
        await create_topics(own_kafka.bootstrap, partitions=6, replication=3)
    assert await create_topics(own_kafka.bootstrap, partitions=6) == [topic.name for topic in TOPICS]
    assert await create_topics(own_kafka.bootstrap, partitions=6) == []
    async with _admin(own_kafka.bootstrap) as admin:
        described = {topic["topic"]: topic for topic in await admin.describe_topics([t.name for t in TOPICS])}
        for topic in TOPICS:
            assert len(described[topic.name]["partitions"]) == (topic.partitions or 6), topic.name
            kept = await _config(admin, topic)
            assert kept["max.message.bytes"] == "1048576"
            assert kept["compression.type"] == "producer"
            if topic.compacted:
                assert kept["cleanup.policy"] == "compact"
            else:
                assert kept["cleanup.policy"] == "delete"
                assert int(kept["retention.ms"]) == topic.retention_ms


@pytest.mark.kafka
async def test_only_what_is_missing_is_created(own_kafka: ApacheKafka) -> None:
    await create_topics(own_kafka.bootstrap, partitions=6)
    async with _admin(own_kafka.bootstrap) as admin:
        await admin.delete_topics(["vigil.alerts"])
        async with asyncio.timeout(10):
            while "vigil.alerts" in await admin.list_topics():  # noqa: ASYNC110 - the broker tells nobody when it is gone
                await asyncio.sleep(0.05)
    assert await create_topics(own_kafka.bootstrap, partitions=6) == ["vigil.alerts"]


async def test_nobody_listens() -> None:
    with pytest.raises(BrokerUnreachable):
        await create_topics(f"{HOST}:{free_port()}", partitions=1)


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _config(admin: AIOKafkaAdminClient, topic: Topic) -> dict[str, str]:
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
    return {entry[0]: entry[1] for entry in answer.resources[0][4]}
