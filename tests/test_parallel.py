"""What the suite relies on when it runs in parallel: groups stay together, and nothing runs beside what is alone."""

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.conftest import REPO
from tests.parallel import draw_ports_apart
from vigil.embedded import ports

INI = """
[pytest]
addopts = --dist=loadgroup --no-loadscope-reorder
asyncio_default_fixture_loop_scope = function
markers =
    alone
    kafka
    slow
"""
A_FILE = """
import os, time
import pytest

def ran(group):
    begun = time.monotonic()
    time.sleep(0.1)
    with open(os.environ["LEDGER"], "a") as ledger:
        print(group, os.environ["PYTEST_XDIST_WORKER"], begun, time.monotonic(), file=ledger)

@pytest.fixture(scope="module")
def costly():
    ran("costly {name}")

@pytest.mark.parametrize("number", range(3))
def test_of_a_module(costly, number):
    ran("{name}")

@pytest.mark.kafka
@pytest.mark.parametrize("number", range(2))
def test_with_a_service(number):
    ran("kafka")

@pytest.mark.alone
def test_alone():
    ran("alone")

@pytest.mark.xdist_group("together")
def test_of_a_named_group():
    ran("together")
"""


def test_groups_stay_on_one_worker_and_what_is_alone_has_no_company(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(INI)
    for name in "abcd":
        (tmp_path / f"test_{name}.py").write_text(A_FILE.replace("{name}", name))
    ledger = tmp_path / "ledger"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "3", "-p", "tests.conftest", "-p", "no:cacheprovider", "-q"],
        cwd=tmp_path, env=kept | {"PYTHONPATH": str(REPO), "LEDGER": str(ledger)}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "28 passed" in done.stdout

    workers: dict[str, set[str]] = defaultdict(set)
    times: list[tuple[str, float, float]] = []
    for line in ledger.read_text().splitlines():
        group, worker, begun, ended = line.removeprefix("costly ").split()
        workers[group].add(worker)
        times.append((group, float(begun), float(ended)))
    assert len(times) == 28 + 4, "each module's fixture was made once"
    assert {len(found) for found in workers.values()} == {1}
    assert len(set.union(*workers.values())) > 1, "it did run in parallel"
    lonely = [(begun, ended) for group, begun, ended in times if group == "alone"]
    others = [(begun, ended) for group, begun, ended in times if group != "alone"]
    assert not [1 for begun, ended in lonely for b, e in others if b < ended and begun < e]
    assert any(b < ended and begun < e for begun, ended in others for b, e in others if b != begun)


def test_workers_draw_their_ports_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = range(20_000, 32_000)
    drawn: list[range] = []
    for worker in (0, 1, 2, 3):
        monkeypatch.setattr(ports, "_CANDIDATES", whole)
        draw_ports_apart(worker, 3)
        drawn.append(ports._CANDIDATES)
    assert drawn[:3] == [range(20_000, 24_000), range(24_000, 28_000), range(28_000, 32_000)]
    assert drawn[3] == drawn[0], "a worker that follows a crashed one"


def test_each_test_has_an_id_of_its_own(request: pytest.FixtureRequest) -> None:
    """Of tests that share one, only the first would run: so it was with the operations of the gateway."""
    ids = [item.nodeid for item in request.session.items]
    assert len(ids) == len(set(ids))
    operations = [one for one in ids if "test_every_operation_as_described" in one]
    assert not operations or any("POST /v1/samples" in one for one in operations)
