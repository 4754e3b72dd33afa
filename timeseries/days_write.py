"""Edge: writes wearers' days; what lies below a raw horizon is kept where it can't be made anew."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import dict_row

from timeseries.daily.groups import Floats, Ints, PatientDays
from timeseries.daily.nights import REGULARITY_DAYS, regularity
from timeseries.daily.summary import Days
from timeseries.days_archive import CLASS_OF_TOLD, CLASSES, TOLD_METRICS
from timeseries.days_read import read_columns, times
from timeseries.queries import load
from vitals.catalogue import BY_CODE, RetentionClass
from vitals.clock import to_datetime

_SQL: Final = load("days")
_TYPES: Final = {
    "patient": np.int32, "metric": np.int16, "origin": np.int32, "day": np.int32, "n": np.int64,
    "zone_offset_min": np.int16,
}  # fmt: skip
_RR: Final = BY_CODE["rr_interval"].number
_VITAL, _ACTIVITY, _SLEEP, _TECHNICAL = (
    CLASSES.index(one)
    for one in (RetentionClass.VITAL, RetentionClass.ACTIVITY, RetentionClass.SLEEP, RetentionClass.TECHNICAL)
)
_OF_CLASS: Final = {
    _VITAL: ("hrv_rmssd_night_ms",),
    _ACTIVITY: (
        "steps", "distance_m", "active_energy_kcal", "exercise_min", "moderate_vigorous_min", "brisk_min", "stand_min",
        "daylight_min",
    ),
    _SLEEP: (
        "sleep_total_min", "sleep_in_bed_min", "sleep_efficiency_pct", "sleep_latency_min", "sleep_core_min",
        "sleep_deep_min", "sleep_rem_min", "sleep_unspecified_min", "sleep_awake_min", "sleep_disturbances",
        "sleep_onset_at", "sleep_midpoint_at", "sleep_end_at", "sleep_onset_local_min", "sleep_midpoint_local_min",
        "sleep_agreement", "nap_count", "nap_min",
    ),
    _TECHNICAL: (
        "wear_min", "samples_expected", "samples_received", "completeness", "quality_score", "valid_day"
    ),
}  # fmt: skip
"""Measures that are made from samples, by the class whose samples they need."""
_OF_DAY: Final = ("zone_offset_min", "day_length_min")


def write_days(
    connection: psycopg.Connection[Any],
    keys: Ints,
    days: PatientDays,
    made: Days,
    frozen: NDArray[np.bool_],
    now: datetime,
    *,
    complete: bool,
) -> None:
    """Write what was made, in the caller's transaction.

    Of `frozen` days (`days_archive.below`) the classes are kept of which fewer samples were read than the stored day is
    made of, unless what was read is `complete`.
    """
    measures = made.measures | {"hrv_rmssd_night_ms": _night_rmssd(connection, keys, days, made)}
    where = {"patients": keys[days.patient].astype(np.int32), "days": days.day.astype(np.int32)}
    kept = np.zeros_like(frozen) if complete else _kept(connection, where, made, frozen)
    kept[:, _VITAL] = frozen[:, _VITAL] & np.isnan(
        measures["hrv_rmssd_night_ms"]
    )  # RR intervals are not read from archives
    exists = made.exists | _restore(connection, where, measures, kept)
    _write_series(connection, where, made, kept)
    connection.execute(_SQL["forget_summaries"], where)
    measures["sleep_regularity_index"] = _regularity(connection, where, measures["sleep_agreement"], exists)
    rows = np.flatnonzero(exists)
    columns = {name: values[rows] for name, values in measures.items()}
    place = {"patient_key": where["patients"][rows], "day": where["days"][rows], "now": now}
    connection.execute(_SQL["put_summaries"].encode(), columns | place)


def _night_rmssd(connection: psycopg.Connection[Any], keys: Ints, days: PatientDays, made: Days) -> Floats:
    """Return the RMSSD of the RR intervals of each night, NaN where there is no night or too few of them."""
    rmssd = np.full(len(days), np.nan)
    has_rr = np.isin(np.arange(len(days)), made.instantaneous_day[made.instantaneous.metric == _RR])
    rows = np.flatnonzero(has_rr & ~np.isnan(made.measures["sleep_onset_at"]))
    if len(rows):
        onset, end = (made.measures[name][rows].astype(np.int64) for name in ("sleep_onset_at", "sleep_end_at"))
        values = {"indices": rows.astype(np.int32), "patients": keys[days.patient[rows]].astype(np.int32), "rr": _RR,
                  "onsets": times(onset), "ends": times(end), "lowest": to_datetime(int(onset.min())),
                  "highest": to_datetime(int(end.max()))}  # fmt: skip
        for row, value in connection.execute(_SQL["night_rmssd"].encode(), values):
            rmssd[row] = value
    return rmssd


def _kept(
    connection: psycopg.Connection[Any], where: dict[str, Any], made: Days, frozen: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Tell which classes of frozen days are stored with more samples than were read now."""
    rows = np.flatnonzero(frozen.any(axis=1))
    if not len(rows):
        return np.zeros_like(frozen)
    class_of = np.zeros(int(TOLD_METRICS.max()) + 1, np.int64)
    class_of[TOLD_METRICS] = CLASS_OF_TOLD
    here, stored = np.zeros(frozen.shape, np.int64), np.zeros(frozen.shape, np.int64)
    np.add.at(here, (made.accumulated.day, class_of[made.accumulated.metric]), made.accumulated.n)
    values = {"indices": rows.astype(np.int32), "patients": where["patients"][rows], "days": where["days"][rows],
              "metrics": TOLD_METRICS, "classes": CLASS_OF_TOLD}  # fmt: skip
    day, of, n = read_columns(connection, _SQL["stored_counts"], values)
    stored[day, of] = n
    kept: NDArray[np.bool_] = frozen & (stored > here)
    return kept


