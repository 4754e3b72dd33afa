"""What is told of a person after their erasure stands in no table again; of everybody else it does."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep

import psycopg
import pytest
from prometheus_client import REGISTRY

from alerts.event import AlertEvent, State
from alerts.notification import DeliveryAttempt, Notification, Outcome, notification_id
from stream import ledger
from stream.ledger import Page
from tests.alerts.making import an_event
from tests.timeseries.making import query
from tests.timeseries.test_roles import login, refused
from timeseries.alert_store import PostgresAlertStore
from timeseries.archive_erase import UnderHold
from timeseries.consent import Consents, Purpose, Stored
from timeseries.erasure import erase
from timeseries.holds import place
from timeseries.queries import load

NOW = datetime.now(UTC)
COUNTS = """SELECT (SELECT count(*) FROM alerts WHERE patient_id = 'p1'),
    (SELECT count(*) FROM notifications WHERE patient_id = 'p1'), (SELECT count(*) FROM delivery_attempts)"""


@pytest.fixture
def migrated(database: str) -> str:
    query(database, "INSERT INTO patients (patient_id) VALUES ('p1'), ('p2')")
    return database


def told(patient: str = "p1", after_s: float = 0, state: State = State.RAISED, rule: str = "not_monitored") -> Page:
    """An alert that opened so long after (or before) now, its notification and an attempt a minute later."""
    begin = an_event(state, patient=patient, rule=rule)
    by = NOW + timedelta(seconds=after_s) - begin.opened_at
    moved = {
        name: getattr(begin, name) + by
        for name in ("opened_at", "raised_at", "changed_at", "cleared_at", "measured_at")
        if getattr(begin, name) is not None
    }
    event: AlertEvent = begin.model_copy(update=moved)
    message = Notification(
        notification_id=notification_id(event, "digest", "log"), alert=event, recipient="digest", channel="log",
        created_at=event.changed_at,
    )  # fmt: skip
    attempt = DeliveryAttempt(
        notification_id=message.notification_id, attempt=1, outcome=Outcome.DELIVERED, at=event.changed_at, detail="ok"
    )
    return Page([ledger.alert_row(event)], [ledger.notification_row(message)], [ledger.attempt_row(attempt, patient)])


def left_out() -> tuple[float | None, ...]:
    return tuple(
        REGISTRY.get_sample_value("vigil_ledger_erased_total", {"what": what}) or 0
        for what in ("alert", "notification", "attempt")
    )


async def keep(url: str, *pages: Page) -> None:
    """Write as the ledger does, as the role that the ledger has."""
    with login(url, "vigil_dispatch") as dispatch:
        async with PostgresAlertStore(dispatch) as store:
            for page in pages:
                await ledger.save(store, page, max_backoff_s=0.01)


def grant(url: str, patient: str = "p1", purpose: Purpose = Purpose.CARE) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        Consents(connection, "nurse-1").grant(patient, ["vital"], purpose, document="c-1")


def withdraw(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        Consents(connection, "nurse-1").withdraw("p1", document="w-1", stored=Stored.KEEP)


async def test_what_the_watch_says_after_the_erasure_is_counted_and_not_written(migrated: str) -> None:
    high = "heart_rate_high"
    grant(migrated)
    await keep(migrated, told(after_s=-600, rule=high))
    assert query(migrated, COUNTS) == [(1, 1, 1)]
    erase(migrated, None, "p1", "dpo-1", "matter 17")
    assert query(migrated, COUNTS) == [(0, 0, 0)]
    before = left_out()
    await keep(migrated, told(after_s=-600, state=State.CLEARED, rule=high), told(), told(after_s=900), told("p2"))
    assert query(migrated, COUNTS) == [(0, 0, 1)]
    assert query(migrated, "SELECT patient_id FROM alerts UNION SELECT patient_id FROM notifications") == [("p2",)]
    assert left_out() == tuple((count or 0) + 3 for count in before)


async def test_somebody_of_whom_no_consent_was_noted_stays_erased_too(migrated: str) -> None:
    erase(migrated, None, "p1", "dpo-1", "matter 17")
    erase(migrated, None, "p1", "dpo-1", "said again")
    grant(migrated, purpose=Purpose.RESEARCH)
    await keep(migrated, told(after_s=900))
    assert query(migrated, COUNTS) == [(0, 0, 0)]


@pytest.mark.parametrize("again", [False, True])
async def test_who_consents_again_is_told_of_again_but_not_of_what_was_before(migrated: str, again: bool) -> None:
    grant(migrated)
    erase(migrated, None, "p1", "dpo-1", "matter 17")
    grant(migrated)
    old = told(after_s=-600, state=State.CLEARED, rule="heart_rate_high")
    await keep(migrated, old, told(after_s=900))
    assert query(migrated, COUNTS) == [(1, 1, 1)]
    if again:  # a later withdrawal that keeps what is stored is no erasure; another erasure is
        withdraw(migrated)
        await keep(migrated, told(after_s=1_000, rule="heart_rate_low"))
        assert query(migrated, COUNTS) == [(2, 2, 2)]
        erase(migrated, None, "p1", "dpo-1", "matter 18")
        await keep(migrated, old, told(after_s=1_200))
        assert query(migrated, COUNTS) == [(0, 0, 0)]


@pytest.mark.parametrize("is_asked", [False, True])
async def test_an_erasure_that_a_hold_stopped_at_once_takes_nobody_off_the_ledger(
    migrated: str, is_asked: bool
) -> None:
    """They are watched as before: what is told of them must be seen."""
    if is_asked:
        grant(migrated)

    def placed(_table: str, _rows: int) -> None:
        if not query(migrated, "SELECT 1 FROM legal_holds"):
            place(migrated, "p1", "judge-1", "court 7")

    with pytest.raises(UnderHold):  # before consents are withdrawn: after the first step, the tokens
        erase(migrated, None, "p1", "dpo-1", "matter 17", done=placed)
    assert query(migrated, "SELECT count(*), count(finished_at) FROM erasures") == [(1, 0)]
    assert query(migrated, "SELECT 1 FROM consents WHERE withdrawn_at IS NOT NULL") == []
    await keep(migrated, told(after_s=900))
    assert query(migrated, COUNTS) == [(1, 1, 1)]


async def test_between_the_withdrawal_and_the_end_of_an_erasure_nothing_is_written(migrated: str) -> None:
    def breaks(table: str, _rows: int) -> None:
        if table == "alerts":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        erase(migrated, None, "p1", "dpo-1", "matter 17", done=breaks)
    await keep(migrated, told(after_s=900))
    assert query(migrated, COUNTS) == [(0, 0, 0)]


def test_what_is_being_written_meanwhile_goes_too(migrated: str) -> None:
    """A page of the ledger that began before the erasure commits in the middle of it."""
    page = told()
    with psycopg.connect(migrated) as writer, ThreadPoolExecutor(1) as pool:
        for name, rows in (("put_alert", page.alerts), ("put_notification", page.notifications)):
            writer.execute(load("alerts")[name].encode(), dict(rows[0]))
        running = pool.submit(erase, migrated, None, "p1", "dpo-1", "matter 17")
        waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'vigil erase' AND wait_event_type = 'Lock'"
        deadline = monotonic() + 30
        while not query(migrated, f"{waits} AND datname = current_database()"):
            assert monotonic() < deadline
            assert not running.done(), "it went past a page that is being written"
            sleep(0.02)
        writer.commit()
        running.result(30)
    assert query(migrated, COUNTS) == [(0, 0, 0)]


async def test_dispatch_sees_of_erasures_only_whom(migrated: str) -> None:
    erase(migrated, None, "p1", "dpo-1", "matter 17")
    with login(migrated, "vigil_dispatch") as url:
        assert query(url, "SELECT patient_id FROM erased_people WHERE until = 'infinity'") == [("p1",)]
        assert refused(url, "SELECT 1 FROM erasures")
    for role in ("vigil_console", "vigil_watch", "vigil_reader"):
        with login(migrated, role) as url:
            assert refused(url, "SELECT 1 FROM erased_people"), role
