"""Keeps services running: one process each, started again when it dies, stopped together."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

import structlog

from vigil.embedded.process import Service, ServiceFailed

log = structlog.get_logger(__name__)

_CHECK_S: Final = 0.2
_MOST_S: Final = 30.0
_STEADY_S: Final = 60.0
"""A service that ran so long is forgiven its earlier deaths."""


class Worker(Service):
    """`python -m vigil <arguments>` as a child process. Started means running: it waits for others by itself."""

    start_timeout_s = 5.0
    stop_timeout_s = 10.0

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log_folder: Path) -> None:
        super().__init__(log_folder / f"{name}.log")
        self.name = name
        self._arguments = arguments
        self._variables = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}

    def _command(self) -> Sequence[str]:
        return [sys.executable, "-m", "vigil", *self._arguments]

    def _environment(self) -> Mapping[str, str]:
        return self._variables

    def _answers(self) -> bool:
        return True


SERVICES: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        "watch": ("watch",),
        "gateway": ("serve",),
        "recorder": ("recorder",),
        "dispatch": ("dispatch",),
        "notifier": ("notifier",),
        "heartbeat": ("heartbeat",),
        "console": ("console",),
        "recorder-backfill": ("recorder", "--lane", "backfill"),
        "recorder-waveforms": ("recorder", "--lane", "waveforms"),
        "quarantine-feed": ("quarantine", "feed"),
        "rollup": ("db", "rollup", "--every", "10"),
    }
)
"""Everything that runs in a deployment, and its command; those that an alert waits for come first."""


def workers(names: Sequence[str], environment: Mapping[str, str], log_folder: Path) -> list[Worker]:
    """Return a worker for each of these services."""
    return [Worker(name, SERVICES[name], environment, log_folder) for name in names]


class _Record:
    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.restarts = 0
        self.delay_s = 1.0
        self.started_at = time.monotonic()
        self.again_at: float | None = None


class Supervisor:
    """Starts workers, and starts again, after a growing pause, whichever dies."""

    def __init__(self, workers: Sequence[Worker], *, most_pause_s: float = _MOST_S) -> None:
        self._most_pause_s = most_pause_s
        self._records = [_Record(worker) for worker in workers]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def states(self) -> dict[str, str]:
        """Return what each service is doing, for people: running, or how often it was started again."""
        return {record.worker.name: self._state(record) for record in self._records}

    @staticmethod
    def _state(record: _Record) -> str:
        running = "running" if record.worker.pid is not None else "starting again"
        return running if not record.restarts else f"{running} (restarted {record.restarts} times)"

    def __enter__(self) -> Self:
        for record in self._records:
            record.worker.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        stoppers = [threading.Thread(target=record.worker.stop) for record in self._records]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join()

    def _watch(self) -> None:
        while not self._over.wait(_CHECK_S):
            for record in self._records:
                self._look_after(record, time.monotonic())

    def _look_after(self, record: _Record, now: float) -> None:
        if record.worker.pid is not None:
            if now - record.started_at > _STEADY_S:
                record.delay_s = 1.0
            return
        if record.again_at is None:
            log.warning("service_died", name=record.worker.name, again_in_s=record.delay_s, log=str(record.worker.log))
            record.again_at = now + record.delay_s
        elif now >= record.again_at:
            self._start_again(record, now)

    def _start_again(self, record: _Record, now: float) -> None:
        record.again_at = None
        record.restarts += 1
        record.delay_s = min(self._most_pause_s, record.delay_s * 2)
        record.started_at = now
        try:
            record.worker.start()
        except ServiceFailed as error:
            log.warning("service_not_started", name=record.worker.name, error=str(error))