def _restore(
    connection: psycopg.Connection[Any], where: dict[str, Any], measures: dict[str, Floats], kept: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Put the stored values of kept classes into `measures`; tell which days have such."""
    rows = np.flatnonzero(kept.any(axis=1))
    found = np.zeros(len(kept), np.bool_)
    if not len(rows):
        return found
    values = {"indices": rows.astype(np.int32), "patients": where["patients"][rows], "days": where["days"][rows]}
    with connection.cursor(row_factory=dict_row) as cursor:
        for stored in cursor.execute(_SQL["stored_summaries"].encode(), values):
            day = stored["i"]
            found[day] = True
            names = [name for of, names in _OF_CLASS.items() if kept[day, of] for name in names]
            names += _OF_DAY if np.isnan(measures["zone_offset_min"][day]) else ()
            for name in names:
                measures[name][day] = np.nan if stored[name] is None else float(stored[name])
    return found


def _write_series(
    connection: psycopg.Connection[Any], where: dict[str, Any], made: Days, kept: NDArray[np.bool_]
) -> None:
    bits = (kept << np.arange(len(CLASSES))).sum(axis=1).astype(np.int32)
    connection.execute(
        _SQL["forget_series_days"], where | {"kept": bits, "metrics": TOLD_METRICS, "classes": CLASS_OF_TOLD}
    )
    class_of = np.zeros(int(TOLD_METRICS.max()) + 1, np.int64)
    class_of[TOLD_METRICS] = CLASS_OF_TOLD
    rows, told = made.instantaneous, made.accumulated
    anew = np.flatnonzero(~kept[told.day, class_of[told.metric]])
    none, none_told = np.full(len(rows), np.nan), np.full(len(anew), np.nan)
    weighted = rows.minute_mean_sum / np.maximum(rows.minutes, 1)
    parts = {
        "patient": (where["patients"][made.instantaneous_day], where["patients"][told.day[anew]]),
        "day": (where["days"][made.instantaneous_day], where["days"][told.day[anew]]),
        "mean": (rows.sum / np.maximum(rows.n, 1), none_told),
        "time_weighted_mean": (weighted, none_told),
        "total": (none, told.total[anew]),
    }
    same = ("metric", "origin", "n", "sum", "min", "max", "minutes", "first", "last", "zone_offset_min")
    parts |= {name: (getattr(rows, name), getattr(told, name)[anew]) for name in same}
    columns = {name: np.append(*pair).astype(_TYPES.get(name, np.float64)) for name, pair in parts.items()}
    connection.execute(_SQL["put_series_days"].encode(), columns)


def _regularity(
    connection: psycopg.Connection[Any], where: dict[str, Any], agreements: Floats, exists: NDArray[np.bool_]
) -> Floats:
    """Return the regularity index of each day, and mend that of the days after them where it changed."""
    patient, day = where["patients"].astype(np.int64), where["days"].astype(np.int64)
    values = {"patients": where["patients"], "firsts": (day - REGULARITY_DAYS + 1).astype(np.int32),
              "lasts": (day + REGULARITY_DAYS - 1).astype(np.int32)}  # fmt: skip
    others = read_columns(connection, _SQL["agreements"], values, frozenset({2, 3}))
    known = np.where(exists, agreements, np.nan)
    index = regularity(np.append(patient, others[0]), np.append(day, others[1]), np.append(known, others[2]))
    stored, now = others[3], index[len(day) :]
    changed = np.flatnonzero(~((stored == now) | (np.isnan(stored) & np.isnan(now))))
    if len(changed):
        mended = {"patients": others[0][changed].astype(np.int32), "days": others[1][changed].astype(np.int32)}
        connection.execute(_SQL["put_regularity"], mended | {"regularity": now[changed]})
    return index[: len(day)]
