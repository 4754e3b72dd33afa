"""JSON requests: what is read, what is a fault of one sample, what refuses the whole body; all of it bounded."""

import json
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.gateway.json_faults import fault_of
from ingest.gateway.json_samples import Faulty, columns_of
from ingest.gateway.json_text import check_bounds, load_json
from ingest.gateway.parse_json import parse_document, parse_json, read_samples
from ingest.gateway.parsed import BodyRefused, Outcome, Parsed, Retry, Status
from tests.vitals.test_batch import assert_same
from vitals.batch import SampleColumns
from vitals.quality import Context

RECEIVED_US = 1_795_251_660_000_000  # 2026-11-21T09:01:00Z
NINE_US = RECEIVED_US - 60_000_000
NINE = "2026-11-21T10:00:00+01:00"
UUID = "8F14E45F-ceea-467f-a0e6-6b1f0a2d1c3b"
GOOD: Mapping[str, Any] = {"metric": "heart_rate", "start": NINE, "value": 72}


def parsed(document: object) -> Parsed:
    return parse_json(json.dumps(document).encode(), received_us=RECEIVED_US)


def one(**fields: Any) -> Parsed:
    return parsed({"samples": [{**GOOD, **fields}]})


def column(told: Parsed, name: str) -> Any:
    (value,) = getattr(told.columns, name).tolist()
    return value


def refused(body: bytes) -> BodyRefused:
    with pytest.raises(BodyRefused) as error:
        parse_json(body, received_us=RECEIVED_US)
    return error.value


def test_a_sample_with_everything() -> None:
    told = parsed(
        {
            "device": "watch-1",
            "source_app": "ios",
            "written": "2026-11-21T09:00:30Z",
            "samples": [
                {
                    **GOOD, "end": "2026-11-21T10:00:05.5+01:00", "unit": "/min", "quality": 0.5, "deleted": False,
                    "context": ["asleep", "no_contact"], "written": "2026-11-21T09:00:10Z", "id": UUID,
                }
            ],
            "deletions": [UUID, "00000000-0000-0000-0000-000000000001"],
            "anchors": {"heart_rate": "abc="},
        }
    )  # fmt: skip
    assert (told.count, told.device, told.source_app, told.faults) == (1, "watch-1", "ios", ())
    assert told.index.tolist() == [0]
    columns = told.columns
    assert columns.start_us.tolist() == [NINE_US]
    assert columns.zone_offset_min.tolist() == [60]
    assert columns.duration_ms.tolist() == [5_500]
    assert columns.metric.tolist() == [1]
    assert columns.value.tolist() == [72.0]
    assert columns.quality.tolist() == [0.5]
    assert columns.context.tolist() == [Context.ASLEEP | Context.NO_CONTACT]
    assert columns.written_us.tolist() == [NINE_US + 10_000_000]
    assert columns.received_us.tolist() == [RECEIVED_US]
    assert columns.sample_id[0].tobytes().hex() == UUID.replace("-", "").lower()
    assert columns.deleted.tolist() == [False]
    assert told.deletions.tobytes().hex() == UUID.replace("-", "").lower() + "0" * 31 + "1"
    assert told.anchors == {"heart_rate": "abc="}
    assert told.written_us == NINE_US + 30_000_000


def test_what_is_not_told_has_a_default() -> None:
    told = one()
    assert (told.device, told.source_app, told.written_us) == (None, None, RECEIVED_US)
    assert column(told, "written_us") == RECEIVED_US
    assert (column(told, "duration_ms"), column(told, "quality"), column(told, "context")) == (0, 1.0, 0)
    assert not told.columns.sample_id.any()
    nulls = dict.fromkeys(("end", "duration_ms", "unit", "quality", "context", "written", "id", "deleted"))
    assert_same(one(**nulls).columns, told.columns)
    empty = {"device": None, "source_app": None, "written": None, "deletions": None, "anchors": None}
    assert_same(parsed({**empty, "samples": [GOOD]}).columns, told.columns)


def test_what_the_request_was_written_counts_for_samples_that_do_not_say() -> None:
    told = parsed(
        {"written": NINE, "samples": [GOOD, {**GOOD, "written": "2026-11-21T09:00:20Z"}, {**GOOD, "written": None}]}
    )
    assert told.columns.written_us.tolist() == [NINE_US, NINE_US + 20_000_000, NINE_US]


