"""The gateway's child that reads uploads: what it is told and sees, and what the gateway makes of what it says."""

import asyncio
import json
import stat
import sys
from pathlib import Path

import psutil
import pytest

from ingest.gateway.job_ends import ImportFailed, Interrupted
from ingest.gateway.ports import Unavailable, Upload
from vigil.gateway_import import ExportImporter
from vitals.ids import PatientId

SUMMARY = {"adapter": "apple-export", "read": 7}


def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    """Put a program in the child's place, which notes what it was given and says something."""
    program = tmp_path / "child"
    (tmp_path / "says").write_text(says)
    program.write_text(
        f'#!/bin/sh\nread -r order\necho "$order" > {tmp_path}/order\necho "$@" > {tmp_path}/arguments\n'
        f"env > {tmp_path}/environment\ncat {tmp_path}/says\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(program))


async def run(tmp_path: Path) -> tuple[object, list[tuple[int, int]]]:
    heard: list[tuple[int, int]] = []
    upload = Upload("job-1", tmp_path / "upload", PatientId("patient-17"), "apple-export", "Europe/Vienna")
    importer = ExportImporter("broker:9092", b"a key for hashing")
    return await importer.run(upload, lambda done, total: heard.append((done, total))), heard


def lines(*said: object) -> str:
    return "".join(json.dumps(one) + "\n" for one in said)


async def test_whose_export_it_is_and_the_key_stand_in_no_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody:secret@database/vigil")
    monkeypatch.setenv("VIGIL_HASH_KEY", "a key for hashing")
    progress = [{"done": n, "total": 9} for n in (3, 9)]
    child(tmp_path, monkeypatch, lines(*progress, {"end": "done", "summary": SUMMARY}))
    assert await run(tmp_path) == (SUMMARY, [(3, 9), (9, 9)])
    order = json.loads((tmp_path / "order").read_text())
    assert (order["patient"], order["zone"], bytes.fromhex(order["hash_key"])) == (
        "patient-17", "Europe/Vienna", b"a key for hashing",
    )  # fmt: skip
    assert (tmp_path / "arguments").read_text() == "-m vigil.gateway_import\n"
    seen = (tmp_path / "environment").read_text()
    assert "PATH=" in seen
    assert "secret" not in seen
    assert "hashing" not in seen


@pytest.mark.parametrize(
    ("said", "error", "says"),
    [
        (lines({"end": "away", "summary": SUMMARY}), Unavailable, "broker"),
        (lines({"end": "broken", "kind": "KeyError"}), Interrupted, "KeyError"),
        (lines({"end": "nonsense"}), Interrupted, "foresaw"),
        (lines({"done": 1, "total": 2}), Interrupted, "killed"),
        ("", Interrupted, "killed"),
        ("no JSON\n", Interrupted, "cannot be"),
        ("x" * (2 << 20), Interrupted, "cannot be"),
    ],
)
async def test_ends_that_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, error: type[Exception], says: str
) -> None:
    child(tmp_path, monkeypatch, said)
    with pytest.raises(error, match=says):
        await run(tmp_path)


async def test_a_failure_brings_the_summary_of_what_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child(tmp_path, monkeypatch, lines({"end": "failed", "code": "malformed", "detail": "cut", "summary": SUMMARY}))
    with pytest.raises(ImportFailed, match="cut") as caught:
        await run(tmp_path)
    assert (caught.value.code, caught.value.summary) == ("malformed", SUMMARY)


async def test_cancelled_the_child_is_gone_when_it_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child(tmp_path, monkeypatch, lines({"done": 1, "total": 2}))
    program = tmp_path / "child"
    program.write_text(program.read_text() + f"echo $$ > {tmp_path}/pid\nexec sleep 60\n")
    task = asyncio.create_task(run(tmp_path))
    async with asyncio.timeout(10):
        while True:
            if (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text():
                break
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


async def test_the_real_child_ends_with_its_input(tmp_path: Path) -> None:
    order = {"file": str(tmp_path), "patient": "p", "adapter": "apple-export", "zone": "UTC", "hash_key": "00",
             "broker": "127.0.0.1:1"}  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vigil.gateway_import", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(json.dumps(order).encode() + b"\n"), 30)
    assert (said, process.returncode) == (b"", 1)
