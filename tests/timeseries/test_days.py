"""From samples to wearers' days and trends, on PostgreSQL 18 and, in short, on the real TimescaleDB."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from devices.simulator import physiology, simulate, wearer
from tests.timeseries.making import Partition, S, query, rows
from tests.timeseries.rollup_model import insert, samples_of
from timeseries.days import mark_dirty_days, refresh_days
from timeseries.days_read import prepare
from timeseries.migrate import migrate
from timeseries.queries import load
from timeseries.rollup import move_to_history, refresh
from timeseries.rows import Rows
from timeseries.store import SampleStore
from vitals.catalogue import number_of
from vitals.clock import from_datetime
from vitals.errors import VigilError

MIDNIGHT = datetime(2024, 6, 3, tzinfo=UTC)  # a Monday
M0 = from_datetime(MIDNIGHT)
MIN, HOUR, DAY = 60 * S, 3_600 * S, 86_400 * S
LATER = MIDNIGHT + timedelta(days=300)
HEART, STEPS, STAGE, IN_BED, RR = (
    number_of(one) for one in ("heart_rate", "steps", "sleep_stage", "in_bed", "rr_interval")
)


@pytest.fixture
def stock(database: str) -> str:
    return database


def write(url: str, *parts: Rows, lane: Partition | None = None) -> None:
    """Store rows as the recorder does."""
    lane = lane or Partition()

    async def stored() -> None:
        async with SampleStore(url) as store:
            samples = np.concatenate(parts)
            await store.write(lane.batch(samples[np.argsort(samples["time"], kind="stable")]))
            lane.stored()

    asyncio.run(stored())


def roll(url: str, now: datetime = LATER, threshold: int | None = 5, **options: Any) -> int:
    """Rollups, then the days that are due: what `vigil db rollup` does, at a time of our own."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=threshold) as connection:
        ranges = connection.execute("SELECT patient_key, from_time, to_time FROM dirty_ranges").fetchall()
        refresh(url, prepare_threshold=threshold)
        mark_dirty_days(connection, ranges, now=now)
    return refresh_days(url, now=now, prepare_threshold=threshold, **options)


def summary(url: str, columns: str, patient: int = 1) -> dict[date, Any]:
    found = query(url, f"SELECT day, {columns} FROM daily_summary WHERE patient_key = %s ORDER BY day", (patient,))
    return {day: rest[0] if len(rest) == 1 else tuple(rest) for day, *rest in found}


def on(day: int) -> date:
    return date(2024, 6, day)


def heart(first_us: int, minutes: int, value: Any = 60.0, zone: int = 0, **more: Any) -> Rows:
    """A heart rate each minute."""
    return rows(minutes, time=first_us + np.arange(minutes) * MIN, value=value, zone_offset_min=zone, **more)


def told(metric: int, first_us: int, minutes: float, value: float, zone: int = 0, **more: Any) -> Rows:
    """One sample that covers an interval."""
    return rows(
        1,
        time=first_us,
        metric_key=metric,
        duration_ms=int(minutes * 60_000),
        value=value,
        zone_offset_min=zone,
        **more,
    )


# The whole way: a simulated patient


