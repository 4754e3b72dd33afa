"""Edge: the Faust application that both workers build on, with what FACTS.md measured taken to heart.

Faust commits what it never processed, so nothing of ours rests on its offsets: after every assignment it asks its
consumer where to go (`seek_to_committed`), and this consumer answers with what its worker says. Records arrive as raw
bytes; decoding, failing and acknowledging are the worker's business.

Faust spends 75 to 100 us on each event, so an event here is not a record but all that one fetch brought of a partition.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import faust
import structlog
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from stream import header_names
from stream.assemble import RawRecord
from stream.kafka import LEISURELY, Fetching
from stream.recorder import Partition

log = structlog.get_logger(__name__)

WhereToRead = Callable[[Sequence[Partition]], Awaitable[Mapping[Partition, int]]]

_BUFFER: Final = 2
_METADATA_MS: Final = 5_000
"""Faust asks every 5 minutes: a group that forms while a broker starts again may not know its topic for so long."""


class _Thread(AIOKafkaConsumerThread):  # type: ignore[misc]
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust hard-codes 1500, and an idle partition would hold a busy one that long.
        fetching: Fetching = transport.app.fetching
        consumer._fetch_max_wait_ms, consumer._fetch_min_bytes = fetching.max_wait_ms, fetching.min_bytes  # noqa: SLF001
        return consumer

    def answered_ms(self, tp: TP) -> int | None:
        """Return when the broker last answered a fetch of `tp`, None where it has not."""
        return self._ensure_consumer().last_poll_timestamp(tp)  # type: ignore[no-any-return]


class _NoOffsets(dict[TP, int | None]):
    """How far Faust has read: never known.

    Faust drops what lies below its own note of how far it read. A fetch that was under way during a seek moves that
    note on again, and then the records that the seek was for are dropped; so are all records of a log that began anew.
    The worker judges by its watermark.
    """

    def __getitem__(self, key: TP) -> None:
        return None


class _Fetch(ConsumerMessage):  # type: ignore[misc]
    """What one fetch brought of one partition; to Faust a message, with the offset of the last record."""

    records: Sequence[Any]


class WorkerConsumer(Consumer):  # type: ignore[misc]
    """Reads from where the worker says, and tells Kafka its offsets only so that outside tools can see the lag."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _NoOffsets()
        self.is_assigned = False

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Note it: until the next assignment the consumer still names the partitions that it had."""
        self.is_assigned = False
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Note it, before anybody asks where to read."""
        self.is_assigned = True
        await super().on_partitions_assigned(assigned, generation_id)

    def answered_ms(self, tp: TP) -> int | None:
        """Return when (ms since 1970, this machine's clock) the broker last answered a fetch of `tp`."""
        return self._thread.answered_ms(tp)  # type: ignore[no-any-return]

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing: the fetcher then waits for room in the buffer.

        Faust would take the partition out of its fetches, and, once all are out, sleep a whole second.
        """

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing was taken out of the fetches, so nothing comes back."""

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:
        found, active = await super()._wait_next_records(timeout)
        return {tp: [records] for tp, records in (found or {}).items() if records}, active

    def _to_message(self, tp: TP, record: Any) -> _Fetch:
        last = record[-1]
        message = _Fetch(
            tp.topic, tp.partition, last.offset, (last.timestamp or 0) / 1_000, last.timestamp_type, (), b"", b"", None,
            tp=tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip
        message.records = record
        return message

    def _new_offset(self, tp: TP) -> int | None:
        """Return the offset behind the last acknowledged fetch; they are acknowledged in order.

        Faust looks for a run of acknowledged offsets without a gap; ours are the last of each fetch.
        """
        acked = self._acked[tp]
        newest = max(acked, default=None)
        acked.clear()
        self._acked_index[tp].clear()
        return None if newest is None else newest + 1

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek to what the worker says; Faust calls this after each assignment and each pause."""
        assigned = [(tp.topic, tp.partition) for tp in self.assignment()]
        where = await self.app.where_to_read(assigned) if assigned else {}
        offsets = {TP(topic, partition): offset for (topic, partition), offset in where.items()}
        await self.seek_wait(offsets)
        return offsets

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        try:
            return bool(await super()._commit(offsets))
        except Exception as error:  # noqa: BLE001 - the database has the truth, a failed commit is only a blind lag metric
            log.info("commit_failed", error=type(error).__name__)
            return False


class WorkerApp(faust.App):  # type: ignore[misc]
    """A Faust app whose consumer asks `where_to_read` after each assignment; `closing` is awaited when it ended."""

    where_to_read: WhereToRead
    fetching: Fetching
    closing: list[Callable[[], Awaitable[None]]]

    def _create_directories(self) -> None:
        """Nothing of ours is kept in files: a worker may run on a read-only disk, from any folder."""


def build_app(
    name: str,
    bootstrap_servers: str,
    topic: str,
    where_to_read: WhereToRead,
    *,
    fetch: int = 128,
    session_s: float = 6.0,
    fetching: Fetching = LEISURELY,
) -> tuple[WorkerApp, Any]:
    """Return the app, and the topic as raw bytes to put an agent on.

    An event is at most `fetch` records, and `_BUFFER` events are held in memory; after `session_s` a dead worker's
    partitions move on.
    """
    header_names.tolerate()
    app = WorkerApp(
        name,
        broker=";".join(f"kafka://{server}" for server in bootstrap_servers.split(",")),
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=_METADATA_MS,
        broker_session_timeout=session_s,
        broker_heartbeat_interval=session_s / 6,
        broker_rebalance_timeout=session_s,
        broker_commit_interval=2.0,
        broker_max_poll_records=fetch,
        stream_buffer_maxsize=_BUFFER,
        stream_wait_empty=False,
        producer_acks=-1,
        producer_compression_type="zstd",
    )
    app.where_to_read = where_to_read
    app.fetching = fetching
    app.closing = []
    app.transport.Consumer = WorkerConsumer
    raw = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    return app, raw


def raw_records(event: Any) -> list[RawRecord]:
    """Return the records of a Faust event as the pure stages know them."""
    return [
        RawRecord(one.topic, one.partition, one.offset, one.timestamp or 0, one.key, one.value, one.headers)
        for one in event.message.records
    ]
