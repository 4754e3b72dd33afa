"""Verdicts on samples: whose they are, who may tell them, what is told twice, where what is accepted goes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.client.samples import arrow_body
from ingest.deletion_record import decode_deletions
from ingest.gateway.judge import judge
from ingest.gateway.parse_arrow import parse_arrow
from ingest.gateway.parse_json import parse_json
from ingest.gateway.parsed import BodyRefused, Delivery, Judged, Outcome, Parsed, Retry, Status
from ingest.gateway.repeats import repeats
from ingest.record import decode
from ingest.record_arrow import MAX_SAMPLES
from ingest.topics import MAX_MESSAGE_BYTES
from tests.vitals.test_batch import assert_same
from vitals.access import Kind, Principal
from vitals.batch import SampleColumns, sample_columns
from vitals.clock import to_datetime
from vitals.gate import CATEGORIES, Binding, DeviceRule, DeviceState, Gate, Permissions
from vitals.ids import DeviceId, PatientId
from vitals.validity import reasons

NOW_US = 1_795_251_660_000_000
MINUTE_US = 60_000_000
DAY_US = 1_440 * MINUTE_US
LIVE, BACKFILL = "vigil.samples", "vigil.samples.backfill"
HEART_RATE, SPO2, STEPS = 1, 5, 16
WATCH, PUMP = DeviceId("watch-1"), DeviceId("pump-1")
DEVICE = Principal("a" * 16, Kind.DEVICE, PatientId("p1"), frozenset({WATCH}))
PHONE = Principal("b" * 16, Kind.BRIDGE, PatientId("p1"))
WARD = Principal("c" * 16, Kind.BRIDGE, None, frozenset({WATCH, PUMP}))
EVER = 1 << 62
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def samples(start_us: Sequence[int], **columns: Any) -> SampleColumns:
    start = np.array(start_us, np.int64)
    given = {name: np.array(one) if isinstance(one, list) else one for name, one in columns.items()}
    metric = np.broadcast_to(np.array(given.pop("metric", HEART_RATE), np.int16), start.shape)
    value = np.broadcast_to(np.array(given.pop("value", 72.0), np.float64), start.shape)
    told: dict[str, Any] = {"written_us": NOW_US, **given}
    return sample_columns(start, metric, value, received_us=NOW_US, **told)


def request(columns: SampleColumns, **fields: Any) -> Parsed:
    n = len(columns)
    return Parsed(
        n, columns, np.arange(n), **{"device": "watch-1", "source_app": "ios", "written_us": NOW_US, **fields}
    )


def judged(told: Parsed, principal: Principal = PHONE, gate: Gate | None = None, adapter: str = "gateway") -> Judged:
    return judge(
        told, principal, gate or Gate(), adapter=adapter, received_us=NOW_US, request_id="r1", traceparent="00-a-b-01"
    )


def seconds_ago(*ago_s: int) -> list[int]:
    return [NOW_US - one * 1_000_000 for one in ago_s]


def verdicts(of: Judged) -> list[tuple[int, str, str | None]]:
    return [(one.index, one.reason or one.status.value, one.retry and one.retry.value) for one in of.outcomes]


def content(delivery: Delivery) -> SampleColumns:
    record = delivery.record
    return decode(record.key, record.value, record.headers)[1]


def refused(told: Parsed, principal: Principal, gate: Gate | None = None) -> tuple[int, str]:
    with pytest.raises(BodyRefused) as error:
        judged(told, principal, gate)
    assert "watch" not in str(error.value)
    return error.value.status, error.value.code


def test_what_is_accepted_goes_out_as_one_record_of_the_credentials_patient() -> None:
    columns = samples(seconds_ago(3, 2, 1), value=[70.0, 71, 72])
    told = judged(request(columns))
    assert (told.accepted, told.outcomes, told.deletions, told.not_consented) == (3, (), 0, {})
    (delivery,) = told.deliveries
    assert (delivery.topic, delivery.later) == (LIVE, BACKFILL)
    assert delivery.record.key == b"p1"
    assert dict(delivery.record.headers) == {
        "vigil-schema": b"1", "vigil-device": b"watch-1", "vigil-source-app": b"ios", "vigil-adapter": b"gateway",
        "traceparent": b"00-a-b-01", "vigil-request-id": b"r1",
    }  # fmt: skip
    assert_same(content(delivery), columns)


def test_a_device_that_is_the_only_one_need_not_be_named_nor_the_application() -> None:
    (delivery,) = judged(request(samples(seconds_ago(1)), device=None, source_app=None), DEVICE).deliveries
    headers = dict(delivery.record.headers)
    assert (headers["vigil-device"], headers["vigil-source-app"]) == (b"watch-1", b"gateway")


def test_which_device_a_credential_may_name() -> None:
    one = request(samples(seconds_ago(1)))
    unnamed, pump = replace(one, device=None), replace(one, device="pump-1")
    assert refused(unnamed, PHONE) == (422, "device_missing")
    assert refused(unnamed, WARD) == (422, "device_missing")
    assert refused(pump, DEVICE) == (403, "other_device")
    assert refused(replace(one, device="watch-2"), WARD) == (403, "other_device")
    assert refused(replace(one, device="my watch"), PHONE) == (422, "bad_field")
    assert judged(pump, PHONE).accepted == 1
    assert refused(replace(pump, columns=samples([]), count=0), DEVICE) == (403, "other_device")


def test_a_phone_may_not_name_what_only_others_wore() -> None:
    one = request(samples(seconds_ago(1)))
    others = Gate({"watch-1": DeviceRule(bindings=(Binding("p2", 0, EVER),))})
    assert refused(one, PHONE, others) == (403, "other_device")
    assert verdicts(judged(one, DEVICE, others)) == [(0, "other_wearer", "never")]
    once = Gate({"watch-1": DeviceRule(bindings=(Binding("p1", 0, 1), Binding("p2", 1, EVER)))})
    assert verdicts(judged(one, PHONE, once)) == [(0, "other_wearer", "never")]
    assert judged(one, PHONE, Gate({"watch-1": DeviceRule()})).accepted == 1


def test_every_sample_has_a_verdict_of_its_own() -> None:
    start = [NOW_US - 10**6, NOW_US - 2 * 10**6, NOW_US + 10**9, 0, NOW_US - 3 * 10**6, NOW_US - 4 * 10**6, NOW_US]
    columns = samples(
        start,
        metric=[1, 0, 1, 1, 1, STEPS, 5],
        value=[300.5, 1, 70, 70, np.nan, 5, 98],
        quality=[1, 1, 1, 1, 1, 1, 2],
    )
    told = judged(request(columns))
    assert told.outcomes == (
        Outcome(0, Status.REJECTED, "out_of_range", Retry.NEVER, "value"),
        Outcome(1, Status.REJECTED, "unknown_metric", Retry.NEVER, "metric"),
        Outcome(2, Status.REJECTED, "future", Retry.NEVER, "start"),
        Outcome(3, Status.REJECTED, "too_old", Retry.NEVER, "start"),
        Outcome(4, Status.REJECTED, "not_finite", Retry.NEVER, "value"),
        Outcome(5, Status.REJECTED, "duration", Retry.NEVER, "duration_ms"),
        Outcome(6, Status.REJECTED, "quality", Retry.NEVER, "quality"),
    )
    assert (told.accepted, told.deliveries) == (0, ())


def test_which_of_its_times_is_wrong_is_told() -> None:
    columns = samples([NOW_US, NOW_US, NOW_US + 10**9, EVER], written_us=[0, EVER, EVER, NOW_US])
    told = judged(request(columns))
    assert [(one.reason, one.field) for one in told.outcomes] == [
        ("too_old", "written"), ("future", "written"), ("future", "start"), ("future", "start"),
    ]  # fmt: skip


def test_outcomes_name_the_places_of_the_request_faults_among_them() -> None:
    fault = Outcome(1, Status.REJECTED, "bad_time", Retry.NEVER, "start")
    told = request(samples(seconds_ago(1, 2, 3), value=[70, 999, 71]))
    told = replace(told, count=4, index=np.array([0, 2, 3]), faults=(fault,))
    assert verdicts(judged(told)) == [(1, "bad_time", "never"), (2, "out_of_range", "never")]


@pytest.mark.parametrize(
    ("gate", "reason", "retry"),
    [
        (Gate(strict=True), "unknown_device", "later"),
        (Gate({"watch-1": DeviceRule(DeviceState.SUSPENDED)}), "device_suspended", "later"),
        (Gate({"watch-1": DeviceRule(DeviceState.RETIRED)}), "device_retired", "never"),
        (Gate({"watch-1": DeviceRule(permitted=np.array([SPO2], np.int16))}), "metric_not_permitted", "never"),
        (Gate(require_consent=True), "no_consent", "never"),
    ],
)
def test_what_registry_and_consent_say_and_whether_it_is_worth_trying_again(
    gate: Gate, reason: str, retry: str
) -> None:
    told = judged(request(samples(seconds_ago(1))), gate=gate)
    assert verdicts(told) == [(0, reason, retry)]
    assert told.deliveries == ()


def consent(*spans: tuple[str, int, int]) -> Permissions:
    names = [one.value for one in CATEGORIES]
    kinds = np.array([names.index(name) for name, _, _ in spans], np.int8)
    return Permissions(kinds, np.array([a for _, a, _ in spans]), np.array([b for _, _, b in spans]))


def test_history_from_before_the_binding_is_refused_for_good_and_what_may_still_be_bound_for_now() -> None:
    """A phone tells years of history first: said to come later, it would send the same for ever."""
    columns = samples([NOW_US - 400 * DAY_US, NOW_US - 30, NOW_US - 15, NOW_US - 1], value=[60, 61, 62, 63])
    bindings = (Binding("p1", NOW_US - 50, NOW_US - 40), Binding("p1", NOW_US - 20, NOW_US - 10))
    for principal in (DEVICE, WARD):
        told = judged(request(columns), principal, Gate({"watch-1": DeviceRule(bindings=bindings)}))
        assert verdicts(told) == [
            (0, "other_wearer", "never"), (1, "other_wearer", "never"), (3, "other_wearer", "later"),
        ]  # fmt: skip


def test_nothing_is_written_in_the_future() -> None:
    """Of versions the later one stands: a phone whose clock is ahead could neither correct nor delete."""
    ahead_us, last_us = NOW_US + DAY_US, NOW_US + 5 * MINUTE_US
    written_us = [ahead_us, last_us, last_us + 1, NOW_US - DAY_US, ahead_us]
    start_us = [*seconds_ago(4, 3, 2, 1), ahead_us]
    told = judged(request(samples(start_us, value=[60, 61, 62, 63, 64], written_us=written_us)))
    assert [(one.index, one.reason, one.field) for one in told.outcomes] == [
        (0, "future", "written"), (2, "future", "written"), (4, "future", "start"),
    ]  # fmt: skip
    assert {one.retry for one in told.outcomes} == {Retry.NEVER}
    (delivery,) = told.deliveries
    assert content(delivery).written_us.tolist() == [last_us, NOW_US - DAY_US]


def test_what_is_written_in_the_future_is_refused_in_either_form() -> None:
    sample = {"metric": "heart_rate", "start": to_datetime(NOW_US - MINUTE_US).isoformat(), "value": 60}
    body = {"device": "watch-1", "written": "2099-01-01T00:00:00Z", "samples": [sample]}
    parsed = parse_json(json.dumps(body).encode(), received_us=NOW_US)
    arrow = parse_arrow(arrow_body(parsed.columns), received_us=NOW_US, device="watch-1", source_app=None)
    for one in (parsed, arrow):
        told = judged(one)
        assert [(found.reason, found.field) for found in told.outcomes] == [("future", "written")]
        assert not told.deliveries


def test_what_has_no_consent_is_counted_by_metric_and_nothing_else_is_said_of_it() -> None:
    columns = samples(
        seconds_ago(5, 4, 3, 2, 1), metric=[1, 5, 1, 16, 16], value=[70, 98, 999, 4, 5], duration_ms=1_000
    )
    gate = Gate(people={"p1": consent(("activity", NOW_US - 1_500_000, EVER))})
    told = judged(request(columns), gate=gate)
    assert verdicts(told) == [(at, "no_consent", "never") for at in range(4)]
    assert told.not_consented == {1: 2, 5: 1, 16: 1}
    (delivery,) = told.deliveries
    assert content(delivery).metric.tolist() == [STEPS]


def test_history_takes_the_lane_of_history() -> None:
    columns = samples([NOW_US - 15 * MINUTE_US - 1, NOW_US - 15 * MINUTE_US, NOW_US - 1, NOW_US - 10**12])
    told = judged(request(columns))
    assert [(one.topic, one.later, content(one).start_us.tolist()) for one in told.deliveries] == [
        (LIVE, BACKFILL, columns.start_us[[1, 2]].tolist()),
        (BACKFILL, BACKFILL, columns.start_us[[0, 3]].tolist()),
    ]


def test_a_wards_bridge_tells_of_whoever_wore_the_device() -> None:
    bindings = (
        Binding("p1", 0, NOW_US - 30),
        Binding("p2", NOW_US - 20, NOW_US - 10),
        Binding("p1", NOW_US - 10, EVER),
    )
    gate = Gate({"watch-1": DeviceRule(bindings=bindings)})
    columns = samples([NOW_US - back for back in (40, 30, 20, 15, 10, 5)], value=[60, 61, 62, 63, 64, 65])
    told = judged(request(columns), WARD, gate)
    assert verdicts(told) == [(1, "other_wearer", "never")]
    assert {one.record.key: content(one).value.tolist() for one in told.deliveries} == {
        b"p1": [60, 64, 65],
        b"p2": [62, 63],
    }


def test_a_wards_bridge_has_no_patient_where_nobody_wore_the_device() -> None:
    one = request(samples(seconds_ago(1)))
    for gate in (Gate(), Gate({"watch-1": DeviceRule()}), Gate(require_consent=True)):
        assert verdicts(judged(one, WARD, gate)) == [(0, "other_wearer", "later")]
    assert verdicts(judged(one, WARD, Gate(strict=True))) == [(0, "unknown_device", "later")]
    retired = Gate({"watch-1": DeviceRule(DeviceState.RETIRED)})
    assert verdicts(judged(one, WARD, retired)) == [(0, "device_retired", "never")]


def test_consent_is_asked_of_whoever_wore_the_device() -> None:
    gate = Gate(
        {"watch-1": DeviceRule(bindings=(Binding("p1", 0, NOW_US - 20), Binding("p2", NOW_US - 20, EVER)))},
        people={"p2": consent(("sleep", 0, EVER))},
    )
    told = judged(request(samples([NOW_US - 30, NOW_US - 10])), WARD, gate)
    assert verdicts(told) == [(1, "no_consent", "never")]
    assert told.not_consented == {HEART_RATE: 1}
    assert [one.record.key for one in told.deliveries] == [b"p1"]


def test_told_twice_in_one_request() -> None:
    same = seconds_ago(9)[0]
    columns = samples(
        [same] * 7,
        value=[70, 70, 71, 72, 72, 73, 70],
        written_us=[NOW_US, NOW_US, NOW_US, NOW_US + 1, NOW_US + 1, NOW_US + 2, NOW_US - 1],
    )
    told = judged(request(columns))
    assert verdicts(told) == [(1, "duplicate", None), (2, "conflict", "never"), (4, "duplicate", None)]
    assert told.outcomes[1].field == "value"
    assert content(told.deliveries[0]).value.tolist() == [70, 72, 73, 70]


def test_what_is_refused_stands_in_the_way_of_nothing() -> None:
    told = judged(request(samples(seconds_ago(9, 9, 9), value=[999, 70, 70])))
    assert verdicts(told) == [(0, "out_of_range", "never"), (2, "duplicate", None)]


@pytest.mark.parametrize("other", [{"metric": [1, 5]}, {"duration_ms": [0, 1]}, {"written_us": [NOW_US, NOW_US + 1]}])
def test_another_identity_or_version_is_no_repetition(other: dict[str, Any]) -> None:
    assert judged(request(samples(seconds_ago(9, 9), **other))).outcomes == ()


@pytest.mark.parametrize(
    "other",
    [
        {"value": [70, 71]},
        {"quality": [1.0, 0.5]},
        {"context": [0, 8]},
        {"zone_offset_min": [60, 0]},
        {"deleted": [False, True]},
    ],
)
def test_other_content_of_the_same_version_is_a_conflict(other: dict[str, Any]) -> None:
    assert verdicts(judged(request(samples(seconds_ago(9, 9), **other)))) == [(1, "conflict", "never")]


def test_deletions_of_one_sample_say_the_same_whatever_their_value() -> None:
    told = judged(request(samples(seconds_ago(9, 9), value=[70, 71], deleted=True)))
    assert verdicts(told) == [(1, "duplicate", None)]


def test_the_same_reading_under_another_id_is_told_so_that_it_can_be_deleted() -> None:
    ids = np.repeat(np.array([1, 2, 1], np.uint8), 16).reshape(3, 16)
    told = judged(request(samples(seconds_ago(9, 9, 9), sample_id=ids)))
    assert verdicts(told) == [(2, "duplicate", None)]


few = st.integers(0, 2)


@relaxed
@given(st.lists(st.tuples(few, few, few, few, few, st.booleans()), max_size=25), st.permutations(range(25)))
def test_repetitions_are_what_a_dictionary_finds(told: list[tuple[int, ...]], order: list[int]) -> None:
    rows = [(NOW_US - 10**6 * a, (1, 5, 6)[b], 1_000 * c, NOW_US + d, 70.0 + e, gone) for a, b, c, d, e, gone in told]
    columns = samples(
        [row[0] for row in rows], metric=[row[1] for row in rows], duration_ms=[row[2] for row in rows],
        written_us=[row[3] for row in rows], value=[row[4] for row in rows],
        deleted=np.array([row[5] for row in rows], np.bool_),
    )  # fmt: skip
    among = np.array(sorted(at for at in order[:15] if at < len(rows)), np.intp)
    first: dict[tuple[Any, ...], Any] = {}
    copies: list[int] = []
    conflicts: list[int] = []
    for at in among.tolist():
        *version, value, gone = rows[at]
        says = "gone" if gone else value
        if tuple(version) not in first:
            first[tuple(version)] = says
        else:
            (copies if first[tuple(version)] == says else conflicts).append(at)
    found = repeats(columns, among)
    assert (found[0].tolist(), found[1].tolist()) == (copies, conflicts)


IDS = np.arange(48, dtype=np.uint8).reshape(3, 16)


def deleting(ids: np.ndarray[Any, np.dtype[np.uint8]] = IDS, **fields: Any) -> Parsed:
    return request(samples([]), deletions=ids, **fields)


def test_deletions_go_out_as_one_record() -> None:
    told = judged(deleting(np.concatenate([IDS, IDS]), written_us=NOW_US - 5))
    (delivery,) = told.deliveries
    assert (told.deletions, delivery.topic, delivery.later) == (6, "vigil.deletions", "vigil.deletions")
    record = delivery.record
    found = decode_deletions(record.key, record.value, record.headers)
    assert (found.header.patient_id, found.header.device_id, found.header.request_id) == ("p1", "watch-1", "r1")
    assert found.sample_ids.tolist() == IDS.tolist()
    assert (found.told_us, found.received_us) == (NOW_US - 5, NOW_US)


@pytest.mark.parametrize("written_us", [0, NOW_US + 10**12, -(2**60)])
def test_a_clock_that_is_wrong_does_not_date_a_deletion(written_us: int) -> None:
    (delivery,) = judged(deleting(written_us=written_us)).deliveries
    assert decode_deletions(delivery.record.key, delivery.record.value, delivery.record.headers).told_us == NOW_US


def test_who_may_delete() -> None:
    bound = Gate({"watch-1": DeviceRule(bindings=(Binding("p1", 0, EVER),))})
    assert refused(deleting(), WARD, bound) == (403, "not_for_this_token")
    suspended = Gate({"watch-1": DeviceRule(DeviceState.SUSPENDED)})
    assert refused(deleting(), PHONE, suspended) == (403, "device_not_admitted")
    assert refused(deleting(), PHONE, Gate(strict=True)) == (403, "device_not_admitted")
    for gate in (bound, Gate({"watch-1": DeviceRule(DeviceState.RETIRED)}), Gate(require_consent=True)):
        assert judged(deleting(), PHONE, gate).deletions == 3


@pytest.mark.parametrize("count", [MAX_SAMPLES, MAX_SAMPLES + 1, 50_000])
def test_a_large_request_is_cut_into_records_that_the_broker_takes(count: int) -> None:
    draw = np.random.default_rng(7)
    columns = samples(
        (NOW_US - draw.integers(0, MINUTE_US, count)).tolist(),
        metric=draw.choice(np.array([1, 2, 3, 5, 6]), count).tolist(),
        value=draw.uniform(60, 100, count).tolist(),
        written_us=np.arange(count) + NOW_US,
        sample_id=draw.integers(1, 255, (count, 16)).astype(np.uint8),
    )
    told = judged(request(columns))
    ok = reasons(columns) == 0
    assert told.accepted == ok.sum()
    assert all(len(one.record.value) < MAX_MESSAGE_BYTES - 4_096 for one in told.deliveries)
    assert_same(SampleColumns.concat([content(one) for one in told.deliveries]), columns.take(ok))


@relaxed
@given(
    st.lists(
        st.tuples(st.integers(-3, 3), st.sampled_from([0, 1, 5, 16]), st.sampled_from([70.0, 999.0])), max_size=20
    ),
    st.sampled_from([PHONE, WARD]),
    st.booleans(),
)
def test_every_sample_is_accepted_or_has_an_outcome(
    told: list[tuple[int, int, float]], principal: Principal, consented: bool
) -> None:
    columns = samples(
        [NOW_US + 400 * 10**6 * a for a, _, _ in told], metric=[b for _, b, _ in told], value=[c for _, _, c in told]
    )
    rule = DeviceRule(bindings=(Binding("p2", 0, NOW_US), Binding("p1", NOW_US, EVER)))
    people = {} if consented else {"p1": consent(("sleep", 0, EVER))}
    found = judged(request(columns), principal, Gate({"watch-1": rule}, people=people))
    assert found.accepted + len(found.outcomes) == len(told)
    assert sum(len(content(one)) for one in found.deliveries) == found.accepted
    assert [one.index for one in found.outcomes] == sorted({one.index for one in found.outcomes})
