"""A partition's records, some of them bad, and the account of what came in against what is stored."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

import numpy as np

from ingest.record import encode
from stream.assemble import RawRecord
from stream.recorder import Backoff, Recorder, Store
from tests.stream.fakes import PARTITION, TOPIC, FakeLog
from tests.timeseries.making import query
from vitals.batch import BatchHeader, sample_columns
from vitals.ids import device_id, patient_id

A_RECORD: Final = 20
KINDS: Final = ("good", "good", "again", "corrected", "impossible", "rubbish", "good")
"""Record n is of kind n modulo seven; `again` and `corrected` tell the samples of the record before the last."""


def record(offset: int, *, value: float | None = None) -> RawRecord:
    """The record at an offset; every value the same where one is given."""
    kind = KINDS[offset % len(KINDS)] if value is None else "good"
    told = offset - 2 if kind in {"again", "corrected"} else offset
    start = 1_717_243_200_000_000 + (told * A_RECORD + np.arange(A_RECORD)) * 1_000_000
    values = np.full(A_RECORD, value, np.float64)
    if value is None:
        values = np.float64(60 + 30 * (kind == "corrected")) + np.arange(A_RECORD)
    if kind == "impossible":
        values[3] = 999
    written = start + 1_000_000 * (kind == "corrected")
    header = BatchHeader(patient_id(f"p{told % 5}"), device_id("d1"), "app", "ble")
    made = encode(
        header, sample_columns(start, np.ones(A_RECORD, np.int16), values, written_us=written, received_us=written)
    )
    payload = b"rubbish" if kind == "rubbish" else made.value
    return RawRecord(TOPIC, 0, offset, 1_800_000_000_000 + offset, made.key, payload, made.headers)


def accounted(url: str) -> dict[str, object]:
    """What became of it all, as the database has it."""
    ((current, doubled),) = query(
        url, "SELECT count(*), count(*) - count(DISTINCT (patient_key, metric_key, time)) FROM samples"
    )
    return {
        "current": current,
        "doubled": doubled,
        "of_corrections": query(url, "SELECT count(*) FROM samples WHERE value >= 90 AND value < 110")[0][0],
        "revisions": query(url, "SELECT count(*) FROM sample_revisions")[0][0],
        "resent": int(query(url, "SELECT coalesce(sum(samples), 0) FROM duplicates WHERE reason = 'resent'")[0][0]),
        "quarantined": Counter(query(url, 'SELECT "offset", index, reason FROM quarantine')),
        "next_offset": query(url, "SELECT coalesce(sum(next_offset), 0)::int FROM watermarks")[0][0],
    }


def expected(offsets: Iterable[int]) -> dict[str, object]:
    """What must become of the records at these offsets, which begin at 0 and have no gap."""
    kinds = {offset: KINDS[offset % len(KINDS)] for offset in offsets}
    count = Counter(kinds.values())
    bad = {(offset, 3, "out_of_range") for offset, kind in kinds.items() if kind == "impossible"}
    bad |= {(offset, -1, "undecodable") for offset, kind in kinds.items() if kind == "rubbish"}
    return {
        "current": A_RECORD * (count["good"] + count["impossible"]) - count["impossible"],
        "doubled": 0,
        "of_corrections": A_RECORD * count["corrected"],
        "revisions": A_RECORD * count["corrected"],
        "resent": A_RECORD * count["again"],
        "quarantined": Counter(bad),
        "next_offset": len(kinds),
    }


class Driven:
    """A recorder of one partition that is fed from a log until nothing more comes."""

    def __init__(self, store: Store, log: FakeLog, sign_of_life: Callable[[], None] = lambda: None) -> None:
        self.log = log
        self.recorder = Recorder(store, log, backoff=Backoff(0.005, 0.05), sign_of_life=sign_of_life)

    async def start(self) -> Driven:
        self.log.position = (await self.recorder.assigned([PARTITION]))[PARTITION]
        self.log.buffer.clear()
        return self

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Future[None]]:
        """Run beside what the test does; when that is done wait for the end, or give up where it failed."""
        task = asyncio.ensure_future(self.run())
        try:
            yield task
            async with asyncio.timeout(20):
                await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def run(self, most: int = 1_000) -> None:
        while records := self.log.deliver(most):
            await self.recorder.take(records)
