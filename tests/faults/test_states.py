"""What the recorder makes of what a living PostgreSQL answers: waits, tries again for a while, or quarantines."""

import asyncio

import numpy as np
import psycopg
import pytest
from structlog.testing import capture_logs

from stream.attempts import TRIES
from stream.recorder import Backoff
from stream.waveform_recorder import WaveformRecorder
from tests.faults.making import A_RECORD, Driven, accounted, record
from tests.stream.fakes import FakeLog
from tests.stream.waveforms import TOPIC as WAVEFORMS
from tests.stream.waveforms import chunks, every
from tests.stream.waveforms import record as waveform_record
from tests.timeseries.making import query
from timeseries.store import SampleStore
from timeseries.waveform_store import WaveformStore

REFUSES = ["22012", "23514", "54000", "P0001", "38000"]
BREAKS_OFF = ["XX000", "40P01", "40001", "53200", "53400", "55000", "57014", "0A000", "25P04"]
TAKES_NOTHING = ["53100", "53300", "25006", "57P01", "08006", "55P03", "58030", "42501", "42703"]
FAULT = """
CREATE SEQUENCE tries;
CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF {when} THEN PERFORM nextval('tries'); RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END IF;
    RETURN new;
END $$;
CREATE TRIGGER fault BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fault()
"""
MEND = "DROP FUNCTION fault CASCADE; DROP SEQUENCE tries"
BAD, COUNT = 3, 6


def _tries(url: str) -> int:
    """How often the trigger was met; a sequence is not rolled back."""
    ((tries, is_called),) = query(url, "SELECT last_value::int, is_called FROM tries")
    return int(tries) if is_called else 0


async def _until_tried(url: str, tries: int) -> None:
    async with asyncio.timeout(20):
        while _tries(url) < tries:  # noqa: ASYNC110 - PostgreSQL counts
            await asyncio.sleep(0.01)


async def _meet(worker: Driven, url: str, state: str, *, wait: bool) -> int:
    """Let a batch with one bad record meet a trigger that answers with this state; return how often it did."""
    start = len(worker.log.records)
    worker.log.records += [record(start + n, value=66.0 if n == BAD else 60.0) for n in range(COUNT)]
    query(url, FAULT.format(when="new.value = 66", state=state, table="samples"))
    async with worker.running() as running:
        if wait:
            await _until_tried(url, TRIES + 3)
            assert accounted(url)["next_offset"] == start, f"{state}: nothing of the batch is given up"
        else:
            await running
        tries = _tries(url)
        await asyncio.to_thread(query, url, MEND)  # it waits for the recorder, which must go on meanwhile
    assert accounted(url)["next_offset"] == start + COUNT
    return tries


@pytest.mark.parametrize("kind", ["refuses", "breaks off"])
async def test_a_record_that_the_database_cannot_take_is_quarantined_alone(url: str, kind: str) -> None:
    states = REFUSES if kind == "refuses" else BREAKS_OFF
    async with SampleStore(url) as store:
        worker = await Driven(store, FakeLog()).start()
        for state in states:
            tries = await _meet(worker, url, state, wait=False)
            # The batch of six as a whole, the half of three, the bad one by itself; or two of them, then it.
            assert tries in ({3, 4} if kind == "refuses" else {2 * TRIES + 1, 2 * TRIES + 2}), state
    found = accounted(url)
    assert found["quarantined"] == {(n * COUNT + BAD, -1, "write_refused"): 1 for n in range(len(states))}
    assert (found["current"], found["doubled"]) == (len(states) * (COUNT - 1) * A_RECORD, 0)


async def test_a_database_that_takes_nothing_is_waited_for_and_nothing_is_quarantined(url: str) -> None:
    async with SampleStore(url) as store:
        worker = await Driven(store, FakeLog()).start()
        for state in TAKES_NOTHING:
            await _meet(worker, url, state, wait=True)
    found = accounted(url)
    assert found["quarantined"] == {}
    assert (found["current"], found["doubled"]) == (len(TAKES_NOTHING) * COUNT * A_RECORD, 0)


