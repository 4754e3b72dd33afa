"""Each service wired together from its settings: the one place that knows every room."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import structlog

from vigil.settings import Settings

if TYPE_CHECKING:
    from timeseries.gate import GateReader

log = structlog.get_logger(__name__)

_HAND_OVER_S: Final = 0.0005
"""Faust reads in a second thread: as Python has it, that one waits 5 ms for the interpreter at each step of a fetch."""


def _gate(config: Settings) -> GateReader:
    """Return what tells who may tell what, read again within seconds of a change."""
    from timeseries.gate import GateReader

    return GateReader(config.database(), strict=config.strict_devices, require_consent=config.require_consent)


async def waveform_recorder(config: Settings) -> None:
    """Record waveforms until told to stop."""
    from dataclasses import replace

    from stream.run import run_app
    from stream.waveform_app import POLICY, waveform_app
    from timeseries.waveform_store import WaveformStore

    broker, url = config.broker(), config.database()
    async with WaveformStore(url) as store, _gate(config) as gate:
        app = waveform_app(broker, store, policy=replace(POLICY, session_s=config.session_s), gate=gate.current)
        await run_app(app)


async def recorder(config: Settings, *, backfill: bool = False) -> None:
    """Record one lane until told to stop."""
    from ingest.topics import SAMPLES, SAMPLES_BACKFILL
    from stream.recorder_app import RecorderPolicy, recorder_app
    from stream.run import run_app
    from timeseries.store import SampleStore

    policy = RecorderPolicy(
        max_records=config.recorder_max_records, within_s=config.recorder_within_s, session_s=config.session_s
    )
    broker, url = config.broker(), config.database()
    topic = SAMPLES_BACKFILL if backfill else SAMPLES
    async with SampleStore(url) as store, _gate(config) as gate:
        await run_app(recorder_app(broker, store, topic=topic, policy=policy, gate=gate.current))


async def watch(config: Settings) -> None:
    """Watch the live lane, and history behind it, until told to stop."""
    from stream.garbage import tended
    from stream.run import run_app
    from stream.watch.app import WatchSettings, watch_app
    from vigil.crowd import crowd_source

    given = WatchSettings(
        warm_up_s=config.watch_warm_up_s,
        snapshot_s=config.watch_snapshot_s,
        behind_s=config.watch_behind_s,
        session_s=config.session_s,
        backfill=config.watch_backfill,
    )
    async with AsyncExitStack() as stack:
        source = await crowd_source(config, stack)
        await stack.enter_async_context(tended())
        sys.setswitchinterval(_HAND_OVER_S)
        await run_app(watch_app(config.broker(), source=source, settings=given))


async def dispatch(config: Settings) -> None:
    """Dispatch alerts; beside it keep ledger, annotations and deletions: only they wait for a database that is away."""
    from alerts.routing import default_policy
    from stream import annotator, deleter, ledger
    from stream import dispatch as dispatching
    from stream.garbage import tended
    from timeseries.alert_store import PostgresAlertStore
    from timeseries.annotation_store import AnnotationStore
    from timeseries.deletion_store import DeletionStore

    broker, session_ms = config.broker(), round(config.session_s * 1_000)
    store, notes, gate = PostgresAlertStore(config.database()), AnnotationStore(config.database()), _gate(config)
    removals = DeletionStore(config.database())
    policy = default_policy(webhook=config.webhook_url is not None)
    try:
        async with tended():
            await _until_told(
                dispatching.run(broker, policy, session_timeout_ms=session_ms),
                _kept_up("ledger", lambda: ledger.run(broker, store, session_timeout_ms=session_ms)),
                _kept_up(
                    "annotations",
                    lambda: annotator.run(broker, notes, session_timeout_ms=session_ms, gate=gate.current),
                ),
                _kept_up("deletions", lambda: deleter.run(broker, removals, session_timeout_ms=session_ms)),
            )
    finally:
        await store.close()
        await notes.close()
        await gate.close()
        await removals.close()


async def notifier(config: Settings) -> None:
    """Deliver notifications until told to stop."""
    from alerts.channels import Channel, HeartbeatChannel, LogChannel, WebhookChannel
    from alerts.routing import HEARTBEAT, LOG, WEBHOOK
    from stream import notifier as notifying

    async with AsyncExitStack() as stack:
        channels: dict[str, Channel] = {LOG: LogChannel(config.notification_log), HEARTBEAT: HeartbeatChannel()}
        if config.webhook_url is not None:
            secret = None if config.webhook_secret is None else config.webhook_secret.get_secret_value()
            channels[WEBHOOK] = WebhookChannel(str(config.webhook_url), secret=secret)
        for channel in channels.values():
            stack.push_async_callback(channel.close)
        session_ms = round(config.session_s * 1_000)
        await _until_told(notifying.run(config.broker(), channels, session_timeout_ms=session_ms))


async def heartbeat(config: Settings) -> None:
    """Send the synthetic patient's samples and look for them at the other end, until told to stop."""
    from alerts.channels import WebhookChannel
    from stream import heartbeat as beating
    from stream.heartbeat_doors import BrokerDoor, Door, GatewayDoor
    from stream.heartbeat_pulse import Patience
    from stream.heartbeat_telling import Operators
    from timeseries.beat_reader import BeatReader

    url, token, broker = config.heartbeat_gateway_url, config.heartbeat_token, config.broker()
    patience = Patience(config.heartbeat_missing_s, config.heartbeat_period_s, config.database_url is not None)
    async with AsyncExitStack() as stack:
        timeout_s = min(10.0, max(2.0, config.heartbeat_period_s / 3))
        door: Door = BrokerDoor(broker, timeout_s=timeout_s)
        if url is not None and token is not None:
            door = GatewayDoor(str(url), token.get_secret_value(), timeout_s=timeout_s)
        stack.push_async_callback(door.close)
        channel, shelf = None, None
        if config.operations_url is not None:
            secret = None if config.operations_secret is None else config.operations_secret.get_secret_value()
            channel = WebhookChannel(str(config.operations_url), secret=secret)
            stack.push_async_callback(channel.close)
        if config.database_url is not None:
            shelf = await stack.enter_async_context(BeatReader(config.database()))
        log.info("heartbeat_starting", door=door.name, looks_into_database=shelf is not None, posts=channel is not None)
        operators = Operators(channel)
        heart = beating.Heart(door, operators, patience, shelf=shelf)
        await _until_told(beating.run(broker, heart, operators))


