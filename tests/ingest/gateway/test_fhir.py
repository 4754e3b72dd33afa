"""POST /v1/fhir: Observations in FHIR R4, and what became of each entry."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.fhir import to_bundle
from ingest.gateway.documents_openapi import FHIR
from tests.devices.adapting import NAME, holds_no_secret
from tests.ingest.gateway.uploading import PATIENT, Gateway, gateway
from vitals.batch import BatchHeader, sample_columns
from vitals.catalogue import BY_CODE
from vitals.gate import Gate
from vitals.ids import device_id, patient_id

URL = "/v1/fhir"
AT_US = 1_717_228_800_000_000
Json = dict[str, Any]


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with gateway(tmp_path) as running:
        yield running


def observation(code: str = "8867-4", value: object = 72, unit: str = "/min", **changes: object) -> Json:
    given: Json = {
        "resourceType": "Observation", "id": "o-1", "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": "Patient/somebody"}, "effectiveDateTime": "2024-06-01T10:00:00+02:00",
        "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
    }  # fmt: skip
    return {key: field for key, field in (given | changes).items() if field is not None}


def pressure(systolic: object, diastolic: object) -> Json:
    parts = [
        {"code": {"coding": [{"system": "http://loinc.org", "code": code}]},
         "valueQuantity": {"value": value, "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}}
        for code, value in (("8480-6", systolic), ("8462-4", diastolic))
    ]  # fmt: skip
    return observation("85354-9", id="bp", valueQuantity=None, component=parts)


def bundle(*resources: object) -> Json:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]}


async def test_each_entry_that_is_not_taken_is_named_with_its_reason(platform: Gateway) -> None:
    answer = await platform.client.post(URL, json=bundle(
        observation(id="a"),
        {"resourceType": "Patient", "id": "somebody"},
        observation(id="b", value=900, effectiveDateTime="2024-06-01T10:01:00+02:00"),
        observation("8310-5", 98, "furlong", id="c"),
        "nonsense",
        pressure(120, 4_000),
        observation("1-1", id="d"),
        observation(id="a"),
    ))  # fmt: skip
    told = answer.json()
    assert answer.status_code == 202, told
    assert (told["read"], told["accepted"]) == (8, 4)
    assert told["rejected"] == {"not_well_formed": 1, "unit": 1}
    assert told["ignored"] == {"Patient": 1, "code": 1}
    assert told["samples_rejected"] == {"out_of_range": 2}
    assert told["outcomes"] == [
        {"index": 1, "status": "ignored", "reason": "Patient"},
        {"index": 2, "status": "rejected", "reason": "out_of_range", "retry": "never", "field": "value"},
        {"index": 3, "status": "rejected", "reason": "unit", "retry": "never"},
        {"index": 4, "status": "rejected", "reason": "not_well_formed", "retry": "never"},
        {"index": 5, "status": "rejected", "reason": "out_of_range", "retry": "never", "field": "value"},
        {"index": 6, "status": "ignored", "reason": "code"},
        {"index": 7, "status": "duplicate"},
    ]
    assert "more_outcomes" not in told
    assert [(metric, value) for metric, _, _, value in platform.kept.rows()] == [
        ("bp_systolic", 120.0), ("heart_rate", 72.0),
    ]  # fmt: skip
    assert (told["samples_accepted"], told["duplicates"], told["safe"]) == (2, 1, "broker")


async def test_the_patient_is_the_credentials_whatever_the_bundle_says(platform: Gateway) -> None:
    await platform.client.post(URL, json=bundle(observation(subject={"reference": "Patient/patient-2"})))
    await platform.client.post(URL, json=observation(subject=None), headers=platform.as_("other"))
    headers = [header for _, header, _ in platform.kept.batches()]
    assert [one.patient_id for one in headers] == [PATIENT, "patient-2"]
    assert {one.adapter for one in headers} == {"fhir-bundle"}


async def test_all_resources_are_of_one_subject(platform: Gateway) -> None:
    two = bundle(observation(id="a"), observation(id="b", subject={"reference": "Patient/another"}))
    told = (await platform.client.post(URL, json=two)).json()
    assert told["outcomes"] == [{"index": 1, "status": "rejected", "reason": "other_subject", "retry": "never"}]


async def test_ndjson_counts_lines(platform: Gateway) -> None:
    lines = [observation(id="a"), {"resourceType": "Patient"}, "{broken", observation(id="b", value="many")]
    body = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines)
    answer = await platform.client.post(URL, content=body, headers={"content-type": "application/fhir+ndjson"})
    told = answer.json()
    assert (answer.status_code, told["read"], told["samples_accepted"]) == (202, 4, 1)
    assert [(one["index"], one["status"]) for one in told["outcomes"]] == [
        (1, "ignored"), (2, "rejected"), (3, "rejected"),
    ]  # fmt: skip


async def test_many_outcomes_are_cut_and_counts_stay_exact(platform: Gateway) -> None:
    many = bundle(observation(), *({"resourceType": "Patient"} for _ in range(1_500)))
    told = (await platform.client.post(URL, json=many)).json()
    assert (len(told["outcomes"]), told["more_outcomes"], told["ignored"]) == (1_000, True, {"Patient": 1_500})


async def test_a_large_bundle_keeps_its_places(platform: Gateway) -> None:
    """Beyond what is read in a thread, and beyond one piece of an adapter."""
    entries = [
        observation(id=f"o-{n}", value=900 if n in {7, 5_999} else 60 + n % 9, device={"reference": f"Device/{n % 2}"},
                    effectiveDateTime=f"2024-06-{1 + n // 1_440:02}T{n // 60 % 24:02}:{n % 60:02}:00Z")
        for n in range(6_000)
    ]  # fmt: skip
    told = (await platform.client.post(URL, json=bundle(*entries))).json()
    assert (told["samples_accepted"], told["samples_rejected"]) == (5_998, {"out_of_range": 2})
    assert [one["index"] for one in told["outcomes"]] == [7, 5_999]


async def test_what_vigil_writes_as_fhir_comes_back(platform: Gateway) -> None:
    start_us = AT_US + np.arange(50) * 60_000_000
    metric = np.full(50, BY_CODE["heart_rate"].number, np.int16)
    columns = sample_columns(start_us, metric, 60 + np.arange(50.0), received_us=AT_US + 10**10)
    header = BatchHeader(patient_id("elsewhere"), device_id("w"), "app", "test")
    answer = await platform.client.post(URL, json=to_bundle(header, columns))
    assert answer.status_code == 202, answer.text
    assert [(start, value) for _, start, _, value in platform.kept.rows()] == list(
        zip(start_us.tolist(), columns.value.tolist(), strict=True)
    )


async def test_a_pseudonym_nobody_registered_may_pass_later(tmp_path: Path) -> None:
    async with gateway(tmp_path, gate=Gate(strict=True)) as platform:
        answer = await platform.client.post(URL, json=bundle(observation()))
        told = answer.json()
        assert (answer.status_code, told["code"], told["title"]) == (422, "nothing_accepted", "Unprocessable Entity")
        ((outcome),) = told["outcomes"]
        assert (outcome["index"], outcome["reason"], outcome["retry"]) == (0, "unknown_device", "later")
        assert platform.kept.sent == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"7", b'{"type": 7}', b'{"resourceType": "Bundle", "entry": 7}', b'{"a":' * 100_000,
     b"\xff\xfe", b"PK\x03\x04", b'{"resourceType": "Bundle", "entry": [' + b"{}," * 2_100_000 + b"{}]}"],
    ids=lambda body: repr(body[:14]),
)  # fmt: skip
async def test_what_is_no_fhir_is_a_problem_and_the_next_one_is_read(platform: Gateway, body: bytes) -> None:
    answer = await platform.client.post(URL, content=body, headers={"content-type": "application/fhir+json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed_document")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await platform.client.post(URL, json=observation())).status_code == 202


async def test_other_media_types_are_named(platform: Gateway) -> None:
    answer = await platform.client.post(URL, content=b"<Bundle/>", headers={"content-type": "application/fhir+xml"})
    assert (answer.status_code, answer.json()["code"]) == (415, "media_type")
    assert "application/fhir+ndjson" in answer.headers["accept-post"]


async def test_a_bundle_larger_than_the_limit_is_refused(platform: Gateway) -> None:
    body = b" " * (platform.app.state.door.policy.document_bytes + 1)
    answer = await platform.client.post(URL, content=body, headers={"content-type": "application/fhir+json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_no_name_and_no_place_of_a_bundle_comes_out(
    platform: Gateway, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    person = {"resourceType": "Patient", "name": [{"text": NAME}], "birthDate": "1971-11-23", "id": "Quackenbush",
              "address": [{"city": "Utrecht"}], "telecom": [{"value": "petra@mail.example"}]}  # fmt: skip
    told = observation(id=NAME, subject={"reference": "Patient/Quackenbush", "display": NAME}, note=[{"text": NAME}],
                       device={"display": NAME}, performer=[{"display": NAME}],
                       method={"text": "in Utrecht"})  # fmt: skip
    wrong = observation(id="Petronella", valueQuantity={"value": 1, "code": NAME, "unit": NAME})
    other = {"resourceType": NAME, "text": NAME}
    for body in (bundle(person, told, wrong, other), bundle(wrong), {"resourceType": "Bundle", "entry": NAME}):
        answer = await platform.client.post(URL, json=body)
        holds_no_secret(answer.text + str(answer.headers))
    assert len(platform.kept.sent) == 1
    for _, one in platform.kept.sent:
        holds_no_secret(one.key + one.value + b"".join(name.encode() + value for name, value in one.headers))
    logged = "".join(capsys.readouterr())
    assert "gateway_refused" in logged
    holds_no_secret(logged + caplog.text)


async def test_the_examples_of_the_description_are_taken(platform: Gateway) -> None:
    for media_type, one in FHIR["openapi_extra"]["requestBody"]["content"].items():
        example = one["example"]
        body = example if isinstance(example, str) else json.dumps(example)
        answer = await platform.client.post(URL, content=body, headers={"content-type": media_type})
        assert (answer.status_code, answer.json()["samples_by_metric"]) == (202, {"heart_rate": 1}), media_type