def test_a_simulated_patient_has_plausible_days(stock: str) -> None:
    """Two days and nights of a wearer in Berlin; sleep, which the simulator does not tell, from its own truth."""
    who = wearer(
        5,
        zone_offset_min=120,
        cadences_s={"heart_rate": 5.0, "spo2": 60.0, "hrv_rmssd": 300.0, "steps": 60.0},
        beats=False,
    )
    start, end = M0 - 2 * HOUR, M0 - 2 * HOUR + 2 * DAY
    columns = simulate(who, start, end)
    samples = rows(len(columns), time=columns.start_us, value=columns.value, metric_key=columns.metric,
                   quality=columns.quality, duration_ms=columns.duration_ms, zone_offset_min=120,
                   written_at=columns.written_us)  # fmt: skip
    minute = np.arange(start - 6 * HOUR, end, MIN)
    true = physiology(who, minute)
    asleep = true.asleep > 0.5
    edges = np.flatnonzero(np.diff(np.append(False, asleep).astype(int)))
    nights = [(int(minute[a]), int(minute[b])) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    sleeps = [told(STAGE, a, (b - a) / MIN, 1, 120) for a, b in nights] + [
        told(IN_BED, a - 600 * S, (b - a) / MIN + 15, 1, 120) for a, b in nights
    ]
    write(stock, samples, *sleeps)
    assert roll(stock) >= 2
    found = query(stock, "SELECT * FROM daily_summary WHERE valid_day ORDER BY day")
    assert len(found) == 2
    with psycopg.connect(stock) as connection:
        names = [one.name for one in connection.execute("SELECT * FROM daily_summary LIMIT 0").description or ()]
    for day, row in enumerate(dict(zip(names, one, strict=True)) for one in found):
        first = start + day * DAY
        of_day = (minute >= first) & (minute < first + DAY)
        mean = float(true.heart_rate[of_day].mean())
        assert row["day"] == on(3 + day)
        assert (row["zone_offset_min"], row["day_length_min"], row["wear_min"]) == (120, 1_440, 1_440)
        assert row["heart_rate_mean_bpm"] == pytest.approx(mean, abs=1)
        assert row["heart_rate_max_bpm"] == pytest.approx(true.heart_rate[of_day].max(), abs=6)
        assert who.resting_heart_rate - 10 < row["resting_heart_rate_bpm"] < who.resting_heart_rate
        steps = columns.value[
            (columns.metric == STEPS) & (columns.start_us >= first) & (columns.start_us < first + DAY)
        ].sum()
        assert row["steps"] == pytest.approx(steps)
        assert 1_000 < row["steps"] < 40_000
        assert 0 <= row["brisk_min"] < 300
        woke = max(b for a, b in nights if b <= first + 12 * HOUR)
        fell = max(a for a, b in nights if b <= first + 12 * HOUR)
        assert row["sleep_total_min"] == (woke - fell) / MIN
        assert from_datetime(row["sleep_end_at"]) == woke
        assert row["sleep_latency_min"] == 10
        assert 90 < row["sleep_efficiency_pct"] < 100
        assert 10 < row["hrv_rmssd_ms"] < 150
        assert (row["hrv_sdnn_ms"], row["distance_m"], row["hrv_sdnn_24h_ms"]) == (None, None, None)
        assert row["completeness"] > 0.99
        assert row["quality_score"] > 0.99
    assert found[1][names.index("sleep_agreement")] > 0.9
    assert query(stock, "SELECT DISTINCT direction FROM trends") == [("unclear",)], "two days are no trend"


# What a day is


def test_the_day_is_the_wearers_by_the_offset_told_by_the_zone_and_by_utc(stock: str) -> None:
    query(stock, "INSERT INTO patients (patient_id, time_zone) VALUES ('a', NULL), ('b', 'Asia/Tokyo'), ('c', NULL)")
    at = M0 + 14 * HOUR
    write(
        stock,
        heart(at, 120, zone=330),
        heart(at, 120, zone=-32_768, patient_key=2),
        heart(at, 120, zone=-32_768, patient_key=3),
    )
    roll(stock)
    minutes = "SELECT day, minutes, zone_offset_min FROM vitals_1d WHERE patient_key = %s ORDER BY day"
    assert query(stock, minutes, (1,)) == [(on(3), 120, 330)]
    assert query(stock, minutes, (2,)) == [(on(3), 60, -32_768), (on(4), 60, -32_768)]
    assert query(stock, minutes, (3,)) == [(on(3), 120, -32_768)]
    assert summary(stock, "zone_offset_min", 2) == {on(3): 540, on(4): 540}
    # The patient moves: days follow.
    query(stock, "UPDATE patients SET time_zone = 'Europe/Berlin' WHERE patient_key = 2")
    refresh_days(stock, now=LATER + timedelta(days=2_000))
    assert query(stock, minutes, (2,)) == [(on(3), 120, -32_768)]
    assert summary(stock, "zone_offset_min", 2) == {on(3): 120}


@pytest.mark.parametrize(("day", "hours"), [("2024-03-31", 23), ("2024-10-27", 25)])
def test_days_on_which_the_clocks_change(stock: str, day: str, hours: int) -> None:
    query(stock, "INSERT INTO patients (patient_id, time_zone) VALUES ('a', 'Europe/Berlin')")
    start = from_datetime(datetime.fromisoformat(day).replace(tzinfo=UTC)) - DAY
    write(stock, heart(start, 3 * 1_440, zone=-32_768))
    roll(stock)
    found = summary(stock, "day_length_min, wear_min, heart_rate_minutes, quality_score")
    assert found[date.fromisoformat(day)] == (hours * 60, hours * 60, hours * 60, 1)
    others = query(stock, "SELECT sum(minutes) FROM vitals_1d")
    assert others == [(3 * 1_440,)], "no minute is lost or told twice"


def test_a_flight_to_the_west_makes_the_day_longer(stock: str) -> None:
    """From Berlin (+120) to New York (-240): a day of 30 hours, and minutes belong to the clock they tell."""
    lands = M0 + 15 * HOUR + 7 * MIN
    write(stock, heart(M0 - 3 * HOUR, 18 * 60 + 7, zone=120), heart(lands, 20 * 60, zone=-240))
    roll(stock)
    found = summary(stock, "day_length_min, heart_rate_minutes, wear_min")
    assert found[on(3)] == (30 * 60, 30 * 60, 30 * 60)
    assert sum(minutes for _, minutes, _ in found.values()) == 18 * 60 + 7 + 20 * 60


def test_a_flight_over_the_date_line_within_one_quarter_of_an_hour(stock: str) -> None:
    """The day changes at 12:07, in the middle of a quarter and of an hour: minute by minute each is on its own day."""
    lands = M0 + 12 * HOUR + 7 * MIN
    write(stock, heart(M0 + 6 * HOUR, 367, zone=720), heart(lands, 300, zone=-600))
    roll(stock)
    found = query(stock, "SELECT day, minutes FROM vitals_1d ORDER BY day")
    assert found == [(on(3), 360 + 300), (on(4), 7)]


def test_steps_over_midnight_and_sleep_belong_to_their_days(stock: str) -> None:
    write(stock, told(STEPS, M0 + 23 * HOUR, 120, 600), told(STAGE, M0 + 22 * HOUR, 480, 1))
    roll(stock)
    assert summary(stock, "steps, sleep_total_min") == {on(3): (300, None), on(4): (300, 480)}
    found = query(
        stock, "SELECT day, n, sum, total, minutes, mean FROM vitals_1d WHERE metric_key = %s ORDER BY day", (STEPS,)
    )
    assert found == [(on(3), 1, 300, 300, 60, None), (on(4), 1, 300, 300, 60, None)]


def test_rmssd_of_the_night_is_of_beats_that_follow_each_other(stock: str) -> None:
    """RR intervals alternate by 20 ms; a gap and an extrasystole take no part, and below 300 pairs there is nothing."""
    values = np.where(np.arange(1_000) % 2 == 0, 1_000.0, 1_020.0)
    values[500] = 600.0
    begins = M0 + 2 * HOUR + np.append(0, np.cumsum(values[:-1] * 1_000)).astype(np.int64)
    begins[700:] += 90 * S
    beats = rows(1_000, time=begins, value=values, metric_key=RR, zone_offset_min=0)
    write(stock, beats, told(STAGE, M0, 300, 1))
    roll(stock)
    assert summary(stock, "hrv_rmssd_night_ms") == {on(3): pytest.approx(20)}
    few = beats[:250].copy()
    few["patient_key"] = 2
    write(stock, few, told(STAGE, M0, 300, 1, patient_key=2), lane=Partition(partition=1))
    roll(stock)
    assert summary(stock, "hrv_rmssd_night_ms", 2) == {on(3): None}


# Following changes


def test_a_sample_told_again_in_another_zone_moves_to_another_day(stock: str) -> None:
    lane = Partition()
    first = heart(M0 + 23 * HOUR, 30, zone=0)
    write(stock, first, told(STEPS, M0 + 23 * HOUR, 30, 900), lane=lane)
    roll(stock)
    assert summary(stock, "heart_rate_minutes, steps") == {on(3): (30, 900)}
    again = np.concatenate([first, told(STEPS, M0 + 23 * HOUR, 30, 900)])
    again["zone_offset_min"], again["written_at"] = 120, again["time"] + HOUR
    write(stock, again, lane=lane)
    roll(stock)
    assert summary(stock, "heart_rate_minutes, steps") == {on(4): (30, 900)}
    assert query(stock, "SELECT DISTINCT day FROM vitals_1d") == [(on(4),)]


def test_what_is_deleted_leaves_its_day_and_an_empty_day_goes(stock: str) -> None:
    lane = Partition()
    night = told(STAGE, M0 + 22 * HOUR, 480, 1)
    write(stock, night, heart(M0, 10), lane=lane)
    roll(stock)
    assert summary(stock, "sleep_total_min") == {on(3): None, on(4): 480}
    night["flags"], night["value"], night["written_at"] = 128, 0, M0 + 40 * HOUR
    write(stock, night, lane=lane)
    roll(stock)
    assert summary(stock, "heart_rate_minutes") == {on(3): 10}


def test_late_data_for_a_past_day_change_it_and_its_neighbours_agreement(stock: str) -> None:
    lane = Partition()
    for day in range(8):
        write(stock, told(STAGE, M0 - 2 * HOUR + day * DAY, 480, 1), lane=lane)
    roll(stock)
    before = summary(stock, "sleep_agreement, sleep_regularity_index")
    assert before[on(3)] == (None, None)
    assert before[on(10)] == (1, 100)
    corrected = told(STAGE, M0 - 2 * HOUR + 3 * DAY, 480, 2, written_at=M0 + 30 * DAY)
    write(stock, corrected, told(STAGE, M0 + 3 * DAY, 480, 1), lane=lane)
    roll(stock)
    after = summary(stock, "sleep_agreement, sleep_regularity_index")
    moved = pytest.approx(1 - 4 / 24)
    assert [after[on(day)][0] for day in (5, 6, 7, 8)] == [1, moved, moved, 1]
    assert after[on(10)][1] == pytest.approx(200 * (5 + 2 * (1 - 4 / 24)) / 7 - 100)
    # Made from nothing it is the same.
    query(stock, "INSERT INTO dirty_days (patient_key, day) SELECT patient_key, day FROM daily_summary")
    query(stock, "TRUNCATE daily_summary")
    refresh_days(stock, now=datetime.now(UTC) + timedelta(days=1))
    assert summary(stock, "sleep_agreement, sleep_regularity_index") == after


DUMP = {
    "vitals_1d": "SELECT * FROM vitals_1d ORDER BY patient_key, day, metric_key, origin_key",
    "daily_summary": "SELECT to_jsonb(s) - 'made_at' FROM daily_summary s ORDER BY patient_key, day",
    "trends": "SELECT * FROM trends ORDER BY patient_key, measure, span, until",
}
CHANGE = st.tuples(
    st.sampled_from(["heart", "steps", "stage"]), st.integers(1, 2), st.integers(1, 2), st.integers(0, 4 * 24),
    st.integers(1, 600), st.integers(1, 5), st.sampled_from([-32_768, -600, 0, 120, 345, 780]), st.booleans(),
)  # fmt: skip
Change = tuple[str, int, int, int, int, int, int, bool]


def rows_of(change: Change, written: int) -> Rows:
    kind, patient, origin, hour, minutes, value, zone, deleted = change
    more = {
        "patient_key": patient,
        "origin_key": origin,
        "written_at": M0 + 20 * DAY + written * S,
        "flags": 128 * deleted,
    }
    if kind == "heart":
        return heart(M0 + hour * HOUR, minutes % 150 + 1, 50.0 + value, zone, **more)
    metric = STEPS if kind == "steps" else STAGE
    return told(metric, M0 + hour * HOUR, 120 if value > 3 else 420, float(value), zone, **more)


_COUNT = count()


@settings(
    max_examples=150,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.lists(CHANGE, min_size=1, max_size=4), min_size=1, max_size=4), st.sampled_from([None, "Asia/Kolkata"])
)
def test_however_changes_come_the_days_are_those_made_at_once(
    stock: str, batches: list[list[Change]], zone: str | None
) -> None:
    """Inserts, corrections, deletions and zones in any order, the days refreshed in between or made from nothing."""
    query(stock, "TRUNCATE samples, sample_revisions, latest, dirty_ranges, dirty_days, zones_told, watermarks, "
                 "vitals_1m, vitals_15m, vitals_1h, vitals_1d, daily_summary, trends")  # fmt: skip
    query(
        stock,
        "INSERT INTO patients (patient_key, patient_id, time_zone) OVERRIDING SYSTEM VALUE VALUES (1, 'a', %s) "
        "ON CONFLICT (patient_key) DO UPDATE SET time_zone = excluded.time_zone",
        (zone,),
    )
    lane = Partition(partition=next(_COUNT))
    for number, batch in enumerate(batches):
        for at, change in enumerate(batch):
            write(stock, rows_of(change, 100 * number + at), lane=lane)
        roll(stock)
    grown = {name: query(stock, text) for name, text in DUMP.items()}
    query(stock, "TRUNCATE vitals_1d, daily_summary, trends")
    query(stock, "INSERT INTO dirty_days (patient_key, day, due_at) SELECT p, d::date, '2024-01-01' "
                 "FROM generate_series(1, 2) p, generate_series(date '2024-05-30', date '2024-06-12', '1 day') d"
    )  # fmt: skip
    refresh_days(stock, now=LATER)
    for name, text in DUMP.items():
        assert query(stock, text) == grown[name], name
    _assert_minutes(stock, zone)


