"""Edge: Faust app 1, the recorder. An agent that takes many records at once and acknowledges what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from ingest.topics import SAMPLES, SAMPLES_BACKFILL
from stream.faust_app import build_app, raw_record
from stream.log_access import FaustLog
from stream.recorder import Partition, Recorder, Store

log = structlog.get_logger(__name__)

GROUPS: Final[Mapping[str, str]] = {SAMPLES: "vigil-recorder", SAMPLES_BACKFILL: "vigil-recorder-backfill"}
"""The live and the backfill lane are two groups of workers, so that history never stands before a heartbeat."""


@dataclass(frozen=True, slots=True)
class RecorderPolicy:
    """How much goes into one transaction: at most `max_records`, or what came within `within_s`."""

    max_records: int = 500
    within_s: float = 0.1
    session_s: float = 6.0


def recorder_app(
    bootstrap_servers: str, store: Store, *, topic: str = SAMPLES, policy: RecorderPolicy | None = None
) -> Any:
    """Return the Faust app that records `topic`."""
    policy = policy or RecorderPolicy()

    async def where_to_read(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return await recorder.assigned(partitions)

    app, raw = build_app(
        GROUPS[topic], bootstrap_servers, topic, where_to_read, buffer=policy.max_records, session_s=policy.session_s
    )
    recorder = Recorder(store, FaustLog(bootstrap_servers, app))

    @app.agent(raw, name="recorder")  # type: ignore[untyped-decorator]
    async def record(stream: Any) -> None:
        async for events in stream.noack_take(policy.max_records, within=policy.within_s):
            await _store(recorder, app, events)

    return app


async def _store(recorder: Recorder, app: Any, events: list[Any]) -> None:
    """Store, then acknowledge. An error here is one of ours: Faust would acknowledge and go on, so the app must end."""
    try:
        await recorder.take([raw_record(event) for event in events])
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        log.exception("recorder_broken")
        await app.crash(error)
        raise
    for event in events:
        event.ack()
