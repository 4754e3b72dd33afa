"""DuckDB, pandas and Polars read the folder as docs/decisions/0011-archive.md says, and come to what stands."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.timeseries.archive.making import HEART, Vault
from tests.timeseries.archive.test_erase import erase
from tests.timeseries.lifecycle_world import DAY, HOUR, START
from tests.timeseries.making import query
from timeseries.rows import Rows

PAGE = Path(__file__).resolve().parents[3] / "docs" / "decisions" / "0011-archive.md"
PATIENT = "wearer-2-of-the-archive"


def snippets(language: str, vault: Vault) -> list[str]:
    """What the page says, about this archive and this patient."""
    text = PAGE.read_text("utf-8").replace("/srv/vigil-archive", str(vault.folder)).replace("'p-1'", f"'{PATIENT}'")
    return re.findall(rf"```{language}\n(.+?)```", text.replace('"p-1"', f'"{PATIENT}"'), re.DOTALL)


@pytest.fixture
def several_parts(vault: Vault) -> Vault:
    """Two days; on the first a correction, a deletion and a late sample of the second patient; nothing in samples."""
    vault.everything()
    world = vault.world
    for at, flags in ((START + HOUR, 0), (START + 2 * HOUR, 128), (START + HOUR / 4, 0)):
        rows = world.samples(2, HEART, at)
        rows["flags"] = flags
        world.write(rows)
    vault.everything()
    query(vault.url, "DELETE FROM samples")
    return vault


def standing(vault: Vault) -> Rows:
    rows = vault.expected(2, end=START + DAY)
    found: Rows = rows[rows["flags"] & 128 == 0]
    assert len(found) == 24
    return found


def same(found: list[tuple[Any, Any]], vault: Vault) -> bool:
    """Are these (microseconds, value) what stands?"""
    rows = standing(vault)
    return sorted(found) == sorted(zip(rows["time"].tolist(), rows["value"].tolist(), strict=True))


def test_duckdb(several_parts: Vault) -> None:
    duckdb = pytest.importorskip("duckdb")
    (statement,) = snippets("sql", several_parts)
    told = duckdb.sql(statement)
    assert {"retention_class", "utc_day", "unit"} <= set(told.columns)
    found = duckdb.sql("SELECT epoch_us(time), value FROM told").fetchall()
    assert same(found, several_parts)
    everything = f"FROM read_parquet('{several_parts.folder}/**/*.parquet', hive_partitioning = true)"
    by_day = f"SELECT retention_class, utc_day::text, count(*), count(DISTINCT patient_id) {everything} GROUP BY ALL"
    assert sorted(duckdb.sql(by_day).fetchall()) == [
        ("activity", "2024-06-06", 12, 1), ("activity", "2024-06-07", 12, 1),
        ("vital", "2024-06-06", 75, 3), ("vital", "2024-06-07", 72, 3),
    ]  # fmt: skip
    erase(several_parts)
    assert duckdb.sql(f"SELECT count(*) {everything} WHERE patient_id = '{PATIENT}'").fetchall() == [(0,)]
    assert duckdb.sql(f"SELECT count(*) {everything}").fetchall() == [(171 - 51,)]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_pandas_and_polars(several_parts: Vault, library: str) -> None:
    module = pytest.importorskip(library)
    told: dict[str, Any] = {}
    (snippet,) = [one for one in snippets("python", several_parts) if f"import {library}" in one]
    exec(snippet, told)
    found = told[f"with_{library}"]
    times = found["time"].astype("int64") if library == "pandas" else found["time"].cast(module.Int64)
    assert same(list(zip(times, found["value"], strict=True)), several_parts)
    assert set(found["metric"]) == {"heart_rate"}
    assert {str(day) for day in found["utc_day"]} == {"2024-06-06"}
