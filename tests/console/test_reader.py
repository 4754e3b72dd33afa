"""The reader against PostgreSQL: what the fake cannot show."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from time import perf_counter

import psycopg
import pytest

from tests.console.conftest import NOW
from tests.console.world import FakeReader, Sample, World, alert, put
from tests.timeseries.making import query
from timeseries.console_model import Acknowledgement, Level, ReaderUnavailable, Series
from timeseries.console_reader import _SERIES_SQL, ConsoleReader, stretches
from timeseries.rollup import refresh

SAMPLES = [
    Sample(who, metric, NOW - timedelta(seconds=7 * k + 1), 60 + k % 11, quality=0.2 if k % 13 == 0 else 1.0)
    for who in ("p-1", "p-2")
    for metric in ("heart_rate", "spo2")
    for k in range(900)
]
LONG_STEPS_S = (60, 300, 900, 3_600, 21_600)
WINDOW = (["p-1"], ["heart_rate", "spo2"], NOW.replace(second=0) - timedelta(hours=1), NOW)
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0)
DAYS = [
    Sample("p-1", "heart_rate", MIDNIGHT - timedelta(days=2) + timedelta(seconds=101 * k), 60 + k % 17)
    for k in range(1_820)
]
STRETCH = (MIDNIGHT - timedelta(hours=20, minutes=50), MIDNIGHT - timedelta(hours=20, minutes=33))
"""Seventeen minutes within one hour, over three quarters of it."""


@pytest.fixture
async def reader(database: str) -> AsyncIterator[ConsoleReader]:
    reader = ConsoleReader(database, statement_timeout_s=1.0)
    await reader.open()
    yield reader
    await reader.close()


def close(found: tuple[Series, ...]) -> list[object]:
    """Series whose means are rounded: sums in another order differ in the last bit."""
    return [
        (one.metric, one.device_id, [(b.time, round(b.mean, 9), b.low, b.high, b.n) for b in one.buckets])
        for one in found
    ]


async def test_a_chart_does_not_depend_on_how_far_the_rollup_is(database: str, reader: ConsoleReader) -> None:
    put(database, World(samples=SAMPLES))
    unrolled = await reader.series(*WINDOW, 60)
    assert refresh(database) > 0
    rolled = await reader.series(*WINDOW, 60)
    with psycopg.connect(database) as connection:  # half of the last hour is dirty again
        connection.execute(
            "INSERT INTO dirty_ranges SELECT patient_key, date_trunc('hour', %s::timestamptz), %s, %s FROM patients",
            (NOW, NOW - timedelta(minutes=9), NOW - timedelta(minutes=3)),
        )
    mixed = await reader.series(*WINDOW, 60)
    expected = await FakeReader(World(samples=SAMPLES)).series(*WINDOW, 60)
    assert close(unrolled) == close(rolled) == close(mixed) == close(expected)


@pytest.mark.parametrize("step_s", LONG_STEPS_S)
async def test_no_step_depends_on_how_far_the_rollups_are(database: str, reader: ConsoleReader, step_s: int) -> None:
    """Two days, the stretches dirty in which the samples were changed behind the rollups' back."""
    world = World(samples=DAYS)
    window = (["p-1"], ["heart_rate"], MIDNIGHT - timedelta(days=2), NOW, step_s)
    expected = close(await FakeReader(world).series(*window))
    put(database, world)
    if step_s < 900:
        assert close(await reader.series(*window)) == expected
    assert refresh(database) > 40
    assert close(await reader.series(*window)) == expected
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE samples SET value = value + 100 WHERE time >= %s AND time < %s", STRETCH)
        connection.execute(
            "INSERT INTO dirty_ranges SELECT patient_key, date_trunc('hour', %s::timestamptz), %s, %s FROM patients",
            (STRETCH[0], STRETCH[0], STRETCH[1] - timedelta(seconds=1)),
        )
    changed = [
        replace(one, value=one.value + 100) if STRETCH[0] <= one.time < STRETCH[1] else one for one in world.samples
    ]
    expected_now = close(await FakeReader(World(samples=changed)).series(*window))
    assert expected_now != expected
    assert close(await reader.series(*window)) == expected_now


