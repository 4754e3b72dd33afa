"""What the registry does not let in is quarantined with its reason, and the rest of the record goes on."""

from dataclasses import replace

import numpy as np

from stream.assemble import validate
from stream.recorder import Recorder
from stream.waveform_assemble import open_records
from tests.stream.fakes import FakeLog, FakeStore
from tests.stream.making import HEADER, T0, S, samples
from tests.stream.test_assemble import record
from tests.stream.waveforms import chunks
from tests.stream.waveforms import record as waveform_record
from tests.timeseries.making import query
from timeseries.gate import GateReader
from timeseries.store import SampleStore
from vitals.batch import BatchHeader
from vitals.gate import Binding, DeviceRule, DeviceState, Gate
from vitals.ids import device_id, patient_id
from vitals.validity import REASONS

STRANGER = BatchHeader(patient_id("p1"), device_id("d9"), "app", "ble")


def told(gate: Gate, *records: object) -> list[str]:
    return [str(REASONS[code]) for code in validate(list(records), gate=gate).codes]  # type: ignore[arg-type]


def test_each_sample_is_judged_for_its_own_device_and_time() -> None:
    worn = DeviceRule(permitted=np.array([1], np.int16), bindings=(Binding("p1", T0, T0 + 2 * S),))
    both = [record(samples("heart_rate", [0, 1, 2], [60, 999, 61])), record(samples("heart_rate", [0], [70]), STRANGER)]
    assert told(Gate({"d1": worn}), *both) == ["None", "out_of_range", "other_wearer", "None"]
    assert told(Gate({"d1": worn}, strict=True), *both)[-1] == "unknown_device"
    assert told(Gate({"d1": worn}), record(samples("spo2", [0], [97]))) == ["metric_not_permitted"]


def test_what_is_refused_stands_for_nothing_that_is_reduced() -> None:
    fast = record(samples("spo2", np.arange(400) / 100, 97 + np.zeros(400)))
    refused = validate([fast], gate=Gate({"d1": DeviceRule(DeviceState.SUSPENDED)}))
    assert (refused.codes > 0).all()
    assert len(refused.reduced) == 0


def test_a_waveform_is_refused_whole() -> None:
    (chunk,) = chunks("ecg", 250, np.zeros((1, 250)))
    records = [waveform_record(0, chunk), waveform_record(1, chunk, STRANGER)]
    opened = open_records(records, Gate({"d9": DeviceRule(DeviceState.RETIRED)}))
    assert [one is None for one in opened.told] == [False, True]
    assert [(one.record, one.reason, one.metric) for one in opened.failures] == [(1, "device_retired", "ecg")]


async def test_a_recorder_asks_the_gate_at_every_batch() -> None:
    gates = [Gate(), Gate({"d1": DeviceRule(DeviceState.SUSPENDED)}), Gate()]

    async def current() -> Gate:
        return gates[0]

    batches = [replace(record(samples("heart_rate", [n], [60 + n]), offset=n), partition=0) for n in range(3)]
    log, store = FakeLog(batches), FakeStore()
    worker = Recorder(store, log, gate=current)
    await worker.assigned([(batches[0].topic, 0)])
    for one in batches:
        await worker.take([one])
        gates.pop(0)
    assert sorted(store.rows.values()) == [60, 62]
    assert [(offset, index, reason) for offset, index, reason in store.quarantine] == [(1, 0, "device_suspended")]


async def test_a_suspended_device_is_quarantined_within_the_database(database: str) -> None:
    query(database, "INSERT INTO devices (device_id) VALUES ('d1')")
    query(database, "INSERT INTO device_registry (device_key, device_type, state) VALUES (1, 'strap', 'suspended')")
    one = replace(record(samples("heart_rate", [0, 1], [60, 61])), partition=0)
    async with SampleStore(database) as store, GateReader(database, strict=True) as gate:
        worker = Recorder(store, FakeLog([one]), gate=gate.current)
        await worker.assigned([(one.topic, 0)])
        await worker.take([one])
    assert query(database, "SELECT count(*) FROM samples") == [(0,)]
    assert query(database, "SELECT reason, count(*) FROM quarantine GROUP BY 1") == [("device_suspended", 2)]
    assert HEADER.device_id == "d1"
