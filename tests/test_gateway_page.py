"""docs/gateway.md: every line for a shell and every snippet of Python is run, and answers as the page says."""

import asyncio
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ingest.admin import create_topics
from ingest.gateway.document_taking import DocumentCode
from ingest.gateway.parse_json import MAX_ANCHOR_CHARS, MAX_ANCHORS, MAX_DELETIONS
from ingest.gateway.parsed import Fault, Retry
from ingest.gateway.policy import GatewayPolicy
from ingest.gateway.problems import Code
from ingest.gateway.verdicts import Refusal, retry_of
from ingest.topics import DELETIONS, SAMPLES_BACKFILL
from tests.conftest import REPO
from tests.gateway_world import Served, served
from tests.services.topics import read
from tools import openapi
from vigil.embedded.broker import EmbeddedBroker
from vitals.quality import Reason
from vitals.validity import REASONS

PAGE = REPO / "docs" / "gateway.md"
BLOCK = re.compile(r"^```(sh|python)\n(.+?)^```", re.MULTILINE | re.DOTALL)
# Until `vigil token` is a command of the line, it is added here; afterwards this adds nothing.
_VIGIL = """#!/bin/sh
exec {python} -c 'from vigil import cli
from vigil.commands import token
if "token" not in [one.name for one in cli.app.registered_groups]:
    cli.app.add_typer(token.app, name="token")
cli.main()' "$@"
"""
EXPORT = """<?xml version="1.0" encoding="UTF-8"?>
<HealthData locale="en_GB"><ExportDate value="2026-11-20 10:00:00 +0100"/>
<Record type="HKQuantityTypeIdentifierHeartRate" sourceName="Watch" unit="count/min" value="61"
 creationDate="2026-11-20 09:00:10 +0100" startDate="2026-11-20 09:00:10 +0100" endDate="2026-11-20 09:00:10 +0100"/>
</HealthData>
"""


@dataclass
class Ran:
    """What came of the page's blocks, by the heading they stand under: output of shells, names of Python."""

    shells: dict[str, list[str]]
    pythons: dict[str, list[dict[str, Any]]]


def blocks() -> Iterator[tuple[str, str, str]]:
    """Yield (heading, language, text)."""
    for part in PAGE.read_text("utf-8").split("\n## ")[1:]:
        for language, text in BLOCK.findall(part):
            yield part.partition("\n")[0], language, text


@pytest.fixture(scope="module")
def own_broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as one:
        asyncio.run(create_topics(one.bootstrap, partitions=1))
        yield one


def run_page(gateway: Served, folder: Path) -> Ran:
    shim = folder / "bin" / "vigil"
    shim.parent.mkdir()
    shim.write_text(_VIGIL.format(python=sys.executable))
    shim.chmod(0o755)
    with zipfile.ZipFile(folder / "export.zip", "w") as archive:
        archive.writestr("apple_health_export/export.xml", EXPORT)
    environment = {**gateway.environment, "GATEWAY": gateway.url, "PYTHONPATH": str(REPO), "COLUMNS": "200"}
    environment["PATH"] = f"{shim.parent}:{environment['PATH']}"
    ran = Ran({}, {})
    for heading, language, text in blocks():
        if language == "sh":
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", text], cwd=folder, env=environment, capture_output=True, text=True,
                timeout=60, check=False,
            )  # fmt: skip
            assert done.returncode == 0, text + done.stderr
            ran.shells.setdefault(heading, []).append(done.stdout)
            continue
        names: dict[str, Any] = {
            "gateway": gateway.url,
            "token": (folder / "token.txt").read_text().strip(),
            "phone_token": (folder / "phone.txt").read_text().strip(),
        }
        exec(text.replace('"export.zip"', repr(str(folder / "export.zip"))), names)
        ran.pythons.setdefault(heading, []).append(names)
    return ran


def answers(printed: str) -> list[dict[str, Any]]:
    """Return the JSON objects that curl printed one after the other."""
    found, rest, decoder = [], printed.strip(), json.JSONDecoder()
    while rest:
        told, end = decoder.raw_decode(rest)
        found.append(told)
        rest = rest[end:].lstrip()
    return found


