"""The heartbeat's edge by itself: with nothing there it still tells, in any order it hears, and it keeps its turn."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from alerts.channels import HeartbeatChannel, Try, WebhookChannel, message
from alerts.event import AlertEvent, Evidence, Kind, Origin, Priority, State, alert_id
from alerts.notification import DeliveryAttempt, Notification, Outcome, notification_id
from ingest.admin import create_topics
from ingest.record import decode
from ingest.topics import NOTIFICATIONS, NOTIFICATIONS_STATUS, SAMPLES
from stream.heartbeat import Heart, run
from stream.heartbeat_doors import BrokerDoor, GatewayDoor, NotSent
from stream.heartbeat_pulse import Patience, Stage, Told
from stream.heartbeat_telling import Operators, message_of
from stream.watch.log_end import reader
from tests.alerts.making import an_event, at
from tests.alerts.test_channels import receiver
from tests.conftest import REPO
from timeseries.model import StoreUnavailable
from vigil.embedded.broker import EmbeddedBroker
from vitals.batch import BatchHeader
from vitals.clock import US_PER_S, to_datetime
from vitals.synthetic import DEVICE, PATIENT, SOURCE_APP

NOWHERE = "127.0.0.1:1"
FAST = Patience(missing_s=0.75, period_s=0.2)
NOW_US = 1_795_251_660_000_000


class FakeDoor:
    """Takes beats, or refuses them; `seen` is what came, refused or not."""

    name = "fake"

    def __init__(self, *, open_: bool = True) -> None:
        self.is_open = open_
        self.seen: list[tuple[int, float, bool]] = []

    async def send(self, beat_us: int, metric: str, value: float) -> None:
        assert metric == "heart_rate"
        self.seen.append((beat_us, value, self.is_open))
        if not self.is_open:
            raise NotSent("closed")

    async def close(self) -> None:
        pass


class FakeShelf:
    """A database that does not answer, or has stored everything up to a time."""

    newest: int | None = None
    asked = 0

    async def newest_us(self) -> int | None:
        self.asked += 1
        if self.newest is None:
            raise StoreUnavailable("away")
        return self.newest


def notified(beat_us: int, *, channel: str = "heartbeat", patient: str = PATIENT) -> Notification:
    when = to_datetime(beat_us)
    origin = Origin(device_id=DEVICE, source_app=SOURCE_APP)
    event = AlertEvent(
        alert_id=alert_id(patient, "heartbeat", "heart_rate", origin, beat_us), patient_id=patient,
        kind=Kind.PHYSIOLOGICAL, priority=Priority.LOW, rule="heartbeat", rule_version=1, metric="heart_rate",
        origin=origin, state=State.RAISED, opened_at=when, raised_at=when, changed_at=when, measured_at=when,
        evidence=Evidence(window_start=when, window_end=when, samples=1, unit="/min"), sentence="A beat.",
    )  # fmt: skip
    told = notification_id(event, "heartbeat", channel)
    return Notification(
        notification_id=told, alert=event, recipient="heartbeat", channel=channel, created_at=datetime.now(UTC)
    )


def attempt(of: Notification, outcome: Outcome = Outcome.DELIVERED) -> DeliveryAttempt:
    return DeliveryAttempt(
        notification_id=of.notification_id, attempt=1, outcome=outcome, at=of.created_at, detail="passed"
    )


def record(topic: str, value: bytes, key: str = PATIENT) -> Any:
    return SimpleNamespace(topic=topic, key=key.encode(), value=value, partition=0, offset=0)


def count(stage: Stage) -> float:
    return REGISTRY.get_sample_value("vigil_heartbeat_seconds_count", {"stage": stage.value}) or 0.0


async def during(heart: Heart, *tasks: Callable[[], Awaitable[None]], until: Callable[[], bool]) -> None:
    """Run some of the heart's tasks until something is so."""
    running = [asyncio.ensure_future(task()) for task in tasks]
    deadline = time.monotonic() + 20
    try:
        while not until():
            assert time.monotonic() < deadline
            for task in running:
                assert not task.done(), task
            await asyncio.sleep(0.01)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_with_broker_and_database_away_operations_are_told_all_the_same() -> None:
    requests: list[tuple[dict[str, str], bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        requests.append((dict(request.headers), await request.read()))
        return web.Response(status=204)

    door = BrokerDoor(NOWHERE, timeout_s=1.0)
    async with receiver(answer) as url:
        channel = WebhookChannel(url, secret="s3cret")
        operators = Operators(channel)
        heart = Heart(door, operators, FAST, shelf=FakeShelf())
        service = asyncio.ensure_future(run(NOWHERE, heart, operators))
        async with asyncio.timeout(20):
            while not requests:
                assert not service.done()
                await asyncio.sleep(0.02)
        await asyncio.sleep(1.0)  # long enough for a second one, were there one
        service.cancel()
        with suppress(asyncio.CancelledError):
            await service
        await door.close()
        await channel.close()
    ((headers, body),) = requests
    signed = hmac.new(b"s3cret", headers["X-Vigil-Timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Vigil-Signature"] == f"sha256={signed}"
    told = json.loads(body)
    assert (told["recipient"], told["alert"]["evidence"]["figures"]["stage"]) == ("operations", "sent")
    assert told["alert"]["evidence"]["figures"]["reached"] == "none"
    assert REGISTRY.get_sample_value("vigil_heartbeat_missing", {"stage": "sent"}) == 1


async def test_beats_alternate_and_one_that_did_not_get_in_is_made_again_as_it_was() -> None:
    door = FakeDoor()
    heart = Heart(door, Operators(None), Patience(missing_s=0.12, period_s=0.03), shelf=None)

    def turn() -> bool:
        door.is_open = len(door.seen) not in {2, 3}
        return len(door.seen) >= 7

    await during(heart, heart.beat, until=turn)
    # The door is turned between beats, so what it said is known, and how often it refused is not.
    values = [value for _, value, got_in in door.seen if got_in]
    assert values[:5] == [240.0, 60.0, 240.0, 60.0, 240.0]
    for (_, value, got_in), (_, following, _) in zip(door.seen, door.seen[1:], strict=False):
        assert (following != value) is got_in
    times = [beat_us for beat_us, _, _ in door.seen]
    assert all(beat_us % 1_000 == 0 for beat_us in times)
    assert times == sorted(set(times))


@pytest.mark.parametrize("status_first", [False, True])
async def test_a_delivery_is_heard_in_any_order_and_measured_once(status_first: bool) -> None:
    door, told = FakeDoor(), []
    heart = Heart(door, Operators(None), FAST, shelf=None)
    await during(heart, heart.beat, until=lambda: bool(door.seen))
    beat = notified(door.seen[0][0])
    told = [record(NOTIFICATIONS, beat.to_bytes()), record(NOTIFICATIONS_STATUS, attempt(beat).to_bytes())]
    before = count(Stage.NOTIFIED), count(Stage.DELIVERED)
    for one in (*(reversed(told) if status_first else told), *told):
        heart.hear(one)
    assert (count(Stage.NOTIFIED), count(Stage.DELIVERED)) == (before[0] + 1, before[1] + 1)


async def test_what_is_of_others_failed_or_unreadable_is_no_beat() -> None:
    door = FakeDoor()
    heart = Heart(door, Operators(None), FAST, shelf=None)
    await during(heart, heart.beat, until=lambda: bool(door.seen))
    beat = notified(door.seen[0][0])
    other = notified(door.seen[0][0], channel="log")
    before = count(Stage.NOTIFIED), count(Stage.DELIVERED)
    for one in (
        record(NOTIFICATIONS, beat.to_bytes(), key="p1"),
        record(NOTIFICATIONS, other.to_bytes()),
        record(NOTIFICATIONS, b"none of ours"),
        record(NOTIFICATIONS_STATUS, b""),
        record(NOTIFICATIONS_STATUS, attempt(beat, Outcome.FAILED).to_bytes()),
        record(NOTIFICATIONS_STATUS, attempt(other).to_bytes()),
    ):
        heart.hear(one)
    assert (count(Stage.NOTIFIED), count(Stage.DELIVERED)) == before
    heart.hear(record(NOTIFICATIONS, beat.to_bytes()))
    assert (count(Stage.NOTIFIED), count(Stage.DELIVERED)) == (before[0] + 1, before[1])


async def test_the_database_is_asked_until_it_has_the_beat_and_an_outage_of_it_ends_nothing() -> None:
    door, shelf = FakeDoor(), FakeShelf()
    heart = Heart(door, Operators(None), Patience(missing_s=90, period_s=30), shelf=shelf)
    before = count(Stage.STORED)

    def stored() -> bool:
        if shelf.asked and door.seen:
            shelf.newest = door.seen[0][0]
        return count(Stage.STORED) > before

    await during(heart, heart.beat, heart.look_at_shelf, until=stored)
    assert shelf.asked == 2
    assert count(Stage.STORED) == before + 1


async def test_a_beat_straight_to_the_broker_is_a_record_like_any_devices() -> None:
    with EmbeddedBroker() as broker:
        await create_topics(broker.bootstrap, partitions=1)
        door = BrokerDoor(broker.bootstrap)
        await door.send(NOW_US, "heart_rate", 240.0)
        await door.close()
        await door.send(NOW_US + US_PER_S, "heart_rate", 60.0)  # it connects again
        await door.close()
        async with reader(broker.bootstrap, SAMPLES) as consumer:
            found = await _records(consumer, 2)
    (header, first), (_, second) = (decode(one.key, one.value, one.headers) for one in found)
    assert header == BatchHeader(PATIENT, DEVICE, SOURCE_APP, "heartbeat")
    assert (first.start_us.tolist(), first.value.tolist()) == ([NOW_US], [240.0])
    assert (second.start_us.tolist(), second.value.tolist()) == ([NOW_US + US_PER_S], [60.0])


async def _records(consumer: Any, wanted: int) -> list[Any]:
    found: list[Any] = []
    async with asyncio.timeout(20):
        while len(found) < wanted:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
    return found


async def test_a_gateway_that_is_away_or_refuses_is_no_way_in() -> None:
    door = GatewayDoor("http://127.0.0.1:1", "vgl_x", timeout_s=0.2)
    with pytest.raises(NotSent, match="no gateway answers"):
        await door.send(NOW_US, "heart_rate", 60.0)
    await door.close()

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"code": "unauthorized", "status": 401, "detail": "who are you?"}, status=401)

    async with receiver(answer) as url:  # it answers at another path: 404 is no way in either
        door = GatewayDoor(url.removesuffix("/secret-path"), "vgl_secret", timeout_s=0.2)
        with pytest.raises(NotSent) as error:
            await door.send(NOW_US, "heart_rate", 60.0)
        await door.close()
    assert "vgl_secret" not in str(error.value)


class _Failing:
    def __init__(self, times: int) -> None:
        self.left, self.got, self.done = times, list[Notification](), asyncio.Event()

    async def deliver(self, notification: Notification) -> tuple[Try, ...]:
        self.got.append(notification)
        self.left -= 1
        if len(self.got) == 4:
            self.done.set()
        return (Try(Outcome.FAILED if self.left >= 0 else Outcome.DELIVERED, NOW_US, "http 503"),)

    async def close(self) -> None:
        pass


async def test_operations_are_told_again_until_they_are_reached_in_order() -> None:
    channel = _Failing(2)
    operators = Operators(channel, again_s=0.01)
    gone = Told(False, Stage.NOTIFIED, Stage.SENT, NOW_US - 180 * US_PER_S, NOW_US)
    operators.tell(gone)
    operators.tell(Told(True, Stage.NOTIFIED, Stage.DELIVERED, gone.since_us, NOW_US + 60 * US_PER_S))
    task = asyncio.ensure_future(operators.run())
    async with asyncio.timeout(20):
        await channel.done.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    states = [one.alert.state for one in channel.got]
    assert states == [State.RAISED, State.RAISED, State.RAISED, State.CLEARED]
    assert len({one.notification_id for one in channel.got}) == 2
    assert len({one.alert.alert_id for one in channel.got}) == 1


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize(("is_back", "is_worse"), [(False, False), (False, True), (True, False)])
def test_every_message_is_a_notification_that_names_no_person(stage: Stage, is_back: bool, is_worse: bool) -> None:
    told = message_of(Told(is_back, stage, None, NOW_US - 200 * US_PER_S, NOW_US, is_worse))
    assert Notification.model_validate_json(told.to_bytes()) == told
    assert told.alert.kind is Kind.TECHNICAL
    assert json.loads(message(told))["text"].startswith("High priority, technical: The synthetic patient's samples")


async def test_the_channel_takes_the_synthetic_patient_and_nobody_else() -> None:
    channel = HeartbeatChannel(clock=lambda: NOW_US)
    (passed,) = await channel.deliver(notified(NOW_US))
    assert (passed.outcome, passed.at_us) == (Outcome.DELIVERED, NOW_US)
    event = an_event()
    person = Notification(
        notification_id=notification_id(event, "clinician", "heartbeat"), alert=event, recipient="clinician",
        channel="heartbeat", created_at=at(61),
    )  # fmt: skip
    (refused,) = await channel.deliver(person)
    assert refused.outcome is Outcome.FAILED
    await channel.close()


async def test_a_bug_in_one_part_keeps_nothing_from_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.heartbeat._PAUSE_S", 0.01)

    class Broken(FakeDoor):
        async def send(self, beat_us: int, metric: str, value: float) -> None:
            raise ValueError("a bug")

    channel = _Failing(0)
    operators = Operators(channel)
    service = asyncio.ensure_future(run(NOWHERE, Heart(Broken(), operators, FAST, shelf=None), operators))
    async with asyncio.timeout(20):
        while not channel.got:
            assert not service.done()
            await asyncio.sleep(0.02)
    service.cancel()
    with suppress(asyncio.CancelledError):
        await service
    assert channel.got[0].alert.evidence.figures["stage"] == "sent"


def test_a_fault_in_the_watch_does_not_end_the_heartbeat_too() -> None:
    others = ("stream.watch", "stream.detectors", "stream.policy_file", "faust")
    asked = f"import sys, stream.heartbeat; print([one for one in sys.modules if one.startswith({others})])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=REPO)
    assert done.stdout.strip() == "[]"
