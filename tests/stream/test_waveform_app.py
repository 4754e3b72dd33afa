"""The waveform recorder as a process on a real broker: killed in the middle, it ends with the same rows."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest.publisher import Publisher
from ingest.record import Record
from stream.assemble import RawRecord
from stream.waveform_recorder import WaveformRecorder
from tests.services.topics import new_topic
from tests.stream.fakes import FakeLog
from tests.stream.test_waveform_recorder import PARTITION, RECORDS, everything
from tests.timeseries.making import query
from timeseries.waveform_store import WaveformStore
from vigil.embedded.broker import EmbeddedBroker

REPO = Path(__file__).resolve().parents[2]
SCRIPT = """
import asyncio, sys
from stream.run import run_app
from stream.waveform_app import RecorderPolicy, waveform_app
from timeseries.waveform_store import WaveformStore

bootstrap, url, topic = sys.argv[1:]

async def main():
    async with WaveformStore(url) as store:
        policy = RecorderPolicy(max_records=7, within_s=0.05)
        await run_app(waveform_app(bootstrap, store, topic=topic, group=topic, policy=policy))

asyncio.run(main())
"""


def start(log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments], cwd=REPO, stdout=out, stderr=out)


async def until(done: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


def stored(url: str) -> int:
    return int(query(url, "SELECT coalesce(sum(next_offset), 0)::int FROM watermarks")[0][0])


async def send(publisher: Publisher, topic: str, records: list[RawRecord]) -> None:
    made = [
        Record(one.key or b"", one.value or b"", tuple((name, text or b"") for name, text in one.headers))
        for one in records
    ]
    await publisher.confirm([await publisher.send(one, topic=topic) for one in made])


@pytest.mark.slow
async def test_killed_in_the_middle_it_ends_with_the_same_rows(
    database: str, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with WaveformStore(database) as store:
        expected = await _expected(store, database)
    topic, log = await new_topic(broker.bootstrap), tmp_path / "worker.log"
    async with Publisher(broker.bootstrap) as publisher:
        worker = start(log, broker.bootstrap, database, topic)
        try:
            await send(publisher, topic, RECORDS[:40])
            await until(lambda: stored(database) >= 10, "nothing was stored")
        finally:
            worker.kill()
            worker.wait()
        assert stored(database) <= 40
        worker = start(log, broker.bootstrap, database, topic)
        try:
            await send(publisher, topic, RECORDS[40:])
            await until(lambda: stored(database) == len(RECORDS), "not everything was stored")
        finally:
            worker.terminate()
            worker.wait(30)
    assert everything(database) == expected
    assert query(database, "SELECT count(*) FROM duplicates WHERE reason <> 'redelivered'") == [(0,)]


async def _expected(store: WaveformStore, url: str) -> list[list[tuple[Any, ...]]]:
    """What one recorder makes of all records at once; the tables are empty again afterwards."""
    recorder = WaveformRecorder(store, FakeLog(RECORDS))
    await recorder.assigned([PARTITION])
    await recorder.take(RECORDS)
    whole = everything(url)
    for table in ("waveforms", "samples", "feature_state", "watermarks", "latest", "dirty_ranges"):
        query(url, f"TRUNCATE {table}")
    return whole