@pytest.mark.parametrize(
    ("fields", "duration_ms"),
    [
        ({"duration_ms": 60_000}, 60_000),
        ({"duration_ms": 60_000.0}, 60_000),
        ({"duration_ms": -1}, -1),
        ({"duration_ms": 10**40}, 1 << 53),
        ({"duration_ms": -(10**40)}, -(1 << 53)),
        ({"end": NINE}, 0),
        ({"end": "2026-11-21T10:01:00+01:00"}, 60_000),
        ({"end": "2026-11-21T09:01:00Z"}, 60_000),
        ({"end": "2026-11-21T08:59:59.9999Z"}, -1),
    ],
)
def test_how_long_it_lasted(fields: dict[str, Any], duration_ms: int) -> None:
    assert column(one(**fields), "duration_ms") == duration_ms


def test_samples_may_say_how_long_they_lasted_in_different_ways() -> None:
    told = parsed({"samples": [{**GOOD, "end": "2026-11-21T09:00:01Z"}, {**GOOD, "duration_ms": 2}, GOOD]})
    assert told.columns.duration_ms.tolist() == [1_000, 2, 0]


def test_a_deletion_needs_no_value() -> None:
    told = parsed({"samples": [{"metric": "heart_rate", "start": NINE, "deleted": True}, {**GOOD, "deleted": True}]})
    assert told.columns.value.tolist() == [0, 72]
    assert told.columns.deleted.tolist() == [True, True]


def test_numbers_of_any_size_are_left_to_validation() -> None:
    told = parsed(
        {"samples": [{**GOOD, "value": 2**64 - 1, "quality": 5e300}, {**GOOD, "value": -1e308, "quality": -7}]}
    )
    assert told.columns.value.tolist() == [float(2**64 - 1), -1e308]
    assert told.columns.quality.tolist() == [2, -1]
    assert one(metric="no_such_metric", unit="furlong").columns.metric.tolist() == [0]


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"patient": "p1"}, "unknown_field", ""),
    ({"received": NINE}, "unknown_field", ""),
    ({"Value": 1}, "unknown_field", ""),
    ({"metric": None}, "missing_field", "metric"),
    ({"metric": 1}, "wrong_type", "metric"),
    ({"metric": ["heart_rate"]}, "wrong_type", "metric"),
    ({"start": None}, "missing_field", "start"),
    ({"start": 1_795_251_600}, "wrong_type", "start"),
    ({"start": "2026-11-21T09:00:00"}, "bad_time", "start"),
    ({"start": {}}, "wrong_type", "start"),
    ({"value": None}, "missing_field", "value"),
    ({"value": "72"}, "wrong_type", "value"),
    ({"value": True}, "wrong_type", "value"),
    ({"value": [72]}, "wrong_type", "value"),
    ({"value": {"a": 1}}, "wrong_type", "value"),
    ({"value": True, "deleted": True}, "wrong_type", "value"),
    ({"end": 5}, "wrong_type", "end"),
    ({"end": "soon"}, "bad_time", "end"),
    ({"end": NINE, "duration_ms": 0}, "two_lengths", "duration_ms"),
    ({"duration_ms": "1"}, "wrong_type", "duration_ms"),
    ({"duration_ms": 1.5}, "wrong_type", "duration_ms"),
    ({"duration_ms": False}, "wrong_type", "duration_ms"),
    ({"unit": "bpm"}, "wrong_unit", "unit"),
    ({"unit": ""}, "wrong_unit", "unit"),
    ({"unit": 1}, "wrong_type", "unit"),
    ({"quality": "1"}, "wrong_type", "quality"),
    ({"quality": True}, "wrong_type", "quality"),
    ({"context": "asleep"}, "wrong_type", "context"),
    ({"context": 8}, "wrong_type", "context"),
    ({"context": [8]}, "wrong_type", "context"),
    ({"context": [["asleep"]]}, "wrong_type", "context"),
    ({"context": ["ASLEEP"]}, "unknown_word", "context"),
    ({"context": ["asleep", "dreaming"]}, "unknown_word", "context"),
    ({"written": "2026-11-21"}, "bad_time", "written"),
    ({"written": 0}, "wrong_type", "written"),
    ({"id": 5}, "wrong_type", "id"),
    ({"id": UUID[:-1]}, "bad_id", "id"),
    ({"id": UUID.replace("-", "")}, "bad_id", "id"),
    ({"id": "{" + UUID + "}"}, "bad_id", "id"),
    ({"id": "00000000-0000-0000-0000-000000000000"}, "bad_id", "id"),
    ({"id": UUID[:-1] + "g"}, "bad_id", "id"),
    ({"id": UUID[:-1] + "é"}, "bad_id", "id"),
    ({"deleted": 1}, "wrong_type", "deleted"),
    ({"deleted": "false"}, "wrong_type", "deleted"),
]