def test_every_line_of_the_page_answers_as_it_says(database: str, own_broker: EmbeddedBroker, tmp_path: Path) -> None:
    with served(database, own_broker.bootstrap, tmp_path, VIGIL_STRICT_DEVICES="true") as gateway:
        ran = run_page(gateway, tmp_path)
        log = gateway.log
    pair, rotated = ran.shells["Pair"][1:]
    assert "p-017" in pair
    assert answers(rotated)[0]["token"].startswith("vgl_")

    json_sent, zipped = (answers(one)[0] for one in ran.shells["Send samples"])
    shown = json.loads(re.search(r"```json\n(.+?)```", PAGE.read_text(), re.DOTALL)[1])  # type: ignore[index]
    assert {**json_sent, "request_id": "..."} == shown
    assert zipped["accepted"] == 1
    assert ran.pythons["Send samples"][0]["answer"].json()["accepted"] == 2

    (corrected, deleted), (anchored, me) = (answers(one) for one in ran.shells["Correct and delete"])
    assert (corrected["accepted"], deleted["deletions"]) == (1, 1)
    assert anchored["anchors"] == ["HKQuantityTypeIdentifierHeartRate"]
    assert me["anchors"] == {"HKQuantityTypeIdentifierHeartRate": "YnBsaXN0MDA="}
    assert me["devices"] == ["watch-1"]

    assert answers(ran.shells["Health Auto Export on an iPhone"][0])[0]["samples_accepted"] >= 1
    assert answers(ran.shells["FHIR"][0])[0]["accepted"] == 1
    assert answers(ran.shells["An Apple Health export"][0])[0]["state"] in {"queued", "running", "succeeded"}
    assert ran.pythons["Live, over a WebSocket"][0]["told"]["accepted"] == 1
    plain, live = ran.pythons["From Python"]
    assert (plain["sent"].accepted, plain["me"].devices, live["accepted"]) == (1, ("watch-1",), 1)
    assert plain["job"].state == "succeeded", plain["job"]
    assert [one["status"] for one in answers(ran.shells["TLS, proxies, certificates, platforms"][0])] == [
        "alive",
        "ready",
    ]
    for secret in ("p-017", "watch-1", (tmp_path / "token.txt").read_text().strip()):
        assert secret not in log
    assert asyncio.run(read(own_broker.bootstrap, DELETIONS, 1))
    assert asyncio.run(read(own_broker.bootstrap, SAMPLES_BACKFILL, 5))


def test_every_code_and_reason_stands_in_its_table() -> None:
    page = PAGE.read_text("utf-8")
    codes, _, rest = page.partition("A rejected sample's `reason`")
    for code in (*Code, *Refusal, *DocumentCode):
        assert f"`{code.value}`" in codes, code
    rows = {row.partition("|")[0]: row for row in rest.split("\n| ")[1:]}
    for reason in (*filter(None, REASONS), *Fault, Reason.CONFLICT):
        (row,) = [row for words, row in rows.items() if f"`{reason.value}`" in words]
        assert (f"| {Retry.LATER} |" in row) == (retry_of(reason) is Retry.LATER), reason


def test_the_limits_are_those_of_the_policy() -> None:
    page, policy, mib = PAGE.read_text("utf-8"), GatewayPolicy(), 1 << 20
    for says in (
        f"| body of JSON, after decompression | {policy.json_bytes // mib} MiB |",
        f"| body of Arrow | {policy.arrow_bytes // mib} MiB, plain buffers |",
        f"| {policy.json_samples:,} in JSON, {policy.arrow_samples:,} in Arrow; {policy.batch} is a good batch |",
        f"| {MAX_DELETIONS:,}, {MAX_ANCHORS} of {MAX_ANCHOR_CHARS // 1024} KiB each |",
        f"| {policy.ratio} to 1, beyond the first MiB |",
        f"| FHIR document, Health Auto Export | {policy.document_bytes // mib} MiB |",
        f"| {policy.upload_bytes >> 30} GiB (`VIGIL_GATEWAY_UPLOAD_BYTES`) |",
        f"| {policy.rate.requests_per_s:g} a second, {policy.rate.requests_burst:g} at once",
        f"under way, its open streams | {policy.requests_of_one}, {policy.stream.streams_of_one} | 429 |",
        f"takes no answer for {policy.stream.patience_s:g} s",
        f"| {policy.rate.samples_per_s:,.0f} a second, {policy.rate.samples_burst:,.0f} at once",
        f"| {policy.lockout.free_failures} a minute | 429, for {policy.lockout.first_s:g} s and doubling |",
        f"| {policy.body_s:g} s, and {policy.body_bytes_per_s // 1024} KiB a second |",
        f"| {policy.requests} (`VIGIL_GATEWAY_REQUESTS_AT_ONCE`) |",
        f"4408 after {policy.stream.idle_s:g} s",
        f"| {policy.spool.max_bytes >> 30} GiB (`VIGIL_GATEWAY_SPOOL_BYTES`), its oldest record 7 days |",
    ):
        assert says in page, says


def test_the_contract_in_the_docs_is_the_gateways_own() -> None:
    assert openapi.FILE.read_text("utf-8") == openapi.contract(), "run: .venv/bin/python tools/openapi.py --write"
