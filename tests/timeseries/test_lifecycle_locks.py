"""Writers, holds and the lifecycle at the same time, on PostgreSQL 18: nobody is overtaken, no writer waits."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.timeseries.lifecycle_world import DAY, HOUR, METRICS, START, World
from tests.timeseries.making import query
from timeseries import lifecycle
from timeseries.lifecycle_model import Report

HEART = METRICS[0]
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'vigil db lifecycle' AND wait_event_type = 'Lock'"
)


@pytest.fixture
def world(database: str) -> World:
    world = World.make(database)
    for patient in (1, 2):
        world.write(world.samples(patient, HEART, START + HOUR, 10))
    world.refresh()
    return world


@contextmanager
def running(world: World) -> Iterator[Callable[[], Report]]:
    """A run in another thread; call what is yielded to wait for its report."""
    reports: list[Any] = []

    def work() -> None:
        try:
            reports.append(world.run())
        except BaseException as error:  # noqa: BLE001 - raised again below
            reports.append(error)

    def wait() -> Report:
        thread.join(60)
        (report,) = reports
        if isinstance(report, BaseException):
            raise report
        assert isinstance(report, Report)
        return report

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield wait
    finally:
        thread.join(60)


def until_it_waits(url: str) -> None:
    deadline = time.monotonic() + 20
    while query(url, WAITING) == [(0,)]:
        assert time.monotonic() < deadline, "the run never met the lock"
        time.sleep(0.02)


def test_a_hold_that_is_being_placed_is_waited_for_and_seen(world: World) -> None:
    with psycopg.connect(world.url) as placing:
        placing.execute("INSERT INTO legal_holds (patient_key, reason, placed_by) VALUES (2, 'case', 'u-1')")
        with running(world) as report:
            until_it_waits(world.url)
            placing.commit()
            assert report().dropped == {("vital", "raw"): 10}
    assert {int(row["patient_key"]) for row in world.rows()} == {2}


def test_a_sample_that_is_being_stored_stays_and_its_writer_does_not_wait(world: World) -> None:
    with psycopg.connect(world.url) as storing:
        world.write(world.samples(1, HEART, START + 5 * HOUR + DAY / 100), storing)
        assert world.run().dropped == {("vital", "raw"): 20}, "what was committed goes, without waiting"
        storing.commit()
    assert len(world.rows()) == 1
    world.check_nothing_is_lost()
    world.refresh()
    assert world.run().dropped == {("vital", "raw"): 1}
    world.check_nothing_is_lost()
    world.check_rollups()


def test_a_sample_that_is_being_corrected_is_not_dropped_as_it_was(world: World) -> None:
    with psycopg.connect(world.url) as correcting:
        world.write(world.samples(1, HEART, START + 5 * HOUR), correcting)
        with running(world) as report:
            until_it_waits(world.url)
            correcting.commit()
            assert report().late == [("vital", START.date())], "it is not in the archive as it is now: once more"
    assert len(world.rows()) == 0
    world.check_nothing_is_lost()
    world.refresh()
    world.check_rollups()


def test_a_day_that_stays_in_use_is_left_for_the_next_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_LOCK_TIMEOUT_MS", 100)
    with psycopg.connect(world.url) as using:
        using.execute("SELECT FROM samples LIMIT 1 FOR UPDATE")
        report = world.run()
        assert report.dropped == {}
        assert [why for why in report.waits if "in use" in why]
    assert len(world.rows()) == 20
    assert world.run().dropped == {("vital", "raw"): 20}