@pytest.mark.parametrize(("fields", "reason", "field"), FAULTS)
def test_a_faulty_sample_is_rejected_alone(fields: dict[str, Any], reason: str, field: str) -> None:
    told = parsed({"samples": [GOOD, {**GOOD, **fields}, {**GOOD, "value": 73}]})
    assert told.faults == (Outcome(1, Status.REJECTED, reason, Retry.NEVER, field),)
    assert told.count == 3
    assert told.index.tolist() == [0, 2]
    assert told.columns.value.tolist() == [72, 73]


@pytest.mark.parametrize("sample", [None, 1, "heart_rate", [], [GOOD], True])
def test_a_sample_is_an_object(sample: object) -> None:
    told = parsed({"samples": [sample]})
    assert told.faults == (Outcome(0, Status.REJECTED, "not_an_object", Retry.NEVER),)
    assert len(told.columns) == len(told.index) == 0


def test_a_field_that_is_left_out_is_missing() -> None:
    told = parsed({"samples": [{k: v for k, v in GOOD.items() if k != name} for name in GOOD]})
    assert [(one.reason, one.field) for one in told.faults] == [("missing_field", name) for name in GOOD]


def test_the_name_of_an_unknown_field_is_repeated_nowhere() -> None:
    assert "Jane" not in repr(one(Jane_Roe=1).faults)
    assert "Jane" not in str(refused(orjson.dumps({"Jane Roe": 1, "samples": [GOOD]})))


@pytest.mark.parametrize(
    ("document", "status", "code", "pointer"),
    [
        ([GOOD], 422, "bad_field", ""),
        ("text", 422, "bad_field", ""),
        (None, 422, "bad_field", ""),
        ({"patient": "p1", "samples": [GOOD]}, 422, "bad_field", ""),
        ({"received": NINE, "samples": [GOOD]}, 422, "bad_field", ""),
        ({}, 422, "empty", ""),
        ({"samples": [], "deletions": [], "anchors": {}}, 422, "empty", ""),
        ({"samples": {"0": GOOD}}, 422, "bad_field", "/samples"),
        ({"samples": [GOOD], "device": "Jane's watch"}, 422, "bad_field", "/device"),
        ({"samples": [GOOD], "device": 7}, 422, "bad_field", "/device"),
        ({"samples": [GOOD], "device": ""}, 422, "bad_field", "/device"),
        ({"samples": [GOOD], "source_app": "a b"}, 422, "bad_field", "/source_app"),
        ({"samples": [GOOD], "written": "2026-11-21T09:00:00"}, 422, "bad_field", "/written"),
        ({"samples": [GOOD], "written": 5}, 422, "bad_field", "/written"),
        ({"deletions": UUID}, 422, "bad_field", "/deletions"),
        ({"deletions": [UUID, "no uuid"]}, 422, "bad_field", "/deletions/1"),
        ({"deletions": [UUID, None]}, 422, "bad_field", "/deletions/1"),
        ({"deletions": [UUID, UUID, "00000000-0000-0000-0000-000000000000"]}, 422, "bad_field", "/deletions/2"),
        ({"deletions": [UUID] * 5_001}, 413, "too_many", "/deletions"),
        ({"samples": [GOOD] * 10_001}, 413, "too_many", "/samples"),
        ({"anchors": []}, 422, "bad_field", "/anchors"),
        ({"anchors": {"a b": "x"}}, 422, "bad_field", "/anchors"),
        ({"anchors": {"a": ""}}, 422, "bad_field", "/anchors"),
        ({"anchors": {"a": None}}, 422, "bad_field", "/anchors"),
        ({"anchors": {"a": "x" * 4_097}}, 422, "bad_field", "/anchors"),
        ({"anchors": {"a": "\u0000"}}, 422, "bad_field", "/anchors"),
        ({"anchors": {"a": "x\n"}}, 422, "bad_field", "/anchors"),
        ({"anchors": {f"a{n}": "x" for n in range(101)}}, 413, "too_many", "/anchors"),
    ],
)
def test_a_request_that_is_refused_whole(document: object, status: int, code: str, pointer: str) -> None:
    error = refused(orjson.dumps(document))
    assert (error.status, error.code, error.pointer) == (status, code, pointer)


