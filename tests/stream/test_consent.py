"""What no consent covers is counted once, and is in no table: not as a row, not in quarantine, not as a raw record."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alerts.annotation import Annotation
from stream.annotator import judged, row_of
from stream.assemble import RawRecord, place, rejected, validate
from stream.quarantine_replay import chances
from stream.recorder import Recorder
from stream.waveform_assemble import open_records
from stream.waveform_recorder import WaveformRecorder
from tests.alerts.making import START
from tests.stream.fakes import FakeLog, FakeStore
from tests.stream.making import HEADER, T0, S, samples
from tests.stream.test_assemble import record
from tests.stream.test_waveform_recorder import RECORDS as SIGNALS
from tests.stream.test_waveform_recorder import TRUTH
from tests.stream.waveforms import record as waveform_record
from tests.timeseries.making import query
from timeseries.model import StoreUnavailable, WriteBatch, WriteOutcome
from timeseries.quarantine_model import Selection
from timeseries.quarantine_review import QuarantineReview
from timeseries.store import SampleStore
from timeseries.waveform_store import WaveformStore
from vitals.batch import BatchHeader, SampleColumns
from vitals.catalogue import RetentionClass, number_of
from vitals.gate import CATEGORIES, OPEN, DeviceRule, DeviceState, Gate, Permissions
from vitals.ids import device_id, patient_id
from vitals.validity import REASONS
from vitals.waveform import WaveformChunk

FOREVER = (1 << 63) - 1
OTHER = BatchHeader(patient_id("p2"), device_id("d2"), "app", "apple-export")
HEART, STEPS = number_of("heart_rate"), number_of("steps")


def to(*categories: str, from_us: int = 0, to_us: int = FOREVER) -> Permissions:
    n = len(categories)
    numbers = [CATEGORIES.index(RetentionClass(one)) for one in categories]
    return Permissions(np.array(numbers, np.int8), np.full(n, from_us), np.full(n, to_us))


def mixed() -> SampleColumns:
    """Two classes in one record: heart rates, one of them impossible, and steps."""
    heart, steps = samples("heart_rate", [0, 1, 2], [60, 999, 62]), samples("steps", [0, 1], [5, 6])
    return SampleColumns.concat([heart, replace(steps, duration_ms=np.array([1_000, 1_000]))])


def told(gate: Gate, *records: RawRecord) -> list[str]:
    return [str(REASONS[code]) for code in validate(records, gate=gate).codes]


def test_it_counts_before_whatever_else_is_wrong_with_a_sample() -> None:
    gate = Gate({"d1": DeviceRule(DeviceState.SUSPENDED)}, people={"p1": to("activity")})
    assert told(gate, record(mixed())) == ["no_consent"] * 3 + ["device_suspended"] * 2
    assert told(Gate(people={"p1": to("vital", to_us=T0 + S)}), record(mixed())) == ["None", *["no_consent"] * 4]
    assert told(Gate(people={"p2": to()}), record(mixed())) == ["None", "out_of_range", "None", "None", "None"]


def test_what_is_refused_is_no_row_and_no_rejection_and_its_record_is_not_kept() -> None:
    records = [
        record(mixed()), record(samples("heart_rate", [5, 6], [999, 70]), OTHER, 1),
        record(samples("spo2", [7], [97]), BatchHeader(patient_id("p3"), device_id("d3"), "app", "ble"), 2),
    ]  # fmt: skip
    gate = Gate(people={"p1": to("vital"), "p2": to(*CATEGORIES)}, require_consent=True)
    validated = validate(records, gate=gate)
    assert validated.not_consented == {("ble", STEPS): 2, ("ble", number_of("spo2")): 1}
    assert validated.withheld == {0, 2}
    assert sorted(validated.patients) == ["p1", "p2"], "of the third not even the id is kept"
    assert sorted(validated.origins) == [("d1", "app"), ("d2", "app")]
    placed = place(validated, {"p1": 1, "p2": 2}, {("d1", "app"): 1, ("d2", "app"): 2})
    assert sorted(placed.rows["value"]) == [60, 62, 70]
    assert [(one.record, one.index, one.reason) for one in rejected(validated)] == [
        (0, 1, "out_of_range"), (1, 0, "out_of_range"),
    ]  # fmt: skip
    assert validate(records, gate=OPEN).withheld == frozenset()


@pytest.mark.parametrize(
    ("gate", "kept"),
    [
        (OPEN, True), (Gate(require_consent=True), False), (Gate(people={"p2": to()}), True),
        (Gate(people={"p1": to("vital")}), False), (Gate(people={"p1": to(*CATEGORIES)}, require_consent=True), True),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_read_might_hold_anything(gate: Gate, kept: bool) -> None:
    broken = replace(record(mixed()), value=b"rubbish")
    validated = validate([broken], gate=gate)
    assert [one.reason for one in rejected(validated)] == ["undecodable"]
    assert (validated.withheld == frozenset()) is kept
    source = broken.source(withheld=not kept)
    assert (source.value, source.withheld) == ((b"rubbish", False) if kept else (None, True))
    opened = open_records([replace(broken, topic="vigil.waveforms")], gate)
    assert (opened.withheld == frozenset()) is kept


class Books:
    """A gate that can be changed."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    async def current(self) -> Gate:
        return self.gate