@pytest.mark.parametrize(
    ("step_s", "kept"), [(15, "samples"), (60, "vitals_1m"), (300, "vitals_1m"), (900, "vitals_15m"),
                         (1_800, "vitals_15m"), (3_600, "vitals_1h"), (21_600, "vitals_1h"), (86_400, "vitals_1h")],
)  # fmt: skip
async def test_a_chart_reads_the_level_that_fits_its_step_and_no_other(
    database: str, reader: ConsoleReader, step_s: int, kept: str
) -> None:
    put(database, World(samples=SAMPLES))
    refresh(database)
    with psycopg.connect(database) as connection:
        for level in {"samples", "vitals_1m", "vitals_15m", "vitals_1h"} - {kept}:
            connection.execute(f"TRUNCATE {level}".encode())
    assert await reader.series(*WINDOW, step_s)
    with psycopg.connect(database) as connection:
        connection.execute(f"TRUNCATE {kept}".encode())
    assert not await reader.series(*WINDOW, step_s)


async def test_a_long_chart_reads_only_the_newest_dirty_hours_from_the_samples(
    database: str, reader: ConsoleReader
) -> None:
    put(database, World(samples=DAYS))  # nothing is refreshed yet: 51 dirty hours
    window = (["p-1"], ["heart_rate"], MIDNIGHT - timedelta(days=2), NOW)
    (long,) = await reader.series(*window, 3_600)
    (short,) = await reader.series(*window, 60)
    assert len({bucket.time.replace(minute=0) for bucket in short.buckets}) == 52
    newest_hour = NOW.replace(minute=0, second=0)
    assert [bucket.time for bucket in long.buckets] == [newest_hour - timedelta(hours=k) for k in range(23, -1, -1)]


async def test_a_year_of_hours_is_quick(database: str, reader: ConsoleReader) -> None:
    put(database, World(samples=[Sample("p-1", "heart_rate", NOW, 70)]))
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO vitals_1h SELECT t, 1, 1, 1, 3600, 252000, 60, 80, 70, 70, 17640000, 60, 4200, 0 "
            "FROM generate_series(%s::timestamptz - INTERVAL '1 year', %s, '1 hour') AS t",
            (MIDNIGHT, MIDNIGHT),
        )
        connection.execute("ANALYZE vitals_1h")
    begun = perf_counter()
    (year,) = await reader.series(["p-1"], ["heart_rate"], MIDNIGHT - timedelta(days=365), NOW, 21_600)
    assert perf_counter() - begun < 1.0, "it took 20 ms when this was written"
    assert len(year.buckets) == 365 * 4 + 1
    assert {(bucket.mean, bucket.low, bucket.high) for bucket in year.buckets} == {(70, 60, 80)}


async def test_tombstones_are_not_drawn(database: str, reader: ConsoleReader) -> None:
    put(database, World(samples=SAMPLES))
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE samples SET flags = 128")
    assert await reader.series(*WINDOW, 15) == ()
    assert await reader.series(*WINDOW, 60) == ()


async def test_the_version_follows_everything_shown(database: str, reader: ConsoleReader) -> None:
    event = alert("p-1", NOW)
    seen = [await reader.version()]
    for step in (World(patients=["p-1"]), World(samples=SAMPLES[:1]), World(alerts=[event])):
        put(database, step)
        seen.append(await reader.version())
    assert await reader.acknowledge(event.alert_id, "n-1", NOW, "medium") is Acknowledgement.DONE
    seen.append(await reader.version())
    assert len(set(seen)) == len(seen)
    assert await reader.version() == seen[-1]


async def test_reads_cannot_write(database: str, reader: ConsoleReader) -> None:
    async with reader._reading() as connection:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await connection.execute("DELETE FROM alerts")


async def test_a_slow_question_is_given_up(reader: ConsoleReader) -> None:
    with pytest.raises(ReaderUnavailable, match="57014"):
        async with reader._reading() as connection:
            await connection.execute("SELECT pg_sleep(5)")
    await reader.ready()


async def test_an_acknowledgement_keeps_the_priority_that_was_seen(database: str, reader: ConsoleReader) -> None:
    event = alert("p-1", NOW)
    put(database, World(alerts=[event]))
    await reader.acknowledge(event.alert_id, "n-1", NOW, "medium")
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT acknowledged_by, acknowledged_at, acknowledged_priority FROM alerts"
        ).fetchone()
    assert row == ("n-1", NOW, "medium")


async def test_no_database() -> None:
    reader = ConsoleReader("postgresql://nobody@127.0.0.1:9/none", statement_timeout_s=0.5)
    await reader.open()
    with pytest.raises(ReaderUnavailable):
        await reader.ready()
    await reader.close()


async def test_an_empty_schema_is_not_ready(empty_database: str) -> None:
    reader = ConsoleReader(empty_database)
    await reader.open()
    with pytest.raises(ReaderUnavailable, match="42P01"):
        await reader.ready()
    await reader.close()