def test_as_much_as_a_request_may_hold() -> None:
    told = parsed(
        {
            "samples": [
                {**GOOD, "context": [word.lower() for word in Context.__members__], "value": n} for n in range(10_000)
            ],
            "deletions": [UUID] * 5_000,
            "anchors": {f"a{n}": "[{," * 1_365 for n in range(100)},
        }
    )
    assert (told.count, len(told.columns), len(told.deletions), len(told.anchors)) == (10_000, 10_000, 5_000, 100)
    assert parsed({"deletions": [UUID]}).count == 0
    assert parsed({"anchors": {"a": "x"}}).anchors == {"a": "x"}


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b'{"samples": [NaN]}', b'{"samples": [Infinity]}', b'{"samples": [1e400]}', b"{'samples': []}",
        b'{"samples": [],}', b'{"device": "\\ud800"}', b'{"device": "\xff"}', b'{"device": "\xed\xa0\x80"}', b"\x00",
        '{"samples": []}'.encode("utf-16"), '{"samples": []}'.encode("utf-32"), b"\xef\xbb\xbf{}", b'{"samples": 01}',
        b'{"a": "\x00"}', b"{}{}", b"]", b'"', b"\\", b'{"a": "\\', b'{"a": /**/ 1}', b"\x28\xb5\x2f\xfd",
    ],
)  # fmt: skip
def test_what_is_no_json(body: bytes) -> None:
    error = refused(body)
    assert (error.status, error.code) == (400, "bad_json")


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def test_depth_is_bounded_before_anything_is_made_of_it() -> None:
    check_bounds(nested(20))
    for body in (nested(21), nested(10_000), b"[" * 1_000_000, b'{"a":' * 21, b"[{}," + nested(21) + b"]"):
        error = refused(body)
        assert (error.status, error.code) == (400, "too_deep")


def test_brackets_in_texts_are_no_depth() -> None:
    for text in (
        "[" * 100,
        '"[' * 100,
        "\\[" * 100,
        '\\"' * 50 + "{" * 50,
        "\\" * 99 + "[" * 30,
        '\\\\"' * 30 + "[" * 30,
    ):
        check_bounds(orjson.dumps({"a": text, "b": [text]}))
        with pytest.raises(BodyRefused):
            check_bounds(orjson.dumps({"a": text})[:-1] + b', "b": ' + nested(20) + b"}")
    hidden = b'{"a": "]]]]]]]]]]]]]]]]]]]]]]]]]", "b": ' + nested(20) + b"}"
    assert refused(hidden).code == "too_deep"


