"""Points of metrics: dates, units, aggregation."""

import pytest

from tests.devices.health_auto_export.payloads import apps, metric, point, read, rows
from vitals.batch import NO_ZONE
from vitals.validity import reasons

TEN = "2024-06-01 10:04:30 +0200"


@pytest.mark.parametrize(
    ("date", "zone", "utc", "offset"),
    [
        ("2024-06-01 10:04:30 +0200", "UTC", "2024-06-01 08:04:30", 120),
        ("2024-06-01 10:04:30 AM +0200", "UTC", "2024-06-01 08:04:30", 120),
        ("2024-06-01 10:04:30\u202fPM +0200", "UTC", "2024-06-01 20:04:30", 120),
        ("2024-06-01 10:04:30\u00a0pm +0200", "UTC", "2024-06-01 20:04:30", 120),
        ("2024-06-01 12:04:30 a.m. +0200", "UTC", "2024-05-31 22:04:30", 120),
        ("2024-06-01 12:04:30 p.m. +0200", "UTC", "2024-06-01 10:04:30", 120),
        ("2024-06-01 8:04:30 AM -0330", "UTC", "2024-06-01 11:34:30", -210),
        ("2024-06-01T10:04:30+02:00", "UTC", "2024-06-01 08:04:30", 120),
        ("2024-06-01T10:04:30.250Z", "UTC", "2024-06-01 10:04:30", 0),
        ("2024-06-01T10:04:30Z", "Asia/Kolkata", "2024-06-01 10:04:30", 330),
        ("2024-06-01 10:04:30", "Europe/Vienna", "2024-06-01 08:04:30", 120),
        ("2024-01-01 10:04:30", "Europe/Vienna", "2024-01-01 09:04:30", 60),
        ("2024-06-01 10:04", "Europe/Vienna", "2024-06-01 08:04:00", 120),
    ],
)
def test_dates_in_every_form(date: str, zone: str, utc: str, offset: int) -> None:
    told = rows(read(metric("heart_rate", "count/min", point(61, date)), zone=zone)[0])
    assert told == [("heart_rate", utc, 0, 61.0, offset)]
    assert offset != NO_ZONE


@pytest.mark.parametrize(
    "date",
    [None, "", 5, "yesterday", "2024-02-30 10:00:00 +0100", "2024-06-01 13:00:00 PM +0200", "2024-06-01 00:00:00 AM",
     "2024-06-01 25:00:00 +0200", "1024-06-01 10:00:00 +0200", "2024-06-01 10:00:00 +9900", "9" * 1_000,
     "٢٠٢٤-06-01 10:00:00 +0200"],
)  # fmt: skip
def test_a_bad_date_costs_its_point(date: object) -> None:
    _, tally = read(metric("heart_rate", "count/min", point(60, date), point(60, TEN)))
    assert (tally.read, tally.accepted, tally.rejected) == (2, 1, {"date": 1})


@pytest.mark.parametrize(
    ("name", "units", "qty", "code", "value"),
    [
        ("heart_rate", "bpm", 61, "heart_rate", 61),
        ("heart_rate", "count", 61, "heart_rate", 61),
        ("resting_heart_rate", "count/min", 51, "resting_heart_rate", 51),
        ("walking_heart_rate_average", "bpm", 101, "walking_heart_rate", 101),
        ("cardio_recovery", "count/min", 25, "heart_rate_recovery", 25),
        ("heart_rate_variability", "ms", 42.5, "hrv_sdnn", 42.5),
        ("blood_oxygen_saturation", "%", 97, "spo2", 97),
        ("atrial_fibrillation_burden", "%", 2, "af_burden", 2),
        ("body_fat_percentage", "%", 21.5, "body_fat", 21.5),
        ("respiratory_rate", "count/min", 14, "respiratory_rate", 14),
        ("vo2_max", "ml/(kg·min)", 41.5, "vo2_max", 41.5),
        ("body_temperature", "degF", 98.6, "body_temperature", 37),
        ("basal_body_temperature", "degC", 36.4, "body_temperature", 36.4),
        ("blood_glucose", "mmol/L", 5.5, "glucose", 99.085734),
        ("blood_glucose", "mg/dL", 99, "glucose", 99),
        ("insulin_delivery", "IU", 4, "insulin", 4),
        ("carbohydrates", "g", 30, "carbohydrates", 30),
        ("weight_body_mass", "lb", 100, "weight", 45.359237),
        ("lean_body_mass", "kg", 60, "lean_body_mass", 60),
        ("height", "in", 70, "body_height", 177.8),
        ("body_mass_index", "count", 22, "body_mass_index", 22),
        ("walking_speed", "km/hr", 3.6, "speed", 1),
        ("peripheral_perfusion_index", "%", 3, "perfusion_index", 3),
        ("environmental_audio_exposure", "dBASPL", 71, "environmental_sound", 71),
    ],
)  # fmt: skip
def test_units_of_readings(name: str, units: str, qty: float, code: str, value: float) -> None:
    pieces, _ = read(metric(name, units, point(qty, TEN)))
    assert rows(pieces) == [(code, "2024-06-01 08:04:30", 0, value, 120)]
    (piece,) = pieces
    assert piece.samples is not None
    assert not reasons(piece.samples).any()


