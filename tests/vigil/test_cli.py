"""The command line as a person meets it: words, exit codes, nobody's name."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPO

BARE = {"PATH": os.environ["PATH"]}


def vigil(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vigil", *arguments],
        env=BARE | variables, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_help_tells_how_to_begin() -> None:
    told = vigil("--help").stdout
    for word in ("vigil demo", "DATABASE_URL", "recorder", "not diagnose"):
        assert word in told


def test_decode_prints_json() -> None:
    done = vigil("decode", "2a37", "1e5532002100")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert (told["heart_rate_bpm"], told["contact"], told["energy_expended_kj"]) == (85, True, 50)
    assert told["rr_intervals_ms"] == [32.2]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("2a37", "170101"), "RR intervals"),
        (("2a37", "zz"), "hexadecimal"),
        (("2a37", ""), "Heart Rate Measurement"),
        (("ffff", "00"), "2A37"),
    ],
)
def test_a_malformed_value_exits_2_and_says_why(arguments: tuple[str, str], word: str) -> None:
    done = vigil("decode", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("service", "setting"),
    [
        ("recorder", "KAFKA_BOOTSTRAP_SERVERS"),
        ("watch", "KAFKA_BOOTSTRAP_SERVERS"),
        ("dispatch", "KAFKA_BOOTSTRAP_SERVERS"),
        ("notifier", "KAFKA_BOOTSTRAP_SERVERS"),
        ("console", "DATABASE_URL"),
    ],
)
def test_a_service_without_its_address_exits_and_names_the_setting(service: str, setting: str) -> None:
    done = vigil(service)
    assert done.returncode == 2
    assert setting in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_named_and_its_value_is_not_quoted() -> None:
    done = vigil("recorder", VIGIL_HASH_KEY="short", VIGIL_PARTITIONS="many")
    assert done.returncode == 2
    assert "VIGIL_HASH_KEY" in done.stderr
    assert "VIGIL_PARTITIONS" in done.stderr
    assert "short" not in done.stderr
    assert "many" not in done.stderr


def test_a_dry_run_needs_nothing_and_adds_up() -> None:
    export = REPO / "fixtures" / "apple" / "everyday.xml"
    done = vigil("healthkit", "import", str(export), "--patient", "demo", "--dry-run")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    expected = json.loads(export.with_suffix(".expected.json").read_text())["summary"]
    assert told["read"] == expected["read"] == told["accepted"] + sum(told["rejected"].values())
    assert told["by_metric"] == expected["by_metric"]


@pytest.mark.realdata
def test_the_example_of_the_readme(realdata: Path) -> None:
    export = realdata / "apple-health" / "tdda" / "export6s3sample.xml"
    told = json.loads(vigil("healthkit", "import", str(export), "--patient", "demo", "--dry-run").stdout)
    assert (told["read"], told["accepted"], told["rejected"]) == (15, 15, {})


def test_a_truncated_zip_is_one_clear_line(tmp_path: Path) -> None:
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.write(REPO / "fixtures" / "apple" / "everyday.xml", "apple_health_export/export.xml")
    cut = tmp_path / "Anna Schmidt.zip"
    cut.write_bytes(whole.read_bytes()[:-200])
    done = vigil("healthkit", "import", str(cut), "--patient", "demo", "--dry-run")
    assert done.returncode == 2
    assert "zip" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Anna" not in done.stderr + done.stdout


def test_a_name_is_no_patient_id() -> None:
    export = str(REPO / "fixtures" / "apple" / "everyday.xml")
    done = vigil("healthkit", "import", export, "--patient", "Anna Schmidt", "--dry-run")
    assert done.returncode == 2
    assert "patient id" in done.stderr
    assert "Anna" not in done.stderr


@pytest.mark.parametrize("left_behind", [False, True])
def test_import_into_a_demo_that_does_not_run_says_so(left_behind: bool, tmp_path: Path) -> None:
    if left_behind:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        (tmp_path / "vigil-demo.json").write_text(json.dumps({"pid": gone.pid, "environment": {}}))
    export = str(REPO / "fixtures" / "apple" / "everyday.xml")
    done = vigil("healthkit", "import", export, "--patient", "me", "--demo", TMPDIR=str(tmp_path))
    assert done.returncode == 2
    assert "make demo" in done.stderr


def test_a_zone_that_nobody_lives_in_is_named() -> None:
    done = vigil("console", DATABASE_URL="postgresql://nobody@127.0.0.1:1/x", VIGIL_CONSOLE_TIME_ZONE="Mars/Olympus")
    assert done.returncode == 2
    assert "VIGIL_CONSOLE_TIME_ZONE" in done.stderr
    assert "Olympus" not in done.stderr
