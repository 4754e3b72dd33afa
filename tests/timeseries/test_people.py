"""Bindings, annotations and care profiles: history is kept, and what contradicts it is refused."""

from typing import Any

import psycopg
import pytest

from tests.timeseries.making import query
from timeseries.migrate import migrate

BIND = (
    "INSERT INTO device_bindings (device_key, patient_key, valid_from, valid_to, bound_by) "
    "VALUES (%s, %s, %s::timestamptz, %s::timestamptz, 'u-1') RETURNING binding_id"
)
PROFILE = (
    "INSERT INTO care_profiles (patient_key, version, valid_from, valid_to, limits, created_by, reason) "
    "VALUES (%s, %s, %s::timestamptz, %s::timestamptz, %s::jsonb, 'u-1', 'COPD')"
)
NOTE = (
    "INSERT INTO annotations (annotation_key, patient_key, metric_key, from_time, to_time, kind, source, label, rule, "
    "rule_version) VALUES (%s, 1, 1, %s, %s, %s, 'watch', 'fast', %s, %s) ON CONFLICT DO NOTHING"
)
THEN = "tstzrange(valid_from, valid_to) @> %s::timestamptz"


def people(url: str) -> None:
    query(url, "INSERT INTO patients (patient_id) VALUES ('p1'), ('p2')")
    query(url, "INSERT INTO devices (device_id) VALUES ('d1'), ('d2')")


def refused(url: str, error: type[Exception], statement: str, parameters: tuple[Any, ...], saying: str) -> None:
    with pytest.raises(error, match=saying):
        query(url, statement, parameters)


def a_device_has_one_wearer_at_a_time(url: str) -> None:
    people(url)
    ((first,),) = query(url, BIND, (1, 1, "2024-01-01", None))
    refused(url, psycopg.errors.ExclusionViolation, BIND, (1, 2, "2024-06-01", None), "one_wearer")
    refused(url, psycopg.errors.ExclusionViolation, BIND, (1, 2, "2023-01-01", "2024-01-02"), "one_wearer")
    query(url, BIND, (2, 2, "2024-06-01", None))
    query(url, "UPDATE device_bindings SET valid_to = '2024-06-01' WHERE binding_id = %s", (first,))
    query(url, BIND, (1, 2, "2024-06-01", None))
    wearer = f"SELECT patient_key FROM device_bindings WHERE device_key = 1 AND {THEN}"
    assert query(url, wearer, ("2024-05-31 23:59:59+00",)) == [(1,)]
    assert query(url, wearer, ("2024-06-01 00:00:00+00",)) == [(2,)]
    refused(url, psycopg.errors.CheckViolation, BIND, (1, 1, "2022-01-01", "2021-01-01"), "end_after_start")


def a_binding_is_closed_once_and_never_changed(url: str) -> None:
    people(url)
    ((binding,),) = query(url, BIND, (1, 1, "2024-01-01", None))
    change = "UPDATE device_bindings SET patient_key = 2 WHERE binding_id = %s"
    refused(url, psycopg.errors.RestrictViolation, change, (binding,), "device_bindings keeps its history")
    close = "UPDATE device_bindings SET valid_to = '2024-06-01' WHERE binding_id = %s"
    query(url, close, (binding,))
    refused(url, psycopg.errors.RestrictViolation, close, (binding,), "device_bindings keeps its history")


def one_profile_holds_at_a_time(url: str) -> None:
    people(url)
    query(url, PROFILE, (1, 1, "2024-01-01", None, '{"spo2": {"low": 88}}'))
    refused(url, psycopg.errors.ExclusionViolation, PROFILE, (1, 2, "2024-02-01", None, "{}"), "one_at_a_time")
    query(url, "UPDATE care_profiles SET valid_to = '2024-02-01' WHERE patient_key = 1 AND version = 1")
    query(url, PROFILE, (1, 2, "2024-02-01", None, '{"spo2": {"low": 85}}'))
    query(url, PROFILE, (2, 1, "2024-02-01", None, "{}"))
    held = f"SELECT limits->'spo2'->>'low' FROM care_profiles WHERE patient_key = 1 AND {THEN}"
    assert query(url, held, ("2024-01-15",)) == [("88",)]
    assert query(url, held, ("2030-01-15",)) == [("85",)]
    refused(url, psycopg.errors.CheckViolation, PROFILE, (2, 2, "2020-01-01", "2021-01-01", "[1]"), "limits")
    edit = "UPDATE care_profiles SET limits = '{}' WHERE patient_key = %s"
    refused(url, psycopg.errors.RestrictViolation, edit, (1,), "keeps its history")


def an_annotation_told_again_is_one_row(url: str) -> None:
    values = ("n1", "2024-01-01", "2024-01-02", "anomaly", "fast", 1)
    query(url, NOTE, values)
    query(url, NOTE, values)
    query(url, NOTE, ("n2", "2024-01-01", "2024-01-01", "report", None, None))
    assert query(url, "SELECT annotation_key, detail FROM annotations ORDER BY 1") == [("n1", {}), ("n2", {})]
    for bad in (
        ("n3", "2024-01-02", "2024-01-01", "anomaly", "fast", 1),
        ("n3", "2024-01-01", "2024-01-02", "diagnosis", "fast", 1),
        ("n3", "2024-01-01", "2024-01-02", "anomaly", "fast", None),
    ):
        refused(url, psycopg.errors.CheckViolation, NOTE, bad, "annotations")
    query(url, "UPDATE annotations SET retracted_at = now() WHERE annotation_key = 'n1'")


RULES = [
    a_device_has_one_wearer_at_a_time,
    a_binding_is_closed_once_and_never_changed,
    one_profile_holds_at_a_time,
    an_annotation_told_again_is_one_row,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_stock(rule: Any, database: str) -> None:
    rule(database)


@pytest.mark.timescale
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_timescale(rule: Any, wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    rule(wasm)
