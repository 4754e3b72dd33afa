"""Documents and exports through `vigil serve`, a broker, recorder and PostgreSQL: stored once, whatever is killed."""

import asyncio
import io
import json
import random
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from ingest.admin import create_topics
from tests.conftest import REPO
from tests.devices.adapting import SECRETS, holds_no_secret
from tests.devices.zips import zipped
from tests.e2e.conftest import Stack
from tests.e2e.gateway_running import Served, ended, job, new_token, upload, wait
from tests.e2e.oracle import Row, rows_of
from tests.e2e.test_pipeline import EXPORTS
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.ports import free_port
from vigil.supervisor import Supervisor, Worker

EXPORT = REPO / "fixtures" / "apple" / "everyday.xml"
JSON = {"content-type": "application/json"}
NAME = "Petronella Quackenbush"
TOPICS = ("vigil.samples", "vigil.samples.backfill", "vigil.waveforms", "vigil.annotations")


@pytest.fixture(scope="module")
def served(stack: Stack) -> Iterator[Served]:
    waveforms = Worker("recorder-waveforms", ["recorder", "--lane", "waveforms"], stack.environment, stack.folder)
    with tempfile.TemporaryDirectory(prefix="vigil-gateway-") as name, Supervisor([waveforms]):
        gateway = Served(stack, Path(name) / "gateway")
        gateway.start()
        yield gateway
        gateway.stop()


@contextmanager
def client_of(served: Served, patient: str) -> Iterator[httpx.Client]:
    with served.client(new_token(served.stack, patient)) as client:
        # The gateway hears of a new token within a second.
        wait(lambda: client.get("/v1/devices/me").status_code == 200, "the token stands")
        yield client


def stored(stack: Stack, patient: str) -> Counter[Row]:
    query = "SELECT metric, time, duration_ms, value FROM current_samples WHERE patient_id = %s"
    return Counter((m, t.astimezone(UTC), d, round(v, 6)) for m, t, d, v in stack.rows(query, patient))


def overlapping(stack: Stack, adapter: str) -> int:
    query = "SELECT coalesce(sum(samples), 0) FROM duplicates WHERE adapter = %s"
    return stack.count(query, adapter)


def revisions(stack: Stack, patient: str) -> int:
    return stack.count(
        "SELECT count(*) FROM sample_revisions JOIN patients USING (patient_key) WHERE patient_id = %s", patient
    )


# What the recorded payloads say, read in the plainest way.


def payload_rows(document: dict[str, Any]) -> Iterator[Row]:
    for metric in document["data"].get("metrics", []):
        for point in metric["data"] or []:
            if metric["name"] == "active_energy":
                yield _row("active_energy", point["date"], 60.0, point["qty"] / 4.184)
            elif "value" in point:
                start, end = moment(point["startDate"]), moment(point["endDate"])
                yield "sleep_stage", start, round((end - start).total_seconds() * 1_000), {"Core": 3.0}[point["value"]]
            else:
                in_bed_s = (moment(point["inBedEnd"]) - moment(point["inBedStart"])).total_seconds()
                yield _row("in_bed", point["inBedStart"], in_bed_s, 1.0)
                yield _row("sleep_stage", point["sleepStart"], point["asleep"] * 3_600, 1.0)
    for workout in document["data"].get("workouts", []):
        seconds = (moment(workout["end"]) - moment(workout["start"])).total_seconds()
        yield _row("workout", workout["start"], seconds, {"Walking": 52.0}[workout["name"]])
        yield _row("active_energy", workout["start"], seconds, workout["activeEnergy"]["qty"] / 4.184)
        yield _row("steps", workout["start"], seconds, workout["stepCount"]["qty"])
        for point in workout["heartRateData"]:
            yield _row("heart_rate", point["date"], 0.0, point["qty"])


def _row(metric: str, start: str, seconds: float, value: float) -> Row:
    return metric, moment(start), round(seconds * 1_000), round(value, 6)


def moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z").astimezone(UTC)


