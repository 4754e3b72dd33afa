"""The waveform store on PostgreSQL 18, its schema on TimescaleDB: chunks, memory and watermark are one."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from tests.timeseries.making import T0, Partition, query, rows
from timeseries.lifecycle import due, run
from timeseries.migrate import migrate
from timeseries.model import Fenced, StoreRefused, WriteOutcome
from timeseries.waveform_model import ChunkRow, SignalKey, WaveformBatch
from timeseries.waveform_store import WaveformStore

S = 1_000_000
ECG: SignalKey = (1, 1, 35, "main")


def chunk(second: float = 0, values: Any = ((1, 2, 3),), **changes: Any) -> ChunkRow:
    told: dict[str, Any] = {
        "signal": ECG, "time_us": T0 + round(second * S), "first_us": -1_000, "sample_rate_hz": 125.0,
        "original_rate_hz": 250.0, "scale": 0.001, "values": np.array(values, np.int32), "written_us": T0,
        "received_us": T0, "quality": 1.0, "flags": 0, "context": 0, "zone_offset_min": 60, "adapter": "ble",
    }  # fmt: skip
    return ChunkRow(**{**told, **changes})


def batch(lane: Partition, chunks: Any = (), states: Any = (), samples: Any = None) -> WaveformBatch:
    plain = lane.batch(rows(0) if samples is None else samples)
    told = {name: getattr(plain, name) for name in plain.__slots__}
    return WaveformBatch(**told, chunks=chunks, states=dict(states))


@pytest.fixture
async def store(database: str) -> AsyncIterator[WaveformStore]:
    async with WaveformStore(database) as opened:
        yield opened


@pytest.fixture
def lane() -> Partition:
    return Partition("vigil.waveforms")


async def test_chunks_memory_and_derived_samples_come_together(
    store: WaveformStore, database: str, lane: Partition
) -> None:
    samples = rows(3, metric_key=2, value=800)
    xyz = chunk(1, [[1, 2], [3, 4], [5, 6]], signal=(1, 2, 37, "wrist"))
    outcome = await store.write(batch(lane, [xyz, chunk()], {ECG: b"\0memory"}, samples))
    assert outcome == WriteOutcome(inserted=3)
    found = query(
        database,
        "SELECT metric_key, channel, axes, first_us, duration_ms, sample_rate_hz, original_rate_hz, scale, "
        '"values" FROM waveforms ORDER BY time',
    )
    assert found == [
        (35, "main", 1, -1_000, 24, 125, 250, 0.001, [1, 2, 3]),
        (37, "wrist", 3, -1_000, 16, 125, 250, 0.001, [1, 3, 5, 2, 4, 6]),
    ]
    assert await store.read_states([ECG, (9, 9, 35, "main")]) == {ECG: b"\0memory"}
    assert query(database, "SELECT count(*) FROM samples WHERE metric_key = 2") == [(3,)]
    assert query(database, "SELECT topic, next_offset FROM watermarks") == [("vigil.waveforms", 1)]


async def test_a_chunk_told_again_changes_nothing_and_is_counted(
    store: WaveformStore, database: str, lane: Partition
) -> None:
    await store.write(batch(lane, [chunk(), chunk(1)]))
    lane.stored()
    await store.write(batch(lane, [chunk(), chunk(values=[[9, 9]]), chunk(2)]))
    assert query(database, 'SELECT "values" FROM waveforms ORDER BY time') == [([1, 2, 3],)] * 3
    assert query(database, "SELECT adapter, reason, samples FROM duplicates") == [("ble", "resent", 2)]


async def test_who_lost_the_partition_writes_nothing(store: WaveformStore, database: str, lane: Partition) -> None:
    await store.write(batch(lane, [chunk()], {ECG: b"new"}))
    with pytest.raises(Fenced):
        await store.write(batch(lane, [chunk(5)], {ECG: b"old"}))
    assert await store.read_states([ECG]) == {ECG: b"new"}
    assert query(database, "SELECT count(*) FROM waveforms") == [(1,)]


async def test_what_the_database_refuses_leaves_nothing(store: WaveformStore, database: str, lane: Partition) -> None:
    bad = replace(chunk(), first_us=2**40)
    with pytest.raises(StoreRefused):
        await store.write(batch(lane, [chunk(3), bad], {ECG: b"x"}))
    assert query(database, "SELECT count(*) FROM waveforms") == [(0,)]
    assert await store.read_states([ECG]) == {}
    await store.write(batch(lane, [chunk()]))


async def test_memory_is_replaced(store: WaveformStore, lane: Partition) -> None:
    for state in (b"one", b"two"):
        await store.write(batch(lane, states={ECG: state, (1, 1, 36, "main"): b"other"}))
        lane.stored()
    assert (await store.read_states([ECG]))[ECG] == b"two"


async def test_the_view_speaks_words(store: WaveformStore, database: str, lane: Partition) -> None:
    await store.resolve_keys(["p1"], [("d1", "app")])
    signal = (store.keys.patients["p1"], store.keys.origins["d1", "app"], 35, "main")
    await store.write(batch(lane, [chunk(signal=signal)]))
    assert query(
        database,
        "SELECT patient_id, metric, unit, device_id, source_app, zone_offset_min, time - first_time = '1 ms' "
        "FROM current_waveforms",
    ) == [("p1", "ecg", "mV", "d1", "app", 60, True)]


async def test_stock_retention_takes_what_is_due(store: WaveformStore, database: str, lane: Partition) -> None:
    await store.write(batch(lane, [chunk(), chunk(86_400 * 3)]))
    query(database, "UPDATE waveforms SET time = now() WHERE time > (SELECT min(time) FROM waveforms)")
    assert {one.retention_class: (one.after, one.rows) for one in due(database)}["waveform"] == ("90 days", 1)
    assert run(database, None).dropped == {("waveform", "raw"): 1}
    assert query(database, "SELECT count(*) FROM waveforms") == [(1,)]
    query(database, "UPDATE lifecycle_policies SET drop_after = NULL WHERE retention_class = 'waveform'")
    query(database, "UPDATE waveforms SET time = '2001-01-01'")
    assert not run(database, None).dropped
    assert query(database, "SELECT count(*) FROM waveforms") == [(1,)], "no period: kept"


async def test_stock_keeps_the_waveforms_of_whoever_is_on_hold(
    store: WaveformStore, database: str, lane: Partition
) -> None:
    query(database, "INSERT INTO patients (patient_id) VALUES ('p1'), ('p2')")
    query(database, "INSERT INTO legal_holds (patient_key, reason, placed_by) VALUES (1, 'case', 'u-1')")
    await store.write(batch(lane, [chunk(), chunk(1), chunk(signal=(2, 1, 35, "main"))]))
    (waveform,) = [one for one in due(database) if one.retention_class == "waveform"]
    assert (waveform.rows, waveform.waits) == (1, ("2 rows are on hold",))
    assert run(database, None).dropped == {("waveform", "raw"): 1}
    assert query(database, "SELECT DISTINCT patient_key FROM waveforms") == [(1,)]
    query(database, "UPDATE legal_holds SET lifted_at = now(), lifted_by = 'u-1', lift_reason = 'over'")
    assert run(database, None).dropped == {("waveform", "raw"): 2}


INSERT = (
    "INSERT INTO waveforms VALUES (%s, now(), now(), 125, 250, 0.001, %s, 1, 0, 24, 1, 35, 1, 0, 0, 0, 'main', "
    "'{1,2,3}')"
)


@pytest.mark.timescale
def test_timescaledb_keeps_days_apart_compresses_and_drops_them(wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    policies = query(
        wasm,
        "SELECT proc_name, schedule_interval IS NOT NULL, coalesce(config->>'drop_after', config->>'compress_after') "
        "FROM timescaledb_information.jobs WHERE hypertable_schema = current_schema() "
        "AND hypertable_name = 'waveforms' ORDER BY 1",
    )
    assert policies == [("policy_compression", True, "2 days")], "a native retention policy would know no hold"
    for day in ("now() - INTERVAL '200 days'", "now() - INTERVAL '10 days'", "now()"):
        query(wasm, INSERT.replace("%s", day, 1), (1,))
    assert run(wasm, None, prepare_threshold=None).dropped == {("waveform", "raw"): 1}
    assert query(wasm, "SELECT count(*) FROM waveforms") == [(2,)]
    _run(wasm, "policy_compression")
    compressed = query(
        wasm,
        "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_schema = current_schema() "
        "AND hypertable_name = 'waveforms' ORDER BY range_start",
    )
    assert compressed == [(True,), (False,)]
    assert query(wasm, 'SELECT "values" FROM waveforms') == [([1, 2, 3],)] * 2
    again = query(wasm, "SELECT min(time) FROM waveforms")[0][0]
    with pytest.raises(psycopg.errors.UniqueViolation):
        query(wasm, INSERT, (again, 1))
    query(wasm, INSERT + " ON CONFLICT (patient_key, metric_key, origin_key, channel, time) DO NOTHING", (again, 1))
    query(wasm, INSERT, (again, 2))


@pytest.mark.timescale
def test_timescaledb_lets_go_of_waveforms_but_not_from_under_a_hold(wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    query(wasm, "INSERT INTO patients (patient_id) VALUES ('p1'), ('p2')")
    for age in (200, 150, 100, 10):
        for patient in (1, 2) if age != 100 else (2,):
            query(wasm, INSERT.replace("%s", f"now() - INTERVAL '{age} days'", 1), (patient,))
    _run(wasm, "policy_compression")
    query(wasm, "INSERT INTO legal_holds (patient_key, reason, placed_by) VALUES (1, 'case', 'u-1')")
    job = query(
        wasm,
        "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'lifecycle_job' "
        "AND proc_schema = current_schema()",
    )
    query(wasm, "CALL run_job(%s)", job[0])
    left = "SELECT patient_key, count(*) FROM waveforms GROUP BY 1 ORDER BY 1"
    chunks = "SELECT count(*) FROM chunks WHERE of_table = 'waveforms'::regclass"
    assert query(wasm, left) == [(1, 3), (2, 1)]
    assert query(wasm, chunks) == [(3,)], "the chunk without a held row went whole"
    query(wasm, "CALL run_job(%s)", job[0])
    assert query(wasm, left) == [(1, 3), (2, 1)]
    query(wasm, "UPDATE legal_holds SET lifted_at = now(), lifted_by = 'u-1', lift_reason = 'over'")
    query(wasm, "CALL run_job(%s)", job[0])
    assert query(wasm, left) == [(1, 1), (2, 1)]
    assert query(wasm, chunks) == [(1,)]


def _run(url: str, policy: str) -> None:
    (job,) = query(
        url,
        "SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_schema = current_schema() "
        f"AND hypertable_name = 'waveforms' AND proc_name = '{policy}'",
    )
    query(url, "CALL run_job(%s)", job)
