"""The services' own code as their own roles: what a room does to the database, its role may do."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

import psycopg
import pytest

from stream import ledger
from tests.console.conftest import NOW
from tests.console.world import Sample, World, alert, put
from tests.timeseries.making import Partition, query, rows
from tests.timeseries.test_roles import login, refused
from tests.timeseries.test_sample_ids import A, B, ids, told
from tests.timeseries.test_waveform_store import ECG, batch, chunk
from timeseries.alert_store import PostgresAlertStore
from timeseries.console_reader import ConsoleReader
from timeseries.deletion_store import DeletionStore, Mark, Outcome
from timeseries.logins import let_in
from timeseries.model import Rejected
from timeseries.quarantine_model import Selection
from timeseries.quarantine_outbox import QuarantineOutbox
from timeseries.quarantine_review import QuarantineReview
from timeseries.rollup import refresh
from timeseries.store import SampleStore
from timeseries.waveform_store import WaveformStore

WORLD = World(
    samples=[Sample("p-1", "heart_rate", NOW - timedelta(seconds=7 * k + 1), 60 + k % 9) for k in range(300)],
    alerts=[alert("p-1", NOW - timedelta(minutes=3))],
)


@pytest.fixture
def migrated(database: str) -> str:
    return database


async def test_waveforms_and_their_memory_are_written_by_the_recorder(migrated: str) -> None:
    with login(migrated, "vigil_recorder") as url:
        async with WaveformStore(url) as store:
            await store.write(batch(Partition("vigil.waveforms"), [chunk()], {ECG: b"memory"}))
            assert await store.read_states([ECG]) == {ECG: b"memory"}


@pytest.mark.parametrize("rolled", [False, True])
async def test_the_console_shows_and_acknowledges(migrated: str, rolled: bool) -> None:
    put(migrated, WORLD)
    if rolled:
        refresh(migrated)
    with login(migrated, "vigil_console") as url:
        reader = ConsoleReader(url)
        await reader.open()
        try:
            await reader.ready()
            assert await reader.version()
            seen = await reader.overview(silent_since=NOW, limit=9, offset=0, alert_limit=9)
            assert seen.totals.patients == 1
            assert await reader.patient("p-1", alert_limit=9) is not None
            (series,) = await reader.series(["p-1"], ["heart_rate"], NOW - timedelta(hours=1), NOW, 60)
            assert sum(bucket.n for bucket in series.buckets) == 300
            await reader.acknowledge(WORLD.alerts[0].alert_id, "nurse-1", NOW, "medium")
        finally:
            await reader.close()
    assert query(migrated, "SELECT acknowledged_by FROM alerts") == [("nurse-1",)]


async def test_dispatch_keeps_the_ledger(migrated: str) -> None:
    with login(migrated, "vigil_dispatch") as url:
        async with PostgresAlertStore(url) as store:
            for _ in range(2):
                await store.save([ledger.alert_row(WORLD.alerts[0])], [], [])
    assert query(migrated, "SELECT count(*) FROM alerts") == [(1,)]


async def test_the_quarantine_is_read_fed_and_marked(migrated: str) -> None:
    async with SampleStore(migrated) as store:
        await store.write(Partition().batch(rows(4), [Rejected(0, 99, "range")]))
    with login(migrated, "vigil_quarantine") as url:
        async with QuarantineOutbox(url) as outbox:
            taken = await outbox.take(10)
            assert len(taken) == 1
            await outbox.done(taken)
        async with QuarantineReview(url) as review:
            everything = Selection()
            assert await review.counts(everything)
            (example,) = await review.newest(everything, 5)
            extent = await review.extent(everything)
            assert await review.page(everything, extent.until, None, records=5, size=1 << 20)
            await review.mark_replayed([(example.place, 99)])
    assert query(migrated, "SELECT count(*) FROM quarantine WHERE replayed_at IS NOT NULL") == [(1,)]


@pytest.fixture
def closed_again(migrated: str) -> Iterator[str]:
    """The database, whose roles (they are the server's, not the database's) nobody can log in as afterwards."""
    yield migrated
    query(migrated, "ALTER ROLE vigil_console NOLOGIN PASSWORD NULL")


async def test_deletions_by_id_are_kept_by_recorder_and_dispatch(migrated: str) -> None:
    with login(migrated, "vigil_recorder") as recorder, login(migrated, "vigil_dispatch") as dispatch:
        lane = Partition()
        async with SampleStore(recorder) as store, DeletionStore(dispatch) as deletions:
            await store.resolve_keys(["p1"], [("d1", "app")])
            await deletions.note(told(A, B))
            for _ in range(2):
                await store.write(replace(lane.batch(rows(1)), ids=ids(A)))
                lane.stored()
            due = await deletions.due(10)
            assert len(await deletions.standing(due, 10)) == 1
            assert await deletions.mark([Mark(one, 1, outcome=Outcome.DONE) for one in due]) == [Outcome.DONE] * 2
            assert (await deletions.waiting())[0] == 0
        assert refused(dispatch, "SELECT 1 FROM samples")
        assert refused(dispatch, "UPDATE sample_ids SET time = now()")
        assert refused(recorder, "DELETE FROM sample_ids")
        assert refused(recorder, "SELECT 1 FROM samples_to_delete")


def test_a_service_logs_in_with_its_own_password(closed_again: str) -> None:
    let_in(closed_again, {"vigil_console": "a password of its own"})
    parts = urlsplit(closed_again)
    for password, works in (("a%20password%20of%20its%20own", True), ("another", False)):
        url = parts._replace(netloc=f"vigil_console:{password}@{parts.hostname}:{parts.port}").geturl()
        if works:
            assert query(url, "SELECT current_user") == [("vigil_console",)]
        else:
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(url)
    stored = query(closed_again, "SELECT rolpassword FROM pg_authid WHERE rolname = 'vigil_console'")
    assert stored[0][0].startswith("SCRAM-SHA-256$")
