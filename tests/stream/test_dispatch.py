"""Dispatch, notifier and ledger: their pure parts, then all of them on a real broker with a real receiver."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from aiohttp import web
from aiokafka import AIOKafkaProducer
from psycopg.rows import dict_row

from alerts.channels import LogChannel, Try, WebhookChannel
from alerts.event import AlertEvent, Audience, Kind, Priority, State
from alerts.notification import DeliveryAttempt, Notification, Outcome
from alerts.routing import LOG, WEBHOOK, default_policy
from stream import dispatch, ledger, notifier
from stream.dispatch import Desk
from stream.in_flight import InFlight
from stream.ledger import Page, Topics
from tests.alerts.making import START, an_event
from tests.services.topics import new_topic, read
from timeseries.alert_store import AlertRow, AttemptRow, Erased, NotificationRow, PostgresAlertStore
from timeseries.migrate import migrate
from timeseries.model import StoreRefused, StoreUnavailable
from vigil.embedded.broker import EmbeddedBroker
from vitals.clock import from_datetime

POLICY = default_policy(webhook=True)
NOW_US = from_datetime(START) + 61_000_000
COUNTS = """
    SELECT (SELECT count(*) FROM alerts) AS a, (SELECT count(*) FROM notifications) AS n,
           (SELECT count(*) FROM delivery_attempts) AS d
