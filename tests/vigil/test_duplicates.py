"""Why a sample came again: who counts as an export, and what the operator sees of it."""

import os
import subprocess
import sys

from tests.timeseries.making import query
from vigil import healthkit
from vitals.adapters import is_export


def test_what_the_import_calls_itself_is_declared_an_export() -> None:
    assert is_export(healthkit.ADAPTER)
    assert not is_export("ble-2a37")


def test_the_status_shows_duplicates_by_adapter_and_reason(database: str) -> None:
    query(
        database,
        """INSERT INTO duplicates VALUES
           (current_date, 'ble-2a37', 'resent', 7), (current_date - 30, 'ble-2a37', 'resent', 4000),
           (current_date, 'apple-export', 'overlapping_export', 1200),
           (current_date - 8, 'ble-2a37', 'redelivered', 3)""",
    )
    done = subprocess.run(
        [sys.executable, "-m", "vigil", "db", "status"],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": database, "COLUMNS": "100"},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines()]
    at = next(number for number, words in enumerate(lines) if words[:3] == ["told", "again", "by"])
    assert lines[at + 1 : at + 4] == [
        ["ble-2a37", "resent", "7", "4,007"],
        ["apple-export", "overlapping_export", "1,200", "1,200"],
        ["ble-2a37", "redelivered", "0", "3"],
    ]
