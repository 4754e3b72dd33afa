"""The watchdog ends what is stuck, and nothing else."""

import subprocess
import sys

from stream.watchdog import STUCK, Patience, Watchdog


class World:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.waiting = False
        self.dog = Watchdog(Patience(loop_s=10, work_s=60), lambda: self.waiting, clock=lambda: self.now_s)

    def pass_s(self, seconds: float, *, beating: bool = True) -> str | None:
        self.now_s += seconds
        if beating:
            self.dog.beat()
        return self.dog.verdict()


def test_idle_is_not_stuck() -> None:
    world = World()
    assert [world.pass_s(50) for _ in range(5)] == [None] * 5


def test_a_silent_event_loop_is_stuck() -> None:
    world = World()
    assert world.pass_s(9, beating=False) is None
    assert world.pass_s(2, beating=False) == "event loop"


def test_work_that_waits_too_long_is_stuck_and_progress_starts_anew() -> None:
    world = World()
    world.waiting = True
    assert world.pass_s(59) is None
    world.dog.progress()
    assert world.pass_s(59) is None
    assert world.pass_s(2) == "work"


def test_time_without_work_does_not_count() -> None:
    world = World()
    world.pass_s(1_000)
    world.waiting = True
    assert world.pass_s(59) is None


def test_a_stuck_process_ends_by_itself() -> None:
    program = """
import time
from stream.watchdog import Patience, Watchdog
Watchdog(Patience(loop_s=0.5), lambda: False).start()
time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=30, capture_output=True)
    assert done.returncode == STUCK