@pytest.mark.realdata
def test_recorded_payloads_posted_twice_are_stored_once(served: Served, realdata: Path) -> None:
    files = sorted((realdata / "health-auto-export").glob("*.json"))
    expected = Counter(row for file in files for row in payload_rows(json.loads(file.read_text())))
    assert expected.total() == 9
    before = overlapping(served.stack, "health-auto-export")
    with client_of(served, "posted-twice") as client:
        for turn in range(2):
            for file in files:
                answer = client.post("/v1/health-auto-export", content=file.read_bytes(), headers=JSON)
                assert (answer.status_code, answer.json()["safe"]) in {(202, "broker"), (202, None)}, answer.text
            wait(lambda: stored(served.stack, "posted-twice") == expected, f"the payloads, turn {turn}")
    wait(lambda: overlapping(served.stack, "health-auto-export") == before + 9, "what was posted again")
    assert (stored(served.stack, "posted-twice"), revisions(served.stack, "posted-twice")) == (expected, 0)


def test_a_bundle_posted_twice_is_stored_once(served: Served) -> None:
    def observation(number: int) -> dict[str, Any]:
        return {
            "resourceType": "Observation", "id": f"o-{number}", "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
            "subject": {"reference": "Patient/Quackenbush", "display": NAME}, "device": {"display": f"{NAME}'s watch"},
            "effectiveDateTime": f"2024-06-01T10:{number:02}:00+02:00",
            "valueQuantity": {"value": 60 + number, "system": "http://unitsofmeasure.org", "code": "/min"},
        }  # fmt: skip

    body = {"resourceType": "Bundle", "entry": [{"resource": observation(n)} for n in range(30)]}
    start = datetime(2024, 6, 1, 8, tzinfo=UTC)
    expected = Counter(("heart_rate", start + timedelta(minutes=n), 0, 60.0 + n) for n in range(30))
    before = overlapping(served.stack, "fhir-bundle")
    with client_of(served, "bundle-twice") as client:
        for _ in range(2):
            answer = client.post("/v1/fhir", json=body)
            assert (answer.status_code, answer.json()["samples_accepted"]) == (202, 30)
            wait(lambda: stored(served.stack, "bundle-twice") == expected, "the bundle")
    wait(lambda: overlapping(served.stack, "fhir-bundle") == before + 30, "what was posted again")
    assert (stored(served.stack, "bundle-twice"), revisions(served.stack, "bundle-twice")) == (expected, 0)


@pytest.mark.parametrize("export", EXPORTS, ids=lambda path: path.parent.name)
def test_an_export_uploaded_twice_is_stored_once(served: Served, export: Path) -> None:
    patient = f"uploaded-{export.parent.name}"[:60]
    expected, before = rows_of(export), overlapping(served.stack, "apple-export")
    with client_of(served, patient) as client:
        for turn in range(2):
            where = upload(client, export.read_bytes(), "application/xml")
            told = job(client, where, ended)
            assert (told["state"], told["tries"]) == ("succeeded", 1), told
            wait(lambda: stored(served.stack, patient) == expected, f"the export, turn {turn}")
    again = before + expected.total()
    wait(lambda: overlapping(served.stack, "apple-export") == again, "what was uploaded again")
    assert (stored(served.stack, patient), revisions(served.stack, patient)) == (expected, 0)


