"""The reader against PostgreSQL: what the fake cannot show."""

from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest

from tests.console.conftest import NOW
from tests.console.world import FakeReader, Sample, World, alert, put
from timeseries.console_model import Acknowledgement, ReaderUnavailable, Series
from timeseries.console_reader import ConsoleReader
from timeseries.migrate import migrate
from timeseries.rollup import refresh

SAMPLES = [
    Sample(who, metric, NOW - timedelta(seconds=7 * k + 1), 60 + k % 11, quality=0.2 if k % 13 == 0 else 1.0)
    for who in ("p-1", "p-2")
    for metric in ("heart_rate", "spo2")
    for k in range(900)
]
WINDOW = (["p-1"], ["heart_rate", "spo2"], NOW.replace(second=0) - timedelta(hours=1), NOW)


@pytest.fixture
async def reader(database: str) -> AsyncIterator[ConsoleReader]:
    migrate(database)
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


async def test_long_charts_read_the_rollup_and_not_the_samples(database: str, reader: ConsoleReader) -> None:
    put(database, World(samples=SAMPLES))
    refresh(database)
    with psycopg.connect(database) as connection:
        connection.execute("TRUNCATE samples")
    assert await reader.series(*WINDOW, 60)
    assert not await reader.series(*WINDOW, 15)


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


async def test_an_empty_schema_is_not_ready(database: str) -> None:
    reader = ConsoleReader(database)
    await reader.open()
    with pytest.raises(ReaderUnavailable, match="42P01"):
        await reader.ready()
    await reader.close()


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
        for step_s in (15, 60):
            assert close(await reader.series(*WINDOW, step_s)) == close(await fake.series(*WINDOW, step_s))
        with psycopg.connect(wasm, prepare_threshold=None) as connection:  # from now on from the continuous aggregate
            connection.execute("DELETE FROM dirty_ranges")
        assert close(await reader.series(*WINDOW, 60)) == close(await fake.series(*WINDOW, 60))
        done = await reader.acknowledge(world.alerts[0].alert_id, "n-1", NOW, "medium")
        assert done is Acknowledgement.DONE
        assert await reader.version() != before
    finally:
        await reader.close()
