"""The services, one process each. Each needs its addresses; without them it says which and exits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vigil.settings import Settings, settings


class Lane(StrEnum):
    """Which topic a recorder stores."""

    LIVE = "live"
    BACKFILL = "backfill"
    WAVEFORMS = "waveforms"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, recorder, watch, dispatch, notifier, heartbeat, console, serve):
        app.command()(command)


def up(
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Start a PostgreSQL and a broker too; the broker keeps nothing.")
    ] = False,
    folder: Annotated[Path, typer.Option(help="Where logs, and embedded data, are kept.")] = Path(".vigil"),
    seconds: Annotated[float | None, typer.Option(min=1, help="End by itself after so long.")] = None,
) -> None:
    """Run every service on this machine, each started again when it dies. Ctrl-C stops everything."""
    from vigil.up import run

    run(settings(), folder, embedded=embedded, seconds=seconds)


def recorder(
    lane: Annotated[Lane, typer.Option(help="Live samples, history and backlogs, or waveforms.")] = Lane.LIVE,
) -> None:
    """Store samples: validate, quarantine, write exactly once. Needs the broker and the database."""
    from vigil import services

    os.nice(RECORDER_NICE)
    if lane is Lane.WAVEFORMS:
        _run("recorder-waveforms", services.waveform_recorder)
    else:
        _run(f"recorder-{lane.value}", lambda config: services.recorder(config, backfill=lane is Lane.BACKFILL))


def watch() -> None:
    """Watch live samples and raise alerts. Needs the broker only."""
    from vigil import services

    _run("watch", services.watch)


def dispatch() -> None:
    """Turn alerts into notifications, and keep the ledger of both. Needs the broker; the database may be away."""
    from vigil import services

    _run("dispatch", services.dispatch)


def notifier() -> None:
    """Deliver notifications to the webhook and the log. Needs the broker."""
    from vigil import services

    _run("notifier", services.notifier)


def heartbeat(
    new_token: Annotated[
        bool, typer.Option("--new-token", help="Make the token by which it passes the gateway, show it once, and end.")
    ] = False,
) -> None:
    """Send a synthetic patient's sample the whole way every minute; tell operations when it does not come through.

    Needs the broker; the database, the gateway (VIGIL_HEARTBEAT_GATEWAY_URL and VIGIL_HEARTBEAT_TOKEN) and the
    operators' webhook (VIGIL_OPERATIONS_URL) where there are any. Only this makes tokens of that patient.
    """
    from vigil import services

    if new_token:
        from vigil.heartbeat_token import new

        typer.echo(new(settings().database()))
        return
    _run("heartbeat", services.heartbeat)


def console() -> None:
    """Serve the clinician's page on VIGIL_CONSOLE_HOST and VIGIL_CONSOLE_PORT. Needs the database."""
    from vigil import services

    _run("console", services.console)


def serve() -> None:
    """Serve the gateway: how phones, bridges and platforms get in (VIGIL_GATEWAY_HOST, VIGIL_GATEWAY_PORT).

    Needs broker, database and VIGIL_HASH_KEY; once it has seen the credentials, both may be away.
    """
    from vigil.gateway import gateway

    _run("gateway", gateway)


RECORDER_NICE: Final = 5
"""Where both share a machine, an alert goes before a row: a third of the weight of whoever is not nice (sched(7))."""


def _run(name: str, service: Callable[[Settings], Coroutine[Any, Any, None]]) -> None:
    import uvloop
    from prometheus_client import start_http_server

    from vigil import logs

    config = settings()
    logs.configure(level=config.log_level, fmt=config.log_format, service=name)
    if config.metrics_port is not None:
        start_http_server(config.metrics_port, config.metrics_host)
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # of Faust's second thread as well
    with asyncio.Runner() as runner:
        runner.run(service(config))
