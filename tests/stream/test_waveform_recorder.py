"""Waveform records into PostgreSQL: the same rows whatever the batches, after a crash, and never a zombie's."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest

from stream.assemble import RawRecord
from stream.features.decimate import decimation
from stream.waveform_recorder import WaveformRecorder
from tests.stream.fakes import FakeLog
from tests.stream.features.recordings import made_ecg, made_ppg, regular_beats
from tests.stream.waveforms import TOPIC, chunks, every, record
from tests.timeseries.making import query
from timeseries.model import StoreUnavailable, WriteBatch, WriteOutcome
from timeseries.waveform_store import WaveformStore
from vitals.batch import BatchHeader
from vitals.ids import device_id, patient_id

TRUTH = regular_beats(30.0)
PARTITION = (TOPIC, 0)
STRAP = BatchHeader(patient_id("p1"), device_id("strap"), "app", "ble")
WATCH = BatchHeader(patient_id("p1"), device_id("watch"), "app", "ble")


def day() -> list[RawRecord]:
    """Thirty seconds of an ECG, a pulse wave and acceleration, a second a record, in the order of time."""
    ecg = made_ecg(500.0, TRUTH, 30.0).reshape(1, -1)
    ppg = made_ppg(100.0, TRUTH, 30.0).reshape(1, -1)
    xyz = np.random.default_rng(1).normal(0, 1, (3, 50 * 30))
    told = [
        *((chunk, STRAP) for chunk in chunks("ecg", 500.0, ecg, every(500.0, 1.0, ecg))),
        *((chunk, WATCH) for chunk in chunks("ppg", 100.0, ppg, every(100.0, 1.0, ppg))),
        *((chunk, WATCH) for chunk in chunks("acceleration", 50.0, xyz, every(50.0, 1.0, xyz))),
    ]
    told.sort(key=lambda one: one[0].start_us)
    return [record(offset, chunk, header) for offset, (chunk, header) in enumerate(told)]


RECORDS = day()
TABLES = {
    "waveforms": 'time, metric_key, channel, first_us, sample_rate_hz, duration_ms, quality, "values"',
    "samples": "time, metric_key, duration_ms, value, quality, written_at, received_at, flags",
}


@pytest.fixture
async def store(database: str) -> AsyncIterator[WaveformStore]:
    async with WaveformStore(database) as opened:
        yield opened


async def recorder(store: WaveformStore, records: Sequence[RawRecord] = RECORDS) -> WaveformRecorder:
    made = WaveformRecorder(store, FakeLog(records))
    await made.assigned([PARTITION])
    return made


def everything(url: str) -> list[list[tuple[Any, ...]]]:
    rows = [query(url, f"SELECT {columns} FROM {table} ORDER BY {columns}") for table, columns in TABLES.items()]
    states = query(url, "SELECT metric_key, channel, encode(state, 'hex') FROM feature_state ORDER BY 1, 2")
    return [*rows, states]


async def test_a_day_is_stored_with_what_it_implies(store: WaveformStore, database: str) -> None:
    await (await recorder(store)).take(RECORDS)
    assert query(
        database,
        'SELECT m.code, count(*), min(sample_rate_hz), sum(cardinality("values")) FROM waveforms '
        "JOIN metrics m USING (metric_key) GROUP BY 1 ORDER BY 1",
    ) == [
        ("acceleration", 30, 50, 4_500),
        ("ecg", 30, 250, 7_500 - decimation(500.0, 250.0).delay // 2),
        ("ppg", 30, 50, 1_500 - decimation(100.0, 50.0).delay // 2),
    ], "all but what the filters still hold"
    derived = query(
        database, "SELECT device_id, source_app, metric, count(*) FROM current_samples GROUP BY 1, 2, 3 ORDER BY 2"
    )
    assert derived == [
        ("strap", "vigil-ecg", "rr_interval", len(TRUTH) - 1),
        ("watch", "vigil-enmo", "enmo", 5),
        ("watch", "vigil-ppg", "rr_interval", derived[2][3]),
    ]
    assert len(TRUTH) - 2 <= derived[2][3] <= len(TRUTH) + 4, "before the first pulse the wander is all there is"
    assert query(database, "SELECT count(*) FROM feature_state") == [(3,)]
    assert query(database, "SELECT count(*) FROM latest") == [(3,)]
    assert query(database, "SELECT next_offset FROM watermarks") == [(len(RECORDS),)]


@pytest.mark.parametrize("size", [1, 7, 90])
async def test_batches_and_restarts_change_no_row(
    store: WaveformStore, database: str, size: int, postgres: Any
) -> None:
    """One recorder in one batch, against a new one (after a crash) for every batch, which reads the memory again."""
    await (await recorder(store)).take(RECORDS)
    whole = everything(database)
    for table in ("waveforms", "samples", "feature_state", "watermarks", "latest", "dirty_ranges"):
        query(database, f"TRUNCATE {table}")
    for at in range(0, len(RECORDS), size):
        await (await recorder(store)).take(RECORDS[at : at + size])
    assert everything(database) == whole


async def test_what_is_delivered_again_is_not_taken_again(store: WaveformStore, database: str) -> None:
    one = await recorder(store)
    await one.take(RECORDS[:40])
    stored = everything(database)
    await one.take(RECORDS[:40])
    await (await recorder(store)).take(RECORDS[20:40])
    assert everything(database) == stored
    assert query(database, "SELECT count(*) FROM duplicates") == [(0,)]
    await one.take(RECORDS[40:41])
    assert query(database, "SELECT adapter, reason, samples FROM duplicates") == [("ble", "redelivered", 40)]


async def test_a_log_that_began_anew_stores_nothing_twice(store: WaveformStore, database: str) -> None:
    await (await recorder(store)).take(RECORDS)
    stored = everything(database)
    query(
        database, "UPDATE watermarks SET epoch = epoch + 1, next_offset = 0, last_crc = NULL, last_timestamp_ms = NULL"
    )
    await (await recorder(store)).take(RECORDS)
    assert everything(database) == stored
    assert query(database, "SELECT reason, sum(samples)::int FROM duplicates GROUP BY 1") == [("resent", 90)]


async def test_a_zombie_writes_nothing_and_goes_on_from_what_is_stored(store: WaveformStore, database: str) -> None:
    zombie, other = await recorder(store), await recorder(store)
    await zombie.take(RECORDS[:30])
    await other.assigned([PARTITION])
    await other.take(RECORDS[30:60])
    await zombie.take(RECORDS[30:45])
    assert query(database, "SELECT next_offset FROM watermarks") == [(60,)]
    await zombie.take(RECORDS[60:])
    after = everything(database)
    for table in ("waveforms", "samples", "feature_state", "watermarks"):
        query(database, f"TRUNCATE {table}")
    await (await recorder(store)).take(RECORDS)
    assert everything(database) == after


class Refusing(WaveformStore):
    """Refuses one chunk, and is away for the first write."""

    away = True

    async def write(self, batch: WriteBatch) -> WriteOutcome:
        if self.away:
            self.away = False
            raise StoreUnavailable("not now")
        return await super().write(batch)


async def test_bad_records_go_into_quarantine_and_their_neighbours_go_on(store: WaveformStore, database: str) -> None:
    ecg = chunks("ecg", 250.0, np.zeros((1, 500)), [250])
    bad = chunks("ecg", 250.0, np.full((1, 250), 60.0))[0]
    records = [record(0, ecg[0]), record(1, bad), RawRecord(TOPIC, 0, 2, 0, b"p1", b"junk", ()), record(3, ecg[1])]
    async with Refusing(database) as away:
        await (await recorder(away, records)).take(records)
    assert query(database, 'SELECT "offset", index, reason, metric FROM quarantine ORDER BY 1') == [
        (1, -1, "out_of_range", "ecg"),
        (2, -1, "schema_version", None),
    ]
    assert query(database, 'SELECT sum(cardinality("values")) FROM waveforms') == [(500,)]
    assert query(database, "SELECT next_offset FROM watermarks") == [(4,)]


async def test_a_record_that_the_database_refuses_is_found(store: WaveformStore, database: str) -> None:
    query(database, "ALTER TABLE waveforms ADD CHECK (quality <> 0.25)")
    told = chunks("ecg", 250.0, np.zeros((1, 250 * 8)), every(250.0, 1.0, np.zeros((1, 250 * 8))))
    records = [record(at, one) for at, one in enumerate(told)]
    records[5] = record(5, chunks("ecg", 250.0, np.zeros((1, 250)), start_us=told[5].start_us, quality=0.25)[0])
    await (await recorder(store, records)).take(records)
    assert query(database, 'SELECT "offset", reason FROM quarantine') == [(5, "write_refused")]
    assert query(database, "SELECT count(*) FROM waveforms") == [(7,)]
    assert query(database, "SELECT next_offset FROM watermarks") == [(8,)]


async def test_memory_that_cannot_be_read_begins_anew(store: WaveformStore, database: str) -> None:
    await (await recorder(store)).take(RECORDS[:30])
    query(database, "UPDATE feature_state SET state = 'rubbish'")
    await (await recorder(store)).take(RECORDS[30:])
    assert query(database, "SELECT next_offset FROM watermarks") == [(len(RECORDS),)]
    assert query(database, "SELECT count(*) FROM feature_state WHERE state = 'rubbish'") == [(0,)]


async def test_two_leads_are_two_series(store: WaveformStore, database: str) -> None:
    ecg = made_ecg(250.0, TRUTH, 30.0).reshape(1, -1)
    both = [chunks("ecg", 250.0, ecg, channel=lead)[0] for lead in ("I", "II")]
    records = [record(at, one) for at, one in enumerate(both)]
    await (await recorder(store, records)).take(records)
    assert query(database, "SELECT DISTINCT source_app FROM current_samples ORDER BY 1") == [
        ("vigil-ecg-I",), ("vigil-ecg-II",),
    ]  # fmt: skip
    assert query(database, "SELECT channel, duration_ms FROM waveforms ORDER BY 1") == [("I", 30_000), ("II", 30_000)]
