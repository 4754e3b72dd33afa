"""The short run of `python -m tests.chaos.gateway`, and that its ledger is able to fail."""

import psycopg
import pytest

from tests.chaos.gateway import Book, Plan, reconcile, run


def test_the_ledger_misses_what_is_not_there(database: str) -> None:
    book = Book(safe=[("p1", 1, 1_700_000_000_000_000, 72.0)])
    assert reconcile(database, book)["missing"] == 1
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("INSERT INTO patients (patient_id) VALUES ('p1')")
        connection.execute(
            "INSERT INTO samples (time, written_at, received_at, value, quality, patient_key, origin_key, metric_key,"
            " duration_ms, flags, context, zone_offset_min)"
            " SELECT to_timestamp(1700000000), now(), now(), 73, 1, patient_key, 1, 1, 0, 0, 0, 0 FROM patients"
        )
    found = reconcile(database, book)
    assert (found["ok"], found["missing"], found["with_another_value"]) == (False, 0, 1)
    book.safe[0] = ("p1", 1, 1_700_000_000_000_000, 73.0)
    assert reconcile(database, book)["ok"]


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_every_202_is_stored_once_while_gateway_broker_and_disk_go(kafka: object) -> None:
    found = run(Plan(phones=8, seconds=30.0, faults=4, settle_s=90.0, seed=3))
    assert found["ok"], found
    assert found["places"]["spool"] > 0, "some were safe on the disk only"  # type: ignore[index]
    assert found["places"]["broker"] > 0  # type: ignore[index]