@pytest.mark.parametrize(
    ("name", "units", "qty", "code", "value"),
    [
        ("step_count", "count", 90, "steps", 90),
        ("flights_climbed", "count", 2, "flights_climbed", 2),
        ("walking_running_distance", "km", 0.5, "distance", 500),
        ("cycling_distance", "mi", 1, "distance", 1609.344),
        ("active_energy", "kJ", 4.184, "active_energy", 1),
        ("basal_energy_burned", "kcal", 1.2, "resting_energy", 1.2),
        ("apple_exercise_time", "min", 1, "exercise_time", 1),
        ("apple_stand_time", "hr", 0.05, "stand_time", 3),
        ("time_in_daylight", "min", 1, "time_in_daylight", 1),
        ("number_of_times_fallen", "count", 1, "falls", 1),
    ],
)  # fmt: skip
def test_what_accumulates_covers_its_minute_or_its_day(
    name: str, units: str, qty: float, code: str, value: float
) -> None:
    minute, day = metric(name, units, point(qty)), metric(name, units, point(qty, "2024-06-01 00:00:00 +0200"))
    assert rows(read(minute)[0]) == [(code, "2024-06-01 08:04:00", 60_000, value, 120)]
    assert rows(read(day)[0]) == [(code, "2024-05-31 22:00:00", 86_400_000, value, 120)]


@pytest.mark.parametrize(
    ("dates", "header", "durations"),
    [
        (["00:00:00"], None, [86_400_000]),
        (["00:00:00", "01:00:00"], None, [3_600_000] * 2),
        (["10:00:00"], None, [60_000]),
        (["10:00:00"], "hours", [3_600_000]),
        (["10:00:00", "10:01:00"], None, [60_000] * 2),
        (["10:00:00", "10:01:07"], None, [1_000] * 2),
        (["00:00:00"], "Minutes", [60_000]),
        (["00:00:00"], "no such word", [86_400_000]),
    ],
)
def test_the_interval_is_the_headers_or_the_finest_that_the_dates_show(
    dates: list[str], header: str | None, durations: list[int]
) -> None:
    data = metric("step_count", "count", *(point(5, f"2024-06-01 {date} +0200") for date in dates))
    assert [row[2] for row in rows(read(data, aggregation=header)[0])] == durations


