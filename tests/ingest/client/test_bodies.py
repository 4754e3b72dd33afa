"""What a client sends: both wires say the same, read by the gateway's own readers."""

from collections.abc import Callable, Generator
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest

from ingest.client.calls import ARROW, Call, Wire, sending
from ingest.client.results import Reply, Sent
from ingest.client.samples import Sample, arrow_body, columns_of, json_body
from ingest.gateway.parse_arrow import parse_arrow
from ingest.gateway.parse_json import parse_json
from vitals.batch import NO_ZONE, SampleColumns
from vitals.errors import VigilError

NOW_US = 1_795_000_000_000_000
BERLIN = datetime(2026, 11, 21, 9, 0, 0, 123_456, tzinfo=ZoneInfo("Europe/Berlin"))
ONE = UUID("7c1f9c2e-5d0b-4f0e-9a51-0c2f3f7f8a01")
SAMPLES = [
    Sample("heart_rate", BERLIN, 72, id=ONE, context=("asleep", "no_contact"), quality=0.5, written=BERLIN),
    Sample("heart_rate", datetime(2026, 11, 21, 8, 0, 1, tzinfo=UTC), 73.25),
    Sample("steps", datetime(2026, 11, 21, 8, 0, tzinfo=timezone(timedelta(hours=-3, minutes=-30))), 12, 60_000),
    Sample("spo2", datetime(2026, 11, 21, 8, 0, tzinfo=ZoneInfo("UTC")), None, deleted=True),
]


def same(one: SampleColumns, other: SampleColumns) -> None:
    for field in fields(SampleColumns):
        kept = ~one.deleted if field.name == "value" else slice(None)  # a deletion's value says nothing
        np.testing.assert_array_equal(getattr(one, field.name)[kept], getattr(other, field.name)[kept], field.name)


def test_samples_in_json_and_arrow_are_the_same_to_the_gateway() -> None:
    columns = columns_of(SAMPLES, NOW_US)
    by_json = parse_json(json_body(SAMPLES, device="d1", source_app="app"), received_us=NOW_US)
    by_arrow = parse_arrow(arrow_body(columns), received_us=NOW_US, device="d1", source_app="app")
    assert (by_json.device, by_json.source_app, by_json.faults, by_arrow.faults) == ("d1", "app", (), ())
    same(by_json.columns, by_arrow.columns)
    same(by_json.columns, columns)
    assert columns.zone_offset_min.tolist() == [60, NO_ZONE, -210, 0], "only UTC itself tells of no place"


def test_columns_travel_in_json_as_they_are() -> None:
    columns = columns_of(SAMPLES, NOW_US)
    same(parse_json(json_body(columns, device="d1", source_app=None), received_us=NOW_US).columns, columns)


@pytest.mark.parametrize(
    "bad",
    [
        Sample("pulse", BERLIN, 1),
        Sample("heart_rate", BERLIN),
        Sample("heart_rate", BERLIN, 1, context=("dreaming",)),
    ],
)
def test_what_no_column_can_hold_is_said_before_anything_is_sent(bad: Sample) -> None:
    with pytest.raises(VigilError):
        columns_of([bad], NOW_US)


def test_a_time_without_a_zone_is_none() -> None:
    with pytest.raises(VigilError, match="zone"):
        Sample("heart_rate", datetime(2026, 11, 21), 1)  # noqa: DTZ001  that is the point


def driven(plan: Generator[Call, Reply, Sent], ask: Callable[[Call], Reply]) -> Sent:
    call = next(plan)
    while True:
        try:
            call = plan.send(ask(call))
        except StopIteration as over:
            return over.value  # type: ignore[no-any-return]


def answer(**other: object) -> Reply:
    told = {
        "request_id": "r", "received": 0, "accepted": 0, "duplicates": 0, "rejected": 0, "reasons": {}, "outcomes": [],
        "deletions": 0, "anchors": [], "safe": None,
    }  # fmt: skip
    return Reply(202, orjson.dumps(told | other))


def test_many_samples_go_in_batches_then_deletions_then_anchors() -> None:
    samples = [Sample("heart_rate", BERLIN + timedelta(seconds=n), 60) for n in range(1_200)]
    plan = sending(
        samples, device="d", source_app=None, deletions=[ONE] * 5_001, anchors={"heart_rate": "a"}, wire=None, now_us=1
    )
    sizes, keys = [], set()

    def asked(call: Call) -> Reply:
        assert isinstance(call.content, bytes)
        keys.add(call.headers["idempotency-key"])
        parsed = parse_json(call.content, received_us=NOW_US)
        sizes.append((parsed.count, len(parsed.deletions), dict(parsed.anchors)))
        rejected = {"index": 1, "status": "rejected", "reason": "out_of_range", "retry": "never", "field": "value"}
        listed = {"outcomes": [rejected], "rejected": 1, "reasons": {"out_of_range": 1}} if parsed.count else {}
        accepted = max(0, parsed.count - 1)
        return answer(received=parsed.count, accepted=accepted, safe="broker" if accepted else None, **listed)

    sent = driven(plan, asked)
    assert sizes == [(500, 0, {}), (500, 0, {}), (200, 0, {}), (0, 5_000, {}), (0, 1, {}), (0, 0, {"heart_rate": "a"})]
    assert len(keys) == 6, "each batch has a key of its own"
    assert (sent.received, sent.accepted, sent.rejected, sent.reasons) == (1_200, 1_197, 3, {"out_of_range": 3})
    assert [one.index for one in sent.outcomes] == [1, 501, 1_001], "indices are those of what was given"
    assert sent.later == ()


def test_anchors_wait_for_what_was_refused_for_now() -> None:
    plan = sending(
        [Sample("heart_rate", BERLIN, 60)], device="d", source_app=None, deletions=[], anchors={"a": "b"},
        wire=Wire.ARROW, now_us=1,
    )  # fmt: skip
    call = next(plan)
    assert call.headers["content-type"] == ARROW
    assert call.headers["vigil-device"] == "d"
    told = {"index": 0, "status": "rejected", "reason": "other_wearer", "retry": "later"}
    with pytest.raises(StopIteration) as over:
        plan.send(answer(received=1, rejected=1, outcomes=[told]))
    assert over.value.value.later == (0,)