def _assert_minutes(url: str, zone: str | None) -> None:
    """The days of heart rate are what SQL makes of the minutes directly."""
    direct = query(
        url,
        """SELECT v.patient_key, v.origin_key, d.day, sum(v.n)::bigint, sum(v.minutes)::float8, min(v.min), max(v.max)
           FROM vitals_1m v, LATERAL (SELECT ((CASE WHEN zone_offset_min > -32768
                   THEN (bucket AT TIME ZONE 'UTC') + zone_offset_min * INTERVAL '1 minute'
                   WHEN patient_key = 1 THEN bucket AT TIME ZONE %s ELSE bucket AT TIME ZONE 'UTC' END))::date AS day) d
           WHERE v.metric_key = 1 GROUP BY 1, 2, 3 ORDER BY 1, 3, 2""",
        (zone or "UTC",),
    )
    stored = (
        "SELECT patient_key, origin_key, day, n, minutes, min, max FROM vitals_1d WHERE metric_key = 1 ORDER BY 1, 3, 2"
    )
    assert query(url, stored) == direct


# When, and whether it may break


def test_the_day_that_goes_on_waits_a_quarter_of_an_hour_and_past_days_do_not(stock: str) -> None:
    lane, noon = Partition(), MIDNIGHT + timedelta(hours=12)
    write(stock, heart(M0 - DAY, 60), heart(M0 + 11 * HOUR, 60), lane=lane)
    assert roll(stock, noon) == 1
    assert list(summary(stock, "wear_min")) == [on(2)], "yesterday at once"
    assert refresh_days(stock, now=noon + timedelta(minutes=14)) == 0
    write(stock, heart(M0 + 12 * HOUR, 5), lane=lane)
    assert roll(stock, noon + timedelta(minutes=14, seconds=50)) == 0, "marked again it is not put off"
    assert refresh_days(stock, now=noon + timedelta(minutes=15)) == 1
    assert summary(stock, "heart_rate_minutes")[on(3)] == 65
    assert query(stock, "SELECT * FROM dirty_days") == []


