"""POST /v1/healthkit/export and the jobs that come of it."""

import asyncio
import base64
import errno
import hashlib
import logging
import os
import shutil
import stat
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import httpx
import numpy as np
import pytest

from ingest.gateway.job_book import FILE
from ingest.gateway.job_ends import ImportFailed
from ingest.gateway.policy import GatewayPolicy
from ingest.gateway.upload import told_digest
from tests.ingest.gateway.uploading import PATIENT, Gateway, Scripted, gateway, until
from vitals.access import new_token
from vitals.gate import Gate, Permissions

URL = "/v1/healthkit/export"
ZIP = {"content-type": "application/zip"}
SUMMARY = {"adapter": "apple-export", "read": 7}
SMALL = GatewayPolicy(upload_bytes=4 << 20)


@pytest.fixture
def importer() -> Scripted:
    return Scripted(SUMMARY)


@pytest.fixture
async def phone(tmp_path: Path, importer: Scripted) -> AsyncIterator[Gateway]:
    async with gateway(tmp_path, importer=importer, policy=SMALL) as running:
        yield running


async def post(
    phone: Gateway, content: bytes = b"an export", headers: Mapping[str, str] = MappingProxyType({})
) -> httpx.Response:
    return await phone.client.post(URL, content=content, headers={**ZIP, **headers})


def uploads(phone: Gateway) -> list[Path]:
    return list((phone.folder / "uploads").iterdir())


async def test_an_upload_becomes_a_job(phone: Gateway, importer: Scripted) -> None:
    importer.hold = asyncio.Event()
    answer = await post(phone)
    told = answer.json()
    assert (answer.status_code, told["state"], told["summary"]) == (202, "queued", None)
    assert answer.headers["location"] == f"/v1/jobs/{told['job']}"
    running = await phone.job(answer.headers["location"], "running")
    await until(lambda: bool(importer.read))
    running = await phone.job(answer.headers["location"], "running")
    assert running["progress"] == {"done_bytes": 3, "total_bytes": 10, "percent": 30.0}
    ((upload, content),) = importer.read
    assert (content, upload.patient_id, upload.adapter) == (b"an export", PATIENT, "apple-export")
    assert [stat.S_IMODE(one.stat().st_mode) for one in uploads(phone)] == [0o600]
    importer.hold.set()
    done = await phone.job(answer.headers["location"], "succeeded")
    assert (done["summary"], done["problem"], done["progress"]["percent"]) == (SUMMARY, None, 100.0)
    assert done["created"] <= done["started"] <= done["ended"]
    assert PATIENT not in str(done)
    await until(lambda: not uploads(phone))


async def test_a_failed_job_says_why_and_what_it_read(tmp_path: Path) -> None:
    importer = Scripted(ImportFailed("malformed", "the zip file is cut short", {"read": 3}))
    async with gateway(tmp_path, importer=importer) as phone:
        failed = await phone.job((await post(phone)).headers["location"], "failed")
        assert failed["problem"] == {"code": "malformed", "detail": "the zip file is cut short"}
        assert failed["summary"] == {"read": 3}
        await until(lambda: not uploads(phone))


async def test_only_its_patients_credentials_see_a_job(phone: Gateway) -> None:
    location = (await post(phone)).headers["location"]
    await phone.job(location, "succeeded")
    for who, status in (("rotated", 200), ("other", 404), ("device", 403), ("ward", 403)):
        for method in ("GET", "DELETE"):
            answer = await phone.client.request(method, location, headers=phone.as_(who))
            assert answer.status_code == status, (who, method)
    for other in ("/v1/jobs/" + "0" * 32, "/v1/jobs/..%2f..", "/v1/jobs/'--"):
        unknown, strange = await phone.client.get(location, headers=phone.as_("other")), await phone.client.get(other)
        assert unknown.json()["detail"] == strange.json()["detail"]
        assert strange.status_code == 404
    assert (await phone.client.get(location, headers={"authorization": ""})).status_code == 401


async def test_a_job_is_cancelled_and_its_upload_deleted(phone: Gateway, importer: Scripted) -> None:
    importer.hold = asyncio.Event()
    first, second = [(await post(phone)).headers["location"] for _ in range(2)]
    await phone.job(first, "running")
    await until(lambda: bool(importer.read))
    for location in (second, first, first):
        answer = await phone.client.delete(location)
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert (importer.stopped, uploads(phone)) == (1, [])


@pytest.mark.parametrize("form", ["repr-digest", "content-digest", "digest"])
@pytest.mark.parametrize("right", [True, False])
async def test_a_digest_is_checked(phone: Gateway, form: str, right: bool) -> None:
    found = base64.b64encode(hashlib.sha256(b"an export" if right else b"another").digest()).decode()
    header = f"SHA-256={found}" if form == "digest" else f"md5=:AAAA:, sha-256=:{found}:"
    answer = await post(phone, headers={form: header})
    assert answer.status_code == (202 if right else 422)
    if not right:
        assert answer.json()["code"] == "digest_mismatch"
        assert uploads(phone) == []


def test_what_is_no_sha_256_is_no_digest() -> None:
    for header in ("", "sha-256=:short=:", "sha-512=:AAAA:", "nonsense", "sha-256=AAAA"):
        assert told_digest({"repr-digest": header, "digest": header}) is None


async def pieces(count: int, size: int = 1 << 20) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(size)


async def test_an_upload_that_is_too_large_leaves_nothing(phone: Gateway) -> None:
    declared = await post(phone, bytes(5 << 20))
    chunked = await phone.client.post(URL, content=pieces(6), headers=ZIP)
    for answer in (declared, chunked):
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert uploads(phone) == []


