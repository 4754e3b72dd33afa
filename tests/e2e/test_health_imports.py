"""Apple's export and Health Auto Export, said again: interrupted, repeated, and stored once."""

import asyncio
import json
import subprocess
import sys
import zipfile
from collections import Counter
from datetime import UTC
from pathlib import Path

from devices.adapter import Reading
from devices.health_auto_export import read_payload
from tests.conftest import REPO
from tests.e2e.conftest import Stack
from tests.e2e.oracle import Row, rows_of
from vigil.imports import send
from vigil.supervisor import Supervisor, Worker
from vitals.clock import system_clock
from vitals.ids import patient_id

EXPORT = REPO / "fixtures" / "apple" / "everyday.xml"
ECG = (
    "Name,Petronella Quackenbush\nDate of Birth,1971-11-23\nRecorded Date,2024-03-31 03:00:00 +0200\n"
    "Classification,Sinus Rhythm\nSample Rate,512 hertz\n\nUnit,µV\n\n" + "0.0\n" * (512 * 30)
)
_STORED = "SELECT metric, time, duration_ms, value FROM current_samples WHERE patient_id = %s"
_CHUNKS = """SELECT count(*), coalesce(sum(duration_ms), 0) FROM waveforms JOIN patients USING (patient_key)
             WHERE patient_id = %s"""

_TAKEN = "SELECT coalesce(sum(next_offset), 0) FROM watermarks WHERE topic = 'vigil.waveforms'"


def _import(stack: Stack, file: Path, patient: str) -> tuple[int, dict[str, object]]:
    command = [sys.executable, "-m", "vigil", "healthkit", "import", str(file), "--patient", patient]
    environment = stack.environment | {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    for secret in ("Petronella", "Quackenbush", "1971-11-23", "Utrecht"):
        assert secret not in done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def _stored(stack: Stack, patient: str) -> Counter[Row]:
    rows = stack.rows(_STORED, patient)
    return Counter((m, t.astimezone(UTC), d, round(v, 6)) for m, t, d, v in rows)


def _overlapping(stack: Stack, adapter: str) -> int:
    query = "SELECT coalesce(sum(samples), 0) FROM duplicates WHERE (adapter, reason) = (%s, 'overlapping_export')"
    return stack.count(query, adapter)


def test_an_interrupted_import_said_again_goes_on_and_stores_nothing_twice(stack: Stack, tmp_path: Path) -> None:
    text = EXPORT.read_bytes()
    cut, whole = tmp_path / "cut.xml", tmp_path / "export.zip"
    cut.write_bytes(text[: text.index(b"<Correlation")])
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("apple_health_export/Exportieren.xml", text)
        archive.writestr("apple_health_export/electrocardiograms/ecg_2024-03-31.csv", ECG)
        archive.writestr("apple_health_export/workout-routes/route.gpx", "<gpx>Utrecht</gpx>")
    expected, patient = rows_of(EXPORT), "import-interrupted"
    begun = _overlapping(stack, "apple-export")
    worker = Worker("recorder-waveforms", ["recorder", "--lane", "waveforms"], stack.environment, stack.folder)
    with Supervisor([worker]):
        code, told = _import(stack, cut, patient)
        assert (code, told["accepted"]) == (2, 15)
        stack.wait(lambda: _stored(stack, patient).total() == expected.total() - 1, "what stood before the cut")
        for turn in range(2):
            code, told = _import(stack, whole, patient)
            assert (code, told["accepted_ecgs"]) == (0, 1)
            seen = begun + expected.total() - 1 + turn * expected.total()
            stack.wait(lambda seen=seen: _overlapping(stack, "apple-export") >= seen, f"import {turn}")  # type: ignore[misc]
            stack.wait(lambda turn=turn: stack.count(_TAKEN) > turn, "the ECG")  # type: ignore[misc]
    assert _stored(stack, patient) == expected
    (count, duration_ms), *_ = stack.rows(_CHUNKS, patient)
    assert (count, duration_ms // 1_000) == (1, 29), "the filter keeps a few samples"


def test_a_payload_sent_since_last_sync_again_is_stored_once(stack: Stack) -> None:
    def points(last: int) -> list[dict[str, object]]:
        return [{"qty": 10 + i, "date": f"2024-06-01 10:0{i}:00 PM +0200", "source": "Anna"} for i in range(last)]

    def body(last: int) -> bytes:
        steps = {"name": "step_count", "units": "count", "data": points(last)}
        return json.dumps({"data": {"metrics": [steps], "workouts": []}}).encode()

    whose = patient_id("import-payload")

    def post(last: int) -> None:
        reading = Reading(system_clock(), b"a key of the end-to-end test")
        asyncio.run(send(stack.bootstrap, "health-auto-export", whose, read_payload(body(last), reading)))

    begun = _overlapping(stack, "health-auto-export")
    post(5)
    stack.wait(lambda: _stored(stack, whose).total() == 5, "the first payload")
    post(7)
    stack.wait(lambda: _stored(stack, whose).total() == 7, "the second")
    stack.wait(lambda: _overlapping(stack, "health-auto-export") == begun + 5, "what overlaps")
    assert sorted(value for _, _, _, value in _stored(stack, whose)) == [10, 11, 12, 13, 14, 15, 16]
    assert {duration for _, _, duration, _ in _stored(stack, whose)} == {60_000}
