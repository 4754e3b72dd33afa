"""A program: recorders that end by SIGKILL at given lines of the write path, one after the other, on one partition.

`python -m tests.faults.killed URL SEED KILLS` forks a recorder for each kill. It finds `BATCH` records more in the log
than the one before, and dies at its n-th line in `stream`, `timeseries` or psycopg, n spread over all the lines that it
takes to go on after a predecessor. The last one is not killed. Prints at how many lines one died, and in which files.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, Final

import psycopg

from tests.faults.making import Driven, record
from tests.stream.fakes import FakeLog
from timeseries.store import SampleStore

BATCH: Final = 7
_REPO: Final = Path(__file__).resolve().parents[2]
_WATCHED: Final = (str(_REPO / "stream"), str(_REPO / "timeseries"), str(Path(psycopg.__file__).parent))


class Killer:
    """Counts the lines that run, in every thread; at `deadly` the process is gone. Tells `last` where it was."""

    def __init__(self, deadly: int | None, last: int) -> None:
        self.lines = 0
        self._deadly, self._last = deadly, last
        threading.settrace(self._call)
        sys.settrace(self._call)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(_WATCHED) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.lines += 1
            if self.lines == self._deadly:
                os.write(self._last, Path(frame.f_code.co_filename).name.encode())
                os.kill(os.getpid(), signal.SIGKILL)
        return self._line


async def _record(url: str, count: int) -> None:
    async with SampleStore(url) as store:
        await (await Driven(store, FakeLog([record(offset) for offset in range(count)])).start()).run(most=BATCH)


def _fork(url: str, count: int, deadly: int | None) -> str:
    """Run a recorder in a process of its own; return what it said: where it died, or how many lines it took."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        killer = Killer(deadly, into)
        asyncio.run(_record(url, count))
        sys.settrace(None)
        os.write(into, str(killer.lines).encode())
        os._exit(0)
    os.close(into)
    _, status = os.waitpid(child, 0)
    with os.fdopen(out) as told:
        said = told.read()
    if status not in {0, signal.SIGKILL}:
        raise SystemExit(f"a recorder ended with {status}")
    return said


def main(url: str, seed: int, kills: int) -> None:
    """Calibrate with two recorders that live, then kill."""
    draw = random.Random(seed)
    _fork(url, BATCH, None)
    lines = int(_fork(url, 2 * BATCH, None))
    died: Counter[str] = Counter()
    points = [round((n + draw.random()) * lines / kills) + 1 for n in range(kills)]
    draw.shuffle(points)
    for n, deadly in enumerate(points):
        said = _fork(url, (3 + n) * BATCH, deadly)
        died[said if said.endswith(".py") else "none"] += 1
    _fork(url, (3 + kills) * BATCH, None)
    print(json.dumps({"lines": lines, "died": died, "records": (3 + kills) * BATCH}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