def counted(url: str) -> list[Any]:
    return query(url, "SELECT adapter, metric_key, samples FROM not_consented ORDER BY 1, 2")


async def test_in_the_database_it_is_counted_exactly_once_and_a_replay_says_why_not(database: str) -> None:
    records = [replace(record(mixed(), offset=n), partition=0) for n in range(3)]
    books = Books(Gate(people={"p1": to("vital")}))
    async with SampleStore(database) as store:
        for worker in (Recorder(store, FakeLog(records), gate=books.current) for _ in range(2)):
            await worker.assigned([(records[0].topic, 0)])  # the second begins after a crash, at the watermark
            await worker.take(records[:2])
            await worker.take(records[:2])
    assert counted(database) == [("ble", STEPS, 4)]
    assert query(database, "SELECT metric_key, count(*) FROM samples GROUP BY 1") == [(HEART, 2)]
    assert query(database, "SELECT reason, count(*) FROM quarantine GROUP BY 1") == [("out_of_range", 2)]
    assert query(database, "SELECT DISTINCT value IS NULL, withheld FROM quarantine_records") == [(True, True)]
    accounted = """SELECT (SELECT count(*) FROM samples) + (SELECT count(*) FROM quarantine)
        + (SELECT sum(samples) FROM duplicates WHERE reason <> 'redelivered')
        + (SELECT sum(samples) FROM not_consented)"""
    assert query(database, accounted) == [(2 * len(mixed()),)]
    async with QuarantineReview(database) as review:
        extent = await review.extent(Selection())
        page = await review.page(Selection(), extent.until, None, records=10, size=1_000_000)
    assert [(one.record, dict(one.rejected)) for one in chances(page)] == [(None, {"no_consent": 1})] * 2


class Away(SampleStore):
    """Takes nothing until consent was withdrawn: the batch waits, prepared."""

    books: Books
    tries = 0

    async def write(self, batch: WriteBatch) -> WriteOutcome:
        self.tries += 1
        if self.tries == 3:
            self.books.gate = Gate(people={"p1": to("activity")})
        if self.tries <= 3:
            raise StoreUnavailable("away")
        return await super().write(batch)


async def test_a_batch_that_waited_is_judged_by_what_stands_when_it_is_stored(database: str) -> None:
    one = replace(record(mixed()), partition=0)
    async with Away(database) as store:
        store.books = Books(Gate(people={"p1": to("vital", "activity")}))
        worker = Recorder(store, FakeLog([one]), gate=store.books.current)
        await worker.assigned([(one.topic, 0)])
        await worker.take([one])
    assert counted(database) == [("ble", HEART, 3)]
    assert query(database, "SELECT metric_key, count(*) FROM samples GROUP BY 1") == [(STEPS, 2)]
    assert query(database, "SELECT count(*) FROM quarantine") == [(0,)]


