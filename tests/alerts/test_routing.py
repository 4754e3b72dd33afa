import pytest

from alerts.episode import acknowledge, fold
from alerts.event import AlertEvent, Kind, Priority, State
from alerts.notification import Notification, notification_id
from alerts.routing import HEARTBEAT, LOG, WEBHOOK, decide, default_policy
from tests.alerts.making import an_event, at
from vitals.synthetic import PATIENT as SYNTHETIC

POLICY = default_policy(webhook=True)


def told(event: AlertEvent) -> set[tuple[str, str]]:
    return {(one.recipient, one.channel) for one in decide(POLICY, fold(None, event), event, at(100))}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (an_event(), {("digest", LOG), ("clinician", WEBHOOK)}),
        (an_event(priority=Priority.HIGH), {("digest", LOG), ("clinician", WEBHOOK)}),
        (an_event(priority=Priority.LOW), {("digest", LOG)}),
        (an_event(retrospective=True), {("digest", LOG)}),
        (an_event(State.CLEARED), {("digest", LOG)}),
        (an_event(State.ESCALATED), {("digest", LOG), ("clinician", WEBHOOK)}),
        (an_event(kind=Kind.TECHNICAL, priority=Priority.HIGH), {("operators", LOG), ("operators", WEBHOOK)}),
        (an_event(kind=Kind.TECHNICAL), {("operators", LOG), ("operators", WEBHOOK)}),
        (an_event(kind=Kind.TECHNICAL, priority=Priority.LOW), {("operators", LOG)}),
        (an_event(kind=Kind.TECHNICAL, retrospective=True), {("operators", LOG)}),
        (an_event(State.CLEARED, kind=Kind.TECHNICAL), {("operators", LOG)}),
    ],
)
def test_who_is_told(event: AlertEvent, expected: set[tuple[str, str]]) -> None:
    assert told(event) == expected


def test_without_a_webhook_all_stands_in_the_log() -> None:
    assert default_policy(webhook=False).channels == {LOG, HEARTBEAT}
    assert POLICY.channels == {LOG, WEBHOOK, HEARTBEAT}


def test_asking_again_gives_the_same_ids() -> None:
    event = an_event()
    first = decide(POLICY, fold(None, event), event, at(100))
    again = decide(POLICY, fold(None, event), event, at(900))
    assert [one.notification_id for one in first] == [one.notification_id for one in again]
    assert Notification.model_validate_json(first[0].to_bytes()) == first[0]


def test_ids_tell_apart_what_must_be_told_again() -> None:
    events = [
        an_event(), an_event(State.CLEARED), an_event(State.ESCALATED), an_event(retrospective=True),
        an_event(State.ESCALATED, priority=Priority.HIGH), an_event(patient="p2"),
    ]  # fmt: skip
    ids = {notification_id(event, "clinician", channel) for event in events for channel in (LOG, WEBHOOK)}
    assert len(ids) == 2 * len(events)
    assert notification_id(an_event(sentence="x"), "a", "b") == notification_id(an_event(), "a", "b")


def test_what_was_acknowledged_pages_again_only_with_a_higher_priority() -> None:
    seen = acknowledge(fold(None, an_event()), "nurse-7", at(70))
    same = an_event(State.ESCALATED, 90)
    higher = an_event(State.ESCALATED, 90, priority=Priority.HIGH)
    assert {one.channel for one in decide(POLICY, fold(seen, same), same, at(100))} == {LOG}
    assert {one.channel for one in decide(POLICY, fold(seen, higher), higher, at(100))} == {LOG, WEBHOOK}


def test_a_message_that_comes_late_says_so() -> None:
    event = an_event()
    assert not any(one.delayed for one in decide(POLICY, fold(None, event), event, at(960)))
    assert all(one.delayed for one in decide(POLICY, fold(None, event), event, at(961)))


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("priority", Priority)
@pytest.mark.parametrize("state", State)
def test_the_synthetic_patient_s_alerts_go_to_its_own_channel_and_nowhere_else(
    kind: Kind, priority: Priority, state: State
) -> None:
    assert told(an_event(state, kind=kind, priority=priority, patient=SYNTHETIC)) == {("heartbeat", HEARTBEAT)}
    assert HEARTBEAT not in {channel for _, channel in told(an_event(state, kind=kind, priority=priority))}
