"""A recorder killed at any line of its way from the log into the database: the next one goes on, nothing is twice."""

import json
import os
import subprocess
import sys
from uuid import uuid4

from tests.conftest import REPO
from tests.faults.making import accounted, expected

KILLS = 40


def test_killed_at_any_line_nothing_is_lost_or_twice(url: str) -> None:
    seed = os.environ.get("VIGIL_TEST_SEED", str(uuid4().int % 10**6))
    print(f"VIGIL_TEST_SEED={seed}")
    command = [sys.executable, "-m", "tests.faults.killed", url, seed, str(KILLS)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    told = json.loads(done.stdout.splitlines()[-1])
    died = told["died"]
    assert sum(died.values()) - died.get("none", 0) >= KILLS * 0.8, told
    assert len(died) > 10, "in many places"
    assert accounted(url) == expected(range(told["records"])), told