def test_whose_day_is_over_is_a_matter_of_the_wearers_clock(stock: str) -> None:
    """At 23:30 UTC the 3rd goes on in London and is over in Tokyo."""
    write(stock, heart(M0 + 12 * HOUR, 60, zone=0), heart(M0 + 12 * HOUR, 60, zone=540, patient_key=2))
    now = MIDNIGHT + timedelta(hours=23, minutes=30)
    assert roll(stock, now) == 1
    assert list(summary(stock, "wear_min", 2)) == [on(3)]
    assert summary(stock, "wear_min", 1) == {}


def test_a_refresh_that_fails_leaves_its_marks_and_nothing_half_made(stock: str) -> None:
    write(stock, *(heart(M0 + day * DAY, 30) for day in range(6)))
    query(stock, "ALTER TABLE daily_summary ADD CHECK (day <> '2024-06-06')")
    with pytest.raises(psycopg.errors.CheckViolation):
        roll(stock, limit=2)
    assert list(summary(stock, "wear_min")) == [on(3), on(4)]
    assert query(stock, "SELECT count(*) FROM dirty_days") == [(4,)]
    assert query(stock, "SELECT DISTINCT day FROM vitals_1d ORDER BY day") == [(on(3),), (on(4),)]
    query(stock, "ALTER TABLE daily_summary DROP CONSTRAINT daily_summary_day_check")
    assert refresh_days(stock, now=LATER, limit=2) == 4
    assert list(summary(stock, "wear_min")) == [on(day) for day in range(3, 9)]


