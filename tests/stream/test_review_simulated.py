"""From a simulated device's samples to the review list: stored, rolled up, made days, looked at."""

from datetime import timedelta
from typing import Any

import numpy as np

from devices.simulator import Wearer, Withdrawal, cohort, simulate
from stream.review_job import look
from tests.timeseries.making import Partition, query, rows
from tests.timeseries.review_world import stored
from tests.timeseries.test_days import roll, write
from timeseries.rows import Rows
from vitals.clock import US_PER_S, from_datetime, to_datetime

DAY_US = 86_400 * US_PER_S
START_US = 1_767_571_200 * US_PER_S  # 2026-01-05, a Monday
DAYS = 110
CADENCES_S = {"heart_rate": 900.0, "steps": 600.0, "sleep_stage": 30.0}
"""Heart rate only says that the watch was worn."""


def told(who: Wearer, patient: int, first: int, days: int) -> Rows:
    columns = simulate(who, START_US + first * DAY_US, START_US + (first + days) * DAY_US)
    return rows(
        len(columns), time=columns.start_us, value=columns.value, metric_key=columns.metric, quality=columns.quality,
        duration_ms=columns.duration_ms, zone_offset_min=columns.zone_offset_min, written_at=columns.written_us,
        patient_key=patient, origin_key=patient, context=columns.context,
    )  # fmt: skip


def test_a_withdrawal_is_on_the_list_within_two_weeks_of_its_depth_and_an_ordinary_life_is_not(database: str) -> None:
    end_us = START_US + DAYS * DAY_US
    people = cohort(2, 3, START_US, end_us, scenarios=["withdrawal", "well"], cadences_s=CADENCES_S, beats=False)
    (withdrawal,) = people[0].scenarios
    assert isinstance(withdrawal, Withdrawal)
    query(database, "INSERT INTO patients (patient_id) VALUES ('p1'), ('p2')")
    query(database, "INSERT INTO devices (device_id) VALUES ('d1'), ('d2')")
    query(database, "INSERT INTO origins (device_key, source_app) VALUES (1, 'app'), (2, 'app')")
    query(
        database,
        """INSERT INTO care_profiles (patient_key, version, valid_from, limits, profile, created_by, reason)
           SELECT patient_key, 1, %s, '{}', '{"review_by": "clinician-7"}', 'u', 'r' FROM patients""",
        (to_datetime(START_US),),
    )
    lane, seen = Partition(), list[tuple[Any, ...]]()
    for first in range(0, DAYS, 10):
        for number, who in enumerate(people, 1):
            write(database, told(who, number, first, 10), lane=lane)
        now = to_datetime(START_US + (first + 10) * DAY_US) + timedelta(hours=4)
        roll(database, now)
        look(database, now=now)
        seen = seen or stored(database, "patient_id, raised_at")
    days, counted = query(database, "SELECT count(*), count(*) FILTER (WHERE valid_day) FROM daily_summary")[0]
    assert days >= 2 * DAYS
    assert counted >= 2 * (DAYS - 1)
    assert {patient for patient, _ in seen} == {"p1"}
    since_days = [(from_datetime(raised) - withdrawal.start_us) / DAY_US for _, raised in seen]
    assert 0 < min(since_days) <= withdrawal.onset_days + 14
    open_now = stored(database, "patient_id, rule, sentence", "state = 'raised'")
    assert ("p1", "less_activity_and_later_sleep") in [row[:2] for row in open_now]
    assert {row[0] for row in stored(database)} == {"p1"}
    assert np.all([name not in row[2] for row in open_now for name in ("p1", "sim-", "d1")])