async def _stream(bootstrap: str) -> bytes:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        places = [TopicPartition(topic, n) for topic in TOPICS for n in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(places)
        await consumer.seek_to_beginning()
        ends, found = await consumer.end_offsets(places), bytearray()
        while any([await consumer.position(place) < ends[place] for place in places]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                for one in batch:
                    found += (one.key or b"") + (one.value or b"") + repr(one.headers).encode()
        return bytes(found)
    finally:
        await consumer.stop()


def test_no_name_and_no_place_is_left_anywhere(served: Served) -> None:
    ecg = (
        f"Name,{NAME}\nDate of Birth,1971-11-23\nRecorded Date,2024-03-31 03:00:00 +0200\n"
        "Classification,Sinus Rhythm\nSample Rate,512 hertz\n\nUnit,µV\n\n" + "0.0\n" * (512 * 30)
    )
    text = EXPORT.read_text().replace("<HealthData", f"<!-- {NAME} of Utrecht, 1971-11-23 --><HealthData", 1)
    whole = zipped(
        {
            "apple_health_export/Petronella.xml": text,
            "apple_health_export/electrocardiograms/ecg_2024-03-31.csv": ecg,
            "apple_health_export/workout-routes/route.gpx": "<gpx>Utrecht 52.3675</gpx>",
        }
    )
    with client_of(served, "planted") as client:
        name = {"content-disposition": f'attachment; filename="{NAME}.zip"', "content-type": "application/zip"}
        answer = client.post("/v1/healthkit/export", content=whole, headers=name)
        told = job(client, answer.headers["location"], ended)
        assert told["state"] == "succeeded", told
        holds_no_secret(answer.text + str(answer.headers) + json.dumps(told))
    wait(lambda: stored(served.stack, "planted") == rows_of(EXPORT), "the export")
    stream = asyncio.run(_stream(served.stack.bootstrap))
    assert b"planted" in stream
    for secret in SECRETS:
        assert secret.encode() not in stream
    wait(lambda: not list((served.folder / "uploads").iterdir()), "the upload is deleted")
    for file in (*(one for one in served.folder.rglob("*") if one.is_file()), served.log):
        holds_no_secret(file.read_bytes())


# Killed in the middle.


def long_export(records: int, seed: int) -> bytes:
    """Heart rates, one every ten seconds, which take some seconds to read."""
    draw, begin = random.Random(seed), datetime(2023, 1, 1, tzinfo=UTC)
    lines = ['<?xml version="1.0" encoding="UTF-8"?>\n<HealthData locale="en_GB">\n']
    for n in range(records):
        at = f"{begin + timedelta(seconds=10 * n):%Y-%m-%d %H:%M:%S} +0000"
        lines.append(
            f'<Record type="HKQuantityTypeIdentifierHeartRate" sourceName="Watch" unit="count/min" startDate="{at}" '
            f'endDate="{at}" value="{draw.randint(50, 150)}"/>\n'
        )
    return "".join([*lines, "</HealthData>\n"]).encode()


RECORDS = 80_000


def reads(told: dict[str, Any]) -> bool:
    assert not ended(told), f"it ended before it could be killed: {told}"
    return bool(told["state"] == "running" and told["progress"]["done_bytes"] > 0)


def all_stored(stack: Stack, patient: str) -> bool:
    query = "SELECT count(*), count(DISTINCT time) FROM current_samples WHERE patient_id = %s AND metric = 'heart_rate'"
    return stack.rows(query, patient) == [(RECORDS, RECORDS)]


def post_large(served: Served) -> None:
    """Have a payload read in a process of its own, which stays for the next."""
    begin = datetime(2022, 1, 1, tzinfo=UTC)
    points = [
        {"qty": 60 + n % 40, "date": f"{begin + timedelta(minutes=n):%Y-%m-%d %H:%M:%S} +0000"} for n in range(6_000)
    ]
    payload = {"data": {"metrics": [{"name": "heart_rate", "units": "count/min", "data": points}]}}
    with client_of(served, "large-payload") as client:
        answer = client.post("/v1/health-auto-export", json=payload)
        assert answer.json()["samples_accepted"] == 6_000, answer.text


def children_of(served: Served) -> list[psutil.Process]:
    assert served.process is not None
    children = psutil.Process(served.process.pid).children(recursive=True)
    assert len(children) >= 2, "one reads the upload, one read the payload"
    return children


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_a_killed_reader_is_begun_again_and_all_is_stored_once(served: Served) -> None:
    with client_of(served, "killed-reader") as client:
        where = upload(client, long_export(RECORDS, 1), "application/xml")
        job(client, where, reads)
        (importer,) = served.importers()
        assert importer.nice() > psutil.Process(served.process.pid if served.process else 0).nice()
        importer.kill()
        told = job(client, where, ended, 120)
        assert (told["state"], told["tries"], told["summary"]["read"]) == ("succeeded", 2, RECORDS)
    wait(lambda: all_stored(served.stack, "killed-reader"), "all of it", 60)
    assert revisions(served.stack, "killed-reader") == 0


def test_a_killed_gateway_goes_on_and_all_is_stored_once(served: Served) -> None:
    post_large(served)
    with client_of(served, "killed-gateway") as client:
        where = upload(client, long_export(RECORDS, 2), "application/xml")
        job(client, where, reads)
        children = children_of(served)
        (served.folder / "uploads" / "cut-off.part").write_bytes(b"half of an upload")
        served.kill()
        wait(lambda: not any(map(alive, children)), "its processes end with it")
        served.start()
        told = job(client, where, ended, 120)
        assert (told["state"], told["tries"], told["summary"]["read"]) == ("succeeded", 2, RECORDS)
    wait(lambda: all_stored(served.stack, "killed-gateway"), "all of it", 60)
    assert revisions(served.stack, "killed-gateway") == 0
    wait(lambda: not list((served.folder / "uploads").iterdir()), "the uploads are deleted")


def test_a_stopped_gateway_takes_its_processes_along_and_it_counts_as_no_try(served: Served) -> None:
    post_large(served)
    with client_of(served, "stopped-gateway") as client:
        where = upload(client, long_export(RECORDS, 4), "application/xml")
        job(client, where, reads)
        children = children_of(served)
        served.stop()
        wait(lambda: not any(map(alive, children)), "they end with the gateway")
        served.start()
        told = job(client, where, ended, 120)
        assert (told["state"], told["tries"]) == ("succeeded", 1)
    wait(lambda: all_stored(served.stack, "stopped-gateway"), "all of it", 60)


def test_a_cancelled_job_stops_its_reader(served: Served) -> None:
    with client_of(served, "cancelled") as client:
        where = upload(client, long_export(RECORDS, 3), "application/xml")
        job(client, where, reads)
        (importer,) = served.importers()
        assert client.delete(where).json()["state"] == "cancelled"
        assert not alive(importer)
        assert list((served.folder / "uploads").iterdir()) == []


def test_a_job_waits_for_its_broker(stack: Stack, tmp_path: Path) -> None:
    port = free_port()
    gateway = Served(stack, tmp_path / "gateway", {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"})
    gateway.start()
    try:
        with client_of(gateway, "waits-for-broker") as client:
            where = upload(client, EXPORT.read_bytes(), "application/xml")
            waits = job(client, where, lambda told: told["problem"] is not None)
            assert (waits["state"], waits["problem"]["code"], waits["tries"]) == ("queued", "broker_away", 0)
            with EmbeddedBroker(port=port, log=tmp_path / "broker.log") as broker:
                asyncio.run(create_topics(broker.bootstrap, partitions=2))
                told = job(client, where, ended)
                assert (told["state"], told["problem"], told["tries"]) == ("succeeded", None, 1)
                expected = rows_of(EXPORT).total()
                assert sum(told["summary"]["samples"].values()) == expected
    finally:
        gateway.stop()


# Hostile.


def _bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("export.xml", "w") as member:
        member.write(b'<HealthData locale="en_GB">')
        for _ in range(200):
            member.write(bytes(1 << 20))
    return file.getvalue()


HOSTILE = {
    "bomb": _bomb(),
    "no zip": b"this is no export" * 1_000,
    "empty zip": zipped({}),
    "no export": zipped({"apple_health_export/export_cda.xml": b"<ClinicalDocument/>"}),
    "cut short": zipped({"export.xml": EXPORT.read_bytes()})[:-500],
    "deep": b"<HealthData>" + b"<a>" * 1_000_000,
    "nulls": bytes(1 << 20),
}  # fmt: skip
ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "'
    + b"b" * 1_000
    + b'">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a;" * 100) for n in range(100))
    + b"]><HealthData>&a99;</HealthData>"
)


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_export_is_a_failed_job_and_the_service_lives(served: Served, what: str) -> None:
    with client_of(served, "hostile") as client:
        told = job(client, upload(client, HOSTILE[what]), ended)
        assert told["state"] == "failed", told
        assert (told["problem"]["code"], told["tries"]) == ("malformed", 1)
        assert client.post("/v1/health-auto-export", json={"data": {}}).status_code == 202
    assert stored(served.stack, "hostile").total() == 0
    wait(lambda: not list((served.folder / "uploads").iterdir()), "the upload is deleted")


def test_entities_mean_nothing(served: Served) -> None:
    with client_of(served, "hostile") as client:
        told = job(client, upload(client, ENTITIES), ended)
        assert (told["state"], told["summary"]["read"]) == ("succeeded", 0)


def test_names_in_an_archive_lead_nowhere(served: Served) -> None:
    before = set(served.folder.parent.rglob("*"))
    evil = {"../../../../evil.xml": b"<HealthData/>", "/tmp/evil.csv": b"Name,x", "uploads/../../evil": b"x"}
    whole = zipped({**evil, "apple_health_export/export.xml": EXPORT.read_bytes()})
    with client_of(served, "traversal") as client:
        assert job(client, upload(client, whole), ended)["state"] == "succeeded"
    wait(lambda: stored(served.stack, "traversal") == rows_of(EXPORT), "the export inside")
    after = set(served.folder.parent.rglob("*"))
    assert not [one for one in after - before if "evil" in one.name]
    assert not Path("/tmp/evil.csv").exists()
