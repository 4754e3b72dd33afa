"""How much of a core each process took, the children of a child with it; of this one itself they are not."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Cores:
    """Of each name: the CPU seconds so far, and when that was."""

    at_s: float
    cpu_s: Mapping[str, float]

    @classmethod
    def now(cls, pids: Mapping[str, int | None]) -> Cores:
        """Look at processes by name; those that are not there have taken nothing."""
        return cls(time.monotonic(), {name: _cpu_s(pid) for name, pid in pids.items() if pid is not None})

    def since(self, before: Cores) -> dict[str, float]:
        """Return how many cores each took since then."""
        passed_s = self.at_s - before.at_s
        return {name: round((cpu - before.cpu_s.get(name, cpu)) / passed_s, 3) for name, cpu in self.cpu_s.items()}


def _cpu_s(pid: int) -> float:
    spent = 0.0
    try:
        top = psutil.Process(pid)
        for one in (top, *(() if pid == os.getpid() else top.children(recursive=True))):
            times = one.cpu_times()
            spent += times.user + times.system
    except psutil.NoSuchProcess:
        pass
    return spent
