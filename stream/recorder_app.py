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
from stream.recorder import GateSource, Partition, Prepared, Recorder, Store, open_gate
from stream.watchdog import Patience, Watchdog

log = structlog.get_logger(__name__)

_FETCH: Final = 64
GROUPS: Final[Mapping[str, str]] = {SAMPLES: "vigil-recorder", SAMPLES_BACKFILL: "vigil-recorder-backfill"}
"""The live and the backfill lane are two groups of workers, so that history never stands before a heartbeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderPolicy:
    """How much goes into one transaction: at most `max_records` and `max_bytes`, or what came within `within_s`.

    Held in memory are three batches (one being stored, one prepared, one gathered), each of at most `max_bytes` and one
    fetch more, and four fetches on their way through Faust, each of at most `_FETCH` records of at most 1 MiB; beside
    them aiokafka holds one answer (1 MiB, compressed) a partition. With records of 5 kB that is below 30 MB.
    """

    max_records: int = 500
    max_bytes: int = 8 * 1024 * 1024
    within_s: float = 0.1
    session_s: float = 6.0
    patience: Patience = field(default_factory=Patience)


def recorder_app(
    bootstrap_servers: str,
    store: Store,
    *,
    topic: str = SAMPLES,
    policy: RecorderPolicy | None = None,
    gate: GateSource = open_gate,
) -> Any:
    """Return the Faust app that records `topic`."""

    def make(log_access: FaustLog, sign_of_life: Callable[[], None]) -> Recorder:
        return Recorder(store, log_access, gate=gate, sign_of_life=sign_of_life)

    return recording_app(bootstrap_servers, make, topic=topic, group=GROUPS[topic], policy=policy or RecorderPolicy())


def recording_app(
    bootstrap_servers: str,
    make: Callable[[FaustLog, Callable[[], None]], Recorder],
    *,
    topic: str,
    group: str,
    policy: RecorderPolicy,
) -> Any:
    """Return a Faust app around a recorder of any kind; `make` is given the log and whom to give signs of life."""

    async def where_to_read(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return await recorder.assigned(partitions)

    app, raw = build_app(group, bootstrap_servers, topic, where_to_read, fetch=_FETCH, session_s=policy.session_s)
    watchdog = Watchdog(policy.patience, lambda: pipeline.is_busy or has_lag(app, recorder))
    recorder = make(FaustLog(bootstrap_servers, app), watchdog.progress)
    pipeline = _Pipeline(recorder, app)

    @app.agent(raw, name="recorder")  # type: ignore[untyped-decorator]
    async def record(stream: Any) -> None:
        batcher: Batcher[_Fetched] = Batcher(
            pipeline.feed, app.crash,
            max_records=policy.max_records, max_bytes=policy.max_bytes, within_s=policy.within_s,
        )  # fmt: skip
        async for event in stream.noack().events():
            records = raw_records(event)
            await batcher.add((event, records), len(records), sum(len(record.value or b"") for record in records))

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


class _Pipeline:
    """One batch is prepared while the one before it is stored. An error here is one of ours: the app must end.

    (Faust would acknowledge and go on.)
    """

    def __init__(self, recorder: Recorder, app: Any) -> None:
        self._recorder = recorder
        self._app = app
        self._storing: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a batch is being stored."""
        return self._storing is not None and not self._storing.done()

    async def feed(self, fetched: list[_Fetched]) -> None:
        """Return when the records of these events are prepared and being stored."""
        try:
            prepared = await self._recorder.prepare([record for _, records in fetched for record in records])
            if self._storing is not None:
                await self._storing
        except Exception as error:
            log.exception("recorder_broken")
            await self._app.crash(error)
            raise
        self._storing = asyncio.create_task(self._store(prepared, fetched))

    async def _store(self, prepared: list[Prepared], fetched: list[_Fetched]) -> None:
        try:
            await self._recorder.store(prepared)
        except Exception as error:
            log.exception("recorder_broken")
            await self._app.crash(error)
            raise
        for event, _ in fetched:
            event.ack()


def has_lag(app: Any, recorder: Recorder) -> bool:
    """Tell whether the log holds records of our partitions that are not taken yet, as the last fetch told."""
    consumer = app.consumer
    try:
        ends = {tp: consumer.highwater(tp) for tp in consumer.assignment()}
    except Exception:  # noqa: BLE001 - the consumer is being started, stopped or rebalanced
        return True
    return any(end is not None and end > recorder.expected((tp.topic, tp.partition)) for tp, end in ends.items())