async def console(config: Settings) -> None:
    """Serve the clinician's page until told to stop."""
    from zoneinfo import ZoneInfo

    from console.app import create_app
    from console.server import ConsoleServer
    from timeseries.console_reader import ConsoleReader

    reader = ConsoleReader(config.database())
    app = create_app(
        reader,
        reader,
        host=config.console_host,
        token_hash=config.console_token_hash,
        allowed_hosts=[name.strip() for name in config.console_allowed_hosts.split(",") if name.strip()],
        zone=ZoneInfo(config.console_time_zone),
    )
    await ConsoleServer(app, config.console_host, config.console_port, log_level=config.log_level).serve()


async def _kept_up(name: str, service: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a service, again where it breaks: a fault in keeping the books must not keep an alert from its person."""
    pause_s = 1.0
    while True:
        try:
            await service()
        except Exception:
            log.exception("service_broken", name=name, again_in_s=pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(60.0, pause_s * 2)


async def _until_told(*services: Coroutine[Any, Any, None]) -> None:
    """Run until SIGINT or SIGTERM, then cancel; a service that breaks ends the others and is raised."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    tasks = [asyncio.ensure_future(service) for service in services]
    waiting = asyncio.ensure_future(told.wait())
    try:
        done, _ = await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiting}:
            task.result()
    finally:
        for task in (waiting, *tasks):
            task.cancel()
        await asyncio.gather(waiting, *tasks, return_exceptions=True)