@given(
    st.recursive(
        st.text('[]{}"\\,a') | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text('[{"\\'), inner)
    )
)
def test_depth_is_counted_as_a_parser_counts_it(document: object) -> None:
    def depth(of: object) -> int:
        inner = list(of.values()) if isinstance(of, dict) else of if isinstance(of, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    body = orjson.dumps(document)
    wrapped = nested(20 - depth(document))
    middle = len(wrapped) // 2
    check_bounds(wrapped[:middle] + body + wrapped[middle:])
    with pytest.raises(BodyRefused):
        check_bounds(b"[" + wrapped[:middle] + body + wrapped[middle:] + b"]")


def test_how_much_a_body_makes_in_memory_is_bounded() -> None:
    for many in (b"[]", b"{}", b"1", b'""'):
        error = refused(b'{"samples": [' + b",".join([many] * 400_000) + b"]}")
        assert (error.status, error.code) == (413, "too_many")


def test_a_hostile_body_of_full_size_costs_little() -> None:
    size = 8 * 1024 * 1024
    for body in (
        b"[" * size,
        b'"' * size,
        b"\\" * size,
        b"," * size,
        b'\\"' * (size // 2),
        b"a" * size,
        b"[]" * (size // 2),
    ):
        began = time.process_time()
        with pytest.raises(BodyRefused):
            load_json(body)
        assert time.process_time() - began < 5


texts = st.sampled_from(
    [NINE, "2026-11-21T10:00:01+01:00", "2026-11-21T09:00:00Z", "2026-11-21T09:00:00.123Z", "2026-11-21T09:00:00", "",
     UUID, UUID.lower(), UUID + "0", "heart_rate", "steps", "no_metric", "/min", "asleep", "no_contact"]
)  # fmt: skip
numbers = st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
anything: st.SearchStrategy[Any] = st.one_of(st.none(), numbers, texts, st.lists(texts, max_size=2), st.just({}))
likely: dict[str, Any] = {
    "metric": st.sampled_from(["heart_rate", "steps", "no_metric"]),
    "start": st.sampled_from([NINE, "2026-11-21T10:00:01+01:00", "2026-11-21T09:00:00Z", "2026-11-21T09:00:00.123Z"]),
    "value": st.integers(0, 300) | st.floats(0, 300),
}
unlikely: dict[str, Any] = {
    "end": likely["start"],
    "duration_ms": st.integers(0, 10_000) | st.just(5.0),
    "unit": st.sampled_from(["/min", "{steps}"]),
    "quality": st.floats(0, 1),
    "context": st.lists(st.sampled_from(["asleep", "no_contact"]), max_size=2),
    "written": likely["start"],
    "id": st.sampled_from([UUID, UUID.lower()]),
    "deleted": st.booleans(),
}


@st.composite
def sample(draw: st.DrawFn) -> Any:
    told = {name: draw(values) for name, values in likely.items()}
    for name, values in unlikely.items():
        if draw(st.integers(0, 3)) == 0:
            told[name] = draw(values)
    if draw(st.booleans()):
        told[draw(st.sampled_from([*likely, *unlikely, "other"]))] = draw(anything)
    if draw(st.integers(0, 9)) == 0:
        told.pop(draw(st.sampled_from(sorted(told))))
    return told


def alone(given: object) -> SampleColumns | None:
    try:
        return columns_of([given], written_us=NINE_US, received_us=RECEIVED_US)
    except Faulty:
        return None


@given(sample() | anything)
def test_a_sample_has_a_fault_exactly_if_its_columns_have(given: Any) -> None:
    assert (fault_of(given) is None) == (alone(given) is not None)


@given(st.lists(sample(), max_size=6))
def test_many_samples_are_read_as_each_alone(samples: list[Any]) -> None:
    columns, index, faults = read_samples(samples, written_us=NINE_US, received_us=RECEIVED_US)
    each = [alone(one) for one in samples]
    good = [at for at, one in enumerate(each) if one is not None]
    assert index.tolist() == good
    assert [one.index for one in faults] == [at for at, one in enumerate(each) if one is None]
    assert len(columns) == len(good)
    if good:
        assert_same(columns, SampleColumns.concat([one for one in each if one is not None]))


@given(sample(), st.integers(0, 3))
def test_what_is_faulty_takes_nothing_else_with_it(given: Any, at: int) -> None:
    samples: list[Any] = [{**GOOD, "value": n} for n in range(3)]
    samples.insert(at, given)
    columns, index, faults = read_samples(samples, written_us=NINE_US, received_us=RECEIVED_US)
    kept = [n for n, position in enumerate(index.tolist()) if position != at]
    assert columns.take(np.array(kept)).value.tolist() == [0, 1, 2]
    assert len(faults) == (fault_of(given) is not None)


def read(document: object) -> Parsed | int:
    """Return what is read, or the status of the refusal."""
    try:
        return parse_document(document, received_us=RECEIVED_US)
    except BodyRefused as error:
        return error.status


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_what_is_no_request_is_refused(body: bytes) -> None:
    assert refused(body).status in {400, 422}


fields = st.sampled_from(["device", "source_app", "written", "samples", "deletions", "anchors", "x"])


@given(st.dictionaries(fields, anything | st.lists(sample(), max_size=3)))
def test_any_fields_are_read_or_refused(document: dict[str, Any]) -> None:
    told = read(document)
    if isinstance(told, int):
        assert told == 422
    else:
        assert len(told.columns) + len(told.faults) == told.count
