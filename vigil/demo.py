"""The whole of Vigil on one machine, with nothing installed: embedded services, simulated wearers, a live table."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from devices.simulator import Wearer
from ingest.admin import create_topics
from timeseries.migrate import migrate
from vigil.demo_receiver import Receiver
from vigil.demo_screen import Screen, Seen, look
from vigil.demo_tokens import YOU, curl, pair
from vigil.demo_wearers import stream_wearers, wearers
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.ports import preferred_port
from vigil.embedded.postgres import EmbeddedPostgres
from vigil.heartbeat_token import new as new_token
from vigil.supervisor import Supervisor, workers
from vitals.clock import system_clock
from vitals.errors import VigilError

ADDRESSES: Final = Path(tempfile.gettempdir()) / "vigil-demo.json"
"""Where `vigil healthkit import --demo` finds a running demo; readable by its owner only."""
_PARTITIONS: Final = 4
# No waveform is simulated and nothing listens to the quarantine: two processes fewer on a small machine.
_SERVICES: Final = (
    "watch", "gateway", "recorder", "dispatch", "notifier", "console", "recorder-backfill", "rollup", "heartbeat"
)  # fmt: skip
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# An embedded PostgreSQL lives for minutes and is thrown away: fsync protects nothing here.
_THROWAWAY: Final = {"fsync": "off", "shared_buffers": "128MB"}


class NoDemo(VigilError):
    """No demo runs on this machine: start one with `make demo` and try again while it runs."""

    def __init__(self) -> None:
        super().__init__("no demo runs on this machine: start one with `make demo`, and try again while it runs")


class CheckFailed(VigilError):
    """`vigil demo --check` did not see samples stored, an alert raised and its notification delivered."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for. `seconds` None: until Ctrl-C."""

    wearers: int = 6
    seconds: float | None = None
    check: bool = False


def run(options: Options) -> None:
    """Run the demo. Raises `CheckFailed` where `check` is asked and something did not happen."""
    started = time.monotonic()
    over = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(ends_on_signals(over))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vigil-demo-")))
        screen = Screen(options.seconds)
        screen.say("starting PostgreSQL and the broker")
        postgres = stack.enter_context(EmbeddedPostgres(folder / "data", settings=_THROWAWAY))
        broker = stack.enter_context(EmbeddedBroker(log=folder / "broker.log"))
        migrate(postgres.url)
        asyncio.run(create_topics(broker.bootstrap, partitions=_PARTITIONS))
        start_us = system_clock()
        people = wearers(options.wearers, start_us)
        tokens = pair(postgres.url, [*(one.patient_id for one in people), YOU])
        receiver = stack.enter_context(Receiver())
        environment = _environment(postgres.url, broker.bootstrap, receiver.url, folder)
        environment |= _heartbeat(postgres.url, environment["VIGIL_GATEWAY_PORT"])
        stack.enter_context(_announced(environment))
        screen.say("starting the services")
        supervisor = stack.enter_context(Supervisor(workers(_SERVICES, environment, folder)))
        gateway = f"http://127.0.0.1:{environment['VIGIL_GATEWAY_PORT']}"
        stack.enter_context(_wearers(gateway, tokens, people, start_us, over))
        screen.begin(f"http://127.0.0.1:{environment['VIGIL_CONSOLE_PORT']}/", folder)
        screen.tell_gateway(gateway, curl(gateway, tokens[YOU], start_us))
        seen = _follow(screen, options, started, over, postgres.url, receiver, supervisor)
    if options.check:
        _check(seen)


def _follow(
    screen: Screen,
    options: Options,
    started: float,
    over: threading.Event,
    url: str,
    receiver: Receiver,
    supervisor: Supervisor,
) -> Seen:
    deadline = None if options.seconds is None else started + options.seconds
    seen = Seen()
    with screen:
        while not over.is_set() and (deadline is None or time.monotonic() < deadline):
            seen = look(url, receiver.received, supervisor.states(), seen, time.monotonic() - started)
            screen.show(seen)
            over.wait(0.5)
    return seen


def _check(seen: Seen) -> None:
    print(json.dumps(seen.summary()))  # noqa: T201 - the command's result
    missing = seen.missing()
    if missing:
        raise CheckFailed(f"the demo did not see {', '.join(missing)}")


def _environment(url: str, bootstrap: str, webhook: str, folder: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": url,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "VIGIL_HASH_KEY": secrets.token_hex(32),
        "VIGIL_POLICY": "demo",
        "VIGIL_WEBHOOK_URL": webhook,
        "VIGIL_NOTIFICATION_LOG": str(folder / "notifications.jsonl"),
        "VIGIL_CONSOLE_PORT": str(preferred_port(8_080)),
        "VIGIL_GATEWAY_PORT": str(preferred_port(8_090)),
        "VIGIL_GATEWAY_FOLDER": str(folder / "gateway"),
        "VIGIL_LOG_FORMAT": "json",
        "VIGIL_PARTITIONS": str(_PARTITIONS),
    }


def _heartbeat(url: str, gateway_port: str) -> dict[str, str]:
    """The synthetic patient passes the gateway too; its samples are in none of the figures."""
    return {
        "VIGIL_HEARTBEAT_GATEWAY_URL": f"http://127.0.0.1:{gateway_port}",
        "VIGIL_HEARTBEAT_TOKEN": new_token(url),
        "VIGIL_HEARTBEAT_PERIOD_S": "10",
        "VIGIL_HEARTBEAT_MISSING_S": "60",
    }


@contextmanager
def _announced(environment: dict[str, str]) -> Iterator[None]:
    ADDRESSES.unlink(missing_ok=True)
    ADDRESSES.touch(mode=0o600)
    ADDRESSES.write_text(json.dumps({"pid": os.getpid(), "environment": environment}))
    try:
        yield
    finally:
        ADDRESSES.unlink(missing_ok=True)


def use_running_demo() -> None:
    """Take the settings of the demo that runs on this machine into this process. Raises `NoDemo`."""
    try:
        owner = ADDRESSES.stat().st_uid
        told = json.loads(ADDRESSES.read_text())
        os.kill(told["pid"], 0)
    except (OSError, ValueError):  # not there, or left behind by a demo that was killed
        raise NoDemo from None
    if owner != os.getuid():  # anybody may write into the folder for temporary files
        raise NoDemo
    os.environ.update(told["environment"])


@contextmanager
def _wearers(
    gateway: str, tokens: Mapping[str, str], people: Sequence[Wearer], start_us: int, over: threading.Event
) -> Iterator[None]:
    done = threading.Event()
    streaming = stream_wearers(gateway, tokens, people, start_us, lambda: done.is_set() or over.is_set())
    thread = threading.Thread(target=lambda: asyncio.run(streaming))
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def ends_on_signals(over: threading.Event) -> Iterator[None]:
    """Ctrl-C, SIGTERM or a closed terminal end the demo in good order; another one does not interrupt that."""

    def end(_number: int, _frame: FrameType | None) -> None:
        over.set()

    before = {number: signal.signal(number, end) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
