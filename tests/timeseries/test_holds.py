"""Holds are placed on people who are known, by somebody, for a reason; they are lifted once and never vanish."""

import threading
import time
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from tests.timeseries.making import query
from timeseries.holds import Hold, NoReason, NoSuchHold, UnknownPatient, holds, lift, place
from timeseries.migrate import migrate
from vigil.cli import app
from vigil.settings import settings
from vitals.ids import InvalidId


@pytest.fixture
def known(database: str) -> str:
    query(database, "INSERT INTO patients (patient_id) VALUES ('p1'), ('p2')")
    return database


def on_hold(url: str) -> list[Any]:
    return [row[0] for row in query(url, "SELECT patient_id FROM patients_on_hold ORDER BY 1")]


def test_a_hold_stands_until_it_is_lifted_and_both_are_kept(known: str) -> None:
    first = place(known, "p1", "u-7", "  case 12/2024 ")
    assert (first.patient_id, first.reason, first.placed_by, first.lifted_at) == ("p1", "case 12/2024", "u-7", None)
    second = place(known, "p1", "u-8", "case 13/2024")
    assert on_hold(known) == ["p1"]
    lifted = lift(known, first.hold_id, "u-9", "settled")
    assert (lifted.lifted_by, lifted.lift_reason, lifted.reason) == ("u-9", "settled", "case 12/2024")
    assert lifted.lifted_at is not None
    assert lifted.lifted_at >= lifted.placed_at == first.placed_at
    assert on_hold(known) == ["p1"], "the other still stands"
    lift(known, second.hold_id, "u-9", "settled")
    assert on_hold(known) == []
    assert holds(known) == []
    assert [one.hold_id for one in holds(known, lifted=True)] == [second.hold_id, first.hold_id]
    assert holds(known, "p2", lifted=True) == []


def test_what_makes_no_sense_is_refused_and_changes_nothing(known: str) -> None:
    with pytest.raises(UnknownPatient, match="p9"):
        place(known, "p9", "u-1", "case")
    with pytest.raises(InvalidId):
        place(known, "Jane Doe", "u-1", "case")
    with pytest.raises(InvalidId):
        place(known, "p1", "Jane Doe", "case")
    with pytest.raises(NoReason):
        place(known, "p1", "u-1", "  ")
    assert query(known, "SELECT count(*) FROM legal_holds") == [(0,)]
    with pytest.raises(NoSuchHold, match="no hold 5"):
        lift(known, 5, "u-1", "over")
    hold = place(known, "p1", "u-1", "case").hold_id
    lift(known, hold, "u-2", "over")
    with pytest.raises(NoSuchHold, match="lifted before"):
        lift(known, hold, "u-3", "again")
    assert query(known, "SELECT lifted_by, lift_reason FROM legal_holds") == [("u-2", "over")]


FORBIDDEN = [
    "DELETE FROM legal_holds",
    "TRUNCATE legal_holds",
    "UPDATE legal_holds SET reason = 'another'",
    "UPDATE legal_holds SET patient_key = 2",
    "UPDATE legal_holds SET placed_by = 'u-9', lifted_by = 'u-1', lifted_at = now(), lift_reason = 'x'",
    "UPDATE legal_holds SET lifted_by = NULL, lifted_at = NULL, lift_reason = NULL WHERE lifted_at IS NOT NULL",
    "UPDATE legal_holds SET lift_reason = 'another' WHERE lifted_at IS NOT NULL",
]


def no_row_goes_or_changes(url: str, standing: Hold, statement: str) -> None:
    before = query(url, "SELECT * FROM legal_holds ORDER BY 1")
    with pytest.raises(psycopg.errors.RestrictViolation, match="legal_holds keeps"):
        query(url, statement)
    assert query(url, "SELECT * FROM legal_holds ORDER BY 1") == before
    assert on_hold(url) == [standing.patient_id]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_no_row_goes_or_changes(known: str, statement: str) -> None:
    lift(known, place(known, "p2", "u-1", "case").hold_id, "u-2", "over")
    no_row_goes_or_changes(known, place(known, "p1", "u-1", "case"), statement)


@pytest.mark.timescale
def test_the_same_on_timescaledb(wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    query(wasm, "INSERT INTO patients (patient_id) VALUES ('p1'), ('p2')")
    other = place(wasm, "p2", "u-1", "case", prepare_threshold=None)
    assert lift(wasm, other.hold_id, "u-2", "over", prepare_threshold=None).lifted_by == "u-2"
    standing = place(wasm, "p1", "u-1", "case", prepare_threshold=None)
    for statement in FORBIDDEN:
        no_row_goes_or_changes(wasm, standing, statement)
    assert len(holds(wasm, lifted=True, prepare_threshold=None)) == 2


def test_placing_waits_for_the_slice_that_is_being_dropped(known: str) -> None:
    done = threading.Event()

    def work() -> None:
        place(known, "p1", "u-1", "case")
        done.set()

    with psycopg.connect(known) as dropping:
        dropping.execute("SELECT lock_holds()")
        thread = threading.Thread(target=work)
        thread.start()
        deadline = time.monotonic() + 20
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'legal_holds'::regclass"
        while query(known, waiting) == [(0,)]:
            assert time.monotonic() < deadline
        assert not done.is_set()
        assert on_hold(known) == []
        dropping.commit()
    thread.join(20)
    assert done.is_set()
    assert on_hold(known) == ["p1"]


def test_the_command_line(known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", known)
    settings.cache_clear()
    run = CliRunner().invoke
    assert "no hold stands" in run(app, ["hold", "list"]).output
    placed = run(app, ["hold", "place", "--patient", "p1", "--who", "u-1", "--why", "case [12]"])
    assert placed.exit_code == 0
    assert "stands on p1" in placed.output
    shown = run(app, ["hold", "list"]).output
    assert all(word in shown for word in ("p1", "u-1", "case [12]"))
    unknown = run(app, ["hold", "place", "--patient", "p9", "--who", "u-1", "--why", "case"])
    assert isinstance(unknown.exception, UnknownPatient)
    number = query(known, "SELECT hold_id FROM legal_holds")[0][0]
    assert "is lifted" in run(app, ["hold", "lift", str(number), "--who", "u-2", "--why", "settled"]).output
    assert "no hold stands" in run(app, ["hold", "list"]).output
    assert "settled" in run(app, ["hold", "list", "--all"]).output
    settings.cache_clear()
