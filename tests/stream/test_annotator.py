"""Annotations: what a source calls a session becomes one row, however often and in whatever order it is told."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from aiokafka import AIOKafkaProducer
from pydantic import ValidationError

from alerts.annotation import Annotation, AnnotationKind
from devices.adapter import Piece, Session
from ingest.publisher import Publisher
from ingest.record import Record
from stream import annotator
from stream.annotator import row_of, save
from tests.alerts.making import START
from tests.services.topics import new_topic
from tests.timeseries.making import query
from timeseries.annotation_store import AnnotationRow, AnnotationStore
from timeseries.consent import Consents, Purpose
from timeseries.gate import GateReader
from timeseries.migrate import migrate
from timeseries.model import StoreRefused, StoreUnavailable
from vigil.embedded.broker import EmbeddedBroker
from vigil.sessions import annotation_of, publish_sessions
from vitals.clock import from_datetime
from vitals.ids import DeviceId, patient_id

T0 = from_datetime(START)
RUN = Session("w-1", "workout", T0, T0 + 1_800_000_000, ("heart_rate",), 1.0, "Running")
PIECE = Piece(DeviceId("watch"), "fitness", sessions=(RUN,))


def a_note(key: str = "n-1", **changes: Any) -> Annotation:
    told = {
        "annotation_key": key, "patient_id": "p1", "kind": "report", "from_time": START,
        "to_time": START + timedelta(minutes=5), "source": "phone", "label": "headache",
    }  # fmt: skip
    return Annotation.model_validate({**told, **changes})


def test_a_session_is_an_annotation() -> None:
    note = annotation_of(patient_id("p1"), PIECE, RUN)
    assert (note.kind, note.label, note.metric) == (AnnotationKind.SESSION, "workout.running", "heart_rate")
    assert (note.from_time, note.to_time) == (START, START + timedelta(minutes=30))
    assert note.detail == {
        "device_id": "watch", "source_app": "fitness", "confidence": 1.0, "metrics": ["heart_rate"],
    }  # fmt: skip
    assert Annotation.model_validate_json(note.to_bytes()) == note


@pytest.mark.parametrize(
    "wrong",
    [
        {"label": "She said: it hurts"}, {"patient_id": "Erika M."}, {"to_time": START - timedelta(seconds=1)},
        {"metric": "pulse"}, {"rule": "drop"}, {"rule_version": 1}, {"detail": {"Mood Note": "sad"}},
        {"detail": {str(n): n for n in range(17)}}, {"kind": "diagnosis"}, {"from_time": "2026-03-01T00:00:00"},
    ],
)  # fmt: skip
def test_what_cannot_be_an_annotation_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        a_note(**wrong)


class Stubborn:
    """Refuses one key for good, and is away at first."""

    def __init__(self) -> None:
        self.away = 2
        self.rows: list[str] = []

    async def save(self, rows: list[AnnotationRow]) -> None:
        if self.away:
            self.away -= 1
            raise StoreUnavailable("away")
        if any(row["annotation_key"] == "bad" for row in rows):
            raise StoreRefused("no")
        self.rows += [row["annotation_key"] for row in rows]


async def test_one_that_the_database_refuses_is_left_out_and_the_rest_stays() -> None:
    store = Stubborn()
    await save(store, [row_of(a_note(key)) for key in ("a", "b", "bad", "c", "d")], max_backoff_s=0.01)  # type: ignore[arg-type]
    assert sorted(store.rows) == ["a", "b", "c", "d"]


async def test_told_again_it_is_the_same_row_and_taken_back_it_stays_so(database: str) -> None:
    async with AnnotationStore(database) as store:
        await store.save([row_of(a_note("n-2", metric="spo2")), row_of(a_note())])
        await store.save([row_of(a_note(label="migraine", retracted=True))])
        await store.save([row_of(a_note(label="migraine"))])
        await store.save([row_of(a_note(patient_id="p2"))])  # the same key is nobody else's
    found = query(
        database, "SELECT annotation_key, patient_key, label, metric_key, retracted_at IS NULL FROM annotations"
    )
    assert sorted(found) == [("n-1", 1, "migraine", None, False), ("n-2", 1, "headache", 5, True)]


async def test_what_no_consent_covers_is_counted_and_not_stored(broker: EmbeddedBroker, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        Consents(connection, "nurse-1").grant("p1", ["reported"], Purpose.CARE, document="c-1", start=START)
    address, topic = broker.bootstrap, await new_topic(broker.bootstrap)
    notes = [a_note("n-1"), a_note("n-2", kind="anomaly", metric="spo2"), a_note("n-3", patient_id="p2"), a_note("n-4")]
    async with Publisher(address) as publisher:
        records = [Record(note.patient_id.encode(), note.to_bytes(), ()) for note in notes]
        await publisher.confirm([await publisher.send(one, topic=topic) for one in records])
    async with AnnotationStore(database) as store, GateReader(database, strict=False, require_consent=True) as gate:
        running = asyncio.create_task(
            annotator.run(address, store, topic=topic, group_id=topic, session_timeout_ms=6_000, gate=gate.current)
        )
        for _ in range(300):
            if query(database, "SELECT sum(samples) FROM not_consented") == [(2,)]:
                break
            await asyncio.sleep(0.1)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert query(database, "SELECT annotation_key FROM annotations ORDER BY 1") == [("n-1",), ("n-4",)]
    counted = query(database, "SELECT adapter, metric_key, samples FROM not_consented ORDER BY 2")
    assert counted == [("annotations", 0, 1), ("annotations", 5, 1)]
    assert query(database, "SELECT patient_id FROM patients") == [("p1",)], "not even an id"


async def test_a_schema_that_is_behind_is_waited_for(empty_database: str) -> None:
    async with AnnotationStore(empty_database) as store:
        with pytest.raises(StoreUnavailable):
            await store.save([row_of(a_note())])
        migrate(empty_database)
        await store.save([row_of(a_note())])


async def test_sessions_travel_from_an_import_to_the_table(
    broker: EmbeddedBroker, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = broker.bootstrap
    topic = await new_topic(address)
    monkeypatch.setattr("vigil.sessions.ANNOTATIONS", topic)
    producer = AIOKafkaProducer(bootstrap_servers=address)
    await producer.start()
    await producer.send_and_wait(topic, b"no json")
    await producer.stop()
    async with Publisher(address) as publisher:
        assert await publish_sessions(publisher, patient_id("p1"), [PIECE, PIECE]) == 2
    async with AnnotationStore(database) as store:
        running = asyncio.create_task(
            annotator.run(address, store, topic=topic, group_id=topic, session_timeout_ms=6_000)
        )
        for _ in range(300):
            if query(database, "SELECT 1 FROM annotations"):
                break
            await asyncio.sleep(0.1)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    found = query(database, "SELECT annotation_key, kind, label FROM annotations")
    assert found == [("session-w-1", "session", "workout.running")]