def test_two_at_once_make_each_day_once(stock: str) -> None:
    write(stock, *(told(STAGE, M0 - HOUR + day * DAY, 420, 1) for day in range(20)))
    refresh(stock)
    ranges = [
        (1, MIDNIGHT - timedelta(hours=1) + timedelta(days=day), MIDNIGHT + timedelta(days=day)) for day in range(20)
    ]
    with psycopg.connect(stock, autocommit=True) as connection:
        mark_dirty_days(connection, ranges, now=LATER)
    marked = query(stock, "SELECT count(*) FROM dirty_days")[0][0]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: refresh_days(stock, now=LATER, limit=3), range(2)))
    assert sum(done) == marked
    assert list(summary(stock, "sleep_total_min").values()) == [None, *[420] * 20], "the first evening, and the nights"
    assert set(summary(stock, "sleep_agreement").values()) == {None, 1.0}


def test_a_mark_that_comes_while_a_day_is_made_is_not_lost(stock: str) -> None:
    write(stock, heart(M0, 30))
    roll(stock)
    query(stock, "INSERT INTO dirty_days (patient_key, day, due_at) VALUES (1, '2024-06-03', '2024-06-01')")
    with psycopg.connect(stock) as maker, ThreadPoolExecutor(1) as pool:
        maker.execute("DELETE FROM dirty_days")
        with psycopg.connect(stock, autocommit=True) as connection:
            marking = pool.submit(mark_dirty_days, connection, [(1, MIDNIGHT, MIDNIGHT)], now=LATER)
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            while query(stock, waiting) == [(0,)] and not marking.done():
                pass
            maker.commit()
            assert marking.result() == 1
    assert query(stock, "SELECT day FROM dirty_days") == [(on(3),)]


