"""Edge: creates the topics and says what is wrong with those that exist."""

from __future__ import annotations

from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from ingest.publisher import BrokerUnreachable
from ingest.topics import TOPICS, Topic
from vitals.errors import VigilError

_ALREADY_THERE: Final = TopicAlreadyExistsError.errno


class TopicRefused(VigilError):
    """The broker refuses to create a topic; the message names the topic and the broker's reason."""


async def create_topics(bootstrap_servers: str, *, partitions: int, replication: int = 1) -> list[str]:
    """Create the topics that are not there and return their names. Safe to call at every start.

    Raises `BrokerUnreachable` if no broker answers and `TopicRefused` if it refuses one.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        await admin.start()
        present = set(await admin.list_topics())
        missing = [topic for topic in TOPICS if topic.name not in present]
        if missing:
            answer = await admin.create_topics([_new(topic, partitions, replication) for topic in missing])
            _raise_refusals(answer.topic_errors)
    except (KafkaError, OSError) as error:
        raise BrokerUnreachable(f"no Kafka broker answers at {bootstrap_servers}") from error
    finally:
        await admin.close()
    return [topic.name for topic in missing]


def _new(topic: Topic, partitions: int, replication: int) -> NewTopic:
    return NewTopic(topic.name, topic.partitions or partitions, replication, topic_configs=topic.config())


def _raise_refusals(topic_errors: list[tuple[str, int, str | None]]) -> None:
    for name, code, *_ in topic_errors:
        if code not in {0, _ALREADY_THERE}:
            raise TopicRefused(f"the broker refuses topic {name}: {for_code(code).__name__}")