"""
SESSION_MS = 6_000  # the shortest that the broker allows: a join takes half of it


# --- pure ------------------------------------------------------------------------------------------------------------


def test_the_desk_tells_once_and_forgets_what_was_not_published() -> None:
    desk = Desk()
    wanted, changed = desk.consider(POLICY, [an_event(), an_event()], NOW_US)
    assert [one.channel for one in wanted] == [LOG, WEBHOOK]
    again, _ = desk.consider(POLICY, [an_event()], NOW_US)  # publishing failed: it was not kept
    assert again == wanted
    desk.keep(changed)
    assert desk.consider(POLICY, [an_event(), an_event(sentence="Fresher evidence.")], NOW_US)[0] == []


def test_what_was_told_before_is_not_told_again_but_what_follows_is() -> None:
    desk = Desk()
    desk.remember([an_event()])
    wanted, _ = desk.consider(POLICY, [an_event(), an_event(State.CLEARED, 100)], NOW_US)
    assert [(one.alert.state, one.channel) for one in wanted] == [(State.CLEARED, LOG)]


def test_a_full_desk_may_repeat_but_never_misses() -> None:
    desk = Desk(limit=2)
    events = [an_event(patient=f"p{number}") for number in range(5)]
    desk.remember(events)
    told = {one.alert.patient_id for one in desk.consider(POLICY, [*events, an_event(patient="p9")], NOW_US)[0]}
    assert told == {"p0", "p1", "p2", "p9"}


def test_offsets_wait_for_the_first_unfinished() -> None:
    offsets: InFlight[str] = InFlight()
    for offset in (3, 4, 6):
        offsets.begin("a", offset)
    assert (len(offsets), offsets.committable()) == (3, {"a": 3})
    offsets.finish("a", 4)
    assert offsets.committable() == {}
    offsets.finish("a", 3)
    assert offsets.committable() == {"a": 6}
    offsets.finish("a", 6)
    assert offsets.committable() == {"a": 7}
    offsets.forget(["a"])
    offsets.finish("a", 6)
    assert offsets.committable() == {}


@dataclass
class FakeStore:
    """Keeps rows by their keys; fails as it is told."""

    failures: list[Exception] = field(default_factory=list)
    bad_patient: str = ""
    rows: dict[tuple[object, ...], object] = field(default_factory=dict)

    async def save(
        self, alerts: Sequence[AlertRow], notifications: Sequence[NotificationRow], attempts: Sequence[AttemptRow]
    ) -> Erased:
        if self.failures:
            raise self.failures.pop(0)
        if any(row["patient_id"] == self.bad_patient for row in alerts):
            raise StoreRefused("no")
        self.rows |= {("alert", row["alert_id"]): row for row in alerts}
        self.rows |= {("notification", row["notification_id"]): row for row in notifications}
        self.rows |= {("attempt", row["notification_id"], row["at"], row["attempt"]): row for row in attempts}
        return Erased()


async def test_the_ledger_waits_for_the_database_and_leaves_out_only_what_is_refused() -> None:
    events = [an_event(patient=f"p{number}") for number in range(3)]
    page = Page(alerts=[ledger.alert_row(event) for event in events])
    store = FakeStore([StoreUnavailable("away"), StoreUnavailable("away")], bad_patient="p1")
    await ledger.save(store, page, max_backoff_s=0.01)
    assert set(store.rows) == {("alert", events[0].alert_id), ("alert", events[2].alert_id)}


def test_what_is_for_review_alone_is_not_in_the_ledger() -> None:
    page = Page()
    for event in (an_event(), an_event(patient="p2").model_copy(update={"audience": Audience.REVIEW})):
        ledger._enter(page, Topics(), SimpleNamespace(topic=Topics().alerts, value=event.to_bytes()))
    assert [row["patient_id"] for row in page.alerts] == ["p1"]


@pytest.mark.parametrize(("key", "patient"), [(b"p1", "p1"), (None, ""), (b"\xff\0", "\ufffd")])
def test_whose_an_attempt_is_says_the_key_of_its_message(key: bytes | None, patient: str) -> None:
    attempt = DeliveryAttempt(notification_id="0" * 32, attempt=1, outcome=Outcome.FAILED, at=START, detail="timeout")
    page = Page()
    ledger._enter(page, Topics(), SimpleNamespace(topic=Topics().status, key=key, value=attempt.to_bytes()))
    assert [row["patient_id"] for row in page.attempts] == [patient]


# --- the store -------------------------------------------------------------------------------------------------------


def rows(url: str, query: str) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query).fetchall()  # type: ignore[call-overload, no-any-return, unused-ignore]


async def keep(store: PostgresAlertStore, *events: AlertEvent) -> None:
    for event in events:
        await store.save([ledger.alert_row(event)], [], [])


async def test_the_later_event_wins_in_the_table_too(database: str) -> None:
    raised, cleared = an_event(), an_event(State.CLEARED, 120)
    async with PostgresAlertStore(database) as store:
        await keep(store, cleared, raised, cleared)
        assert await store.open_alerts() == []
        await keep(store, an_event(patient="p2"), an_event(patient="p3", opened_s=5))
        assert [one["patient_id"] for one in await store.open_alerts()] == ["p3", "p2"]
    (row,) = rows(database, "SELECT * FROM alerts WHERE patient_id = 'p1'")
    assert (row["state"], row["cleared_at"], row["raised_at"]) == ("cleared", cleared.cleared_at, raised.raised_at)
    assert row["evidence"]["samples"] == 60


async def test_what_was_said_while_it_was_open_outlasts_the_end(database: str) -> None:
    raised = an_event().model_copy(update={"policy": "ward 4 v3"})
    higher = an_event(State.ESCALATED, 80, priority=Priority.HIGH, sentence="Heart rate above 150 /min.")
    higher = higher.model_copy(update={"policy": "ward 4 v4"})
    over = an_event(State.CLEARED, 120, sentence="Heart rate is no longer above 130 /min.")
    over = over.model_copy(update={"policy": "ward 4 v5"})  # in force when it ended
    async with PostgresAlertStore(database) as store:
        await keep(store, raised)
        (row,) = rows(database, "SELECT * FROM alerts")
        assert (row["policy"], row["raised_sentence"]) == ("ward 4 v3", raised.sentence)
        await keep(store, higher, over, over)
        await keep(store, an_event(State.CLEARED, patient="p2"))
    mine, other = rows(database, "SELECT * FROM alerts ORDER BY patient_id")
    assert (mine["sentence"], mine["raised_sentence"], mine["policy"]) == (over.sentence, higher.sentence, "ward 4 v4")
    assert mine["raised_evidence"]["window_end"] == "2026-11-21T10:01:20Z"
    assert (other["raised_sentence"], other["raised_evidence"]) == (None, None)


async def test_an_acknowledgement_stays_until_the_priority_rises(database: str) -> None:
    event = an_event()
    async with PostgresAlertStore(database) as store:
        await keep(store, event)
        assert await store.acknowledge(event.alert_id, "nurse-7", START)
        assert not await store.acknowledge(event.alert_id, "nurse-8", START)
        await keep(store, an_event(changed_s=70))
        assert [one["acknowledged_by"] for one in await store.open_alerts()] == ["nurse-7"]
        await keep(store, an_event(State.ESCALATED, 80, priority=Priority.HIGH))
        assert [one["acknowledged_by"] for one in await store.open_alerts()] == [None]


async def test_an_old_finding_that_was_seen_and_goes_on_now_waits_again(database: str) -> None:
    old = an_event(retrospective=True)
    async with PostgresAlertStore(database) as store:
        await keep(store, old)
        assert await store.acknowledge(old.alert_id, "nurse-7", START)
        await keep(store, an_event(changed_s=70, retrospective=True))
        assert [one["acknowledged_by"] for one in await store.open_alerts()] == ["nurse-7"]
        await keep(store, an_event(changed_s=80))
        assert [one["acknowledged_by"] for one in await store.open_alerts()] == [None]


async def test_the_store_names_what_can_be_tried_again(empty_database: str) -> None:
    async with PostgresAlertStore(empty_database) as store:
        with pytest.raises(StoreUnavailable, match="42P01"):  # not migrated yet
            await keep(store, an_event())
        migrate(empty_database)
        await keep(store, an_event())
        bad = ledger.alert_row(an_event(patient="p2"))
        bad["kind"] = "odd"
        with pytest.raises(StoreRefused, match="23514"):
            await store.save([ledger.alert_row(an_event(patient="p3")), bad], [], [])
        bad["kind"] = "\0"
        with pytest.raises(StoreRefused, match="none"):
            await store.save([bad], [], [])
        assert [one["patient_id"] for one in await store.open_alerts()] == ["p1"]  # all or nothing
    async with PostgresAlertStore("postgresql://nobody@127.0.0.1:1/none") as away:
        with pytest.raises(StoreUnavailable):
            await away.open_alerts()


async def test_open_alerts_use_their_index(database: str) -> None:
    from timeseries.queries import load

    query = load("alerts")["open_alerts"].replace("%(limit)s", "10")
    with psycopg.connect(database) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute(f"EXPLAIN {query}").fetchall()  # type: ignore[call-overload, unused-ignore]
    assert "alerts_open" in str(plan)
    assert "Sort" not in str(plan)


# --- on a broker -----------------------------------------------------------------------------------------------------


@dataclass
class Line:
    """The topics and groups of one test."""

    bootstrap: str
    alerts: str
    notifications: str
    status: str

    async def send(self, topic: str, *values: bytes) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all") as producer:
            for value in values:
                await producer.send_and_wait(topic, value, key=b"p1")

    def dispatch(self, **more: Any) -> Any:
        return dispatch.run(
            self.bootstrap, POLICY, alerts_topic=self.alerts, notifications_topic=self.notifications,
            group_id=f"dispatch-{self.alerts}", session_timeout_ms=SESSION_MS, **more,
        )  # fmt: skip

    def notifier(self, channels: dict[str, Any], **more: Any) -> Any:
        return notifier.run(
            self.bootstrap, channels, notifications_topic=self.notifications, status_topic=self.status,
            group_id=f"notifier-{self.alerts}", session_timeout_ms=SESSION_MS, max_pause_s=0.2, **more,
        )  # fmt: skip

    def ledger(self, store: Any) -> Any:
        topics = Topics(self.alerts, self.notifications, self.status)
        return ledger.run(
            self.bootstrap, store, topics=topics, group_id=f"ledger-{self.alerts}", session_timeout_ms=SESSION_MS,
            max_backoff_s=0.2,
        )  # fmt: skip

    async def notified(self, count: int, timeout_s: float = 30) -> list[Notification]:
        values = await read(self.bootstrap, self.notifications, count, timeout_s=timeout_s)
        return [Notification.model_validate_json(value) for value in values]


@pytest.fixture
async def line(broker: EmbeddedBroker) -> Line:
    return Line(broker.bootstrap, *[await new_topic(broker.bootstrap) for _ in range(3)])


@asynccontextmanager
async def running(*services: Any) -> AsyncIterator[None]:
    """Run services; each must end cleanly when it is cancelled, and none by itself."""
    tasks = [asyncio.create_task(service) for service in services]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20):
            assert isinstance(ended, asyncio.CancelledError), repr(ended)


async def until(condition: Callable[[], bool], timeout_s: float = 40) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - files and tables have no event to wait for
            await asyncio.sleep(0.05)


@dataclass
class Receiver:
    """A webhook that refuses the first `refuse` requests."""

    refuse: int
    bodies: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.requests <= self.refuse:
            return web.Response(status=503)
        self.bodies.append(json.loads(await request.read()))
        return web.Response()

    @asynccontextmanager
    async def at(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/hook", self.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        finally:
            await runner.cleanup()


async def test_from_alert_to_delivered_and_stored(line: Line, empty_database: str, tmp_path: Path) -> None:
    log = tmp_path / "alerts.jsonl"
    receiver = Receiver(refuse=3)
    technical = an_event(kind=Kind.TECHNICAL, rule="signal_lost", priority=Priority.LOW)
    events = [
        an_event(),
        an_event(),
        an_event(retrospective=True, patient="p2"),
        technical,
        an_event(State.CLEARED, 90),
    ]
    await line.send(line.alerts, b"no JSON of ours", b'{"patient_id": "p1"}', *[event.to_bytes() for event in events])
    async with receiver.at() as url, PostgresAlertStore(empty_database) as store:
        hook = WebhookChannel(url, secret="s", attempts=2, backoff_s=0.01)
        # The ledger starts before there are tables, as it would before the migration.
        async with running(line.dispatch(), line.notifier({LOG: LogChannel(log), WEBHOOK: hook}), line.ledger(store)):
            await until(lambda: bool(receiver.bodies) and log.exists() and len(log.read_text().splitlines()) == 4)
            await asyncio.to_thread(migrate, empty_database)
            await until(lambda: rows(empty_database, COUNTS) == [{"a": 3, "n": 5, "d": 8}])
        await hook.close()
    assert [body["alert"]["state"] for body in receiver.bodies] == ["raised"]
    assert receiver.requests == 4  # three refused, in two rounds; then taken, once for both copies of the event
    lines = log.read_text().splitlines()
    told = {(said["recipient"], said["alert"]["rule"], said["alert"]["state"]) for said in map(json.loads, lines)}
    assert told == {
        ("digest", "heart_rate_high", "raised"), ("digest", "heart_rate_high", "cleared"),
        ("operators", "signal_lost", "raised"),
    }  # fmt: skip
    outcomes = rows(
        empty_database, "SELECT outcome, detail FROM delivery_attempts WHERE detail LIKE 'http%' ORDER BY attempt"
    )
    assert [one["outcome"] for one in outcomes] == ["failed", "failed", "failed", "delivered"]


async def test_a_restarted_dispatch_goes_on_and_repeats_nothing_it_knows(line: Line) -> None:
    await line.send(line.alerts, an_event().to_bytes())
    async with running(line.dispatch()):
        assert len(await line.notified(2)) == 2
        await asyncio.sleep(0.5)  # it commits
    await line.send(line.alerts, an_event().to_bytes(), an_event(patient="p2").to_bytes())
    async with running(line.dispatch()):
        told = await line.notified(4)
        assert len(await line.notified(5, timeout_s=1)) == 4
    assert [one.alert.patient_id for one in told] == ["p1", "p1", "p2", "p2"]


async def test_a_dispatch_that_dies_before_its_commit_repeats_with_the_same_ids(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    await line.send(line.alerts, an_event().to_bytes())

    async def die(*_: object) -> None:
        raise RuntimeError("killed between publishing and committing")

    with monkeypatch.context() as patched:
        patched.setattr(dispatch, "commit", die)
        with pytest.raises(RuntimeError, match="killed"):
            await asyncio.wait_for(line.dispatch(), 40)
    async with running(line.dispatch()):
        told = [one.notification_id for one in await line.notified(4)]
    assert told[:2] == told[2:]
    receiver = Receiver(refuse=0)
    async with receiver.at() as url:
        channels: dict[str, Any] = {WEBHOOK: WebhookChannel(url), LOG: Refusing()}
        async with running(line.notifier(channels, give_up_after_s=0)):
            statuses = await read(line.bootstrap, line.status, 5, timeout_s=20)
        await channels[WEBHOOK].close()
    assert len(receiver.bodies) == 1
    outcomes = [json.loads(value)["outcome"] for value in statuses]
    assert sorted(outcomes) == ["abandoned", "abandoned", "delivered", "failed", "failed"]


class Refusing:
    """A channel that never delivers."""

    async def deliver(self, notification: Notification) -> tuple[Try, ...]:
        return (Try(Outcome.FAILED, NOW_US, "no"),)

    async def close(self) -> None: ...


async def test_a_channel_that_nobody_configured_is_told_and_holds_nothing_up(line: Line) -> None:
    await line.send(line.alerts, an_event().to_bytes())
    async with running(line.dispatch(), line.notifier({})):
        statuses = [json.loads(value) for value in await read(line.bootstrap, line.status, 2, timeout_s=30)]
    assert [one["outcome"] for one in statuses] == ["abandoned", "abandoned"]
    assert {one["detail"] for one in statuses} == {"no such channel is configured"}
