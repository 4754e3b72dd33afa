"""Who is watched by what: from database, policy file or copy, whichever can be read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alerts.event import Priority
from stream.policy_file.policies import Hurry, built_in
from stream.watch.engine import Engine
from stream.watch.people import PeopleSource
from tests.stream.making import HEADER, samples
from tests.stream.policy_file.making import HEAD
from timeseries.model import StoreUnavailable
from timeseries.people_reader import People
from timeseries.policies import AppliedPolicy
from vitals.care_profile import UNKNOWN, CareProfile
from vitals.clock import to_datetime
from vitals.gate import OPEN, Gate, Permissions
from vitals.ids import patient_id

OWN = CareProfile(version=2, pacemaker=True)
NOON_US = 1_800_000_000_000_000


class Database:
    """What the two readers would say; `away` raises."""

    def __init__(self, people: People | None = None, gate: Gate = OPEN) -> None:
        self.people = people or People()
        self.gate = gate
        self.away = False
        self.now_us = NOON_US

    async def ask_people(self) -> People:
        if self.away:
            raise StoreUnavailable("away")
        return self.people

    async def ask_gate(self) -> Gate:
        return self.gate

    def source(self, **how: object) -> PeopleSource:
        return PeopleSource(self.ask_people, self.ask_gate, clock=lambda: self.now_us, **how)  # type: ignore[arg-type]


def applied(text: str, version: int = 3) -> AppliedPolicy:
    return AppliedPolicy(version, "ward 4", "0" * 64, text, "u-1", to_datetime(NOON_US), "r-1", [])


def consent(*until_us: int) -> Permissions:
    n = len(until_us)
    return Permissions(np.zeros(n, np.int8), np.zeros(n, np.int64), np.array(until_us, np.int64))


async def test_without_a_database_everybody_has_the_defaults() -> None:
    source = PeopleSource()
    crowd = await source.current()
    assert await source.current() is crowd
    assert crowd.plan_of("p1") is built_in().plan_of("p1")
    assert crowd.person("p1", "d1").profile is UNKNOWN
    assert crowd.person("p1", "d1").ceiling is Priority.MEDIUM
    assert not crowd.withdrawn("p1")
    assert not crowd.unconsented("p1")


async def test_people_have_their_profiles_and_devices_their_ceilings() -> None:
    database = Database(People({"p1": OWN}, frozenset({"d-medical"})))
    crowd = await database.source().current()
    assert crowd.person("p1", "d-medical").profile is OWN
    assert crowd.person("p1", "d-medical").ceiling is Priority.HIGH
    assert crowd.person("p2", "d-medical").profile is UNKNOWN
    assert crowd.person("p1", "d-other").ceiling is Priority.MEDIUM


async def test_a_change_is_another_object() -> None:
    database = Database()
    source = database.source()
    before = await source.current()
    assert await source.current() is before
    database.people = People({"p1": OWN})
    after = await source.current()
    assert after is not before
    assert after.person("p1", "d1").profile is OWN
    assert after.plan_of("p1") is before.plan_of("p1"), "the policy is the same"


async def test_what_was_known_holds_while_the_database_is_away() -> None:
    database = Database(People({"p1": OWN}, policy=applied(HEAD)))
    source = database.source()
    known = await source.current()
    database.away = True
    with pytest.raises(StoreUnavailable):
        await source.current()
    database.away = False
    assert await source.current() is known


async def test_a_start_without_the_database_goes_by_the_copy(tmp_path: Path) -> None:
    database = Database(People({"p1": OWN}, policy=applied(HEAD)))
    copy = tmp_path / "policy.toml"
    first = await database.source(copy=copy).current()
    assert first.policies.told.startswith("ward 4 v3")
    database.away = True
    source = database.source(copy=copy)
    alone = await source.current()
    assert alone.policies.told == first.policies.told
    assert alone.person("p1", "d1").profile is UNKNOWN
    with pytest.raises(StoreUnavailable):
        await source.current()
    database.away = False
    assert (await source.current()).person("p1", "d1").profile is OWN


async def test_a_newer_policy_in_the_database_is_taken_over_and_a_wrong_one_is_not() -> None:
    database = Database(People(policy=applied(HEAD)))
    source = database.source()
    assert (await source.current()).policies.told.startswith("ward 4 v3")
    database.people = People(policy=applied(HEAD.replace("3", "4"), 4))
    newer = await source.current()
    assert newer.policies.told.startswith("ward 4 v4")
    database.people = People(policy=applied("wrong", 5))
    assert (await source.current()).policies is newer.policies


async def test_a_file_is_the_policy_instead_of_the_database_s(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('version = 9\nlabel = "mine"\n')
    database = Database(People(policy=applied(HEAD)))
    source = database.source(policy_file=file, copy=tmp_path / "copy.toml")
    assert (await source.current()).policies.told.startswith("mine v9")
    file.write_text('version = 10\nlabel = "mine"\n')
    await source.current()
    assert (await source.current()).policies.told.startswith("mine v10")
    database.away = True
    file.write_text('version = 11\nlabel = "mine!"\n')
    with pytest.raises(StoreUnavailable):
        await source.current()
    assert (await source.current()).policies.told.startswith("mine! v11"), "the file goes on without the database"
    assert not (tmp_path / "copy.toml").exists()


async def test_who_withdrew_is_known_and_who_was_never_asked_is_told_apart() -> None:
    people = {"p-stands": consent(NOON_US + 10, NOON_US - 10), "p-gone": consent(), "p-over": consent(NOON_US)}
    database = Database(gate=Gate(people=people, require_consent=True))
    source = database.source()
    crowd = await source.current()
    everybody = ("p-stands", "p-gone", "p-over", "p-never")
    assert [crowd.withdrawn(one) for one in everybody] == [False, True, True, True]
    assert [crowd.unconsented(one) for one in everybody] == [False, False, False, True]
    database.now_us += 9
    assert await source.current() is crowd
    database.now_us += 1
    later = await source.current()
    assert later.withdrawn("p-stands"), "a consent that ends by itself ends without a change in the database"
    assert await source.current() is later
    database.gate = Gate(people=people)
    free = await source.current()
    assert not free.unconsented("p-never")
    assert not free.withdrawn("p-never")


async def test_of_a_stranger_without_consent_the_engine_tells_nothing() -> None:
    database = Database(gate=Gate(people={"p-gone": consent()}, require_consent=True))
    engine = Engine(await database.source().current())
    for patient in ("p1", "p-gone"):
        header = replace(HEADER, patient_id=patient_id(patient))
        columns = samples("heart_rate", range(0, 600, 5), 180)
        events = engine.see([header], np.array([len(columns.start_us)]), columns, int(columns.start_us[-1]))
        events += [event for told in engine.settle(int(columns.start_us[-1]), all_due=True) for event in told]
        assert events == []
    database.gate = Gate(people={"p1": consent(NOON_US * 2)})
    engine.adopt(await database.source().current(), NOON_US)
    late = samples("heart_rate", range(600, 1_200, 5), 180)
    events = engine.see([HEADER], np.array([len(late.start_us)]), late, int(late.start_us[-1]))
    assert [event.rule for event in events] == ["heart_rate_high"], "with a consent they are watched"


async def test_the_demo_hurries_whatever_policy_there_is() -> None:
    database = Database()
    source = database.source(hurry=Hurry(3, 6))
    delays = {one.timing.delay_s for one in (await source.current()).plan_of("p1").limits.rules}
    assert max(delays) <= 3
    database.people = People(policy=applied(HEAD))
    assert max(one.timing.delay_s for one in (await source.current()).plan_of("p1").limits.rules) <= 3