def test_a_day_has_as_many_hours_as_the_wearers_day() -> None:
    dates = ["2024-03-31 00:00:00 +0100", "2024-10-27 00:00:00 +0200", "2024-06-01 00:00:00 +0900"]
    told = rows(read(metric("step_count", "count", *(point(5, date) for date in dates)), zone="Europe/Vienna")[0])
    assert [row[2] // 3_600_000 for row in told] == [23, 24, 25]


def test_all_metrics_of_a_payload_are_aggregated_alike() -> None:
    data = {
        "metrics": [
            *metric("step_count", "count", point(5, "2024-06-01 10:01:00 +0200"))["metrics"],
            *metric("active_energy", "kcal", point(5, "2024-06-01 00:00:00 +0200"))["metrics"],
        ]
    }
    assert {row[2] for row in rows(read(data)[0])} == {60_000}


def test_an_average_of_an_interval_is_never_a_reading_of_its_first_moment() -> None:
    midnight = "2024-06-01 00:00:00 +0200"
    told = rows(read(metric("heart_rate_variability", "ms", point(42, midnight)))[0])
    assert told == [("hrv_sdnn", "2024-05-31 22:00:00", 86_400_000, 42.0, 120)]
    _, tally = read(metric("blood_glucose", "mg/dL", point(99, midnight)))
    assert tally.rejected == {"aggregated": 1}
    weight = rows(read(metric("weight_body_mass", "kg", point(70, midnight)))[0])
    assert weight == [("weight", "2024-05-31 22:00:00", 0, 70.0, 120)], "it is the same all day"
    _, tally = read(metric("step_count", "count", point(99, midnight)), aggregation="Weeks")
    assert tally.rejected == {"aggregated": 1}


@pytest.mark.parametrize(("date", "duration_ms"), [("10:04:30", 1_000), ("10:04:00", 60_000), ("00:00:00", 86_400_000)])
def test_min_avg_max_is_the_average_over_its_interval(date: str, duration_ms: int) -> None:
    data = metric("heart_rate", "count/min", {"Min": 50, "Avg": 61.5, "Max": 90, "date": f"2024-06-01 {date} +0000"})
    assert rows(read(data)[0]) == [("heart_rate", f"2024-06-01 {date}", duration_ms, 61.5, 0)]


def test_blood_pressure_is_two_samples() -> None:
    data = metric(
        "blood_pressure", "mmHg", {"systolic": 128, "diastolic": 82, "date": TEN}, {"systolic": 1, "date": TEN}
    )
    pieces, tally = read(data)
    assert rows(pieces) == [("bp_diastolic", "2024-06-01 08:04:30", 0, 82.0, 120),
                            ("bp_systolic", "2024-06-01 08:04:30", 0, 128.0, 120)]  # fmt: skip
    assert tally.rejected == {"missing_value": 1}


def test_mindful_minutes_are_a_stretch_unless_they_are_a_sum() -> None:
    pieces, _ = read(metric("mindful_minutes", "min", point(12.5)))
    assert rows(pieces) == [("mindful_session", "2024-06-01 08:04:00", 750_000, 1.0, 120)]
    assert [one.kind for piece in pieces for one in piece.sessions] == ["mindfulness"]
    _, tally = read(metric("mindful_minutes", "min", point(12.5, "2024-06-01 00:00:00 +0200")))
    assert tally.rejected == {"aggregated": 1}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (point("sixty"), "value"), (point(True), "value"), (point(float("nan")), "value"), (point([1]), "value"),
        (point(None), "missing_value"), ({"date": TEN}, "missing_value"), ("a point", "not_well_formed"),
        (None, "not_well_formed"), ([], "not_well_formed"),
    ],
)  # fmt: skip
def test_one_bad_point_costs_that_point(given: object, reason: str) -> None:
    _, tally = read(metric("heart_rate", "count/min", point(60, TEN), given, point("61", TEN)))
    assert (tally.read, tally.accepted, tally.rejected) == (3, 2, {reason: 1})


def test_a_unit_that_is_not_the_metrics_own() -> None:
    for unit in ("furlong", "", None, "kg", 5):
        _, tally = read({"metrics": [{"name": "heart_rate", "units": unit, "data": [point(60, TEN)]}]})
        assert tally.rejected == {"unit": 1}


def test_joined_sources_are_one_origin_in_whatever_order() -> None:
    names = ["Anna's Watch|Anna's iPhone", "Anna's iPhone|Anna's\u00a0Watch", "Anna's iPhone", None]
    points = (point(5, f"2024-06-01 10:0{i}:00 +0200", source=name) for i, name in enumerate(names))
    pieces, _ = read(metric("step_count", "count", *points))
    assert sorted(len(piece.samples or ()) for piece in pieces) == [1, 1, 2]


def test_distances_of_one_minute_have_origins_of_their_own() -> None:
    data = {"metrics": [{"name": f"{kind}_distance", "units": "km", "data": [point(1)]}
                        for kind in ("walking_running", "cycling", "swimming")]}  # fmt: skip
    assert apps(read(data)[0]) == ["", ".cycling", ".swimming"]
