"""People under a plan and their days, put into the database as they stand there; a look at any moment."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from stream.review_job import LookReport, look
from tests.timeseries.making import query
from timeseries.arrays import NumpyArrayDumper

Floats = NDArray[np.float64]
FIRST = 20_000  # 2024-10-04, a Friday
COLUMNS = ("steps", "sleep_midpoint_local_min", "sleep_total_min", "sleep_awake_min")
USUAL = (8_000.0, 210.0, 430.0, 25.0)
SD = (0.25, 22.0, 30.0, 8.0)


def at(day: float) -> datetime:
    """The beginning of a day (UTC), counted from FIRST."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=FIRST + day)


def person(seed: int, days: int = 180, *, less_from: int | None = None, later_from: int | None = None) -> list[Floats]:
    """Somebody's days: ordinary ones that vary, from a day on fewer steps, from a day on later sleep."""
    draw = np.random.default_rng(seed)
    noise = draw.normal(size=(4, days))
    steps = USUAL[0] * np.exp(SD[0] * noise[0])
    midpoint, total, awake = (USUAL[k] + SD[k] * noise[k] for k in (1, 2, 3))
    if less_from is not None:
        steps[less_from:] *= 0.3
    if later_from is not None:
        midpoint[later_from:] += 110
    return [steps, midpoint, total, np.abs(awake)]


def put_people(url: str, *patients: str) -> None:
    for patient in patients:
        query(url, "INSERT INTO patients (patient_id) VALUES (%s) ON CONFLICT DO NOTHING", (patient,))


def put_days(
    url: str, patient: str, values: Sequence[Floats], first: int = 0, *, valid: bool = True, zone_min: int = 120
) -> None:
    """Make the days of a patient (NaN: NULL), in the place of those of the same dates."""
    put_people(url, patient)
    days = (FIRST + first + np.arange(len(values[0]))).astype(np.int32)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.adapters.register_dumper(np.ndarray, NumpyArrayDumper)
        given: dict[str, Any] = {"days": days, "patient": patient, "valid": valid, "zone": zone_min}
        given |= dict(zip(COLUMNS, values, strict=True))
        connection.execute(
            """
            INSERT INTO daily_summary AS s (patient_key, day, zone_offset_min, day_length_min, steps,
                sleep_midpoint_local_min, sleep_total_min, sleep_awake_min, valid_day)
            SELECT patient_key, date '1970-01-01' + d.day, %(zone)s, 1440, nullif(a, 'NaN'), nullif(b, 'NaN'),
                   nullif(c, 'NaN'), nullif(e, 'NaN'), %(valid)s
            FROM patients, unnest(%(days)s::integer[], %(steps)s::float8[], %(sleep_midpoint_local_min)s::float8[],
                %(sleep_total_min)s::float8[], %(sleep_awake_min)s::float8[]) AS d (day, a, b, c, e)
            WHERE patient_id = %(patient)s
            ON CONFLICT (patient_key, day) DO UPDATE SET steps = excluded.steps,
                sleep_midpoint_local_min = excluded.sleep_midpoint_local_min,
                sleep_total_min = excluded.sleep_total_min, sleep_awake_min = excluded.sleep_awake_min""",
            given,
        )


def plan(url: str, patient: str, who: str | None = "clinician-7", since: float = 0, **facts: Any) -> None:
    """Let a care profile hold from a day on, in the place of the one before."""
    put_people(url, patient)
    profile = facts | ({} if who is None else {"review_by": who})
    end_plan(url, patient, since)
    query(
        url,
        """INSERT INTO care_profiles (patient_key, version, valid_from, limits, profile, created_by, reason)
           SELECT patient_key, 1 + (SELECT coalesce(max(version), 0) FROM care_profiles c
                                    WHERE c.patient_key = p.patient_key), %s, '{}', %s, 'u', 'r'
           FROM patients p WHERE patient_id = %s""",
        (at(since), psycopg.types.json.Jsonb(profile), patient),
    )


def end_plan(url: str, patient: str, day: float) -> None:
    query(
        url,
        """UPDATE care_profiles SET valid_to = %s, ended_by = 'u', end_reason = 'r' WHERE valid_to IS NULL
           AND patient_key = (SELECT patient_key FROM patients WHERE patient_id = %s)""",
        (at(day), patient),
    )


def looked(url: str, day: float, **options: Any) -> LookReport:
    """A look in the morning of a day: the day before it is over."""
    return look(url, now=at(day + 0.3), **options)


def stored(url: str, columns: str = "patient_id, rule, state, ended", also: str = "true") -> list[tuple[Any, ...]]:
    return query(
        url,
        f"SELECT {columns} FROM reviews JOIN patients USING (patient_key) WHERE {also} "
        "ORDER BY patient_id, opened_at, rule, review_id",
    )


def told(url: str) -> list[tuple[Any, ...]]:
    """What the days themselves say: without what was told on together, or taken back."""
    columns = (
        "patient_id, rule, state, opened_at, raised_at, changed_at, cleared_at, review_by, metrics, sentence, evidence"
    )
    return stored(url, columns, "ended IS NULL OR ended = 'usual_again'")