async def test_a_record_whose_statement_never_ends_is_quarantined_alone(url: str) -> None:
    query(
        url,
        "CREATE FUNCTION hangs() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF new.value = 66 THEN PERFORM pg_sleep(60); END IF; RETURN new; END'; "
        "CREATE TRIGGER hangs BEFORE INSERT ON samples FOR EACH ROW EXECUTE FUNCTION hangs()",
    )
    log = FakeLog([record(offset, value=66.0 if offset == 4 else 60.0) for offset in range(8)])
    async with SampleStore(url, statement_timeout_s=0.3) as store:
        await (await Driven(store, log).start()).run()
    found = accounted(url)
    assert found["quarantined"] == {(4, -1, "write_refused"): 1}
    assert (found["current"], found["next_offset"]) == (7 * A_RECORD, 8)


@pytest.mark.parametrize(("state", "waits"), [("XX000", False), ("53100", True)])
async def test_waveforms_are_no_exception(url: str, state: str, waits: bool) -> None:
    quiet = np.zeros((1, 250 * 6))
    told = chunks("ecg", 250.0, quiet, every(250.0, 1.0, quiet))
    records = [waveform_record(at, one) for at, one in enumerate(told)]
    bad = chunks("ecg", 250.0, np.zeros((1, 250)), start_us=told[3].start_us, quality=0.25)[0]
    records[3] = waveform_record(3, bad)
    query(url, FAULT.format(when="new.quality = 0.25", state=state, table="waveforms"))
    async with WaveformStore(url) as store:
        recorder = WaveformRecorder(store, FakeLog(records), backoff=Backoff(0.005, 0.05))
        await recorder.assigned([(WAVEFORMS, 0)])
        running = asyncio.ensure_future(recorder.take(records))
        if waits:
            await _until_tried(url, 4)
            assert accounted(url)["next_offset"] == 0
            await asyncio.to_thread(query, url, MEND)  # it waits for the recorder, which must go on meanwhile
        await running
    found = accounted(url)
    assert found["next_offset"] == len(records)
    assert found["quarantined"] == ({} if waits else {(3, -1, "write_refused"): 1})
    assert query(url, "SELECT count(*) FROM waveforms") == [(len(records) - (not waits),)]


@pytest.mark.parametrize("victim", ["recorder", "other"])
async def test_a_deadlock_ends_with_the_batch_stored_once(url: str, victim: str) -> None:
    """Somebody locks what the recorder needs last, then waits for what it locked first."""
    query(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET deadlock_timeout = '{2 if victim == 'recorder' else 30}s'")
    log = FakeLog([record(0, value=60.0)])
    async with SampleStore(url) as store, await psycopg.AsyncConnection.connect(url) as other:
        worker = await Driven(store, log).start()
        await worker.run()
        log.records.append(record(1, value=61.0))
        await other.execute(f"SET deadlock_timeout = '{30 if victim == 'recorder' else 1}s'")
        await other.execute("LOCK TABLE latest IN EXCLUSIVE MODE")
        with capture_logs() as logs:
            async with worker.running():
                await _until_blocked(url)
                try:
                    await other.execute("UPDATE watermarks SET updated_at = now()")
                    await other.commit()
                    lost = False
                except psycopg.errors.DeadlockDetected:
                    await other.rollback()
                    lost = True
    assert lost == (victim == "other")
    assert [entry["error"][-6:-1] for entry in logs] == (["40P01"] if victim == "recorder" else [])
    found = accounted(url)
    assert (found["current"], found["doubled"], found["quarantined"]) == (2 * A_RECORD, 0, {})


async def _until_blocked(url: str) -> None:
    async with asyncio.timeout(10):
        while not query(url, "SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - PostgreSQL knows
            await asyncio.sleep(0.01)
