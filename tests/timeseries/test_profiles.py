"""Care profiles and policies on PostgreSQL: who set what when, and what the watch reads of it."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.timeseries.making import query
from tests.timeseries.test_roles import login, refused
from timeseries.consent import Consents, Purpose
from timeseries.erasure import erase
from timeseries.gate import GateReader
from timeseries.migrate import migrate
from timeseries.model import StoreUnavailable
from timeseries.people_reader import People, PeopleReader
from timeseries.policies import PolicyBook, PolicyNotApplied
from timeseries.profiles import ProfileRefused, Profiles, read_profile, stored
from timeseries.registry import Description, Registry
from vitals.care_profile import UNKNOWN, CareProfile
from vitals.ids import InvalidId

COPD = CareProfile.model_validate(
    {
        "age_band": "old", "oxygen": True, "spo2_scale": 2, "review_by": "clinician-7",
        "limits": {"spo2": {"low": 85}, "heart_rate": {"high": 120.5}}, "sleeping_limits": {"heart_rate": {"low": 40}},
    }
)  # fmt: skip
PACED = CareProfile(pacemaker=True)
SHA = "a" * 64


@pytest.fixture
def url(database: str) -> str:
    return database


@pytest.fixture
def profiles(url: str) -> Iterator[Profiles]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield Profiles(connection, "nurse-1")


@pytest.fixture
def book(url: str) -> Iterator[PolicyBook]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield PolicyBook(connection)


def put(book: PolicyBook, version: int, after: int, **other: Any) -> None:
    told = {"who": "u-1", "reason": "r-1"} | other
    book.apply(version, "ward 4", SHA, f"version = {version}", [{"field": "version"}], after=after, **told)


def test_a_profile_lives_from_version_to_version(profiles: Profiles) -> None:
    assert profiles.holds("p1") is None
    assert profiles.set("p1", COPD, "case 1") == 1
    assert profiles.holds("p1") == COPD.model_copy(update={"version": 1})
    assert profiles.set("p1", PACED, "case 2") == 2
    assert profiles.holds("p1") == PACED.model_copy(update={"version": 2})
    assert profiles.end("p1", "moved away") == 2
    assert profiles.holds("p1") is None
    assert profiles.set("p1", COPD, "back") == 3
    told = [(one.version, one.created_by, one.reason, one.ended_by, one.end_reason) for one in profiles.history("p1")]
    assert told == [
        (1, "nurse-1", "case 1", "nurse-1", "case 2"),
        (2, "nurse-1", "case 2", "nurse-1", "moved away"),
        (3, "nurse-1", "back", None, None),
    ]
    first, second, third = profiles.history("p1")
    assert first.valid_to is not None
    assert first.valid_from < first.valid_to <= second.valid_from
    assert third.valid_to is None


def test_two_in_the_same_transaction_do_not_overlap(profiles: Profiles, url: str) -> None:
    for n in range(20):
        profiles.set("p1", PACED if n % 2 else COPD, f"case {n}")
    overlapping = "SELECT count(*) FROM care_profiles WHERE valid_to IS NULL"
    assert query(url, overlapping) == [(1,)]


def test_what_cannot_be_is_refused_and_changes_nothing(profiles: Profiles, url: str) -> None:
    wrong: list[tuple[type[Exception], Callable[[], object]]] = [
        (ProfileRefused, lambda: profiles.set("p1", COPD, " ")),
        (ProfileRefused, lambda: profiles.set("p1", COPD, "x" * 201)),
        (InvalidId, lambda: profiles.set("Anna Muster", COPD, "case 1")),
        (ProfileRefused, lambda: profiles.end("p1", "case 1")),
        (InvalidId, lambda: Profiles(profiles._connection, "Dr. Muster")),
    ]
    for error, call in wrong:
        with pytest.raises(error):
            call()
    assert query(url, "SELECT count(*) FROM care_profiles") == [(0,)]
    assert query(url, "SELECT count(*) FROM patients") == [(0,)]


def test_what_is_stored_is_what_was_said_and_no_more() -> None:
    limits, facts = stored(COPD)
    assert limits == {"spo2": {"low": 85.0}, "heart_rate": {"high": 120.5}}
    assert facts == {
        "age_band": "old", "oxygen": True, "spo2_scale": 2, "review_by": "clinician-7",
        "sleeping_limits": {"heart_rate": {"low": 40.0}},
    }  # fmt: skip
    assert stored(UNKNOWN) == ({}, {})
    assert read_profile(7, limits, facts) == COPD.model_copy(update={"version": 7})


def test_what_another_release_wrote_is_read_as_far_as_it_goes() -> None:
    assert read_profile(1, {}, {"pacemaker": True, "moon_phase": 3}) == CareProfile(version=1, pacemaker=True)
    assert read_profile(1, {}, {"age_band": "ageless"}) is None
    assert read_profile(1, {"spo2": {"low": 99, "high": 88}}, {}) is None


def test_rows_are_never_told_otherwise(profiles: Profiles, book: PolicyBook, url: str) -> None:
    profiles.set("p1", COPD, "case 1")
    profiles.end("p1", "case 2")
    put(book, 1, 0)
    for statement in (
        "UPDATE care_profiles SET profile = '{}'", "UPDATE care_profiles SET end_reason = 'another'",
        "UPDATE policy_versions SET body = 'x'", "DELETE FROM policy_versions", "TRUNCATE policy_versions",
    ):  # fmt: skip
        with pytest.raises(errors.RestrictViolation):
            query(url, statement)


def test_policies_follow_one_another(book: PolicyBook) -> None:
    assert book.in_force() is None
    put(book, 3, 0)
    put(book, 5, 3, reason="a second")
    newest = book.in_force()
    assert newest is not None
    assert (newest.version, newest.body, newest.reason, newest.changes) == (
        5,
        "version = 5",
        "a second",
        [{"field": "version"}],
    )
    assert [one.version for one in book.all()] == [3, 5]
    assert [one.version for one in book.all(3)] == [3]
    for version, after in ((5, 5), (4, 5), (6, 3)):
        with pytest.raises(PolicyNotApplied):
            put(book, version, after)
    with pytest.raises(InvalidId):
        put(book, 6, 5, who="Dr. Muster")
    with pytest.raises(ProfileRefused):
        put(book, 6, 5, reason="")
    assert [one.version for one in book.all()] == [3, 5]


async def test_the_watch_reads_all_it_goes_by_and_writes_nothing(
    profiles: Profiles, book: PolicyBook, url: str
) -> None:
    profiles.set("p1", COPD, "case 1")
    profiles.set("p2", PACED, "case 2")
    profiles.end("p2", "case 3")
    with psycopg.connect(url, autocommit=True) as connection:
        registry = Registry(connection, "nurse-1")
        registry.register("d-medical", Description(device_type="oximeter", intended_use="medical"))
        registry.register("d-wellness", Description(device_type="watch"))
        Consents(connection, "nurse-1").grant("p1", ["vital"], Purpose.CARE, document="c-1")
    put(book, 1, 0)
    with login(url, "vigil_watch") as watch:
        async with PeopleReader(watch) as reader, GateReader(watch, strict=False) as gate:
            people = await reader.current()
            assert people.profiles == {"p1": COPD.model_copy(update={"version": 1})}
            assert people.medical == {"d-medical"}
            assert people.policy is not None
            assert (people.policy.version, people.unreadable) == (1, 0)
            assert set((await gate.current()).people) == {"p1"}
        for statement in (
            "UPDATE people_version SET version = 0", "INSERT INTO policy_versions (version) VALUES (2)",
            "UPDATE care_profiles SET valid_to = now()", "DELETE FROM care_profiles", "SELECT 1 FROM samples",
        ):  # fmt: skip
            assert refused(watch, statement), statement


CHANGES: dict[str, Callable[[Profiles, PolicyBook, Registry], object]] = {
    "a profile": lambda profiles, book, registry: profiles.set("p1", PACED, "case 2"),
    "an end": lambda profiles, book, registry: profiles.end("p1", "case 2"),
    "a policy": lambda profiles, book, registry: put(book, 1, 0),
    "a device": lambda profiles, book, registry: registry.change("d1", Description(intended_use="medical")),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_is_seen_at_the_next_look_and_nothing_else_is(
    profiles: Profiles, book: PolicyBook, url: str, change: str
) -> None:
    profiles.set("p1", COPD, "case 1")
    with psycopg.connect(url, autocommit=True) as connection:
        registry = Registry(connection, "nurse-1")
        registry.register("d1", Description(device_type="oximeter"))
        async with PeopleReader(url, every_s=0) as reader:
            before = await reader.current()
            assert await reader.current() is before
            CHANGES[change](profiles, book, registry)
            after = await reader.current()
            assert after is not before
            assert after != before
            assert await reader.current() is after


async def test_an_answer_holds_for_a_while(profiles: Profiles, url: str) -> None:
    async with PeopleReader(url, every_s=3_600) as reader:
        before = await reader.current()
        profiles.set("p1", COPD, "case 1")
        assert await reader.current() is before


async def test_a_profile_that_cannot_be_read_is_counted(profiles: Profiles, url: str) -> None:
    profiles.set("p1", COPD, "case 1")
    profiles.set("p2", COPD, "case 1")
    query(url, "ALTER TABLE care_profiles DISABLE TRIGGER only_ends")
    query(url, """UPDATE care_profiles SET profile = '{"age_band": "ageless"}' WHERE patient_key = 1""")
    async with PeopleReader(url) as reader:
        people = await reader.current()
    assert (set(people.profiles), people.unreadable) == ({"p2"}, 1)


async def test_a_database_that_is_away_or_behind_says_so(empty_database: str) -> None:
    async with PeopleReader(empty_database) as behind:  # not migrated
        with pytest.raises(StoreUnavailable):
            await behind.current()
        migrate(empty_database)
        assert await behind.current() == People()
    async with PeopleReader("postgresql://nobody@127.0.0.1:1/nothing") as away:
        with pytest.raises(StoreUnavailable):
            await away.current()


def test_an_erasure_takes_the_profiles_and_leaves_the_policies(profiles: Profiles, book: PolicyBook, url: str) -> None:
    profiles.set("p1", COPD, "case 1")
    profiles.set("p1", PACED, "case 2")
    profiles.set("p2", COPD, "case 1")
    put(book, 1, 0)
    before = query(url, "SELECT version FROM people_version")
    done = erase(url, None, "p1", "dpo-1", "matter 1")
    assert done.rows["care_profiles"] == 2
    assert profiles.history("p1") == []
    assert profiles.holds("p2") is not None
    assert len(book.all()) == 1
    assert query(url, "SELECT version FROM people_version") > before, "the watch is to forget them within seconds"
