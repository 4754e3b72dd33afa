"""Edge: Faust app 1, the recorder. An agent that takes many records at once and acknowledges what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from ingest.topics import SAMPLES, SAMPLES_BACKFILL
from stream.assemble import RawRecord
from stream.batcher import Batcher
from stream.faust_app import build_app, raw_records
from stream.log_access import FaustLog
from stream.recorder import Partition, Prepared, Recorder, Store
from stream.watchdog import Patience, Watchdog

log = structlog.get_logger(__name__)

_FETCH: Final = 64
GROUPS: Final[Mapping[str, str]] = {SAMPLES: "vigil-recorder", SAMPLES_BACKFILL: "vigil-recorder-backfill"}
"""The live and the backfill lane are two groups of workers, so that history never stands before a heartbeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderPolicy:
    """How much goes into one transaction: at most `max_records` and `max_bytes`, or what came within `within_s`.

    Held in memory are one batch being stored, one being gathered, and Faust's buffer of `_BUFFER` records.
    """

    max_records: int = 500
    max_bytes: int = 8 * 1024 * 1024
    within_s: float = 0.1
    session_s: float = 6.0
    patience: Patience = field(default_factory=Patience)


def recorder_app(
    bootstrap_servers: str, *stores: Store, topic: str = SAMPLES, policy: RecorderPolicy | None = None
) -> Any:
    """Return the Faust app that records `topic`, each of `stores` with a share of the partitions."""
    return recording_app(
        bootstrap_servers, *map(_maker, stores), topic=topic, group=GROUPS[topic], policy=policy or RecorderPolicy()
    )


Maker = Callable[[FaustLog, Callable[[], None]], Recorder]
"""Makes a recorder of any kind, given the log and whom to give signs of life."""


def _maker(store: Store) -> Maker:
    return lambda log_access, sign_of_life: Recorder(store, log_access, sign_of_life=sign_of_life)


def recording_app(bootstrap_servers: str, *makers: Maker, topic: str, group: str, policy: RecorderPolicy) -> Any:
    """Return a Faust app around one recorder a maker.

    The recorders share the partitions: while one waits for a commit to reach the disk, another writes.
    """

    async def where_to_read(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return await lanes.assigned(partitions)

    app, raw = build_app(group, bootstrap_servers, topic, where_to_read, fetch=_FETCH, session_s=policy.session_s)
    watchdog = Watchdog(policy.patience, lambda: lanes.is_busy or has_lag(app, lanes.expected))
    log_access = FaustLog(bootstrap_servers, app)
    lanes = _Lanes([_Lane(make(log_access, watchdog.progress), app, policy) for make in makers])

    @app.agent(raw, name="recorder")  # type: ignore[untyped-decorator]
    async def record(stream: Any) -> None:
        async for event in stream.noack().events():
            await lanes.add(event)

    @app.task  # type: ignore[untyped-decorator]
    async def keep_beating() -> None:
        watchdog.start()
        while not app.should_stop:
            watchdog.beat()
            await asyncio.sleep(1.0)
        watchdog.stop()

    return app


_Fetched = tuple[Any, list[RawRecord]]
"""A Faust event and the records that it stands for."""


class _Lane:
    """Some of the partitions: one batch is gathered, one prepared, one stored. An error here ends the app.

    (Faust would acknowledge and go on.)
    """

    def __init__(self, recorder: Recorder, app: Any, policy: RecorderPolicy) -> None:
        self.recorder = recorder
        self._app = app
        self._storing: asyncio.Task[None] | None = None
        self.batcher: Batcher[_Fetched] = Batcher(
            self.feed, app.crash,
            max_records=policy.max_records, max_bytes=policy.max_bytes, within_s=policy.within_s,
        )  # fmt: skip

    @property
    def is_busy(self) -> bool:
        """Whether a batch is being stored."""
        return self._storing is not None and not self._storing.done()

    async def feed(self, fetched: list[_Fetched]) -> None:
        """Return when the records of these events are prepared and being stored."""
        try:
            prepared = await self.recorder.prepare([record for _, records in fetched for record in records])
            if self._storing is not None:
                await self._storing
        except Exception as error:
            log.exception("recorder_broken")
            await self._app.crash(error)
            raise
        self._storing = asyncio.create_task(self._store(prepared, fetched))

    async def _store(self, prepared: list[Prepared], fetched: list[_Fetched]) -> None:
        try:
            await self.recorder.store(prepared)
        except Exception as error:
            log.exception("recorder_broken")
            await self._app.crash(error)
            raise
        for event, _ in fetched:
            event.ack()


class _Lanes:
    """All partitions of a worker, dealt out to its lanes by number."""

    def __init__(self, lanes: Sequence[_Lane]) -> None:
        self._lanes = lanes

    def _of(self, partition: int) -> _Lane:
        return self._lanes[partition % len(self._lanes)]

    @property
    def is_busy(self) -> bool:
        """Whether anything is being stored."""
        return any(lane.is_busy for lane in self._lanes)

    async def assigned(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Return where to read each partition from."""
        where: dict[Partition, int] = {}
        for lane in self._lanes:
            where |= await lane.recorder.assigned([one for one in partitions if self._of(one[1]) is lane])
        return where

    def expected(self, partition: Partition) -> int:
        """Return the offset that comes next, 0 for a partition that is not ours."""
        return self._of(partition[1]).recorder.expected(partition)

    async def add(self, event: Any) -> None:
        """Take what one fetch brought; returns when there is room for it."""
        records = raw_records(event)
        size = sum(len(record.value or b"") for record in records)
        await self._of(event.message.partition).batcher.add((event, records), len(records), size)


def has_lag(app: Any, expected: Callable[[Partition], int]) -> bool:
    """Tell whether the log holds records of our partitions that are not taken yet, as the last fetch told."""
    consumer = app.consumer
    try:
        ends = {tp: consumer.highwater(tp) for tp in consumer.assignment()}
    except Exception:  # noqa: BLE001 - the consumer is being started, stopped or rebalanced
        return True
    return any(end is not None and end > expected((tp.topic, tp.partition)) for tp, end in ends.items())
