"""Samples leave by their policies: never before the archive has them, never from under a hold, rollups untouched."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.timeseries.lifecycle_world import DAY, HOUR, METRICS, OLD, START, World
from tests.timeseries.making import query
from timeseries.lifecycle import due
from timeseries.lifecycle_model import Report

HEART, BATTERY, STEPS = METRICS


def filled(url: str, archive: Any = None) -> World:
    """Three people, three classes, eight days, a sample in six hours: rolled up, in the columnstore if there is one."""
    world = World.make(url, archive=archive)
    for patient in (1, 2, 3):
        for metric in METRICS:
            world.write(world.samples(patient, metric, START + HOUR, 8 * 4, every=6 * HOUR))
    world.refresh()
    world.compress()
    return world


def everything_goes_when_it_is_due(url: str) -> None:
    world = filled(url)
    world.moment = START + 367 * DAY
    report = world.run()
    assert {day for _, day in report.archived} == {(START + n * DAY).date() for n in (0, 1)}
    assert not report.dropped
    assert not report.waits
    assert len(world.rows()) == len(world.standing)

    world.moment = OLD
    report = world.run()
    assert sum(report.dropped.values()) == len(world.standing) == 3 * 3 * 8 * 4
    assert len(world.rows()) == 0
    world.check_nothing_is_lost()
    world.check_rollups()
    assert world.run() == Report(), "a second run does nothing"
    assert not [one for one in due(url, moment=OLD, prepare_threshold=None) if one.rows or one.waits]


def nothing_goes_without_an_archive(url: str) -> None:
    world = filled(url)
    archive, world.archive = world.archive, None
    report = world.run()
    assert not report.dropped
    assert any("no archive is set up" in why for why in report.waits)
    assert len(world.rows()) == len(world.standing)
    world.archive = archive
    world.archive.broken = True
    report = world.run()
    assert [why for why in report.failed if "not archived, the archive is away" in why]
    assert not report.dropped
    assert len(world.rows()) == len(world.standing)
    world.archive.broken = False
    world.run()
    assert len(world.rows()) == 0
    world.check_nothing_is_lost()


def a_hold_keeps_everything_of_its_patient(url: str) -> None:
    world = filled(url)
    world.hold(2)
    world.run()
    assert {int(patient) for patient in world.rows()["patient_key"]} == {2}
    world.check_holds()
    world.check_nothing_is_lost()
    world.check_rollups()
    assert world.run() == Report()
    kept = {one.retention_class: one.waits for one in due(url, moment=OLD, prepare_threshold=None) if one.waits}
    assert kept["vital"] == ("32 rows are on hold",)
    world.hold(1)
    world.lift(2)
    report = world.run()
    assert len(world.rows()) == 0
    assert sum(report.dropped.values()) == 3 * 8 * 4
    world.check_nothing_is_lost()
    world.check_rollups()


def what_the_rollups_have_not_seen_stays(url: str) -> None:
    world = filled(url)
    world.write(world.samples(1, HEART, START + 2 * HOUR))
    report = world.run()
    assert not report.dropped
    assert any("not refreshed" in why for why in report.waits)
    assert any("not refreshed" in why for one in due(url, moment=OLD, prepare_threshold=None) for why in one.waits)
    query(url, "INSERT INTO dirty_days (patient_key, day) VALUES (1, %s)", (START.date(),))
    world.refresh()
    query(url, "INSERT INTO dirty_days (patient_key, day) VALUES (1, %s)", (START.date(),))
    assert not world.run().dropped, "a day that is made from samples comes first, too"
    world.refresh()
    world.run()
    assert len(world.rows()) == 0
    world.check_nothing_is_lost()
    world.check_rollups()


def late_corrected_and_deleted_below_the_horizon(url: str) -> None:
    world = filled(url)
    world.run()
    late = world.samples(1, HEART, START + 3 * HOUR)
    world.write(late)
    corrected = world.samples(2, HEART, START + HOUR)
    world.write(corrected)
    deleted = world.samples(3, HEART, START + DAY + HOUR)
    deleted["flags"] = 128
    world.write(deleted)
    elsewhere = world.samples(1, BATTERY, START + 20 * DAY)
    world.write(elsewhere)
    older = world.samples(3, STEPS, START + 2 * DAY + HOUR)
    older["written_at"] = 946_684_800_000_000
    world.write(older)
    world.refresh()
    world.run()
    assert len(world.rows()) == 0
    world.check_nothing_is_lost()
    world.refresh()
    world.check_rollups()
    assert world.run() == Report()
    assert query(url, "SELECT count(*) FROM late_hours") == [(0,)]


def late_for_a_patient_on_hold(url: str) -> None:
    world = filled(url)
    world.hold(1)
    world.run()
    world.write(world.samples(1, HEART, START + 3 * HOUR))
    world.write(world.samples(1, HEART, START + HOUR))
    world.write(world.samples(2, HEART, START + HOUR))
    world.refresh()
    world.run()
    world.check_holds()
    assert {int(patient) for patient in world.rows()["patient_key"]} == {1}
    world.check_nothing_is_lost()
    world.check_rollups()
    world.lift(1)
    world.run()
    assert len(world.rows()) == 0
    world.check_nothing_is_lost()
    world.check_rollups()


def what_came_after_the_archive_is_archived_before_the_drop(url: str) -> None:
    world = filled(url)
    world.moment = START + 400 * DAY
    world.run()
    world.write(world.samples(1, HEART, START + 3 * HOUR))
    world.write(world.samples(2, HEART, START + HOUR))
    world.write(world.samples(2, STEPS, START + 20 * DAY))
    world.refresh()
    world.moment = OLD
    world.run()
    assert len(world.rows()) == 0
    world.check_nothing_is_lost()
    world.check_rollups()


class Broken(Exception):
    pass


ACTS = [*["write"] * 3, "hold", "lift", *["run"] * 2, "broken run", "refresh", "later", "compress"]


def chance(url: str, seed: int, steps: int, archive: Any = None) -> None:
    """Whatever happens in whatever order, and wherever a run is broken off."""
    print(f"seed {seed}")
    dice = random.Random(seed)
    world = World.make(url, archive=archive)
    world.moment = START + 731 * DAY
    for _ in range(steps):
        act = dice.choice(
            ["write", "write", "write", "hold", "lift", "run", "run", "broken run", "refresh", "later", "compress"]
        )
        patient = dice.randint(1, 4)
        if act == "write":
            at = START + dice.randrange(24 * 16) * HOUR
            every = dice.choice([HOUR, DAY / 2])
            rows = world.samples(patient, dice.choice(METRICS), at, dice.randint(1, 30), every=every)
            rows["flags"] = [dice.choice([0, 0, 0, 128]) for _ in rows]
            if dice.random() < 0.2:
                rows["written_at"] -= dice.randrange(5_000_000)
            world.write(rows)
        elif act == "hold":
            world.hold(patient)
        elif act == "lift":
            world.lift(patient)
        elif act == "later":
            world.moment += dice.randint(1, 5) * DAY
        elif act == "refresh":
            world.refresh()
        elif act == "compress":
            world.compress()
        else:
            broken_run(world, dice.choice([None, *POINTS]), dice.randint(1, 9) if act == "broken run" else -1)
        world.check_nothing_is_lost()
        world.check_holds()
    for patient in range(1, 5):
        world.lift(patient)
    settled(world)


def settled(world: World) -> None:
    """With no hold left and nobody breaking it off the life of the data comes to its end."""
    world.moment = max(world.moment, START + 780 * DAY) + 14 * DAY
    world.refresh()
    world.run()
    world.refresh()
    world.run()
    assert len(world.rows()) == 0
    assert query(world.url, "SELECT count(*) FROM late_hours") == [(0,)]
    world.check_nothing_is_lost()
    world.check_rollups()
    world.refresh()
    assert world.run() == Report()


POINTS = [
    "written", "archived", "moving", "moved", "late noted", "recomputing", "recomputed", "dropping", "dropped",
    "late forgotten",
]  # fmt: skip


def broken_off_at_every_point(url: str) -> None:
    """At each point in turn, with something to do for all of them."""
    world = filled(url)
    world.run()
    for round_, point in enumerate(POINTS):
        world.write(world.samples(1, HEART, START + round_ * HOUR))
        world.write(world.samples(2, HEART, START + round_ * HOUR))
        world.write(world.samples(3, STEPS, START + (28 + 7 * round_) * DAY, 2, every=DAY))
        world.moment += 7 * DAY
        world.refresh()
        world.hold(2)
        assert broken_run(world, point), f"{point} is never reached"
        world.check_nothing_is_lost()
        world.check_holds()
        world.lift(2)
    settled(world)


def broken_run(world: World, point: str | None, times: int = 1) -> bool:
    """A run that is broken off when it reaches a point (None: any) for so many times; tell whether it was."""
    seen = 0

    def reached(name: str) -> None:
        nonlocal seen
        seen += point in {None, name}
        if seen == times:
            raise Broken(name)

    try:
        world.run(reached=reached)
    except Broken as broken:
        print("broken off at", broken)
        return True
    return False


RULES = [
    everything_goes_when_it_is_due,
    nothing_goes_without_an_archive,
    a_hold_keeps_everything_of_its_patient,
    what_the_rollups_have_not_seen_stays,
    late_corrected_and_deleted_below_the_horizon,
    late_for_a_patient_on_hold,
    what_came_after_the_archive_is_archived_before_the_drop,
    broken_off_at_every_point,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_stock(rule: Any, database: str) -> None:
    rule(database)


@pytest.mark.timescale
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_timescale(rule: Any, wasm: str) -> None:
    rule(wasm)


@pytest.mark.timescale
def test_timescaledb_drops_by_itself_what_was_archived_and_moved(wasm: str) -> None:
    world = World.make(wasm)
    world.moment = datetime.now(UTC)
    first = world.moment.replace(minute=0, second=0, microsecond=0) - 70 * DAY
    for patient in (1, 2):
        world.write(world.samples(patient, HEART, first, 4 * 21, every=6 * HOUR))
    world.write(world.samples(1, BATTERY, first, 4 * 21, every=6 * HOUR))
    world.refresh()
    world.compress()
    everything = len(world.standing)
    query(wasm, "UPDATE lifecycle_policies SET archive_after = '20 days', drop_after = '40 days' WHERE tier = 'raw' "
          "AND retention_class = 'vital'")  # fmt: skip
    (job,) = query(
        wasm,
        "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'lifecycle_job' "
        "AND proc_schema = current_schema()",
    )
    query(wasm, "CALL run_job(%s)", job)
    assert len(world.rows()) == everything, "nothing is archived"
    assert broken_run(world, "late forgotten")
    assert len(world.rows()) == everything
    world.write(world.samples(2, HEART, first + HOUR))
    world.hold(1)
    query(wasm, "CALL run_job(%s)", job)
    assert len(world.rows()) > everything / 2, "a late sample, and its day is not in the archive: its chunk stays"
    world.check_nothing_is_lost()
    world.refresh()
    assert broken_run(world, "late forgotten")
    query(wasm, "CALL run_job(%s)", job)
    left = query(wasm, "SELECT patient_key, metric_key, count(*) FROM samples GROUP BY 1, 2 ORDER BY 1, 2")
    assert left == [(1, HEART, 84), (1, BATTERY, 84)]
    world.check_holds()
    world.check_nothing_is_lost()
    world.check_rollups()
    world.lift(1)
    query(wasm, "CALL run_job(%s)", job)
    left = query(wasm, "SELECT patient_key, metric_key, count(*) FROM samples GROUP BY 1, 2 ORDER BY 1, 2")
    assert left == [(1, BATTERY, 84)], "its class is not due"
    world.check_nothing_is_lost()
    world.check_rollups()


@pytest.mark.parametrize("seed", range(3))
def test_chance_on_stock(seed: int, database: str) -> None:
    chance(database, seed, 25)


@pytest.mark.timescale
@pytest.mark.parametrize("seed", range(10, 12))
def test_chance_on_timescale(seed: int, wasm: str) -> None:
    chance(wasm, seed, 20)
