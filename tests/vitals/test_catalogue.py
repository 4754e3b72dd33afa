"""The catalogue is a contract with every row ever stored: numbers, codes and units never change."""

import numpy as np
import pytest

from vitals.catalogue import (
    BY_CODE,
    BY_NUMBER,
    HIGH,
    IS_CATEGORY,
    LOW,
    MAX_DURATION_MS,
    MEMBERS,
    METRICS,
    NEEDS_DURATION,
    UNKNOWN_METRIC,
    Kind,
    Metric,
    RetentionClass,
    number_of,
)

# Copied by hand from the tables' point of view: a line may be added, none may be changed.
NUMBERS_AND_UNITS = {
    1: ("heart_rate", "/min"),
    2: ("rr_interval", "ms"),
    3: ("hrv_sdnn", "ms"),
    4: ("hrv_rmssd", "ms"),
    5: ("spo2", "%"),
    6: ("pulse_rate", "/min"),
    7: ("respiratory_rate", "/min"),
    8: ("body_temperature", "Cel"),
    9: ("wrist_temperature", "Cel"),
    10: ("bp_systolic", "mm[Hg]"),
    11: ("bp_diastolic", "mm[Hg]"),
    12: ("bp_mean", "mm[Hg]"),
    13: ("glucose", "mg/dL"),
    14: ("weight", "kg"),
    15: ("body_fat", "%"),
    16: ("steps", "{steps}"),
    17: ("cadence", "/min"),
    18: ("distance", "m"),
    19: ("active_energy", "kcal"),
    20: ("in_bed", "1"),
    21: ("sleep_stage", "1"),
    22: ("activity_intensity", "1"),
    23: ("activity_class", "1"),
    24: ("workout", "1"),
    25: ("resting_heart_rate", "/min"),
    26: ("af_burden", "%"),
    27: ("state_of_mind_valence", "1"),
    28: ("symptom", "1"),
    29: ("medication_event", "1"),
    30: ("time_in_daylight", "min"),
    31: ("environmental_sound", "dB"),
    32: ("ambient_temperature", "Cel"),
    33: ("wear_state", "1"),
    34: ("battery", "%"),
    35: ("ecg", "mV"),
    36: ("ppg", "1"),
    37: ("acceleration", "[g]"),
    38: ("body_mass_index", "kg/m2"),
    39: ("exercise_time", "min"),
    40: ("stand_time", "min"),
    41: ("enmo", "m[g]"),
}

each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.code)


def test_numbers_codes_and_units_are_what_the_tables_hold() -> None:
    assert {m.number: (m.code, m.unit) for m in METRICS if m.number in NUMBERS_AND_UNITS} == NUMBERS_AND_UNITS


def test_no_number_or_code_stands_twice() -> None:
    assert len(BY_CODE) == len(BY_NUMBER) == len(METRICS)
    assert UNKNOWN_METRIC not in BY_NUMBER


@each_metric
def test_a_metric_is_found_by_code_and_number(metric: Metric) -> None:
    assert number_of(metric.code) == metric.number
    assert BY_NUMBER[metric.number] is BY_CODE[metric.code] is metric


@each_metric
def test_bounds_leave_room_and_the_tables_can_hold_the_duration(metric: Metric) -> None:
    assert metric.low < metric.high
    assert 0 < metric.number < 2**15
    assert 0 <= metric.max_duration_s * 1_000 < 2**31, "samples.duration_ms is a 32-bit integer"


@each_metric
def test_only_categories_have_members_all_within_the_bounds(metric: Metric) -> None:
    assert bool(metric.categories) == (metric.kind is Kind.CATEGORY)
    assert all(metric.low <= value <= metric.high for value in metric.categories)
    assert sorted(np.flatnonzero(MEMBERS[metric.number])) == sorted(metric.categories)
    assert len(set(metric.categories.values())) == len(metric.categories)


@each_metric
def test_look_up_arrays_say_what_the_rows_say(metric: Metric) -> None:
    n = metric.number
    assert (LOW[n], HIGH[n], MAX_DURATION_MS[n]) == (metric.low, metric.high, metric.max_duration_s * 1_000)
    assert bool(NEEDS_DURATION[n]) == (metric.kind is Kind.INTERVAL)
    assert bool(IS_CATEGORY[n]) == (metric.kind is Kind.CATEGORY)
    assert (metric.kind is Kind.WAVEFORM) == (metric.retention is RetentionClass.WAVEFORM)
    assert metric.kind is not Kind.INTERVAL or metric.max_duration_s > 0, "an interval must be allowed to last"


def test_the_unknown_metric_has_no_bounds_that_a_value_could_meet() -> None:
    assert np.isnan(LOW[UNKNOWN_METRIC])
    assert np.isnan(HIGH[UNKNOWN_METRIC])
    assert number_of("no_such_metric") == number_of("") == UNKNOWN_METRIC


def test_nobody_can_change_the_look_up_arrays() -> None:
    with pytest.raises(ValueError, match="read-only"):
        LOW[1] = 0
    with pytest.raises(ValueError, match="read-only"):
        MEMBERS[20, 0] = False
