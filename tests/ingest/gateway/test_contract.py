"""The answer, and that what OpenAPI tells is what is read and answered."""

from typing import Any

import numpy as np
import orjson
import pytest
from pydantic import ValidationError

from ingest.gateway import examples
from ingest.gateway.contract import SampleIn, SamplesAccepted, SamplesIn, answer, nothing_taken
from ingest.gateway.judge import judge
from ingest.gateway.parse_json import parse_json
from ingest.gateway.parsed import BodyRefused, Delivery, Fault, Judged, Outcome, Parsed, Retry, Status
from ingest.gateway.problems import Code, Refused
from ingest.gateway.problems import document as problem
from ingest.gateway.verdicts import rejected, retry_of
from ingest.record import Record
from ingest.spool import Place
from vitals.access import Kind, Principal
from vitals.batch import sample_columns
from vitals.gate import Gate
from vitals.ids import PatientId
from vitals.quality import Context, Reason

NOW_US = 1_795_248_000_000_000 + 60_000_000  # a minute after the examples' nine o'clock
PHONE = Principal("b" * 16, Kind.BRIDGE, PatientId("p1"))
REQUEST_ID = "0f8c6a52d7d94f0c8e9f3b1a2c4d5e6f"
SENT = Delivery(Record(b"p1", b"", ()), "t", "t")
LATER = Outcome(0, Status.REJECTED, "other_wearer", Retry.LATER)
NEVER = Outcome(0, Status.REJECTED, "future", Retry.NEVER, "start")
TWICE = Outcome(0, Status.DUPLICATE)


def asked(example: dict[str, Any]) -> tuple[Parsed, Judged]:
    told = parse_json(orjson.dumps(example), received_us=NOW_US)
    return told, judge(
        told, PHONE, Gate(), adapter="gateway", received_us=NOW_US, request_id=REQUEST_ID, traceparent=None
    )


def told(count: int = 1, anchors: dict[str, str] | None = None) -> Parsed:
    none = np.empty(0, np.int64)
    columns = sample_columns(none, none.astype(np.int16), none.astype(np.float64), received_us=NOW_US)
    return Parsed(count, columns, none, anchors=anchors or {})


@pytest.mark.parametrize(
    ("request_", "expected"),
    [(examples.LIVE, examples.ACCEPTED), (examples.IN_DOUBT, examples.IN_PART)],
)
def test_the_examples_are_answered_as_they_say(request_: dict[str, Any], expected: dict[str, Any]) -> None:
    parsed, judged = asked(request_)
    found = answer(parsed, judged, safe=Place.BROKER, request_id=REQUEST_ID)
    assert found == expected
    assert not nothing_taken(judged)


def test_the_example_of_nothing_accepted() -> None:
    parsed, judged = asked(examples.REFUSED)
    assert nothing_taken(judged)
    found = answer(parsed, judged, safe=None, request_id=REQUEST_ID)
    refusal = Refused(422, Code.NOTHING_ACCEPTED, "no sample of this request was accepted", members=found)
    assert problem(refusal, REQUEST_ID) == examples.NOTHING


def test_the_example_of_healthkit() -> None:
    parsed, judged = asked(examples.HEALTHKIT)
    found = answer(parsed, judged, safe=Place.SPOOL, request_id=REQUEST_ID)
    assert (found["accepted"], found["deletions"], found["anchors"], found["safe"]) == (1, 1, ["heart_rate"], "spool")


@pytest.mark.parametrize("name", examples.REQUESTS)
def test_every_example_of_a_request_is_one(name: str) -> None:
    example = examples.REQUESTS[name]["value"]
    assert answer(*asked(example), safe=Place.BROKER, request_id="r1")["accepted"] == (1 if name != "live" else 3)
    if name != "in_doubt":  # which has a time that is none
        SamplesIn.model_validate(example)


@pytest.mark.parametrize("example", [one["value"] for one in examples.ANSWERS.values()])
def test_the_model_of_an_answer_holds_its_examples(example: dict[str, Any]) -> None:
    SamplesAccepted.model_validate(example, strict=True)
    assert example.keys() <= SamplesAccepted.model_fields.keys()


