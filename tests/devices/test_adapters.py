"""Adapters are found by entry points; the page that shows how to write one shows one that works."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from devices.adapter import Adapter
from devices.adapters import BrokenAdapter, UnknownAdapter, installed, load, load_all
from tests.conftest import REPO
from tests.devices.adapting import check_private, told, us

BUILT_IN = {"apple-export", "fhir-bundle", "fit-file", "fitbit-export", "garmin-export", "health-auto-export"}
PAGE = (REPO / "docs" / "adapters.md").read_text()


def package(folder: Path, code: str, points: str, name: str = "other") -> None:
    """Lay a package with entry points into a folder, as an installer would."""
    (folder / f"{name}_adapter.py").write_text(code)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[vigil.adapters]\n{points}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def found(site: Path, code: str, points: str = "other = other_adapter:ADAPTER") -> None:
    package(site, code, points)
    sys.modules.pop("other_adapter", None)
    importlib.invalidate_caches()


def test_the_built_in_adapters_are_entry_points_like_any_other() -> None:
    assert set(installed()) >= BUILT_IN
    adapters, broken = load_all()
    assert broken == []
    assert {adapter.name for adapter in adapters} >= BUILT_IN
    assert all(isinstance(adapter, Adapter) for adapter in adapters)


def test_an_unknown_adapter_lists_the_known_ones() -> None:
    with pytest.raises(UnknownAdapter) as caught:
        load("Anna Schmidt")
    assert all(name in str(caught.value) for name in BUILT_IN)
    assert "Anna" not in str(caught.value)


GOOD = """
class One:
    name = "other"
    about = "x"
    def read(self, source, reading):
        yield from ()
ADAPTER = One()
"""


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("ADAPTER = 7", "no object with name"),
        (GOOD + "ADAPTER = One", "no object with name"),
        (GOOD.replace('"other"', '"another"'), "not the entry point's"),
        (GOOD.replace('"other"', '"Anna Schmidt"'), "letters"),
        (GOOD.replace('"other"', "7"), "letters"),
        (GOOD.replace('"x"', "7"), "about"),
        (GOOD.replace("def read(self, source, reading):\n        yield from ()", "read = 7"), "read a function"),
        ("raise RuntimeError('Anna Schmidt')", "cannot be imported (RuntimeError)"),
        ("", "cannot be imported (AttributeError)"),
        ("import no_such_module", "cannot be imported (ModuleNotFoundError)"),
    ],
)
def test_a_broken_adapter_is_named_by_its_entry_point_and_harms_no_other(site: Path, code: str, word: str) -> None:
    found(site, code)
    with pytest.raises(BrokenAdapter) as caught:
        load("other")
    assert "other = other_adapter:ADAPTER" in str(caught.value)
    assert word in str(caught.value)
    assert "Anna" not in str(caught.value)
    adapters, broken = load_all()
    assert {adapter.name for adapter in adapters} >= BUILT_IN
    assert [word in str(error) for error in broken] == [True]
    assert load("fit-file").name == "fit-file"


def test_two_packages_that_claim_one_name_are_refused(site: Path) -> None:
    found(site, GOOD.replace('"other"', '"fit-file"'), "fit-file = other_adapter:ADAPTER")
    with pytest.raises(BrokenAdapter, match="another package"):
        load("fit-file")


def _block(language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert match is not None
    return match[1]


def test_the_pages_adapter_works_from_a_package_of_its_own(tmp_path: Path, site: Path) -> None:
    points = _block("toml").replace('[project.entry-points."vigil.adapters"]\n', "").replace('"', "")
    package(site, "", points, "pulse")
    (site / "pulse_csv.py").write_text(_block("python"))
    importlib.invalidate_caches()
    data = (
        "time,bpm,device\n2024-06-01T10:00:00+02:00,61,Petronella Quackenbush's band\n"
        "2024-06-01T10:00:01+02:00,none,x\nnow,62,Utrecht\n2024-06-01T10:00:02+02:00,62,Utrecht\n"
    )
    result = told(load("pulse-csv"), data.encode())
    start = us(2024, 6, 1, 8)
    assert result.of("heart_rate") == [(start, 61.0), (start + 2_000_000, 62.0)]
    assert result.reading.tally.rejected == {"value": 1, "date": 1}
    check_private(result)
    check_private(told(load("pulse-csv"), data.encode("utf-16"), fails=True))

    file = tmp_path / "pulses.csv"
    file.write_text(data)
    done = subprocess.run(
        [sys.executable, "-m", "vigil", "import", "pulse-csv", str(file), "--patient", "p-1", "--dry-run"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(site)},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    summary = json.loads(done.stdout)
    assert (summary["adapter"], summary["read"], summary["samples"]) == ("pulse-csv", 4, {"heart_rate": 2})


def test_the_page_names_every_built_in_adapter() -> None:
    assert set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)) == BUILT_IN
