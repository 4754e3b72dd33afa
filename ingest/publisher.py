"""Edge: sample batches onto Kafka. A batch counts as sent when all in-sync replicas have it (acks=all)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    InvalidMessageError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.transaction import InitProducerIdRequest

from ingest.record import Record, encode, split
from ingest.topics import MAX_MESSAGE_BYTES, SAMPLES
from vitals.batch import BatchHeader, SampleColumns
from vitals.errors import VigilError

# Uncompressed bytes of one broker batch: at 100 samples a record some sixty records share one zstd frame.
_MAX_BATCH_BYTES: Final = 512 * 1024
_ABANDON_S: Final = 2.0
_SENDER_S: Final = 0.2
"""How long the end of a broken off stop may take, and how long its sender to end once it is told to."""


class BrokerUnreachable(VigilError):
    """The broker did not take a batch; nothing is known to be stored, so the sender keeps it and sends it again."""


class RecordRefused(BrokerUnreachable):
    """The broker is there and does not take this record: its topic is missing or closed to us, or it is too large.

    `whole_topic`: no record for this topic would be taken. Others are none the worse for it.
    """

    def __init__(self, message: str, *, whole_topic: bool) -> None:
        super().__init__(message)
        self.whole_topic = whole_topic


_OF_THE_TOPIC: Final = (UnknownTopicOrPartitionError, TopicAuthorizationFailedError, InvalidTopicError)
_OF_THE_RECORD: Final = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidMessageError)


async def can_be_idempotent(bootstrap_servers: str, *, timeout_s: float = 10.0) -> bool:
    """Ask the broker for a producer id. Tansu has none to give; Apache Kafka does, soon after it has started."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=round(timeout_s * 1_000))
    try:
        async with asyncio.timeout(timeout_s):
            await client.bootstrap()
            return await _gives_producer_ids(client)
    except (KafkaError, OSError, ValueError, NotImplementedError):  # a TimeoutError is an OSError
        return False
    finally:
        await client.close()


async def _gives_producer_ids(client: AIOKafkaClient) -> bool:
    while True:
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=0)
        answer = await client.send(client.get_random_node(), request)
        if not for_code(answer.error_code).retriable:
            return bool(answer.error_code == 0 and answer.producer_id >= 0)
        await asyncio.sleep(0.1)


async def started(client: Any) -> Any:
    """Start a client of aiokafka's and return it; where that fails or is cancelled, nothing of it stays connected."""
    try:
        await client.start()
    except BaseException:
        await client.stop()
        raise
    return client