class Disk(NamedTuple):
    total: int
    used: int
    free: int


async def test_an_upload_the_disk_has_no_room_for_is_refused_unread(
    phone: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(1 << 40, 0, (512 << 20) + (2 << 20)))
    assert (await post(phone, bytes(1 << 20))).status_code == 202
    answer = await post(phone, bytes(3 << 20))
    assert (answer.status_code, answer.json()["code"]) == (503, "no_room")
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "no_room"), (errno.EIO, "not_safe")])
async def test_a_disk_that_fills_or_fails_meanwhile(
    phone: Gateway, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    written = os.write

    def write(out: int, data: bytes | memoryview) -> int:
        if len(data) == 1 << 20:
            raise OSError(number, os.strerror(number))
        return written(out, data)

    monkeypatch.setattr(os, "write", write)
    answer = await phone.client.post(URL, content=pieces(3), headers=ZIP)
    assert (answer.status_code, answer.json()["code"]) == (503, code)
    assert uploads(phone) == []


async def test_a_disk_that_others_fill_meanwhile(phone: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.gateway.upload._LOOK_EVERY", 2)
    free = iter([1 << 40, 1 << 20])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(1 << 40, 0, next(free)))
    answer = await phone.client.post(URL, content=pieces(4), headers=ZIP)
    assert (answer.status_code, answer.json()["code"], uploads(phone)) == (503, "no_room", [])


async def test_a_sender_that_is_too_slow_leaves_nothing(tmp_path: Path, importer: Scripted) -> None:
    async def slow() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.05)

    policy = replace(SMALL, body_grace_s=0.2, body_bytes_per_s=1_000)
    async with gateway(tmp_path, importer=importer, policy=policy) as phone:
        began_s = time.monotonic()
        answer = await phone.client.post(URL, content=slow(), headers=ZIP)
        assert (answer.status_code, answer.json()["code"], uploads(phone)) == (408, "too_slow", [])
        assert time.monotonic() - began_s < 5


@pytest.mark.parametrize(
    ("headers", "content", "status", "code"),
    [
        ({"content-type": "multipart/form-data; boundary=x"}, b"x", 415, "media_type"),
        ({"content-type": "application/json"}, b"x", 415, "media_type"),
        ({"content-encoding": "gzip"}, b"x", 415, "content_encoding"),
        ({}, b"", 422, "malformed_document"),
    ],
)
async def test_what_is_no_upload(
    phone: Gateway, headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    answer = await post(phone, content, headers)
    assert (answer.status_code, answer.json()["code"], uploads(phone)) == (status, code, [])


async def test_so_many_of_one_patient_may_wait(phone: Gateway, importer: Scripted) -> None:
    importer.hold = asyncio.Event()
    answers = [(await post(phone)) for _ in range(9)]
    assert [one.status_code for one in answers] == [202] * 8 + [429]
    assert answers[-1].json()["code"] == "too_many_jobs"
    assert int(answers[-1].headers["retry-after"]) > 0
    assert (await post(phone, headers=phone.as_("other"))).status_code == 202


@pytest.mark.parametrize("noted", [True, False])
async def test_where_nothing_may_be_stored_nothing_is_taken(tmp_path: Path, importer: Scripted, noted: bool) -> None:
    nothing = np.empty(0, np.int64)
    people: dict[str, Permissions] = {PATIENT: Permissions(nothing.astype(np.int8), nothing, nothing)}
    people = people if noted else {}
    async with gateway(tmp_path, importer=importer, gate=Gate(people=people, require_consent=not noted)) as phone:
        answer = await post(phone)
        assert (answer.status_code, answer.json()["code"]) == (403, "no_consent")
        assert (importer.read, uploads(phone)) == ([], [])
        other = await post(phone, headers=phone.as_("other"))
        assert other.status_code == (202 if noted else 403)


async def test_jobs_outlive_the_gateway(tmp_path: Path, importer: Scripted) -> None:
    importer.hold = asyncio.Event()
    tokens = {name: new_token() for name in ("phone", "rotated", "other", "device", "ward")}
    async with gateway(tmp_path, importer=importer, tokens=tokens) as phone:
        location = (await post(phone)).headers["location"]
        await until(lambda: bool(importer.read))
    importer.hold.set()
    async with gateway(tmp_path, importer=importer, tokens=tokens) as phone:
        assert (await phone.job(location, "succeeded"))["tries"] == 1
        assert [content for _, content in importer.read] == [b"an export"] * 2


async def test_a_book_that_fails_costs_uploads_and_not_live_traffic(tmp_path: Path, importer: Scripted) -> None:
    tmp_path.joinpath(FILE).write_bytes(b"this is no database" * 100)
    async with gateway(tmp_path, importer=importer) as phone:
        refused, unknown = await post(phone), await phone.client.get("/v1/jobs/" + "0" * 32)
        assert (refused.status_code, unknown.status_code) == (503, 503)
        assert int(refused.headers["retry-after"]) > 0
        assert (await phone.client.post("/v1/health-auto-export", json={"data": {}})).status_code == 202


async def test_logs_name_the_job_and_neither_person_nor_file(
    phone: Gateway, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await post(phone, headers={"content-disposition": 'attachment; filename="Petronella.zip"'})
    await phone.job(answer.headers["location"], "succeeded")
    logged = "".join(capsys.readouterr()) + caplog.text
    assert "job_ended" in logged
    assert answer.json()["job"] in logged
    for word in ("Petronella", PATIENT, str(phone.folder)):
        assert word not in logged
