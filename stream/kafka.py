"""Edge: what the plain Kafka services (dispatch, notifier, ledger) have in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import Counter
from pydantic import ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from alerts.event import Message
from ingest.publisher import can_be_idempotent, started
from stream import header_names

UNDECODABLE: Final = Counter(
    "vigil_undecodable_messages", "Messages skipped because they are none of ours", ["service"]
)
RETRIES: Final = Counter("vigil_service_retries", "Times a service had to try again", ["service", "what"])
MAX_BACKOFF_S: Final = 15.0


_log = structlog.get_logger(__name__)
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Fetching:
    """When a broker answers a fetch: as soon as it has `min_bytes`, or after `max_wait_ms` with what it has."""

    max_wait_ms: int
    min_bytes: int

    def settings(self) -> dict[str, int]:
        """Return it as arguments of aiokafka's consumer."""
        return {"fetch_max_wait_ms": self.max_wait_ms, "fetch_min_bytes": self.min_bytes}


PROMPT: Final = Fetching(max_wait_ms=20, min_bytes=1)
"""For whatever an alert waits for. Tansu answers late even where it has something, by a quarter of the wait (13 ms of
50, 5 ms of 20); an idle consumer asks 50 times a second."""
LEISURELY: Final = Fetching(max_wait_ms=200, min_bytes=65_536)
"""For those that nobody waits for: each fetch costs them and the broker a good part of a millisecond, however little
it brings, and would come with every few records."""


def forever(
    service: str, what: str, *errors: type[BaseException], max_backoff_s: float = MAX_BACKOFF_S
) -> AsyncRetrying:
    """Return a retrying that never gives up on `errors`, pausing longer and longer, jittered; it counts and logs."""

    def tell(state: RetryCallState) -> None:
        RETRIES.labels(service, what).inc()
        error = state.outcome.exception() if state.outcome else None
        _log.warning(
            "trying again", service=service, what=what, attempt=state.attempt_number, error=type(error).__name__
        )

    wait = wait_random_exponential(multiplier=0.2, max=max_backoff_s)
    return AsyncRetrying(retry=retry_if_exception_type(errors), wait=wait, before_sleep=tell, reraise=True)


@asynccontextmanager
async def group_consumer(
    bootstrap_servers: str,
    group_id: str,
    topics: Sequence[str],
    *,
    session_timeout_ms: int = 10_000,
    listener: ConsumerRebalanceListener | None = None,
    fetching: Fetching = LEISURELY,
) -> AsyncIterator[AIOKafkaConsumer]:
    """Join the group, from the beginning where it has no offset, committing only by hand; leave it at the end.

    Waits for a broker that is not there. With Tansu a join takes half the session timeout (FACTS, Kafka).
    """

    header_names.tolerate()

    async def start() -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            group_id=group_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=max(session_timeout_ms // 6, 500),
            **fetching.settings(),
        )
        consumer.subscribe(list(topics), listener=listener)
        return await started(consumer)

    consumer: AIOKafkaConsumer = await forever(group_id, "join", KafkaError, OSError)(start)
    try:
        yield consumer
    finally:
        await consumer.stop()


@asynccontextmanager
async def safe_producer(bootstrap_servers: str, service: str) -> AsyncIterator[AIOKafkaProducer]:
    """Yield a producer whose acknowledgements mean all in-sync replicas. Waits for a broker that is not there."""

    async def start() -> AIOKafkaProducer:
        idempotent = await can_be_idempotent(bootstrap_servers)
        return await started(
            AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=idempotent)
        )

    producer: AIOKafkaProducer = await forever(service, "connect", KafkaError, OSError)(start)
    try:
        yield producer
    finally:
        await producer.stop()


async def send_until_taken(
    producer: AIOKafkaProducer, service: str, topic: str, messages: Iterable[tuple[str, Message]]
) -> None:
    """Send (patient id, message) pairs and return when the broker has all; tries for as long as it takes.

    Only what was not acknowledged is sent again, and what comes after it of the same patient, so that the last word
    stays the last. What was taken and not acknowledged stands there twice: readers tell repeats by their ids.
    """
    left = [(patient.encode(), message.to_bytes()) for patient, message in messages]

    async def once() -> None:
        nonlocal left
        acks: list[asyncio.Future[Any]] = []
        failed: BaseException | None = None
        try:
            for key, value in left:
                acks.append(await producer.send(topic, value=value, key=key))
        except (KafkaError, OSError) as error:
            failed = error
        answers = await asyncio.gather(*acks, return_exceptions=True)
        left = _not_taken(left, [not isinstance(one, BaseException) for one in answers])
        failed = next((one for one in answers if isinstance(one, BaseException)), failed)
        if failed is not None:
            raise failed

    await forever(service, "produce", KafkaError, OSError)(once)


def _not_taken(sent: Sequence[tuple[bytes, bytes]], taken: Sequence[bool]) -> list[tuple[bytes, bytes]]:
    """Return the pairs to send again: of each key all from the first on that was not taken."""
    again: set[bytes] = set()
    left = []
    for number, (key, value) in enumerate(sent):
        if number >= len(taken) or not taken[number]:
            again.add(key)
        if key in again:
            left.append((key, value))
    return left


async def commit(consumer: AIOKafkaConsumer, service: str, offsets: dict[TopicPartition, int]) -> None:
    """Commit; where the group has changed meanwhile, log and go on: the records come again, to whoever has them now."""
    if not offsets:
        return
    try:
        await consumer.commit(offsets)
    except KafkaError as error:
        RETRIES.labels(service, "commit").inc()
        _log.warning("offsets not committed", service=service, error=type(error).__name__)


def decoded(service: str, model: type[M], record: Any) -> M | None:
    """Return the record's message, or None, counted and logged without a word of its content."""
    try:
        return model.model_validate_json(record.value or b"")
    except ValidationError as error:
        UNDECODABLE.labels(service).inc()
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        _log.warning("message skipped", service=service, faults=error.error_count(), **place)
        return None