def test_nothing_marked_is_nothing_done(stock: str) -> None:
    with psycopg.connect(stock) as connection:
        assert mark_dirty_days(connection, []) == 0
        assert mark_dirty_days(connection, [(1, MIDNIGHT, MIDNIGHT)]) == 0
    assert refresh_days(stock) == 0


# Trends


def test_trends_follow_days_to_week_ends_and_the_newest_day_that_is_over(stock: str) -> None:
    """Heart rate rises by half a beat a day over six weeks; the 43rd day goes on and takes no part."""
    lane = Partition()
    value = 60 + 0.5 * (np.arange(43 * 144) // 144)
    ten_minutes = rows(43 * 144, time=M0 + np.arange(43 * 144) * 10 * MIN, value=value, zone_offset_min=0)
    write(stock, ten_minutes, lane=lane)
    now = MIDNIGHT + timedelta(days=42, hours=23)
    roll(stock, now + timedelta(minutes=30))
    refresh_days(stock, now=now + timedelta(minutes=50))
    text = ("SELECT until, direction, round(slope_per_day::numeric, 3)::float8, days_used, confidence FROM trends "
            "WHERE measure = 'heart_rate_mean_bpm' AND span = %s ORDER BY until")  # fmt: skip
    weeks, month = query(stock, text, ("week",)), query(stock, text, ("month",))
    assert [until.isoweekday() for until, *_ in weeks] == [7] * 6
    assert weeks[-1][0] == date(2024, 7, 14), "a Sunday, and the day before the one that goes on"
    assert {row[1:4] for row in weeks} == {("rising", 0.5, 7)}
    assert [row[1] for row in month] == ["unclear", "unclear", "rising", "rising", "rising", "rising"]
    assert month[-1][1:4] == ("rising", 0.5, 30)
    assert all(row[4] > 0.95 for row in month[2:])
    assert (
        query(stock, text, ("quarter",))[-1][1:4] == ("unclear", None, 42)
        or query(stock, text, ("quarter",))[-1][1] == "rising"
    )
    # The day after is over: the newest moves on, what stood up to a weekday goes.
    write(stock, rows(144, time=M0 + 43 * DAY + np.arange(144) * 10 * MIN, value=81.5, zone_offset_min=0), lane=lane)
    roll(stock, MIDNIGHT + timedelta(days=44))
    assert [until for until, *_ in query(stock, text, ("week",))][-2:] == [date(2024, 7, 14), date(2024, 7, 16)]
    # A late correction changes the trends of the weeks it is in, and those alone.
    before = {row[0]: row for row in query(stock, text, ("week",))}
    corrected = ten_minutes[8 * 144 : 9 * 144].copy()
    corrected["value"], corrected["written_at"] = 40, M0 + 44 * DAY
    write(stock, corrected, lane=lane)
    roll(stock, MIDNIGHT + timedelta(days=44))
    after = {row[0]: row for row in query(stock, text, ("week",))}
    assert [until for until in after if after[until] != before[until]] == [date(2024, 6, 16)]


def test_a_half_worn_day_is_no_fall_in_steps(stock: str) -> None:
    """Ten days of 9,000 steps, of which three were worn for two hours and have 500: those do not count."""
    parts = []
    for day in range(10):
        worn = 120 if day in {3, 6, 8} else 900
        parts += [heart(M0 + day * DAY, worn), told(STEPS, M0 + day * DAY + HOUR, 60, 500 if worn == 120 else 9_000)]
    write(stock, *parts)
    roll(stock)
    found = query(
        stock,
        "SELECT direction, days_used FROM trends WHERE measure = 'steps' AND span = 'week' AND until = '2024-06-09'",
    )
    assert found == [("stable", 5)]


# Below the raw horizon


class Archive:
    """An archive that has some rows."""

    def __init__(self, kept: Rows) -> None:
        self.kept, self.away = kept, False

    def archive_day(self, connection: Any, retention_class: str, utc_day: date) -> None:
        raise AssertionError("days archive nothing")

    def read_rows(self, connection: Any, retention_class: str, utc_day: date, patients: Sequence[int]) -> Rows:
        if self.away:
            raise VigilError("the archive is away")
        classes = {STEPS: "activity", STAGE: "sleep", HEART: "vital"}
        day = (self.kept["time"] // DAY).astype("M8[D]") == np.datetime64(utc_day)
        of_class = np.array([classes[int(metric)] == retention_class for metric in self.kept["metric_key"]], np.bool_)
        found: Rows = self.kept[day & of_class & np.isin(self.kept["patient_key"], patients)]
        return found


def _archived_world(url: str) -> tuple[Archive, Partition]:
    """Three days of which the first two lie below every horizon, their samples gone."""
    lane = Partition()
    write(url, *(part for day in range(3) for part in (
        heart(M0 + day * DAY, 700), told(STEPS, M0 + day * DAY + HOUR, 60, 3_000),
        told(STEPS, M0 + day * DAY + 3 * HOUR, 60, 400),
        told(STAGE, M0 + day * DAY - HOUR, 420, 1))), lane=lane)  # fmt: skip
    roll(url)
    kept = samples_of(url)
    with psycopg.connect(url, autocommit=True) as connection:
        for retention_class in ("vital", "activity", "sleep"):
            with connection.transaction():
                move_to_history(connection, retention_class, MIDNIGHT + timedelta(days=2))
        connection.execute("DELETE FROM samples WHERE time < %s", (MIDNIGHT + timedelta(days=2),))
    return Archive(kept[kept["time"] < M0 + 2 * DAY]), lane


def _mark_all(url: str) -> None:
    query(url, "INSERT INTO dirty_days (patient_key, day, due_at) "
               "SELECT patient_key, day, '2024-01-01' FROM daily_summary ON CONFLICT DO NOTHING")  # fmt: skip


def test_days_whose_samples_are_gone_are_kept_or_made_of_the_archive(stock: str) -> None:
    archive, _ = _archived_world(stock)
    before = {name: query(stock, text) for name, text in DUMP.items()}
    for options in (None, archive):
        _mark_all(stock)
        assert refresh_days(stock, now=LATER, archive=options) == 4
        for name, text in DUMP.items():
            assert query(stock, text) == before[name], (name, options)


def test_late_samples_below_the_horizon_count_once_the_archive_is_asked(stock: str) -> None:
    archive, lane = _archived_world(stock)
    late = told(STEPS, M0 + 9 * HOUR, 60, 50)
    write(stock, late, lane=lane)
    with psycopg.connect(stock, autocommit=True) as connection:
        mark_dirty_days(connection, [(1, MIDNIGHT, MIDNIGHT + timedelta(hours=10))], now=LATER)
    refresh_days(stock, now=LATER)
    assert summary(stock, "steps, sleep_total_min")[on(3)] == (3_400, 420), "one sample of three makes no day"
    _mark_all(stock)
    refresh_days(stock, now=LATER, archive=archive)
    assert summary(stock, "steps, sleep_total_min")[on(3)] == (3_450, 420)
    # Deleted later, as the archive knows it: the row that still stands in the table is not believed.
    gone = late.copy()
    gone["flags"] = 128
    _mark_all(stock)
    refresh_days(stock, now=LATER, archive=Archive(np.concatenate([archive.kept, gone])))
    assert summary(stock, "steps")[on(3)] == 3_400


def test_an_archive_that_is_away_holds_up_only_what_needs_it(stock: str) -> None:
    archive, lane = _archived_world(stock)
    archive.away = True
    write(stock, heart(M0 + 20 * DAY, 30), lane=lane)
    _mark_all(stock)
    with pytest.raises(VigilError, match="away"):
        roll(stock, archive=archive)
    assert on(23) in summary(stock, "wear_min")
    assert query(stock, "SELECT count(*) FROM dirty_days") == [(4,)]


def test_an_old_export_that_comes_below_the_horizon_makes_its_days(stock: str) -> None:
    """Its samples stand in the table until they are archived: nothing was stored of that day before."""
    with psycopg.connect(stock, autocommit=True) as connection:
        connection.execute("INSERT INTO raw_horizons VALUES ('activity', %s), ('sleep', %s)", (LATER, LATER))
    write(stock, told(STEPS, M0 + HOUR, 60, 700), told(STAGE, M0 - HOUR, 400, 1))
    refresh(stock)
    with psycopg.connect(stock, autocommit=True) as connection:
        mark_dirty_days(connection, [(1, MIDNIGHT - timedelta(hours=1), MIDNIGHT + timedelta(hours=2))], now=LATER)
    refresh_days(stock, now=LATER)
    assert summary(stock, "steps, sleep_total_min")[on(3)] == (700, 400)


# The real extension, and the plan


@pytest.fixture
def extension(wasm: str) -> Iterator[str]:
    migrate(wasm, prepare_threshold=None)
    return wasm  # type: ignore[return-value]


@pytest.mark.timescale
def test_timescaledb_makes_the_same_days(wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    heart_rates = rows(
        200, time=M0 + 20 * HOUR + np.arange(200) * 3 * MIN, value=np.arange(200) % 30 + 55.0, zone_offset_min=120
    )
    insert(
        wasm,
        np.concatenate(
            [heart_rates, told(STEPS, M0 + 21 * HOUR, 120, 600, 120), told(STAGE, M0 + 21 * HOUR, 480, 3, 120)]
        ),
    )
    roll(wasm, threshold=None)
    minutes = query(
        wasm, "SELECT day, minutes, sum, time_weighted_mean FROM vitals_1d WHERE metric_key = 1 ORDER BY day"
    )
    split = 40  # 20:00 to 22:00 UTC, the wearer's midnight, every three minutes
    assert [row[:3] for row in minutes] == [
        (on(3), split, heart_rates["value"][:split].sum()), (on(4), 200 - split, heart_rates["value"][split:].sum())
    ]  # fmt: skip
    assert summary(wasm, "steps, sleep_total_min, sleep_core_min") == {on(3): (300, None, None), on(4): (300, 480, 480)}
    deleted = heart_rates[:split].copy()
    deleted["flags"], deleted["written_at"] = 128, M0 + 3 * DAY
    insert(wasm, deleted)
    query(wasm, "INSERT INTO sample_revisions SELECT *, now() FROM samples WHERE metric_key = 1 AND flags = 128")
    roll(wasm, threshold=None)
    assert summary(wasm, "heart_rate_minutes, steps") == {on(3): (None, 300), on(4): (160, 300)}
    assert query(wasm, "SELECT count(*) FROM trends WHERE direction <> 'unclear'") == [(0,)]


def test_reading_days_walks_the_index_and_not_the_table(stock: str) -> None:
    query(
        stock,
        """INSERT INTO vitals_15m SELECT g, p, 1, 1, 1, 60, 60, 60, 60, 60, 3600, 1, 60, 0
           FROM generate_series(1, 300) p,
               generate_series(timestamptz '2024-06-01 00:00+00', '2024-06-03 23:45+00', INTERVAL '15 minutes') g""",
    )
    query(stock, "ANALYZE vitals_15m")
    values = {"patients": [7, 8], "froms": [MIDNIGHT] * 2, "tos": [MIDNIGHT + timedelta(days=1)] * 2, "metrics": [1],
              "lowest": MIDNIGHT, "highest": MIDNIGHT + timedelta(days=1)}  # fmt: skip
    text = load("days")["stretches"]
    with psycopg.connect(stock) as connection:
        prepare(connection)
        for rollup in ("vitals_15m", "vitals_15m_all"):
            plan = connection.execute(f"EXPLAIN {text.format(rollup=rollup)}".encode(), values).fetchall()
            lines = "\n".join(line for (line,) in plan)
            assert "Index" in lines
            assert "Seq Scan on vitals_15m" not in lines, lines