async def test_a_gate_that_changes_at_every_look_holds_nothing_up() -> None:
    async def another() -> Gate:
        return Gate(people={"p1": to("vital")})

    one, store = replace(record(mixed()), partition=0), FakeStore()
    worker = Recorder(store, FakeLog([one]), gate=another)
    await worker.assigned([(one.topic, 0)])
    await worker.take([one])
    assert sorted(store.rows.values()) == [60, 62]
    assert store.not_consented == {("ble", STEPS): 2}


async def test_what_the_database_refuses_is_quarantined_without_its_bytes() -> None:
    store = FakeStore(refused=60.0)
    one = replace(record(mixed()), partition=0)
    worker = Recorder(store, FakeLog([one]), gate=Books(Gate(people={"p1": to("vital")})).current)
    await worker.assigned([(one.topic, 0)])
    await worker.take([one])
    assert store.quarantine == [(0, -1, "write_refused")]
    assert store.records == [(0, 0, None)]
    assert store.not_consented == {("ble", STEPS): 2}


async def recorded(database: str, gate: Gate, records: Sequence[RawRecord] = SIGNALS) -> None:
    async with WaveformStore(database) as store:
        worker = WaveformRecorder(store, FakeLog(records), gate=Books(gate).current)
        await worker.assigned([(records[0].topic, 0)])
        await worker.take(records)


async def test_a_waveform_and_what_is_found_in_it_take_consent_each_by_its_class(database: str) -> None:
    await recorded(database, Gate(people={"p1": to("waveform", "activity")}))
    assert query(database, "SELECT count(*) FROM waveforms") == [(90,)]
    assert query(database, "SELECT DISTINCT m.code FROM samples JOIN metrics m USING (metric_key)") == [("enmo",)]
    ((adapter, metric, found),) = counted(database)
    assert (adapter, metric) == ("ble", number_of("rr_interval"))
    assert found >= 2 * (len(TRUTH) - 2)


async def test_a_chunk_without_consent_is_counted_as_one_and_leaves_no_memory(database: str) -> None:
    await recorded(database, Gate(people={"p1": to("vital")}))
    wanted = sorted(("ble", number_of(code), 30) for code in ("ecg", "ppg", "acceleration"))
    assert counted(database) == wanted
    for table in ("waveforms", "samples", "feature_state", "quarantine", "patients", "devices"):
        assert query(database, f"SELECT count(*) FROM {table}") == [(0,)], table


def test_a_chunk_that_is_wrong_and_not_consented_is_only_counted() -> None:
    values = np.zeros((1, 250), np.int32)
    chunk = WaveformChunk("ecg", T0, 1e9, values, 0.001, T0, T0)
    opened = open_records([waveform_record(0, chunk, HEADER)], Gate(people={"p1": to("vital")}))
    assert (opened.failures, dict(opened.not_consented)) == ([], {("ble", number_of("ecg")): 1})


@pytest.mark.parametrize(
    ("note", "classes"),
    [
        ({"metric": "spo2", "kind": "anomaly"}, ["vital"]),
        ({"kind": "session", "detail": {"metrics": ["heart_rate", "steps"]}}, ["vital", "activity"]),
        ({"kind": "report"}, ["reported"]),
        ({"kind": "environment"}, ["activity"]),
        ({"kind": "session"}, [one.value for one in CATEGORIES]),
    ],
)
def test_a_note_is_of_the_classes_it_is_about(note: dict[str, Any], classes: list[str]) -> None:
    told = {
        "annotation_key": "n", "patient_id": "p1", "from_time": START, "to_time": START, "source": "phone",
        "label": "word",
    }  # fmt: skip
    row = row_of(Annotation.model_validate(told | note))
    assert judged(Gate(people={"p1": to(*classes)}), [row]) == ([row], {})
    metric = row["metric_key"] or 0
    for missing in classes:
        rest = to(*(one for one in CATEGORIES if one != missing))
        assert judged(Gate(people={"p1": rest}), [row]) == ([], {("annotations", metric): 1})
    assert judged(OPEN, [row]) == ([row], {})
