"""Edge: Faust app 2, the watch. Its own consumer group, no database on the way, no waiting for more records.

An event is one fetch of one partition, judged at once as a whole. What is known of a partition stands on
`vigil.watch.state` and in the log: `restore` reads both after each assignment, `keeper` writes the one. Beside it run
the settled detectors, the timer of overdue data, the backfill lane, and whatever tells of profiles and policies.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from faust.types import TP

from ingest.topics import SAMPLES
from stream.faust_app import build_app, raw_records
from stream.kafka import PROMPT
from stream.log_access import FaustLog
from stream.recorder import Partition
from stream.watch import beside
from stream.watch.backfill import PATIENTS, Backfill
from stream.watch.crowd import Crowd, Everyone
from stream.watch.crowd_source import CrowdSource, Fixed, first, follow
from stream.watch.engine import Engine
from stream.watch.keeper import Keeper
from stream.watch.live import Live
from stream.watch.outbox import Outbox
from stream.watch.pipeline import Pipeline
from stream.watch.plan import default_plan
from stream.watch.pulse import SESSION_S, Pulse
from stream.watch.restore import Restorer
from vitals.clock import Clock, system_clock

log = structlog.get_logger(__name__)

GROUP: Final = "vigil-watch"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """Seconds: `warm_up_s` of the log are read where there is no marker; each changed patient is written down every
    `snapshot_s`; after `behind_s` without being caught up the pipeline raises; `crowd_s` between two looks for changed
    profiles, `crowd_first_s` is how long the first assignment waits for them."""

    warm_up_s: float = 1_800.0
    snapshot_s: float = 60.0
    behind_s: float = 30.0
    session_s: float = SESSION_S
    crowd_s: float = 2.0
    crowd_first_s: float = 5.0
    backfill: bool = True


def watch_app(
    bootstrap_servers: str,
    *,
    source: CrowdSource | None = None,
    settings: WatchSettings | None = None,
    clock: Clock = system_clock,
) -> Any:
    """Return the Faust app that watches the live lane and, behind it, history."""
    given = settings or WatchSettings()
    default = Everyone(default_plan())
    crowds = source or Fixed(default)

    async def where_to_read(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return await live.where_to_read(partitions) if app.consumer.is_assigned else {}

    app, raw = build_app(GROUP, bootstrap_servers, SAMPLES, where_to_read, session_s=given.session_s, fetching=PROMPT)
    log_access = FaustLog(bootstrap_servers, app)
    outbox = Outbox(bootstrap_servers, clock=clock)
    pulse = Pulse(given.session_s)
    keeper = Keeper(bootstrap_servers, outbox, period_s=given.snapshot_s, pulse=pulse, clock=clock)
    restorer = Restorer(bootstrap_servers, lambda: Engine(live.crowd), log_access.holds, given.warm_up_s, clock=clock)
    live = Live(
        restorer, outbox, keeper, log_access,
        crowd=lambda: first(crowds, default, given.crowd_first_s), pipeline=Pipeline(given.behind_s), clock=clock,
    )  # fmt: skip
    backfill = Backfill(
        bootstrap_servers, lambda: Engine(live.crowd, live=False, max_patients=PATIENTS), outbox,
        lambda: live.is_caught_up, session_s=given.session_s, clock=clock,
    )  # fmt: skip

    async def leave() -> None:
        backfill.give_up()
        await live.revoked()

    async def adopt(crowd: Crowd) -> None:
        await live.adopt(crowd)
        await backfill.adopt(live.crowd)

    app.on_partitions_revoked.connect(_ignoring_arguments(live.revoked))  # before another worker can have them
    app.on_before_shutdown.connect(_ignoring_arguments(leave))
    app.closing += [keeper.stop, outbox.stop]

    @app.agent(raw, name="watch")  # type: ignore[untyped-decorator]
    async def see(stream: Any) -> None:
        async for event in stream.noack().events():
            await _or_crash(app, live.see(raw_records(event)))
            event.ack()

    work: list[Callable[[], Awaitable[None]]] = [
        outbox.run,
        lambda: beside.settle(live, clock),
        lambda: beside.look(live, _FaustReach(app), clock),
        lambda: beside.keep(live),
        lambda: follow(crowds, adopt, given.crowd_s),
    ]
    for one in [*work, *([backfill.run] if given.backfill else [])]:
        app.task(_task(app, one))
    return app


def _task(app: Any, work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        await _or_crash(app, work())

    return run


async def _or_crash(app: Any, work: Awaitable[None]) -> None:
    """Nothing that breaks is swallowed: the process ends, and is started again with what stands on the topics."""
    try:
        await work
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        log.exception("watch_broken")
        await app.crash(error)
        raise


def _ignoring_arguments(call: Callable[[], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def handler(*_: Any, **__: Any) -> None:
        await call()

    return handler


class _FaustReach:
    """How far the log goes, as the fetches of the running Faust consumer say."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def highwater(self, partition: Partition) -> int | None:
        """Return the offset behind the newest record; None where no fetch has told yet."""
        found = self._asked(lambda consumer, tp: consumer.highwater(tp), partition)
        return None if found is None else int(found)

    def answered_s(self, partition: Partition) -> float | None:
        """Return when (monotonic seconds) the broker last answered a fetch of this partition."""
        at_ms = self._asked(lambda consumer, tp: consumer.answered_ms(tp), partition)
        return None if at_ms is None else time.monotonic() - time.time() + int(at_ms) / 1_000

    def _asked(self, ask: Callable[[Any, TP], Any], partition: Partition) -> Any:
        try:
            return ask(self._app.consumer, TP(*partition))
        except Exception:  # noqa: BLE001 - the consumer is being started, stopped or rebalanced
            return None
