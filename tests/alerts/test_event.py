import json

import pytest
from pydantic import ValidationError

from alerts.event import AlertEvent, Kind, Origin, Priority, State, alert_id, digest
from alerts.wording import NOTICE, limit_clause, quantity, sentence, signal_clause
from tests.alerts.making import an_event, at

ORIGIN = Origin(device_id="d1", source_app="app")
# DESIGN, "An alert's JSON has at least".
PROMISED = {
    "alert_id", "patient_id", "kind", "priority", "rule", "rule_version", "metric", "opened_at", "state", "evidence",
    "sentence",
}  # fmt: skip


def test_json_has_what_the_design_promises_and_comes_back_the_same() -> None:
    event = an_event()
    said = json.loads(event.to_bytes())
    assert said.keys() >= PROMISED
    assert (said["kind"], said["priority"], said["state"], said["schema_version"]) == (
        "physiological",
        "medium",
        "raised",
        1,
    )
    assert said["opened_at"] == "2026-11-21T10:00:00Z"
    assert AlertEvent.model_validate_json(event.to_bytes()) == event


def test_a_newer_writers_fields_are_left_aside_and_another_version_refused() -> None:
    said = json.loads(an_event().to_bytes())
    assert AlertEvent.model_validate({**said, "colour": "red"}) == an_event()
    with pytest.raises(ValidationError):
        AlertEvent.model_validate({**said, "schema_version": 2})


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("patient_id", "Anna Example"),
        ("alert_id", "x"),
        ("opened_at", "2026-11-21T10:00:00"),
        ("cleared_at", "2026-11-21T10:00:00Z"),
        ("raised_at", "2026-11-21T09:00:00Z"),
        ("sentence", "a\nb"),
        ("sentence", ""),
        ("rule", "Rule 1"),
        ("priority", "urgent"),
    ],
)
def test_refuses(field: str, wrong: object) -> None:
    with pytest.raises(ValidationError):
        AlertEvent.model_validate({**json.loads(an_event().to_bytes()), field: wrong})


def test_the_id_follows_from_whom_what_by_which_and_since_when() -> None:
    given = ("p1", "r", "m", ORIGIN, 5)
    assert alert_id(*given) == alert_id(*given)
    others = [("p2", "r", "m", ORIGIN, 5), ("p1", "s", "m", ORIGIN, 5), ("p1", "r", "n", ORIGIN, 5),
              ("p1", "r", "m", Origin(device_id="d1", source_app="b"), 5), ("p1", "r", "m", ORIGIN, 6)]  # fmt: skip
    assert len({alert_id(*given), *(alert_id(*other) for other in others)}) == 6
    assert digest("a", "bc") != digest("ab", "c")


def test_ranks() -> None:
    assert max(Priority, key=lambda one: one.rank) is Priority.HIGH
    assert max(State, key=lambda one: one.rank) is State.CLEARED


def test_sentences_show_unit_time_and_that_limits_are_nobodys_own() -> None:
    seen = limit_clause(State.RAISED, "body_temperature", "above", 38.5, "Cel", 300, 38.94)
    assert sentence(seen, Kind.PHYSIOLOGICAL, at(0), individualised=False, retrospective=True) == (
        "Body temperature above 38.5 °C for 5 min; last value 38.9 °C, measured 2026-11-21 10:00:00 UTC; limits not"
        " individualised; found in data that arrived late."
    )
    seen = limit_clause(State.CLEARED, "spo2", "below", 90, "%", 60, 95)
    assert (
        sentence(seen, Kind.PHYSIOLOGICAL, at(0), individualised=True, retrospective=False)
        == "Oxygen saturation is no longer below 90 %; last value 95 %, measured 2026-11-21 10:00:00 UTC."
    )


def test_a_technical_sentence_speaks_of_the_sensor_and_quotes_no_value() -> None:
    for state in (State.RAISED, State.CLEARED):
        seen = signal_clause(state, "heart_rate", 60)
        said = sentence(seen, Kind.TECHNICAL, at(0), individualised=True, retrospective=False)
        assert said.startswith("Sensor: heart rate ")
        assert said.endswith("; as of 2026-11-21 10:00:00 UTC.")
        assert "/min" not in said


def test_a_sentence_fits_whatever_a_detector_says() -> None:
    said = sentence("x" * 900, Kind.TECHNICAL, at(0), individualised=False, retrospective=True)
    assert len(said) <= 500
    assert said.endswith("; found in data that arrived late.")


def test_quantities() -> None:
    assert [quantity(131.0, "/min"), quantity(1.25, "mm[Hg]"), quantity(3, "1")] == ["131 /min", "1.2 mmHg", "3"]
    assert "not a medical device" in NOTICE
