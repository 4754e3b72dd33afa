"""The connection to PostgreSQL cut at any byte, its answers lost, held back or slow: all is stored, nothing twice."""

import asyncio
import time

import numpy as np
import pytest

from stream import metrics
from tests.faults.making import Driven, accounted, expected, record
from tests.faults.proxy import Proxy, Side
from tests.stream.fakes import FakeLog
from tests.timeseries.making import query
from timeseries.store import SampleStore

BATCH = 14
POINTS = 24


def _more(log: FakeLog) -> None:
    log.records += [record(offset) for offset in range(len(log.records), len(log.records) + BATCH)]


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_connection_cut_at_any_byte_of_a_batch(proxy: Proxy, url: str, side: Side) -> None:
    """In the lock, in the middle of COPY, in the conflict path, in the commit; what the client says, or the server."""
    async with SampleStore(proxy.url, connect_timeout_s=2) as store:
        worker = await Driven(store, FakeLog()).start()
        for _ in range(2):  # the second time all is known and prepared
            _more(worker.log)
            proxy.passed[side] = 0
            await worker.run()
        last = proxy.passed[side] - 1
        assert last > 1_000
        for point in np.linspace(0, last, POINTS).astype(int).tolist():
            _more(worker.log)
            proxy.cut_after(side, point)
            await worker.run()
            await worker.run()
            assert accounted(url) == expected(range(len(worker.log.records))), f"cut after byte {point}"
    assert proxy.cuts >= POINTS - 2, "the last ones may have fallen behind the end"


async def test_a_commit_whose_answer_is_lost_was_done_and_is_not_done_again(proxy: Proxy, url: str) -> None:
    async with SampleStore(proxy.url, connect_timeout_s=2) as store:
        worker = await Driven(store, FakeLog()).start()
        _more(worker.log)
        await worker.run()
        for _ in range(3):
            fenced = metrics.FENCED._value.get()
            _more(worker.log)
            proxy.lose_answer_to(b"COMMIT\0")
            await worker.recorder.take(worker.log.deliver())
            assert metrics.FENCED._value.get() == fenced + 1, "the watermark showed that it was stored"
            assert accounted(url) == expected(range(len(worker.log.records)))
        await worker.run()
        assert accounted(url) == expected(range(len(worker.log.records)))
    assert proxy.cuts == 3


async def test_a_frozen_server_holds_the_recorder_for_a_bounded_time_only(proxy: Proxy, url: str) -> None:
    """Its kernel still acknowledges, so TCP says nothing; and no timeout of the server's own runs."""
    signs: list[float] = []
    async with SampleStore(proxy.url, statement_timeout_s=0.5, connect_timeout_s=2) as store:
        worker = await Driven(store, FakeLog(), lambda: signs.append(time.monotonic())).start()
        _more(worker.log)
        await worker.run()
        _more(worker.log)
        signs.clear()
        proxy.freeze()
        async with worker.running(), asyncio.timeout(20):
            while len(signs) < 2:  # noqa: ASYNC110 - the call was given up, and then a connection
                await asyncio.sleep(0.05)
            proxy.thaw()
    assert accounted(url) == expected(range(2 * BATCH))


async def test_a_database_too_slow_for_a_batch_gets_smaller_ones(url: str) -> None:
    query(
        url,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_sleep(0.002); RETURN new; END'; "
        "CREATE TRIGGER slow BEFORE INSERT ON samples FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    async with SampleStore(url, statement_timeout_s=0.3) as store:
        worker = await Driven(store, FakeLog()).start()
        _more(worker.log)
        await worker.run()
    assert accounted(url) == expected(range(BATCH))


async def test_a_slow_way_to_the_database_loses_nothing(proxy: Proxy, url: str) -> None:
    proxy.delay_s = 0.004
    async with SampleStore(proxy.url) as store:
        worker = await Driven(store, FakeLog()).start()
        for _ in range(3):
            _more(worker.log)
            await worker.run(most=5)
    assert accounted(url) == expected(range(3 * BATCH))
