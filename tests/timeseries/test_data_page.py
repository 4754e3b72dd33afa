"""docs/data.md: every question runs as a reader, answers what it says, and the dictionary is the database's own."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from tests.timeseries.making import Partition, S, query, rows
from tests.timeseries.test_roles import login
from timeseries.archive import archive_day
from timeseries.archive_storage import open_storage
from timeseries.rollup import refresh
from timeseries.store import SampleStore
from tools.dictionary import PAGE, dictionary, refreshed
from vitals.catalogue import number_of

DAY = datetime(2026, 3, 3, tzinfo=UTC)
QUESTION = re.compile(r"^### (\d+)\. (.+?)$.*?```sql\n(.+?)```", re.MULTILINE | re.DOTALL)
VARIABLES = {"patient": "p1", "from": DAY.isoformat(), "to": (DAY + timedelta(days=1)).isoformat()}


def questions(page: Path = PAGE) -> list[tuple[int, str, str]]:
    return [(int(number), title, text) for number, title, text in QUESTION.findall(page.read_text("utf-8"))]


def ask(url: str, text: str) -> list[dict[str, Any]]:
    for name, value in VARIABLES.items():
        text = text.replace(f":'{name}'", f"'{value}'")
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(text.encode())
        return [dict(zip((column.name for column in cursor.description or ()), row, strict=True)) for row in cursor]


async def fill(url: str) -> None:
    """Two wearers over two hours: heart rate by two devices of the first, oxygen that dips, an alert."""
    lane = Partition()
    start = int(DAY.timestamp()) * S
    minutes = np.arange(120) * 60 * S + start
    async with SampleStore(url) as store:
        await store.resolve_keys(["p1", "p2"], [("d1", "app"), ("d2", "app")])
        for patient, origin, metric, value in (
            (1, 1, "heart_rate", 60.0), (1, 2, "heart_rate", 62.0), (2, 1, "heart_rate", 70.0), (1, 1, "spo2", 97.0),
        ):  # fmt: skip
            made = rows(
                120, time=minutes, patient_key=patient, origin_key=origin, metric_key=number_of(metric), value=value,
                zone_offset_min=60, received_at=minutes + 2 * S,
            )  # fmt: skip
            if metric == "spo2":
                made["value"][30:33] = 85
            await store.write(lane.batch(made))
            lane.stored()
    query(
        url,
        """INSERT INTO alerts (alert_id, patient_id, kind, priority, rule, rule_version, metric, device_id, source_app,
            state, opened_at, raised_at, changed_at, measured_at, retrospective, individualised, evidence, sentence)
        VALUES ('a1', 'p1', 'physiological', 'high', 'spo2_low', 1, 'spo2', 'd1', 'app', 'raised', %(at)s, %(at)s,
            %(at)s, %(at)s, false, false, '{}', 'Oxygen saturation below 88 %%.')"""
        .replace("%(at)s", f"'{(DAY + timedelta(minutes=32)).isoformat()}'").replace("%%", "%"),
    )  # fmt: skip


@pytest.fixture
async def filled(database: str) -> str:
    await fill(database)
    refresh(database)
    return database


async def test_the_questions_answer(filled: str) -> None:
    with login(filled, "vigil_reader") as url:
        answers = {number: ask(url, text) for number, _, text in questions()}
    assert sorted(answers) == list(range(1, 16))
    assert len(answers[1]) == 240
    assert {row["time_weighted_mean"] for row in answers[2]} == {60, 62}
    assert {(row["local_hour"], row["mean_bpm"]) for row in answers[4]} == {(1, 61), (2, 61)}
    assert [(row["minutes_below_90"], row["lowest"]) for row in answers[10]] == [(3, 85)]
    assert [(row["one"], row["minutes"], row["bias"]) for row in answers[11]] == [("d1", 120, -2)]
    assert {row["median_lateness"] for row in answers[12]} == {timedelta(seconds=2)}
    assert [(row["rule"], row["alerts"], row["cleared_by_itself"]) for row in answers[13]] == [("spo2_low", 1, 0)]
    assert {row["metric"] for row in answers[14]} == {"heart_rate", "spo2"}
    assert answers[15][0]["patients"] == 2
    assert answers[15][0]["bpm"] == [60.4, 62, 68.4]


def test_the_dictionary_is_the_databases_own(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        page = PAGE.read_text("utf-8")
        assert page == refreshed(page, dictionary(connection)), "run: python tools/dictionary.py --write"


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.+?)```", PAGE.read_text("utf-8"), re.DOTALL)


async def test_the_archive_is_read_as_the_page_says(filled: str, tmp_path: Path) -> None:
    """DuckDB, pandas and Polars on the files, of which the second part corrects one sample and deletes another."""
    for name in ("duckdb", "pandas", "polars"):
        pytest.importorskip(name)
    storage = open_storage(str(tmp_path / "archive"))
    whose = "patient_key = 1 AND metric_key = 1 AND origin_key = 1"
    hours = ask(filled, "SELECT date_trunc('hour', time) AS hour FROM samples WHERE patient_key = 1 AND metric_key = 1")
    day = DAY.date()
    with psycopg.connect(filled, autocommit=True) as connection:
        archive_day(connection, storage, "vital", day)
        later = "written_at = written_at + INTERVAL '1 hour'"
        one = f"{whose} AND time = (SELECT %s(time) FROM samples WHERE {whose})"
        connection.execute(f"UPDATE samples SET value = 99, {later} WHERE {one % 'min'}")
        connection.execute(f"UPDATE samples SET value = 0, flags = 128, {later} WHERE {one % 'max'}")
        archive_day(connection, storage, "vital", day)
    told: dict[str, Any] = {"archive": str(tmp_path / "archive"), "patient": "p1"}
    for block in python_blocks():
        if "archive" in block:
            exec(block.replace("2026-03-01", str(day)).replace("2026-03-31", str(day)), told)
    on_day = [row for row in hours if row["hour"].date() == day]
    values = [row[0] for row in told["samples"].select("value").fetchall()]
    assert len(values) == len(on_day) - 1
    assert values.count(99) == 1
    assert len(told["by_hour"].fetchall()) == len({row["hour"] for row in on_day})
    frame = told["frame"]
    assert len(frame[frame["metric"] == "heart_rate"]) == len(values)
    (mean,) = told["means"].filter(told["polars"].col("metric") == "heart_rate")["value"].to_list()
    assert mean == pytest.approx(sum(values) / len(values))


async def test_pandas_and_polars_read_as_the_page_says(filled: str) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    blocks = [block for block in python_blocks() if "archive" not in block]
    with login(filled, "vigil_reader") as url:
        told: dict[str, Any] = {"url": url, "patient": "p1", "start": DAY}
        for block in blocks:
            exec(block, told)
    assert len(told["hours"]) == 4
    assert list(told["days"].columns) == ["day", "steps", "sleep_total_min"]
