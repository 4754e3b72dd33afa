"""POST /v1/health-auto-export: the iOS app's requests, as it makes them."""

import asyncio
import gzip
import json
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from devices.adapter import Tally
from ingest.gateway.documents import HEALTH_AUTO_EXPORT as ADAPTER
from ingest.gateway.documents import Document, DocumentReader, read
from ingest.gateway.documents_openapi import HEALTH_AUTO_EXPORT
from ingest.gateway.pieces import Told
from ingest.gateway.ports import Unavailable
from ingest.spool import SpoolFull
from ingest.topics import ANNOTATIONS, SAMPLES, SAMPLES_BACKFILL, WAVEFORMS
from tests.devices.adapting import NAME, holds_no_secret
from tests.ingest.gateway.uploading import KEY, PATIENT, Gateway, body_of, gateway
from vitals.catalogue import BY_CODE
from vitals.gate import CATEGORIES, Binding, DeviceRule, Gate, Permissions

URL = "/v1/health-auto-export"
AT = "2024-06-01 10:00:00 +0200"
AT_US = 1_717_228_800_000_000
FAR_US = 1 << 60


@pytest.fixture
async def phone(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with gateway(tmp_path) as running:
        yield running


def metric(name: str, units: str, *points: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "units": units, "data": list(points)}


def heart(bpm: float = 64, date: str = AT, source: str = "Watch") -> dict[str, Any]:
    return {"Min": bpm - 3, "Avg": bpm, "Max": bpm + 3, "date": date, "source": source}


HEART = metric("heart_rate", "count/min", heart())
STEPS = metric(
    "step_count", "count", *({"qty": n, "date": f"2024-06-01 10:0{n}:00 +0200", "source": "P"} for n in (1, 2))
)


def workout(**changes: Any) -> dict[str, Any]:
    return {"name": "Outdoor Run", "start": AT, "end": "2024-06-01 10:30:00 +0200", "id": "w", **changes}


def ecg() -> dict[str, Any]:
    return {
        "start": AT, "end": "2024-06-01 10:00:30 +0200", "classification": "Sinus Rhythm", "source": "Watch",
        "samplingFrequency": 100, "voltageMeasurements": [
            {"date": AT, "voltage": (n % 100) * 10, "units": "mcV"} for n in range(3_000)
        ],
    }  # fmt: skip


async def test_a_payload_is_read_judged_and_made_safe(phone: Gateway) -> None:
    answer = await phone.client.post(URL, content=body_of(metrics=[HEART, STEPS], workouts=[workout()]),
                                     headers={"content-type": "application/json", "x-request-id": "req-7"})  # fmt: skip
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert told["request_id"] == "req-7"
    assert (told["read"], told["accepted"], told["rejected"]) == (4, 4, {})
    assert told["samples_by_metric"]["steps"] == 2
    assert told["samples_accepted"] == sum(told["samples_by_metric"].values()) == len(phone.kept.rows())
    assert (told["samples_rejected"], told["duplicates"], told["safe"]) == ({}, 0, "broker")
    assert [row for row in phone.kept.rows() if row[0] == "heart_rate"] == [("heart_rate", AT_US, 60_000, 64.0)]
    for _, header, columns in phone.kept.batches():
        assert (header.patient_id, header.adapter, header.request_id) == (PATIENT, "health-auto-export", "req-7")
        assert header.traceparent == answer.headers["traceparent"]
        assert np.all(np.abs(columns.received_us / 1e6 - datetime.now(UTC).timestamp()) < 60)
    assert told["sessions"] == 1
    (note,) = [json.loads(one.value) for topic, one in phone.kept.sent if topic == ANNOTATIONS]
    assert (note["patient_id"], note["kind"]) == (PATIENT, "session")


async def test_what_is_posted_again_has_the_same_identities(phone: Gateway) -> None:
    body = body_of(metrics=[HEART, STEPS], workouts=[workout()])
    first = (await phone.client.post(URL, json=json.loads(body))).json()
    once = phone.kept.rows()
    second = (await phone.client.post(URL, json=json.loads(body))).json()
    assert phone.kept.rows() == sorted(once * 2)
    assert {**first, "request_id": ""} == {**second, "request_id": ""}
    devices = {(header.device_id, header.source_app) for _, header, _ in phone.kept.batches()}
    assert len(devices) * 2 == len(phone.kept.batches())


async def test_the_header_says_what_a_point_covers_and_no_other_header_is_looked_at(
    phone: Gateway, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    others = {"automation-name": NAME, "automation-id": NAME, "session-id": "Quackenbush", "automation-period": NAME}
    for word, duration_ms in (("hours", 3_600_000), ("minutes", 60_000), ("Hours ", 3_600_000)):
        phone.kept.sent.clear()
        headers = {"automation-aggregation": word, **others}
        answer = await phone.client.post(URL, json={"data": {"metrics": [HEART]}}, headers=headers)
        assert [row[2] for row in phone.kept.rows()] == [duration_ms]
        holds_no_secret(answer.text + str(answer.headers))
        holds_no_secret(b"".join(one.value for _, one in phone.kept.sent))
    holds_no_secret(caplog.text + "".join(capsys.readouterr()))


async def test_live_samples_take_the_live_lane(phone: Gateway) -> None:
    now = datetime.now(UTC) - timedelta(minutes=2)
    fresh = heart(date=now.strftime("%Y-%m-%d %H:%M:%S +0000"))
    await phone.client.post(URL, json={"data": {"metrics": [metric("heart_rate", "count/min", heart(), fresh)]}})
    assert {topic: len(columns) for topic, _, columns in phone.kept.batches()} == {SAMPLES: 1, SAMPLES_BACKFILL: 1}


async def test_a_sample_that_cannot_be_and_a_record_that_cannot_be_read_are_counted_apart(phone: Gateway) -> None:
    points = (heart(), heart(900, "2024-06-01 10:01:00 +0200"), heart(date="long ago"), heart())
    answer = await phone.client.post(URL, json={"data": {"metrics": [metric("heart_rate", "count/min", *points)],
                                                         "nonsense": [1, 2]}})  # fmt: skip
    told = answer.json()
    assert answer.status_code == 202
    assert (told["read"], told["accepted"], told["rejected"]) == (6, 3, {"date": 1})
    assert sum(told["ignored"].values()) == 2
    assert told["samples_by_metric"] == {"heart_rate": 3}
    assert (told["samples_accepted"], told["samples_rejected"], told["duplicates"]) == (1, {"out_of_range": 1}, 1)


async def test_no_data_is_no_fault(phone: Gateway) -> None:
    answer = await phone.client.post(URL, json={"data": {}})
    assert (answer.status_code, answer.json()["read"], answer.json()["safe"]) == (202, 0, None)
    assert phone.kept.sent == []


async def test_where_nothing_is_accepted_the_answer_is_no_success(phone: Gateway) -> None:
    answer = await phone.client.post(URL, json={"data": {"metrics": [metric("heart_rate", "count/min", heart(900))]}})
    assert (answer.status_code, answer.json()["code"]) == (422, "nothing_accepted")
    assert answer.json()["samples_rejected"] == {"out_of_range": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b"7", b'"data"', b'{"data": 7}', b'{"other": []}', b"\xff\xfe\x00", b"PK\x03\x04",
        b'{"data":' * 100_000, b"[" * 100_000, b'{"data": {"metrics": [' + b"{}," * 2_100_000 + b"{}]}}",
        '{"data": "Petronella Quackenbush"}'.encode("utf-16"), b'{"data": {"metrics": [{"name": "heart_rate", "d',
    ],
    ids=lambda body: repr(body[:12]),
)  # fmt: skip
async def test_what_is_no_payload_is_a_problem_and_the_next_one_is_read(phone: Gateway, body: bytes) -> None:
    json_type = {"content-type": "application/json"}
    answer = await phone.client.post(URL, content=body, headers=json_type)
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed_document")
    assert answer.headers["content-type"] == "application/problem+json"
    holds_no_secret(answer.text)
    assert phone.kept.sent == []
    assert (await phone.client.post(URL, content=body_of(metrics=[HEART]), headers=json_type)).status_code == 202


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-type": "text/plain"}, 415, "media_type"),
        ({"content-encoding": "br"}, 415, "content_encoding"),
        ({"content-encoding": "gzip"}, 400, "body_not_readable"),
        ({"authorization": "Bearer nonsense"}, 401, "unauthorized"),
    ],
)
async def test_what_cannot_be_taken(phone: Gateway, headers: dict[str, str], status: int, code: str) -> None:
    answer = await phone.client.post(
        URL, content=body_of(metrics=[HEART]), headers={"content-type": "application/json"} | headers
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_compressed_payload_is_read(phone: Gateway) -> None:
    headers = {"content-type": "application/json; charset=utf-8", "content-encoding": "gzip"}
    answer = await phone.client.post(URL, content=gzip.compress(body_of(metrics=[STEPS])), headers=headers)
    assert answer.json()["samples_accepted"] == 2


@pytest.mark.parametrize("who", ["device", "ward"])
@pytest.mark.parametrize("path", [URL, "/v1/fhir", "/v1/healthkit/export"])
async def test_only_a_credential_for_all_of_one_patient_may_send_documents(phone: Gateway, who: str, path: str) -> None:
    answer = await phone.client.post(path, json={"data": {}}, headers=phone.as_(who))
    assert (answer.status_code, answer.json()["code"]) == (403, "not_for_this_token")


async def test_a_larger_body_than_the_app_ever_sends_is_refused(phone: Gateway) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1 << 20)

    answer = await phone.client.post(URL, content=endless(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def without(*metrics: str) -> Permissions:
    """Consents for all classes but those of these metrics."""
    kept = [n for n, one in enumerate(CATEGORIES) if one not in {BY_CODE[code].retention for code in metrics}]
    n = len(kept)
    return Permissions(np.array(kept, np.int8), np.zeros(n, np.int64), np.full(n, FAR_US, np.int64))


async def test_what_no_consent_covers_goes_nowhere(tmp_path: Path) -> None:
    gate = Gate(people={PATIENT: without("heart_rate", "ecg")})
    assert BY_CODE["heart_rate"].retention != BY_CODE["steps"].retention
    async with gateway(tmp_path, gate=gate) as phone:
        answer = await phone.client.post(URL, json={"data": {"metrics": [HEART, STEPS], "ecg": [ecg()]}})
        told = answer.json()
        assert {row[0] for row in phone.kept.rows()} == {"steps"}
        assert told["samples_rejected"] == {"no_consent": 1}
        assert told["waveforms_rejected"] == {"no_consent": told["waveforms_rejected"]["no_consent"]}
        assert (told["waveforms"], told["sessions"], told["sessions_rejected"]) == (0, 0, {"no_consent": 1})
        assert {topic for topic, _ in phone.kept.sent} == {SAMPLES_BACKFILL}
        ((adapter, counts), sessions) = phone.books.unconsented
        assert (adapter, sessions) == ("health-auto-export", ("annotations", {BY_CODE["ecg"].number: 1}))
        assert counts[BY_CODE["heart_rate"].number] == 1
        assert counts[BY_CODE["ecg"].number] == told["waveforms_rejected"]["no_consent"]


async def test_an_ecg_goes_with_its_waveform_and_its_session(phone: Gateway) -> None:
    told = (await phone.client.post(URL, json={"data": {"ecg": [ecg()]}})).json()
    assert (told["read"], told["accepted"], told["sessions"]) == (1, 1, 1)
    assert told["waveforms"] == sum(topic == WAVEFORMS for topic, _ in phone.kept.sent) > 0


async def test_an_ecg_that_cannot_be_is_not_told_as_taken(phone: Gateway) -> None:
    """The recorder would refuse it, and nobody would hear of it."""
    ahead = {"start": "2090-06-01 10:00:00 +0200", "end": "2090-06-01 10:00:30 +0200"}
    points = [{**one, "date": ahead["start"]} for one in ecg()["voltageMeasurements"]]
    told = (
        await phone.client.post(URL, json={"data": {"ecg": [{**ecg(), **ahead, "voltageMeasurements": points}]}})
    ).json()
    assert (told["waveforms"], set(told["waveforms_rejected"])) == (0, {"future"})
    assert WAVEFORMS not in {topic for topic, _ in phone.kept.sent}


async def test_a_device_that_the_registry_knows_as_anothers_costs_its_own_samples(tmp_path: Path) -> None:
    async with gateway(tmp_path / "open") as phone:
        await phone.client.post(URL, json={"data": {"metrics": [HEART]}})
        ((_, header, _),) = phone.kept.batches()
    gate = Gate(devices={header.device_id: DeviceRule(bindings=(Binding("somebody-else", 0, FAR_US),))})
    async with gateway(tmp_path / "bound", gate=gate) as phone:
        answer = await phone.client.post(URL, json={"data": {"metrics": [HEART, STEPS]}})
        told = answer.json()
        assert (answer.status_code, told["samples_rejected"]) == (202, {"other_wearer": 1})
        assert {row[0] for row in phone.kept.rows()} == {"steps"}


async def test_what_is_not_safe_is_not_accepted(phone: Gateway) -> None:
    phone.kept.fails = SpoolFull("the spool is full")
    answer = await phone.client.post(URL, json={"data": {"metrics": [HEART]}})
    assert (answer.status_code, answer.json()["code"]) == (503, "spool_full")
    assert int(answer.headers["retry-after"]) > 0


def large(points: int, *, source: str = "Watch") -> bytes:
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    listed = [
        {"qty": 60 + n % 50, "date": f"{begin + timedelta(minutes=n):%Y-%m-%d %H:%M:%S} +0000", "source": source}
        for n in range(points)
    ]
    return body_of(metrics=[metric("heart_rate", "count/min", *listed)])


async def test_a_large_payload_is_read_beside_and_others_are_answered_meanwhile(phone: Gateway) -> None:
    """In CPU seconds: how long others waited says more of a busy machine."""
    headers, body = {"content-type": "application/json"}, large(60_000)
    began_s = time.process_time()
    read(Document(ADAPTER, body, AT_US, KEY, "UTC"))
    alone_s = time.process_time() - began_s

    await phone.client.post(URL, content=large(4_000), headers=headers)  # the process starts
    began_s, answered = time.process_time(), 0
    posted = asyncio.create_task(phone.client.post(URL, content=body, headers=headers))
    while not posted.done():
        assert (await phone.client.get("/healthz")).status_code == 200
        answered += 1
        await asyncio.sleep(0.05)
    here_s = time.process_time() - began_s
    assert (await posted).json()["samples_accepted"] == 60_000
    assert answered > 3
    assert here_s < 0.6 * alone_s


async def test_a_killed_reader_costs_its_request_only(phone: Gateway) -> None:
    headers = {"content-type": "application/json"}
    await phone.client.post(URL, content=large(4_000), headers=headers)
    posted = asyncio.create_task(phone.client.post(URL, content=large(300_000), headers=headers))
    await asyncio.sleep(0.5)
    for child in psutil.Process().children():
        if "multiprocessing.spawn" in " ".join(child.cmdline()):
            os.kill(child.pid, signal.SIGKILL)
    answer = await posted
    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    assert (await phone.client.post(URL, content=large(4_000), headers=headers)).status_code == 202


async def test_one_heavy_document_is_read_at_a_time_and_others_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pages of 25 MiB at once are more memory than the service has, and both would be sent again for ever."""
    under_way: list[int] = []
    seen: list[tuple[int, ...]] = []
    go = asyncio.Event()

    async def elsewhere(_: DocumentReader, document: Document) -> Told:
        under_way.append(len(document.body))
        seen.append(tuple(sorted(under_way)))
        await go.wait()
        under_way.remove(len(document.body))
        return Told((), Tally())

    monkeypatch.setattr(DocumentReader, "_elsewhere", elsewhere)
    reader = DocumentReader(processes=2, thread_bytes=10, heavy_bytes=100)
    sizes = (102, 101, 103, 50)
    reads = [asyncio.create_task(reader.read(Document(ADAPTER, bytes(size), AT_US, KEY, "UTC"))) for size in sizes]
    for _ in range(20):  # nothing here waits for a clock: so many turns are enough for all to come to their doors
        await asyncio.sleep(0)
    assert seen == [(102,), (50, 102)]
    go.set()
    await asyncio.gather(*reads)
    assert len(seen) == len(sizes)
    assert all(sum(size > 100 for size in one) <= 1 for one in seen)


def planted() -> bytes:
    """A payload with a name and a place wherever the app lets people write."""
    named = heart(source=f"{NAME}'s Watch")
    data: dict[str, Any] = {
        "metrics": [metric("heart_rate", "count/min", named),
                    metric(NAME, NAME, {"qty": 1, "date": AT, "source": NAME}),
                    metric("step_count", "count", {"qty": 3, "date": AT, "source": NAME, "notes": "Utrecht"})],
        "workouts": [workout(name=f"{NAME} in Utrecht", location="Utrecht", route=[{"latitude": 52.3675}])],
        "symptoms": [{"name": NAME, "severity": "mild", "start": AT, "end": AT, "source": NAME}],
        "medications": [{"displayText": NAME, "status": "taken", "start": AT, "source": NAME}],
        "stateOfMind": [{"kind": "momentary_emotion", "valence": 0.5, "start": AT, "end": AT, "source": NAME,
                         "labels": [NAME], "associations": ["Utrecht"]}],
        "ecg": [{**ecg(), "source": NAME}],
        "Petronella": [{"who": "petra@mail.example"}],
    }  # fmt: skip
    return json.dumps({"data": data}).encode()


@pytest.mark.parametrize("damage", [False, True])
async def test_no_name_and_no_place_of_a_payload_comes_out(
    phone: Gateway, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], damage: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    body = planted()[:-3] if damage else planted()
    answer = await phone.client.post(URL, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == (422 if damage else 202)
    assert damage or len(phone.kept.sent) > 4
    logged = "".join(capsys.readouterr())
    assert ("gateway_refused" in logged) == damage
    holds_no_secret(answer.text + str(answer.headers) + logged + caplog.text)
    for _, one in phone.kept.sent:
        holds_no_secret(one.key + one.value + b"".join(name.encode() + value for name, value in one.headers))


async def test_the_example_of_the_description_is_taken(phone: Gateway) -> None:
    content = HEALTH_AUTO_EXPORT["openapi_extra"]["requestBody"]["content"]
    answer = await phone.client.post(URL, json=content["application/json"]["example"])
    assert (answer.status_code, answer.json()["samples_by_metric"]) == (202, {"heart_rate": 1, "steps": 1})


@pytest.mark.realdata
async def test_the_recorded_payloads_are_taken_as_they_are(phone: Gateway, realdata: Path) -> None:
    files = sorted((realdata / "health-auto-export").glob("*.json"))
    assert len(files) == 5
    for file in files:
        answer = await phone.client.post(URL, content=file.read_bytes(), headers={"content-type": "application/json"})
        told = answer.json()
        assert answer.status_code == 202, (file.name, told)
        assert told["read"] == told["accepted"] + sum(told["rejected"].values()) + sum(told["ignored"].values())


async def test_a_registry_that_was_never_seen_refuses(tmp_path: Path) -> None:
    async with gateway(tmp_path) as phone:

        async def away() -> Gate:
            raise Unavailable("the database is away")

        phone.app.state.door.registry._source = away
        answer = await phone.client.post(URL, json={"data": {}})
        assert (answer.status_code, answer.json()["code"]) == (503, "registry_unknown")
