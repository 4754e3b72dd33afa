"""Waiting for a database and searching a bad record are no reason to end a process; hanging is."""

import asyncio
import time

from stream.watchdog import STUCK, Patience, Watchdog
from tests.faults.making import Driven, accounted, expected, record
from tests.faults.proxy import Proxy
from tests.stream.fakes import FakeLog
from tests.timeseries.making import query
from timeseries.store import SampleStore

PATIENCE_S = 1.5


class Watched:
    """A recorder with work to do all the time, and its watchdog; `ended` says with what it would have ended."""

    def __init__(self, store: SampleStore) -> None:
        self.ended: list[int] = []
        self.dog = Watchdog(Patience(work_s=PATIENCE_S), lambda: True, end=self.end)
        self.worker = Driven(store, FakeLog(), self.dog.progress)

    def end(self, code: int) -> None:
        self.ended.append(code)
        self.dog.stop()


async def test_a_database_that_is_away_for_long_is_not_a_stuck_process(proxy: Proxy, url: str) -> None:
    async with SampleStore(proxy.url) as store:
        watched = Watched(store)
        await watched.worker.start()
        watched.worker.log.records += [record(offset) for offset in range(7)]
        await proxy.close_door()
        watched.dog.start()
        async with watched.worker.running():
            await asyncio.sleep(3 * PATIENCE_S)
            await proxy.open_door()
        watched.dog.stop()
    assert watched.ended == []
    assert accounted(url) == expected(range(7))


async def test_a_long_search_for_a_record_is_not_a_stuck_process(url: str) -> None:
    query(
        url,
        "CREATE FUNCTION hangs() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF new.value = 66 THEN PERFORM pg_sleep(60); END IF; RETURN new; END'; "
        "CREATE TRIGGER hangs BEFORE INSERT ON samples FOR EACH ROW EXECUTE FUNCTION hangs()",
    )
    async with SampleStore(url, statement_timeout_s=0.5) as store:
        watched = Watched(store)
        await watched.worker.start()
        watched.worker.log.records += [record(offset, value=66.0 if offset == 2 else 60.0) for offset in range(7)]
        watched.dog.start()
        begun = time.monotonic()
        await watched.worker.run()
        assert time.monotonic() - begun > 2 * PATIENCE_S
        watched.dog.stop()
    assert watched.ended == []
    assert accounted(url)["quarantined"] == {(2, -1, "write_refused"): 1}


async def test_a_call_that_hangs_is_a_stuck_process(proxy: Proxy, url: str) -> None:
    async with SampleStore(proxy.url) as store:  # with a patience of its own, longer than the watchdog's
        watched = Watched(store)
        await watched.worker.start()
        watched.worker.log.records += [record(offset) for offset in range(7)]
        proxy.freeze()
        watched.dog.start()
        async with watched.worker.running():
            async with asyncio.timeout(10):
                while not watched.ended:  # noqa: ASYNC110 - a thread looks
                    await asyncio.sleep(0.05)
            proxy.thaw()
    assert watched.ended == [STUCK]
    assert accounted(url) == expected(range(7))
