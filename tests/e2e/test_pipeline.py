"""From real exports and a strap's notifications to rows, and from rows that matter to a delivered alert."""

import asyncio
import csv
import json
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from alerts.channels import SIGNATURE_HEADER
from devices.errors import MalformedFrame
from devices.gatt import decode_samples
from ingest.publisher import Publisher
from ingest.record import encode
from ingest.topics import SAMPLES
from tests.conftest import REPO
from tests.e2e.conftest import Stack
from tests.e2e.oracle import rows_of
from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.catalogue import BY_CODE, UNKNOWN_METRIC
from vitals.ids import device_id, patient_id

REAL = REPO.parent / "shared" / "realdata"
EXPORTS = (
    sorted((REAL / "apple-health").glob("*/export*.xml")) if REAL.is_dir() else [REPO / "fixtures/apple/everyday.xml"]
)
_QUARANTINED = (
    """SELECT {} FROM quarantine JOIN quarantine_records USING (topic, partition, epoch, "offset") WHERE {}"""
)


def _import(stack: Stack, export: Path, patient: str) -> dict[str, object]:
    command = [sys.executable, "-m", "vigil", "healthkit", "import", str(export), "--patient", patient]
    done = subprocess.run(
        command,
        env=stack.environment | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


def _stored(stack: Stack, patient: str) -> Counter[tuple[str, datetime, int, float]]:
    query = "SELECT metric, time, duration_ms, value FROM current_samples WHERE patient_id = %s"
    return Counter((m, t.astimezone(UTC), d, round(v, 6)) for m, t, d, v in stack.rows(query, patient))


@pytest.mark.parametrize("export", EXPORTS, ids=lambda path: path.parent.name)
def test_an_export_is_stored_as_its_own_file_says_and_only_once(stack: Stack, export: Path) -> None:
    patient = f"import-{export.parent.name}"[:60]
    expected = rows_of(export)
    told = _import(stack, export, patient)
    assert told["read"] == told["accepted"] + sum(told["rejected"].values())  # type: ignore[operator, attr-defined]
    stack.wait(lambda: _stored(stack, patient) == expected, f"the import of {export.parent.name}")

    overlapping = """SELECT coalesce(sum(samples), 0) FROM duplicates
                     WHERE (adapter, reason) = ('apple-export', 'overlapping_export')"""
    before = stack.count(overlapping)
    _import(stack, export, patient)
    again = before + expected.total()
    stack.wait(lambda: stack.count(overlapping) == again, "the second import")
    assert _stored(stack, patient) == expected
    zones = stack.rows("SELECT DISTINCT zone_offset_min FROM current_samples WHERE patient_id = %s", patient)
    assert None not in {zone for (zone,) in zones}


@pytest.mark.realdata
def test_steps_equal_the_csv_that_came_with_the_export(stack: Stack, realdata: Path) -> None:
    export = realdata / "apple-health" / "tdda" / "export6s3sample.xml"
    _import(stack, export, "csv")
    with (export.parent / "StepCount.csv").open() as file:
        expected = Counter(
            (datetime.strptime(row["startDate"], "%Y-%m-%d %H:%M:%S %z").astimezone(UTC), float(row["value"]))
            for row in csv.DictReader(file)
        )
    query = "SELECT time, value FROM current_samples WHERE patient_id = 'csv' AND metric = 'steps' AND unit = '{steps}'"
    stack.wait(
        lambda: Counter((time.astimezone(UTC), value) for time, value in stack.rows(query)) == expected, "the steps"
    )


def _vectors() -> list[tuple[str, object]]:
    source = REAL / "ble-vectors" / "gatt_vectors.json"
    if source.is_file():
        found = [
            (one["hex"], one["expect"]) for one in json.loads(source.read_text())["vectors"] if one["char"] == "2A37"
        ]
    else:
        found = [("1e5532002100", {"hr": 85, "contact": True, "ee": 50, "rr": [33]}), ("170101", "REJECT")]
    return found


def test_a_straps_notifications_are_stored(stack: Stack) -> None:
    header = BatchHeader(patient_id("strap"), device_id("h10"), "bridge", "ble-2a37")
    received_us = time.time_ns() // 1_000
    expected: Counter[tuple[str, float]] = Counter()
    malformed = 0
    batches = []
    for number, (payload, expect) in enumerate(_vectors()):
        try:
            batches.append(decode_samples("2a37", bytes.fromhex(payload), received_us + number * 10_000_000))
        except MalformedFrame:
            assert isinstance(expect, str)
            malformed += 1
            continue
        assert isinstance(expect, dict)
        if 20 <= expect["hr"] <= 300:
            expected["heart_rate", expect["hr"]] += 1
        for ticks in expect.get("rr", []):
            if 200 <= ticks * 1000 / 1024 <= 4000:
                expected["rr_interval", round(ticks * 1000 / 1024, 6)] += 1
    assert malformed == 1

    async def send() -> None:
        async with Publisher(stack.bootstrap) as publisher:
            for samples in batches:
                await publisher.publish(header, samples)

    asyncio.run(send())
    query = """SELECT metric, value FROM current_samples
               WHERE patient_id = 'strap' AND metric IN ('heart_rate', 'rr_interval')"""
    stack.wait(lambda: Counter((m, round(v, 6)) for m, v in stack.rows(query)) == expected, "the strap's samples")
    sent = sum(len(samples) for samples in batches)
    refused = _QUARANTINED.format("count(*)", "device_id = 'h10'")
    stored = stack.count("SELECT count(*) FROM current_samples WHERE patient_id = 'strap'")
    assert stored + stack.count(refused) == sent


def _columns(values: list[float], metric: str = "heart_rate", **changes: object) -> SampleColumns:
    now_us = time.time_ns() // 1_000
    start = now_us - 60_000_000 + np.arange(len(values)) * 1_000_000
    numbers = np.full(len(values), BY_CODE[metric].number, np.int16)
    return sample_columns(start, numbers, np.array(values), received_us=now_us, **changes)  # type: ignore[arg-type]


def test_what_is_wrong_is_named_and_the_rest_goes_on(stack: Stack) -> None:
    header = BatchHeader(patient_id("mixed"), device_id("mixed-device"), "app", "test")
    good = encode(header, _columns([70, 71, 72]))
    now_us = time.time_ns() // 1_000
    doubtful = encode(header, _columns([float("nan"), 400, 73], "pulse_rate"))
    future = encode(header, sample_columns(
        np.array([now_us + 3_600_000_000]), np.array([1], np.int16), np.array([70.0]), received_us=now_us))  # fmt: skip
    unknown = _renamed(encode(header, _columns([1.0], "weight")).value, b"weight", b"wombat")

    async def send() -> None:
        async with Publisher(stack.bootstrap) as publisher:
            producer = publisher._producer
            assert producer is not None
            headers = list(good.headers)
            newer = [("vigil-schema", b"99") if name == "vigil-schema" else (name, raw) for name, raw in headers]
            for value, with_headers in [
                (b"not Arrow at all", headers),
                (good.value, newer),
                (good.value[: len(good.value) // 2], headers),
                (doubtful.value, headers),
                (future.value, headers),
                (unknown, headers),
                (good.value, headers),
            ]:
                await producer.send_and_wait(SAMPLES, key=b"mixed", value=value, headers=with_headers)

    asyncio.run(send())
    stack.wait(
        lambda: stack.count("SELECT count(*) FROM current_samples WHERE patient_id = 'mixed'") == 4, "the good ones"
    )
    reasons = Counter(reason for (reason,) in stack.rows(_QUARANTINED.format("reason", "patient_id = 'mixed'")))
    assert reasons == {
        "undecodable": 2, "schema_version": 1, "not_finite": 1, "out_of_range": 1, "future": 1, "unknown_metric": 1
    }  # fmt: skip


def _renamed(value: bytes, old: bytes, new: bytes) -> bytes:
    assert value.count(old) == 1
    assert UNKNOWN_METRIC not in {metric.number for metric in BY_CODE.values()}
    return value.replace(old, new)


def test_a_lasting_tachycardia_reaches_a_person_once(stack: Stack) -> None:
    header = BatchHeader(patient_id("worse"), device_id("worse-watch"), "app", "test")
    samples = _columns([145.0] * 40)

    async def send() -> None:
        async with Publisher(stack.bootstrap) as publisher:
            await publisher.publish(header, samples)
            await publisher.publish(header, samples)  # the phone sends it again

    asyncio.run(send())

    def told() -> list[dict[str, object]]:
        return [one for one in stack.receiver.received if one["alert"]["patient_id"] == "worse"]

    stack.wait(lambda: bool(told()), "the notification")
    stack.wait(
        lambda: stack.count("SELECT count(*) FROM delivery_attempts WHERE outcome = 'delivered'") >= 2,
        "the record of it",
    )
    time.sleep(1.0)
    (one,) = told()
    alert = one["alert"]
    assert isinstance(alert, dict)
    assert (alert["kind"], alert["rule"], alert["metric"], alert["state"]) == (
        "physiological", "heart_rate_high", "heart_rate", "raised",
    )  # fmt: skip
    assert "145" in str(one["text"])
    assert stack.count("SELECT count(*) FROM alerts WHERE patient_id = 'worse'") == 1
    logged = (stack.folder / "notifications.jsonl").read_text()
    assert str(alert["alert_id"]) in logged
    assert SIGNATURE_HEADER.startswith("X-")