@pytest.mark.timescale
def test_a_year_on_timescaledb_opens_chunks_of_hours_only(wasm: str) -> None:
    late = MIDNIGHT.replace(2024, 12, 31, 22)
    with psycopg.connect(wasm, prepare_threshold=None, autocommit=True) as connection:
        connection.execute("INSERT INTO patients (patient_id) SELECT 'p-' || n FROM generate_series(1, 4) AS n")
        connection.execute("INSERT INTO devices (device_id) VALUES ('d-1')")
        connection.execute("INSERT INTO origins (device_key, source_app) VALUES (1, 'app')")
        connection.execute(
            "INSERT INTO samples SELECT t, t, t, 60, p, 1, 0, 1, 1, 0, 0, 60 FROM generate_series(1, 4) AS p, "
            "generate_series('2024-01-01'::timestamptz, '2024-12-31 23:59', INTERVAL '2 hours') AS t"
        )
        connection.execute(
            "INSERT INTO latest SELECT p, 1, 1, '2024-12-31', now(), 60, 1, 0 FROM generate_series(1, 4) p"
        )
        connection.execute(
            "INSERT INTO dirty_ranges VALUES (1, '2024-12-31 22:00', '2024-12-31 22:00', '2024-12-31 22:00')"
        )
        for level in ("vitals_1m", "vitals_15m", "vitals_1h"):
            connection.execute("CALL refresh_continuous_aggregate(%s, NULL, '2024-12-30'::timestamptz)", (level,))
        connection.execute("ANALYZE")
        start, end, hour = MIDNIGHT.replace(2024, 1, 1), MIDNIGHT.replace(2025, 1, 1), timedelta(hours=1)
        asked = {
            "patients": ["p-1"],
            "metrics": ["heart_rate"],
            "from": start,
            "to": end,
            "step": 21_600,
            "width": hour,
        }
        asked |= stretches([{"patient_key": 1, "from_time": late, "to_time": late + hour}], start)
        statement = f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {_SERIES_SQL[Level.HOURS]}"
        plan = [row[0] for row in connection.execute(statement.encode(), asked)]
    opened = set(re.findall(r"_hyper_\d+_\d+_chunk\b", "\n".join(line for line in plan if " on _hyper" in line)))
    assert len(chunks(wasm, "samples")) > 50
    assert opened == {*chunks(wasm, "vitals_1h"), chunks(wasm, "samples")[-1]}, "and what no rollup has seen"
    assert not [line for line in plan if "Seq Scan on _hyper" in line]


def chunks(url: str, relation: str) -> list[str]:
    found = query(
        url,
        "SELECT chunk_name FROM timescaledb_information.chunks c LEFT JOIN "
        "timescaledb_information.continuous_aggregates a ON a.materialization_hypertable_name = c.hypertable_name "
        "WHERE coalesce(a.view_name, c.hypertable_name) = %s "
        "AND coalesce(a.view_schema, c.hypertable_schema) = current_schema() ORDER BY range_start",
        (relation,),
    )
    return [name for (name,) in found]


@pytest.mark.timescale
async def test_timescaledb_answers_the_same(wasm: str) -> None:
    world = World(samples=SAMPLES[::20], alerts=[alert("p-1", NOW)])
    put(wasm, world, copy=False)
    reader, fake = ConsoleReader(wasm, size=1, prepare_threshold=None), FakeReader(world)
    await reader.open()
    try:
        await reader.ready()
        before = await reader.version()
        asked = {"silent_since": NOW - timedelta(minutes=15), "limit": 10, "offset": 0, "alert_limit": 10}
        assert await reader.overview(**asked) == await fake.overview(**asked)  # type: ignore[arg-type]
        assert await reader.patient("p-1", alert_limit=9) == await fake.patient("p-1", alert_limit=9)
        window = (*WINDOW[:2], MIDNIGHT, NOW)
        for step_s in (15, *LONG_STEPS_S):
            assert close(await reader.series(*window, step_s)) == close(await fake.series(*window, step_s))
        with psycopg.connect(wasm, prepare_threshold=None) as connection:  # from now on from the continuous aggregate
            connection.execute("DELETE FROM dirty_ranges")
        for step_s in LONG_STEPS_S:
            assert close(await reader.series(*window, step_s)) == close(await fake.series(*window, step_s))
        done = await reader.acknowledge(world.alerts[0].alert_id, "n-1", NOW, "medium")
        assert done is Acknowledgement.DONE
        assert await reader.version() != before
    finally:
        await reader.close()
