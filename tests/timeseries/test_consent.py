"""Consents on PostgreSQL: granted, withdrawn, refused, and what the gate makes of any order of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors

from tests.timeseries.making import query
from timeseries.consent import ConsentRefused, Consents, Purpose, Stored
from timeseries.gate import CONSENTS, GateReader, people_of
from vitals.batch import BatchHeader
from vitals.catalogue import RetentionClass, number_of
from vitals.clock import from_datetime
from vitals.gate import CATEGORIES, Gate
from vitals.ids import DeviceId, InvalidId, PatientId
from vitals.quality import Reason

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
OF_CLASS = {
    RetentionClass.VITAL: "heart_rate", RetentionClass.ACTIVITY: "steps", RetentionClass.SLEEP: "sleep_stage",
    RetentionClass.REPORTED: "symptom", RetentionClass.TECHNICAL: "battery", RetentionClass.WAVEFORM: "ecg",
}  # fmt: skip


@pytest.fixture
def consents(database: str) -> Iterator[Consents]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield Consents(connection, "nurse-1")


def covered(gate: Gate, patient: str, category: str, at: datetime) -> bool:
    header = BatchHeader(PatientId(patient), DeviceId("d"), "app", "ble")
    metric = np.array([number_of(OF_CLASS[RetentionClass(category)])], np.int16)
    found = gate.judge(header, np.array([from_datetime(at)]), metric)
    return not any(reason is Reason.NO_CONSENT and which[0] for reason, which in found)


def test_a_consent_lives_from_grant_to_withdrawal(consents: Consents) -> None:
    consents.grant("p1", ["vital", "sleep"], Purpose.CARE, document="c-17", start=NOON, until=NOON + DAY)
    consents.grant("p1", ["vital"], Purpose.CARE, document="c-18", start=NOON, stored=Stored.ERASE)
    consents.grant("p1", ["vital"], Purpose.RESEARCH, document="c-17", start=NOON)
    assert [(one.category, one.purpose, one.document) for one in consents.consents("p1")] == [
        ("vital", "care", "c-17"), ("vital", "care", "c-18"), ("sleep", "care", "c-17"), ("vital", "research", "c-17"),
    ]  # fmt: skip
    done = consents.withdraw("p1", ["vital"], document="w-1")
    assert done.withdrawn == {Purpose.CARE: ("vital",), Purpose.RESEARCH: ("vital",)}
    assert done.erased == ("vital",), "one of two consents agreed on it"
    assert consents.owed("p1") == [("vital",)]
    (person,) = consents.people()
    assert (person.care, person.research, person.is_owed_erasure) == (["sleep"], [], True)
    told = [(what, purpose, categories) for _, what, purpose, categories, *_ in consents.events("p1")]
    assert told == [
        ("granted", "care", ["vital", "sleep"]), ("granted", "care", ["vital"]), ("granted", "research", ["vital"]),
        ("withdrawn", "care", ["vital"]), ("withdrawn", "research", ["vital"]),
    ]  # fmt: skip
    consents.grant("p1", ["vital"], Purpose.CARE, document="c-19")
    assert consents.consents("p1")[0].withdrawn_at is None, "said again, it counts again"
    assert consents.withdraw("p1", document="w-2").erased == ()


def test_what_cannot_be_is_refused_and_changes_nothing(consents: Consents, database: str) -> None:
    query(database, "INSERT INTO patients (patient_id) VALUES ('p2')")
    consents.grant("p1", ["vital"], Purpose.CARE, document="c-1", stored=Stored.ERASE)
    refused: list[Callable[[], Any]] = [
        lambda: consents.grant("p1", ["moods"], Purpose.CARE, document="c-2"),
        lambda: consents.grant("p1", [], Purpose.CARE, document="c-2"),
        lambda: consents.grant("p1", ["vital"], Purpose.CARE, document="c-2", start=NOON, until=NOON),
        lambda: consents.grant("p1", ["vital"], Purpose.RESEARCH, document="c-2", stored=Stored.ERASE),
        lambda: consents.withdraw("p1", ["sleep"], document="w-1"),
        lambda: consents.withdraw("p1", ["vital"], document="w-1", stored=Stored.KEEP),
        lambda: consents.withdraw("p1", purposes=[Purpose.RESEARCH], document="w-1"),
        lambda: consents.withdraw("p9", document="w-1"),
        lambda: consents.withdraw("p2", ["vital"], document="w-1"),
    ]
    for one in refused:
        with pytest.raises(ConsentRefused):
            one()
    for document in ("Erika Mustermann", "", "4711/a"):
        with pytest.raises(InvalidId) as wrong:
            consents.grant("p1", ["vital"], Purpose.CARE, document=document)
        assert "Erika" not in str(wrong.value)
    with psycopg.connect(database) as connection, pytest.raises(InvalidId):
        Consents(connection, "Dr. House!")
    assert [one.category for one in consents.consents("p1")] == ["vital"]
    assert len(consents.events("p1")) == 1
    assert query(database, "SELECT count(*) FROM erasures") == [(0,)]


def test_no_row_is_ever_rewritten_or_deleted(consents: Consents, database: str) -> None:
    consents.grant("p1", ["vital"], Purpose.CARE, document="c-1")
    consents.withdraw("p1", document="w-1")
    for statement in (
        "DELETE FROM consents", "TRUNCATE consents", "UPDATE consents SET valid_from = now() - INTERVAL '1 year'",
        "UPDATE consents SET withdrawn_at = NULL, withdrawn_by = NULL, withdrawn_for = NULL, withdrawn_stored = NULL",
        "UPDATE consents SET withdrawn_by = 'somebody'", "DELETE FROM consent_events", "TRUNCATE consent_events",
        "UPDATE consent_events SET who = 'somebody'",
    ):  # fmt: skip
        with pytest.raises(errors.RestrictViolation):
            query(database, statement)


async def test_who_says_no_before_any_consent_is_judged_like_one_who_withdrew(
    consents: Consents, database: str
) -> None:
    query(database, "INSERT INTO patients (patient_id) VALUES ('p1')")
    consents.grant("p1", ["vital"], Purpose.RESEARCH, document="c-1")
    async with GateReader(database, strict=False, every_s=0) as reader:
        assert covered(await reader.current(), "p1", "vital", NOON), "of care nothing is noted"
        done = consents.withdraw("p1", document="w-1", stored=Stored.ERASE)
        assert done.refused
        assert done.withdrawn[Purpose.RESEARCH] == ("vital",)
        assert done.erased == tuple(CATEGORIES)
        gate = await reader.current()
        assert not any(covered(gate, "p1", one, datetime.now(UTC) + DAY) for one in CATEGORIES)
        assert covered(gate, "p2", "vital", NOON)
    assert consents.owed("p1") == [tuple(CATEGORIES)]


async def test_recorders_see_a_withdrawal_at_their_next_look(consents: Consents, database: str) -> None:
    async with GateReader(database, strict=False, require_consent=True, every_s=0) as reader:
        assert not covered(await reader.current(), "p1", "vital", NOON)
        consents.grant("p1", ["vital"], Purpose.CARE, document="c-1", start=NOON, until=NOON + DAY)
        gate = await reader.current()
        assert await reader.current() is gate, "nothing changed: it is the same object"
        assert [covered(gate, "p1", "vital", NOON + n * DAY / 2) for n in (-1, 0, 1, 2)] == [False, True, True, False]
        consents.withdraw("p1", document="w-1")
        assert not covered(await reader.current(), "p1", "vital", NOON)
    with psycopg.connect(database) as connection:
        assert people_of(*connection.execute(CONSENTS).fetchone() or ())["p1"].from_us.tolist() == []


@dataclass
class Oracle:
    """What was said, one after the other; what stands of it is looked for from the beginning each time."""

    said: list[tuple[str, frozenset[str], str, int, int | None]] = field(default_factory=list)

    def covers(self, category: str, day: int) -> bool:
        standing = False
        spans: list[tuple[int, int | None]] = []
        for what, categories, purpose, start, until in self.said:
            if category in categories and purpose in {"care", "both"}:
                spans = [*spans, (start, until)] if what == "grant" else []
        for start, until in spans:
            standing |= start <= day and (until is None or day < until)
        return standing

    @property
    def is_noted(self) -> bool:
        return any(what == "grant" and purpose == "care" for what, _, purpose, *_ in self.said)


_SOME = st.frozensets(st.sampled_from([one.value for one in CATEGORIES]), min_size=1)
_GRANTS = st.tuples(
    st.just("grant"), _SOME, st.sampled_from(["care", "care", "research"]), st.integers(-9, 9),
    st.none() | st.integers(1, 9),
)  # fmt: skip
_WITHDRAWALS = st.tuples(
    st.just("withdraw"), _SOME, st.sampled_from(["care", "research", "both"]), st.just(0), st.none()
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_GRANTS | _WITHDRAWALS, min_size=1, max_size=12), st.booleans())
def test_any_order_of_grants_and_withdrawals_is_what_an_oracle_says(
    consents: Consents, database: str, said: list[Any], required: bool
) -> None:
    patient, oracle = f"p-{uuid4().hex}", Oracle()
    query(database, "INSERT INTO patients (patient_id) VALUES (%s)", (patient,))
    for what, categories, purpose, start, length in said:
        until = None if length is None else start + length
        if what == "grant":
            consents.grant(
                patient, categories, Purpose(purpose), document="c", start=NOON + start * DAY,
                until=None if until is None else NOON + until * DAY,
            )  # fmt: skip
        else:
            purposes = list(Purpose) if purpose == "both" else [Purpose(purpose)]
            try:
                consents.withdraw(patient, categories, purposes, document="w")
            except ConsentRefused:
                continue
        oracle.said.append((what, categories, purpose, start, until))
        if what == "withdraw" and not oracle.is_noted and len(categories) == len(CATEGORIES) and purpose != "research":
            oracle.said.insert(0, ("grant", categories, "care", 99, None))  # a refusal is noted, and covers nothing
    with psycopg.connect(database) as connection:
        people = people_of(*connection.execute(CONSENTS).fetchone() or ())
    gate = Gate(people=people, require_consent=required)
    for category in CATEGORIES:
        for day in range(-10, 20):
            wanted = oracle.covers(category, day) if oracle.is_noted else not required
            assert covered(gate, patient, category, NOON + day * DAY) == wanted, (category, day)