GOOD = {"metric": "heart_rate", "start": "2026-11-21T09:00:00+01:00", "value": 72}
UUID = "8f14e45f-ceea-467f-a0e6-6b1f0a2d1c3b"


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"end": GOOD["start"]}, {"duration_ms": 5}, {"unit": "/min"}, {"quality": 0}, {"context": []}, {"id": UUID},
        {"context": [word.lower() for word in Context.__members__]}, {"written": "2026-11-21T09:00Z"},
        dict.fromkeys(("end", "unit", "id", "written", "context", "quality", "deleted")),
        {"deleted": True, "value": None}, {"patient": "p1"}, {"metric": 5}, {"start": "yesterday"}, {"start": 5},
        {"value": "72"}, {"value": True},
        {"end": "soon"}, {"duration_ms": "5"}, {"duration_ms": 1.5}, {"unit": 5}, {"quality": "1"},
        {"context": "asleep"}, {"context": ["dreaming"]},
        {"written": 0}, {"id": "x"}, {"id": UUID + "0"}, {"deleted": 1}, {"metric": None},
        {"start": None},
    ],
)  # fmt: skip
def test_the_model_of_a_sample_says_what_is_read(fields: dict[str, Any]) -> None:
    sample = {**GOOD, **fields}
    try:
        SampleIn.model_validate(sample)
    except ValidationError:
        by_model = False
    else:
        by_model = True
    read = parse_json(orjson.dumps({"samples": [sample]}), received_us=NOW_US)
    assert (not read.faults) == by_model


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"device": "watch-1"}, {"source_app": "a.b"}, {"written": "2026-11-21T09:00:00Z"}, {"deletions": [UUID]},
        {"anchors": {"a": "x"}}, dict.fromkeys(("device", "source_app", "written", "deletions", "anchors")),
        {"device": "a b"}, {"device": 5}, {"device": ""}, {"device": "a" * 65}, {"source_app": "/"}, {"written": "now"},
        {"deletions": [5]}, {"deletions": ["x"]}, {"deletions": UUID}, {"anchors": {"a": ""}},
        {"anchors": {"a b": "x"}}, {"anchors": {"a": "é"}},
        {"anchors": {"a": "x" * 4_097}}, {"patient": "p1"}, {"samples": GOOD}, {"seq": 1},
    ],
)  # fmt: skip
def test_the_model_of_a_request_says_what_is_read(fields: dict[str, Any]) -> None:
    document = {"samples": [GOOD], **fields}
    try:
        SamplesIn.model_validate(document)
    except ValidationError:
        by_model = False
    else:
        by_model = True
    try:
        parse_json(orjson.dumps(document), received_us=NOW_US)
    except BodyRefused:
        assert not by_model
    else:
        assert by_model


def test_outcomes_are_bounded_and_the_counts_are_not() -> None:
    many = tuple(Outcome(at, Status.REJECTED, "future", Retry.NEVER, "start") for at in range(1_500))
    judged = Judged((), 0, (*many, Outcome(1_500, Status.DUPLICATE)))
    found = answer(told(1_501), judged, safe=None, request_id="r1")
    assert (found["rejected"], found["duplicates"], found["reasons"]) == (1_500, 1, {"future": 1_500})
    assert found["more_outcomes"] is True
    assert len(SamplesAccepted.model_validate(found).outcomes) == 1_000
    exactly = answer(told(1_000), Judged((), 0, many[:1_000]), safe=None, request_id="r1")
    assert "more_outcomes" not in exactly


@pytest.mark.parametrize(
    ("judged", "safe", "confirmed"),
    [
        (Judged((), 0, ()), None, True),
        (Judged((SENT,), 1, ()), Place.BROKER, True),
        (Judged((SENT,), 1, ()), Place.SPOOL, True),
        (Judged((SENT,), 1, ()), None, False),
        (Judged((SENT,), 1, (NEVER, TWICE)), Place.BROKER, True),
        (Judged((SENT,), 1, (NEVER, LATER)), Place.BROKER, False),
        (Judged((), 0, (NEVER,)), None, True),
        (Judged((), 0, (LATER,)), None, False),
    ],
)
def test_when_anchors_are_confirmed(judged: Judged, safe: Place | None, confirmed: bool) -> None:
    found = answer(told(anchors={"steps": "x", "heart_rate": "y"}), judged, safe=safe, request_id="r1")
    assert found["anchors"] == (["steps", "heart_rate"] if confirmed else [])


@pytest.mark.parametrize(
    ("judged", "nothing"),
    [
        (Judged((), 0, (NEVER,)), True),
        (Judged((), 0, (NEVER, LATER)), True),
        (Judged((), 0, ()), False),
        (Judged((SENT,), 1, (NEVER,)), False),
        (Judged((), 0, (NEVER, TWICE)), False),
        (Judged((SENT,), 0, (NEVER,), deletions=1), False),
    ],
)
def test_when_nothing_is_taken(judged: Judged, nothing: bool) -> None:
    assert nothing_taken(judged) is nothing


def test_only_what_somebody_may_change_is_worth_trying_again() -> None:
    later = {one for one in (*Reason, *Fault) if retry_of(one) is Retry.LATER}
    assert later == {"unknown_device", "device_suspended", "other_wearer"}
    assert rejected(3, Reason.QUALITY) == Outcome(3, Status.REJECTED, "quality", Retry.NEVER, "quality")
    assert rejected(3, Fault.BAD_ID, "id") == Outcome(3, Status.REJECTED, "bad_id", Retry.NEVER, "id")
    assert rejected(3, Reason.DEVICE_RETIRED).field == ""
