"""`vigil import`: files of every built-in adapter, to a real broker."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from ingest.admin import create_topics
from ingest.record import decode
from ingest.topics import ANNOTATIONS, SAMPLES_BACKFILL, WAVEFORMS
from ingest.waveform_record import decode_chunk
from tests.devices.adapting import NAME, holds_no_secret
from tests.devices.fhir.test_fhir import bundle, observation, sampled
from tests.devices.fit.encode import Fit, file_id
from tests.devices.fit.test_fit import T0, record, session
from tests.devices.fitbit.test_fitbit import NIGHT
from tests.devices.garmin.test_garmin import DAY, UDS
from tests.devices.zips import zipped
from vigil.embedded.broker import EmbeddedBroker

KEY = "0123456789abcdef0123456789abcdef"
FILES = {
    "fit-file": session(record(file_id(Fit(), T0), 0), 1).data,
    "fitbit-export": zipped({f"{NAME}/sleep-2024-06-01.json": [NIGHT]}),
    "garmin-export": zipped({UDS: [DAY]}),
    "fhir-bundle": bundle(observation(), sampled("131328", "1 2 3"), {"resourceType": "Patient", "name": NAME}),
}


@pytest.fixture(scope="module")
def kafka() -> Iterator[str]:
    """The address of a broker with Vigil's topics."""
    with EmbeddedBroker() as broker:
        asyncio.run(create_topics(broker.bootstrap, partitions=1))
        yield broker.bootstrap


def vigil(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vigil", *arguments],
        env={"PATH": os.environ["PATH"]} | variables, capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip


def sent(bootstrap: str, topic: str, patient: str, count: int) -> list[ConsumerRecord]:
    """The records of a patient, once there are `count`."""

    async def consume() -> list[ConsumerRecord]:
        found: list[ConsumerRecord] = []
        async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
            deadline = time.monotonic() + 30
            while len(found) < count and time.monotonic() < deadline:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [one for one in records if one.key == patient.encode()]
        return found

    return asyncio.run(consume())


@pytest.mark.parametrize("adapter", sorted(FILES))
def test_a_dry_run_needs_neither_broker_nor_key(adapter: str, tmp_path: Path) -> None:
    file = tmp_path / f"{NAME}.bin"
    file.write_bytes(FILES[adapter])
    done = vigil("import", adapter, str(file), "--patient", "p-1", "--zone", "Europe/Vienna", "--dry-run")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["adapter"] == adapter
    assert told["read"] == told["accepted"] + sum(told["rejected"].values()) + sum(told["ignored"].values())
    assert sum(told["samples"].values()) > 0
    assert told["quarantined"] == {}
    holds_no_secret(done.stdout + done.stderr)


def test_samples_and_sessions_of_a_fit_file_reach_their_topics(kafka: str, tmp_path: Path) -> None:
    file = tmp_path / "run.fit"
    file.write_bytes(FILES["fit-file"])
    done = vigil(
        "import", "fit-file", str(file), "--patient", "p-fit", KAFKA_BOOTSTRAP_SERVERS=kafka, VIGIL_HASH_KEY=KEY
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (one,) = sent(kafka, SAMPLES_BACKFILL, "p-fit", 1)
    header, samples = decode(one.key, one.value, one.headers)
    assert (header.patient_id, header.adapter, header.source_app) == ("p-fit", "fit-file", "fit")
    assert header.device_id.startswith("fit-")
    assert len(samples) == sum(told["samples"].values())
    assert set(samples.start_us.tolist()) == {T0}
    (note,) = sent(kafka, ANNOTATIONS, "p-fit", 1)
    assert json.loads(note.value)["label"] == "workout.running"
    assert told["sessions"] == 1


def test_waveforms_reach_their_topic(kafka: str, tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    file.write_bytes(FILES["fhir-bundle"])
    done = vigil(
        "import", "fhir-bundle", str(file), "--patient", "p-fhir", KAFKA_BOOTSTRAP_SERVERS=kafka, VIGIL_HASH_KEY=KEY
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["waveforms"] == 1
    (one,) = sent(kafka, WAVEFORMS, "p-fhir", 1)
    _, chunk = decode_chunk(one.key, one.value, one.headers)
    assert (chunk.metric, chunk.rate_hz, chunk.values.tolist()) == ("ecg", 250.0, [[1, 2, 3]])
    assert len(sent(kafka, SAMPLES_BACKFILL, "p-fhir", 1)) == 1


def test_what_stands_before_the_damage_is_sent_and_the_damage_is_told(kafka: str, tmp_path: Path) -> None:
    whole = file_id(Fit(), T0)
    for second in range(50):
        record(whole, second)
    file = tmp_path / f"{NAME}.fit"
    file.write_bytes(whole.data[:-9])
    done = vigil(
        "import", "fit-file", str(file), "--patient", "p-cut", KAFKA_BOOTSTRAP_SERVERS=kafka, VIGIL_HASH_KEY=KEY
    )
    assert done.returncode == 2
    assert "cut short" in done.stderr
    assert "Traceback" not in done.stderr
    holds_no_secret(done.stdout + done.stderr)
    told = json.loads(done.stdout)
    records = sent(kafka, SAMPLES_BACKFILL, "p-cut", 1)
    assert sum(len(decode(one.key, one.value, one.headers)[1]) for one in records) == sum(told["samples"].values()) > 0


def test_what_validation_will_quarantine_is_told(tmp_path: Path) -> None:
    file = tmp_path / "run.fit"
    file.write_bytes(record(file_id(Fit(), T0), 0, heart=7).data)
    told = json.loads(vigil("import", "fit-file", str(file), "--patient", "p-1", "--dry-run").stdout)
    assert told["quarantined"] == {"out_of_range": 1}


def test_the_list_shows_every_adapter_and_what_it_reads() -> None:
    done = vigil("import", "--list", COLUMNS="200")
    assert done.returncode == 0
    for name in FILES:
        assert name in done.stdout
    assert "FIT file" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing", "FILE", "--patient", "p"), ("no such adapter", *FILES)),
        (("fit-file", "FILE", "--patient", NAME), ("patient id",)),
        (("fit-file", "FILE", "--patient", "p", "--zone", "Utrecht"), ("IANA",)),
        (("fit-file", "FILE", "--patient", "p"), ("KAFKA_BOOTSTRAP_SERVERS",)),
        (("fit-file", "FILE"), ("--patient",)),
        ((), ("--list",)),
        (("fitbit-export", "FILE", "--patient", "p", "--dry-run"), ("zip",)),
    ],
)
def test_what_is_missing_or_wrong_is_one_clear_line(
    arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "one.fit"
    file.write_bytes(FILES["fit-file"])
    given = [str(file) if one == "FILE" else one for one in arguments]
    done = vigil("import", *given, VIGIL_HASH_KEY=KEY, COLUMNS="200")
    assert done.returncode == 2
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr
    holds_no_secret(done.stderr + done.stdout)


def test_an_adapter_that_breaks_is_named_and_its_words_are_not(tmp_path: Path) -> None:
    (tmp_path / "breaking.py").write_text(
        "class A:\n    name = 'breaking'\n    about = 'x'\n    def read(self, source, reading):\n"
        f"        yield from ()\n        raise RuntimeError('{NAME}')\nADAPTER = A()\n"
    )
    info = tmp_path / "breaking-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: breaking\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vigil.adapters]\nbreaking = breaking:ADAPTER\n")
    done = vigil("import", "breaking", str(info / "METADATA"), "--patient", "p", "--dry-run", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "adapter breaking broke on this file (RuntimeError)" in done.stderr
    holds_no_secret(done.stderr + done.stdout)
