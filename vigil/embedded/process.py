"""A service as a child process: started, waited for until it answers, stopped or killed with all it started."""

import contextlib
import os
import pwd
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from vigil.embedded.lifeline import Lifeline
from vitals.errors import VigilError

_POLL_S = 0.02
_LOG_LINES = 15


class ServiceFailed(VigilError):
    """A service did not start; the message ends with the last lines of its log."""


class Service(ABC):
    """One child process with a lifeline. A subclass says what to run and how to tell that it answers."""

    name: str
    stop_signal = signal.SIGTERM
    start_timeout_s = 30.0
    stop_timeout_s = 20.0
    account: pwd.struct_passwd | None = None  # whom to run as; None: as we do
    niceness = 0  # more than ours

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: Lifeline | None = None

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """The program and its arguments."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether a client would be served now; quick, and False rather than an error while it would not."""

    def _prepare(self) -> None:  # noqa: B027  a hook: most services need nothing
        """Make what the program needs before each start."""

    def _environment(self) -> Mapping[str, str]:
        return os.environ

    @property
    def pid(self) -> int | None:
        """The running child's process id; None where nothing runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start and return once it answers; does nothing where it runs already."""
        if self.pid is not None:
            return
        self._reap()
        self._prepare()
        try:
            self._spawn()
            self._wait_until_it_answers()
        except OSError as error:
            self.kill()
            raise ServiceFailed(f"{self.name} cannot be started: {error}") from error
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Let it end in good order, for `stop_timeout_s` at most; afterwards nothing of it runs."""
        if self._process is not None and self.pid is not None:
            self._process.send_signal(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self.stop_timeout_s)
        self.kill()

    def kill(self) -> None:
        """End it and every process it started at once, by SIGKILL."""
        if self._process is not None and self.pid is not None:
            _kill_tree(psutil.Process(self._process.pid))
        self._reap()

    def _spawn(self) -> None:
        self._lifeline = Lifeline(self.stop_signal)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(word) for word in self._command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=self._environment(),
                user=None if self.account is None else self.account.pw_uid,
                group=None if self.account is None else self.account.pw_gid,
                extra_groups=None if self.account is None else [],
                process_group=self._lifeline.group,
            )
        self._lifeline.guard(self._process.pid)
        if self.niceness:
            os.setpriority(os.PRIO_PROCESS, self._process.pid, os.getpriority(os.PRIO_PROCESS, 0) + self.niceness)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + self.start_timeout_s
        while not self._answers():
            if self.pid is None:
                raise self._failure("ended while it started")
            if time.monotonic() > deadline:
                raise self._failure(f"does not answer after {self.start_timeout_s:g} s")
            time.sleep(_POLL_S)
        if self.pid is None:
            raise self._failure("ended while it started, and something else answers in its place")

    def _failure(self, what: str) -> ServiceFailed:
        return ServiceFailed(f"{self.name} {what}; the end of its log {self.log}:\n{last_lines(self.log)}")

    def _reap(self) -> None:
        if self._lifeline is not None:
            self._lifeline.cut()
            self._lifeline = None
        if self._process is not None:
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def last_lines(log: Path, lines: int = _LOG_LINES) -> str:
    """The end of a log file; what to say where there is none."""
    try:
        with log.open(encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, maxlen=lines)).strip() or "(empty)"
    except FileNotFoundError:
        return "(no log)"


def _kill_tree(root: psutil.Process) -> None:
    """Stopped first, so that it cannot start another child while its children are counted."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root.suspend()
        tree = [root, *root.children(recursive=True)]
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _wait_until_dead(tree, timeout_s=10)


def _wait_until_dead(processes: Sequence[psutil.Process], timeout_s: float) -> None:
    """Dead includes not yet buried: who buries orphans, and when, is the system's affair."""
    deadline = time.monotonic() + timeout_s
    while any(_lives(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