class Publisher:
    """Sends batches. `linger_ms` trades latency for smaller wire size: records that wait together compress together.

    `max_pending` bounds the records that are under way, and so memory: `send` waits while it is reached. A broker that
    does not answer for `timeout_s` counts as unreachable. An idempotent producer itself never gives a record up: there
    this class does, after half as long again, and what was given up may still arrive.
    """

    def __init__(
        self, bootstrap_servers: str, *, linger_ms: int = 5, max_pending: int = 2_000, timeout_s: float = 20.0
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._timeout_s = timeout_s
        self._linger_ms = linger_ms
        self._pending = asyncio.Semaphore(max_pending)
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect. Raises `BrokerUnreachable` if no broker answers."""
        idempotent = await can_be_idempotent(self._bootstrap_servers, timeout_s=min(10.0, self._timeout_s))
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap_servers,
            acks="all",
            enable_idempotence=idempotent,
            compression_type="zstd",
            linger_ms=self._linger_ms,
            max_batch_size=_MAX_BATCH_BYTES,
            max_request_size=MAX_MESSAGE_BYTES,
            request_timeout_ms=round(self._timeout_s * 1_000),
        )
        try:
            self._producer = await started(producer)
        except (KafkaError, OSError) as error:
            raise BrokerUnreachable(f"no Kafka broker answers at {self._bootstrap_servers}") from error

    async def stop(self) -> None:
        """Send what waits, then disconnect. Cancelled, or after `timeout_s`, it sends no more and disconnects."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        with contextlib.suppress(TimeoutError):  # by itself it would wait for the broker for ever
            async with asyncio.timeout(self._timeout_s):
                try:
                    await producer.stop()
                except BaseException:
                    await _abandon(producer)
                    raise

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def publish(self, header: BatchHeader, columns: SampleColumns, *, topic: str = SAMPLES) -> None:
        """Send a batch, in as many records as it needs, and return when the broker has all of it.

        Raises `BrokerUnreachable` where it has not; sending the whole batch again stores nothing twice.
        """
        acks = [await self.send(encode(header, piece), topic=topic) for piece in split(columns)]
        await self.confirm(acks)

    async def send(self, record: Record, *, topic: str) -> asyncio.Future[Any]:
        """Queue one record and return the future of its acknowledgement; waits while too many are under way.

        Raises `BrokerUnreachable`, as does the future, within `timeout_s` each.
        """
        if self._producer is None:
            raise BrokerUnreachable("the publisher is not started")
        await self._have_room()
        try:
            ack: asyncio.Future[Any] = await self._producer.send(
                topic, value=record.value, key=record.key, headers=list(record.headers)
            )
        except (KafkaError, OSError) as error:
            self._pending.release()
            raise _refused(error, topic) from error
        except BaseException:
            self._pending.release()
            raise
        ack.add_done_callback(lambda _: self._pending.release())
        return self._in_time(ack, topic)

    async def _have_room(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._pending.acquire()
        except TimeoutError:
            raise BrokerUnreachable("the broker acknowledges nothing of what was sent") from None

    def _in_time(self, ack: asyncio.Future[Any], topic: str) -> asyncio.Future[Any]:
        """Return a future that is done when `ack` is, and fails where that takes much longer than `timeout_s`."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Any] = loop.create_future()

        def late() -> None:
            if not told.done():
                told.set_exception(BrokerUnreachable("the broker acknowledges nothing"))

        def settled(done: asyncio.Future[Any]) -> None:
            timer.cancel()
            error = asyncio.CancelledError() if done.cancelled() else done.exception()
            if told.done():
                return
            told.set_result(done.result()) if error is None else told.set_exception(_refused(error, topic))

        timer = loop.call_later(1.5 * self._timeout_s, late)
        ack.add_done_callback(settled)
        return told

    @staticmethod
    async def confirm(acks: list[asyncio.Future[Any]]) -> None:
        """Wait until every record is acknowledged. Raises `BrokerUnreachable` if one is not."""
        await confirmed(acks)


async def _abandon(producer: AIOKafkaProducer) -> None:
    """Disconnect a producer whose own stop was broken off: its sender would go on, and connect again, for ever."""
    sender = producer._sender.sender_task  # noqa: SLF001 - nothing public ends it
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ABANDON_S):
            await producer.client.close()  # what is under way fails
            while sender is not None and not sender.done():
                sender.cancel()  # by the first it only begins to wait for requests that it tries again and again
                await asyncio.wait([sender], timeout=_SENDER_S)
            await producer.client.close()  # what it connected to meanwhile


async def confirmed(acks: Sequence[asyncio.Future[Any]]) -> None:
    """Wait until every record is acknowledged.

    Raises `RecordRefused` where all that is not was refused by itself, else `BrokerUnreachable`.
    """
    outcomes = await asyncio.gather(*acks, return_exceptions=True)
    failed = [one for one in outcomes if isinstance(one, BaseException)]
    if failed and all(isinstance(one, RecordRefused) for one in failed):
        raise failed[0]
    if failed:
        raise BrokerUnreachable(f"{len(failed)} of {len(acks)} records were not acknowledged") from failed[0]


def _refused(error: BaseException, topic: str) -> BrokerUnreachable:
    """Return what an error of the client means to whoever sent a record."""
    if isinstance(error, (*_OF_THE_TOPIC, *_OF_THE_RECORD)):
        says = f"the broker refuses a record for {topic} ({type(error).__name__})"
        return RecordRefused(says, whole_topic=isinstance(error, _OF_THE_TOPIC))
    found = BrokerUnreachable(f"the broker does not take records for {topic}")
    found.__cause__ = error
    return found
