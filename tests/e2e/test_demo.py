"""The demo and `vigil up` as a person runs them: they show what they promise and leave nothing behind."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.xdist_group("demo")  # all want the console's port

VIGIL = [sys.executable, "-m", "vigil"]


def _descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def _gone(processes: list[psutil.Process], within_s: float = 15.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes):
            return True
        time.sleep(0.1)
    return False


def _start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "HOME": str(Path.home())}
    return subprocess.Popen(
        [*VIGIL, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


@pytest.fixture
def shared_tmp() -> Iterator[Path]:
    """A folder that the database's own user may pass through, too: pytest's own, other runs and workers forbid."""
    with tempfile.TemporaryDirectory(prefix="vigil-demo-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.mark.slow
@pytest.mark.alone  # 35 seconds are enough for a person who tries it: on an idle machine
def test_the_demo_checks_itself(shared_tmp: Path) -> None:
    demo = _start(shared_tmp, "demo", "--seconds", "35", "--check")
    out, err = demo.communicate(timeout=120)
    assert demo.returncode == 0, out + err
    told = json.loads(out.splitlines()[-1])
    assert told["samples"] > 10_000
    assert told["quarantined"] == 0
    assert told["alerts"] >= 1
    assert told["delivered"] >= 1
    assert list(shared_tmp.iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_leaves_no_process_and_no_file(shared_tmp: Path) -> None:
    demo = _start(shared_tmp, "demo")
    deadline = time.monotonic() + 60
    while not (shared_tmp / "vigil-demo.json").exists() or len(_descendants(demo)) < 8:
        assert time.monotonic() < deadline, "the demo did not start"
        time.sleep(0.2)
    time.sleep(3)
    started = _descendants(demo)
    demo.send_signal(signal.SIGINT)
    demo.send_signal(signal.SIGINT)  # an impatient person
    out, err = demo.communicate(timeout=60)
    assert demo.returncode == 0, out + err
    assert _gone(started)
    assert list(shared_tmp.iterdir()) == []


@pytest.mark.slow
def test_up_keeps_its_database_and_begins_a_new_epoch_with_a_new_broker(shared_tmp: Path) -> None:
    for _ in range(2):
        up = _start(shared_tmp, "up", "--embedded", "--folder", str(shared_tmp / "kept"), "--seconds", "6")
        out, err = up.communicate(timeout=60)
        assert up.returncode == 0, out + err
        assert "restarted" not in err
    assert (shared_tmp / "kept" / "data" / "PG_VERSION").exists()
    assert (shared_tmp / "kept" / "hash.key").stat().st_mode & 0o077 == 0
