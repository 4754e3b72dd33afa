"""A signal faster than its policy, through the recorder into PostgreSQL: its extremes stand there, the rest counts."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from ingest.record import encode
from stream import waveform_assemble
from stream.assemble import RawRecord
from stream.recorder import Backoff, Recorder
from stream.reduce import ReductionPolicy
from stream.waveform_derive import Derived
from stream.waveform_signal import Outcome, WaveformPolicy, advance
from tests.stream.fakes import PARTITION, TOPIC, FakeLog
from tests.stream.making import HEADER, T0, S, samples
from tests.stream.waveforms import chunks
from tests.stream.waveforms import record as waveform_record
from tests.timeseries.making import query
from timeseries.model import StoreUnavailable, WriteBatch, WriteOutcome
from timeseries.store import SampleStore
from vitals.batch import BatchHeader, SampleColumns
from vitals.catalogue import number_of
from vitals.ids import device_id, patient_id

SPO2 = number_of("spo2")
OTHER = BatchHeader(patient_id("p2"), device_id("d2"), "app", "healthkit")


def desaturation() -> SampleColumns:
    """20 s at 25 Hz: 97 %, from 7.4 s on two seconds at 81 %, in the midst of them one sample of 74 %."""
    seconds = np.arange(25 * 20) / 25
    value = np.where((seconds >= 7.4) & (seconds < 9.4), 81.0, 97.0)
    value[25 * 8 + 3] = 74
    return samples("spo2", seconds, value)


def record(offset: int, columns: SampleColumns, header: BatchHeader = HEADER) -> RawRecord:
    made = encode(header, columns)
    return RawRecord(TOPIC, 0, offset, 1_800_000_000_000 + offset, made.key, made.value, made.headers)


@pytest.fixture
async def store(database: str) -> AsyncIterator[SampleStore]:
    async with SampleStore(database) as opened:
        yield opened


async def take(store: SampleStore, records: Sequence[RawRecord], **given: Any) -> None:
    """As a recorder that is assigned the partition and reads on in its log."""
    worker = Recorder(store, FakeLog(records), backoff=Backoff(0.001, 0.002), **given)
    start = (await worker.assigned([PARTITION]))[PARTITION]
    await worker.take([one for one in records if one.offset >= start])


def stored(url: str) -> list[tuple[int, float]]:
    """Microseconds after T0 and value, in order of time."""
    rows = query(url, "SELECT (extract(epoch FROM time) * 1000000)::bigint, value FROM samples ORDER BY time")
    return [(time_us - T0, value) for time_us, value in rows]


def counted(url: str) -> dict[tuple[str, int], int]:
    rows = query(url, "SELECT adapter, metric_key, samples::int FROM reduced ORDER BY 1, 2")
    return {(adapter, metric): samples for adapter, metric, samples in rows}


def resent(url: str) -> int:
    ((count,),) = query(url, "SELECT coalesce(sum(samples), 0)::int FROM duplicates WHERE reason = 'resent'")
    return int(count)


# What stays of `desaturation`: of every second its first and last sample (the lowest and the highest are among them),
# of the seventh and the ninth besides where it falls and where it rises, of the eighth the one of 74 %.
KEPT = sorted(
    [(second * S, 81.0 if second in {8, 9} else 97.0) for second in range(20)]
    + [(second * S + 960_000, 81.0 if second in {7, 8} else 97.0) for second in range(20)]
    + [(7_400_000, 81.0), (8_120_000, 74.0), (9_400_000, 97.0)]
)


async def test_a_desaturation_is_stored_as_deep_as_it_was_and_the_rest_is_counted(
    store: SampleStore, database: str
) -> None:
    await take(store, [record(0, desaturation())])
    assert stored(database) == KEPT
    assert counted(database) == {("ble", SPO2): 500 - len(KEPT)}
    assert query(database, "SELECT count(*) FROM quarantine") == [(0,)]
    assert query(database, "SELECT value FROM latest") == [(97.0,)]


async def test_the_same_record_again_stores_nothing_more(store: SampleStore, database: str) -> None:
    """Sent again by the device, alone or in a batch with others: it comes to the same samples."""
    log = [record(0, desaturation())]
    await take(store, log)
    log += [record(1, samples("heart_rate", range(50), 60)), record(2, desaturation()), record(3, desaturation())]
    await take(store, log)
    assert [one for one in stored(database) if one[1] != 60] == KEPT
    assert counted(database) == {("ble", SPO2): 3 * (500 - len(KEPT))}
    assert resent(database) == 2 * len(KEPT)


async def test_a_record_that_kafka_delivers_again_counts_once(store: SampleStore, database: str) -> None:
    log = [record(0, desaturation()), record(1, desaturation(), OTHER)]
    await take(store, log[:1])
    await take(store, log)
    await take(store, log)
    assert counted(database) == {("ble", SPO2): 457, ("healthkit", SPO2): 457}
    assert query(database, "SELECT count(*) FROM samples") == [(2 * len(KEPT),)]


async def test_counts_are_by_adapter_and_metric_and_add_up(store: SampleStore, database: str) -> None:
    before = REGISTRY.get_sample_value("vigil_recorder_samples_total", {"outcome": "reduced"}) or 0
    fast = samples("heart_rate", np.arange(100) / 50, 60 + np.arange(100) % 9)
    both = SampleColumns.concat([fast, desaturation()])
    impossible = samples("spo2", 30 + np.arange(50) / 25, np.where(np.arange(50) % 10 == 3, 101.0, 90.0))
    await take(store, [record(0, both), record(1, fast, OTHER), record(2, impossible, OTHER), record(3, fast)])
    found = counted(database)
    assert found.keys() == {("ble", 1), ("ble", SPO2), ("healthkit", 1), ("healthkit", SPO2)}
    assert found["ble", 1] == 2 * found["healthkit", 1]
    assert found["healthkit", SPO2] == 50 - 5 - 4, "the five impossible ones are no extremes"
    rows = query(database, "SELECT (SELECT count(*) FROM samples), (SELECT count(*) FROM quarantine)")[0]
    assert sum(rows) + resent(database) + sum(found.values()) == 600 + 100 + 50 + 100
    after = REGISTRY.get_sample_value("vigil_recorder_samples_total", {"outcome": "reduced"})
    assert after == before + sum(found.values())


async def test_a_record_that_the_database_refuses_is_quarantined_whole(store: SampleStore, database: str) -> None:
    query(database, "ALTER TABLE samples ADD CHECK (value <> 74)")
    await take(store, [record(0, desaturation()), record(1, samples("spo2", np.arange(50) / 25, 90), OTHER)])
    assert query(database, "SELECT index, reason FROM quarantine") == [(-1, "write_refused")]
    assert counted(database) == {("healthkit", SPO2): 46}, "what is in quarantine is not reduced besides"


async def test_what_is_rolled_back_is_not_counted(store: SampleStore, database: str) -> None:
    class Dying(SampleStore):
        """Does everything, and breaks off before the commit; the next time it does not."""

        left = 2

        async def write(self, batch: WriteBatch) -> WriteOutcome:
            if self.left:
                self.left -= 1
                connection = await self._open()
                async with connection.transaction(force_rollback=True):
                    await super().write(batch)
                raise StoreUnavailable("killed before COMMIT")
            return await super().write(batch)

    async with Dying(database) as dying:
        await take(dying, [record(0, desaturation())])
    assert stored(database) == KEPT
    assert counted(database) == {("ble", SPO2): 500 - len(KEPT)}


async def test_the_policy_is_the_recorder_s_to_choose(store: SampleStore, database: str) -> None:
    await take(store, [record(0, desaturation())], reduction=ReductionPolicy({}))
    assert (len(stored(database)), counted(database)) == (500, {})


def test_what_is_derived_from_waveforms_is_never_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its metric and rate: that lane has a policy of its own."""

    def with_fast_samples(*given: Any) -> Outcome:
        start = T0 + np.arange(100, dtype=np.int64) * 40_000
        derived = Derived("spo2", 0, start, np.full(100, 97.0), np.ones(100, np.float32))
        outcome = advance(*given)
        return Outcome(outcome.state, outcome.pieces, [derived])

    monkeypatch.setattr(waveform_assemble, "advance", with_fast_samples)
    (chunk,) = chunks("ecg", 500.0, np.zeros((1, 500)))
    opened = waveform_assemble.open_records([waveform_record(0, chunk)])
    keys = {origin: number for number, origin in enumerate(opened.origins)}
    made = waveform_assemble.assemble(WaveformPolicy(), opened, {}, {"p1": 1}, keys)
    assert len(made.placed.rows) == 100
    assert made.derived.reduced_counts == {}
