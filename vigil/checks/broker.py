"""Edge: is the broker there, are the topics what `ingest.topics` wants, and how far are the recorders behind?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from ingest.publisher import BrokerUnreachable
from ingest.topics import TOPICS, Topic
from vigil.checks.finding import Finding, Verdict, judged
from vigil.settings import Settings

_AREA: Final = "broker"
_TIMEOUT_MS: Final = 5_000
_CREATE: Final = "run: vigil topics create"


async def check(config: Settings) -> Sequence[Finding]:
    """Look at the broker. Raises `MissingSetting` and `BrokerUnreachable`."""
    address = config.broker()
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=_TIMEOUT_MS)
    began = time.monotonic()
    try:
        await admin.start()
        described = {one["topic"]: one for one in await admin.describe_topics()}
        took_ms = (time.monotonic() - began) * 1_000
        there = [topic for topic in TOPICS if topic.name in described]
        settings = await _settings(admin, there)
    except (KafkaError, OSError) as error:
        raise BrokerUnreachable(f"no Kafka broker answers at {address}") from error
    finally:
        await admin.close()
    return [
        Finding(_AREA, "answers", Verdict.OK, f"in {took_ms:.0f} ms"),
        _missing([topic.name for topic in TOPICS if topic.name not in described]),
        *(_partitions(topic, described[topic.name], config.partitions) for topic in there),
        *(one for topic in there for one in _configured(topic, settings.get(topic.name, {}))),
    ]


async def _settings(admin: AIOKafkaAdminClient, there: Sequence[Topic]) -> dict[str, dict[str, str]]:
    """Return each topic's settings by name; empty where the broker does not tell them."""
    wanted = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in there]
    try:
        answers = await admin.describe_configs(wanted) if wanted else []
    except (KafkaError, NotImplementedError):
        return {}
    return {resource[3]: {entry[0]: entry[1] for entry in resource[4]} for one in answers for resource in one.resources}


def _missing(names: Sequence[str]) -> Finding:
    if not names:
        return Finding(_AREA, "topics", Verdict.OK, f"all {len(TOPICS)} are there")
    return Finding(_AREA, "topics", Verdict.FAIL, f"missing: {', '.join(names)}", _CREATE)


def _partitions(topic: Topic, described: dict[str, Any], default: int) -> Finding:
    found, wanted = len(described["partitions"]), topic.partitions or default
    leaderless = sum(1 for one in described["partitions"] if one["leader"] < 0)
    if leaderless:
        return Finding(
            _AREA, topic.name, Verdict.FAIL, f"{leaderless} of {found} partitions have no leader", "look at the brokers"
        )
    return judged(
        _AREA, topic.name, f"{found} partitions" + ("" if found == wanted else f", the setting says {wanted}"),
        fine=found == wanted, do="set VIGIL_PARTITIONS to what is there: more would part a patient's records",
    )  # fmt: skip


def _configured(topic: Topic, found: dict[str, str]) -> list[Finding]:
    """Return a finding for each setting that differs; none where the broker told nothing."""
    return [
        Finding(
            _AREA, topic.name, Verdict.WARN, f"{name} is {found[name]}, expected {wanted}",
            f"kafka-configs.sh --alter --topic {topic.name} --add-config {name}={wanted}",
        )
        for name, wanted in topic.config().items()
        if name in found and found[name] != wanted
    ]  # fmt: skip
