"""Edge: one person's data of some classes leave the database and the archive, after they withdrew their consent.

Like `timeseries.erasure`, table by table: samples first, then what is made of them. A day's row is of several classes:
the measures of these go at once, what is left is made anew by the next `vigil db rollup`. A raw record in quarantine
may hold any class: of none of the person's the bytes stay. Devices, bindings, limits, tokens are of no class, and stay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from timeseries.archive_erase import erase_patient
from timeseries.archive_table import checked_person, patient_key_of, turn
from timeseries.erasure import MEASURED, Erasure, Work, connected, live_rollups, refuse
from timeseries.lifecycle_archive import LifecycleArchive
from timeseries.queries import load
from vitals.catalogue import METRICS, RetentionClass

_SQL: Final = load("erasure")

_HISTORY: Final = ("vitals_1m_history", "vitals_15m_history", "vitals_1h_history", "vitals_1d")
_TOLD: Final = (
    ("annotations", "delete_notes"),
    ("alert_evidence", "thin_evidence"),
    ("alert_evidence", "delete_evidence"),
    ("delivery_attempts", "delete_attempts_of_class"),
    ("notifications", "delete_notifications_of_class"),
    ("alerts", "delete_alerts_of_class"),
    ("reviews", "delete_reviews_of_class"),
    ("quarantine_outbox", "delete_outbox_of_class"),
    ("quarantine", "delete_quarantined_of_class"),
    ("quarantine_records", "withhold_records"),
)
# What tells how much came, and how long a device was worn, is made of whatever is measured often.
_OF_ALL: Final = ("samples_expected", "samples_received", "completeness", "quality_score")
_WORN: Final = ("wear_min", *_OF_ALL)
MEASURES: Final = {
    RetentionClass.SLEEP: (
        "sleep_total_min", "sleep_in_bed_min", "sleep_efficiency_pct", "sleep_latency_min", "sleep_core_min",
        "sleep_deep_min", "sleep_rem_min", "sleep_unspecified_min", "sleep_awake_min", "sleep_disturbances",
        "sleep_onset_at", "sleep_midpoint_at", "sleep_end_at", "sleep_onset_local_min", "sleep_midpoint_local_min",
        "sleep_agreement", "sleep_regularity_index", "nap_count", "nap_min", "hrv_rmssd_night_ms",
    ),
    RetentionClass.ACTIVITY: (
        "steps", "distance_m", "active_energy_kcal", "exercise_min", "moderate_vigorous_min", "brisk_min", "stand_min",
        "daylight_min", *_OF_ALL,
    ),
    RetentionClass.VITAL: (
        "heart_rate_minutes", "heart_rate_mean_bpm", "heart_rate_min_bpm", "heart_rate_max_bpm",
        "resting_heart_rate_bpm", "resting_heart_rate_told_bpm", "hrv_sdnn_ms", "hrv_rmssd_ms", "hrv_sdnn_24h_ms",
        "hrv_rmssd_night_ms", *_WORN,
    ),
    RetentionClass.TECHNICAL: _WORN,
}  # fmt: skip
"""The columns of `daily_summary` that samples of a class take part in; those of other classes are in none."""


def erase_classes(
    url: str,
    archive: LifecycleArchive | None,
    patient: str,
    classes: Collection[str],
    who: str,
    why: str,
    *,
    prepare_threshold: int | None = 5,
    done: Callable[[str, int], None] = lambda _table, _rows: None,
) -> Erasure:
    """Erase what is stored of a patient (opaque id) in these classes; refused while a legal hold stands.

    Consent is to be withdrawn first, and recorders are to know it, or it comes again. Safe to break off and to repeat.
    Raises like `timeseries.erasure.erase`.
    """
    checked_person(who, why)
    asked = [one for one in RetentionClass if one.value in classes]
    values: dict[str, Any] = {
        "id": patient, "who": who, "why": why, "classes": [one.value for one in asked],
        "metrics": [one.number for one in METRICS if one.retention in asked],
        "codes": [one.code for one in METRICS if one.retention in asked],
    }  # fmt: skip
    with connected(url, prepare_threshold) as connection:
        values["patient"] = patient_key_of(connection, patient)
        refuse(connection, archive, values["patient"])
        work = Work(connection, values, done)
        with turn(connection):
            work.begin()
            for table in ("sample_ids", *MEASURED, *live_rollups(connection), *_HISTORY):
                work.step(table, _SQL["delete_of_class"].format(table=table))
            _days(work, asked)
            for table, query in _TOLD:
                work.step(table, _SQL[query])
        if archive is not None:
            erased = erase_patient(connection, archive.storage, patient, who, why, classes=values["classes"])
            work.count("archive", erased.rows)
            work.count("restored_samples", erased.restored)
        left: tuple[Any, ...] = connection.execute(_SQL["is_left_of_class"], values).fetchone() or ()
        if left == (False,):
            with connection.transaction():
                connection.execute(_SQL["finish"], {"erasure": work.erasure_id})
                connection.execute(_SQL["note_erased"], {"erasure": work.erasure_id})
    return Erasure(work.rows, left == (True,))


def _days(work: Work, classes: Collection[RetentionClass]) -> None:
    """Take the measures of these classes out of days and trends; where all are among them the days themselves."""
    if set(classes) >= MEASURES.keys():
        for table in ("daily_summary", "trends", "zones_told", "dirty_days"):
            work.step(table, _SQL["delete_of_patient"].format(table=table))
        return
    columns = sorted({column for one in classes for column in MEASURES.get(one, ())})
    if not columns:
        return
    valid = ", valid_day = false" if "wear_min" in columns else ""
    told = ", ".join(f"{column} = NULL" for column in columns) + valid
    work.step("daily_summary", _SQL["forget_measures"].format(columns=told))
    work.values["measures"] = columns
    work.step("trends", _SQL["forget_trends"])
    work.connection.execute(_SQL["mark_days"], work.values)
