"""The heartbeat over real processes: it passes the whole way, says who stopped it, and shows itself to nobody."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psycopg
import pytest

from ingest.admin import create_topics
from ingest.topics import ALERTS
from stream.kafka import safe_producer, send_until_taken
from tests.alerts.making import an_event
from tests.console.conftest import visiting
from tests.e2e.conftest import _database
from timeseries.console_reader import ConsoleReader
from timeseries.migrate import migrate
from timeseries.rollup import refresh
from vigil.demo_receiver import Receiver
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.ports import free_port
from vigil.embedded.postgres import EmbeddedPostgres
from vigil.heartbeat_token import new
from vigil.supervisor import Worker
from vitals.clock import system_clock, to_datetime
from vitals.synthetic import PATIENT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PERIOD_S = 2.0
MISSING_S = 10.0
SERVICES = ("recorder", "watch", "dispatch", "notifier", "serve", "heartbeat")
STAGES = {"sent", "stored", "notified", "delivered"}


@dataclass(frozen=True)
class Stack:
    """Vigil's processes without a supervisor: what is killed stays so."""

    url: str
    bootstrap: str
    workers: dict[str, Worker]
    operators: Receiver
    clinician: Receiver
    folder: Path
    metrics_port: int

    def metrics(self) -> dict[str, float]:
        """What the heartbeat tells Prometheus; nothing while it does not answer."""
        try:
            with urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        return {name: float(value) for name, value in re.findall(r"^(vigil_\S+) (\S+)$", text, re.MULTILINE)}

    def passed(self, stage: str) -> float:
        """How many beats were seen to pass a stage."""
        return self.metrics().get(f'vigil_heartbeat_seconds_count{{stage="{stage}"}}', 0)

    def missing(self) -> set[str]:
        """The stages that are said to be missing."""
        told = self.metrics()
        return {stage for stage in STAGES if told.get(f'vigil_heartbeat_missing{{stage="{stage}"}}')}

    def paged(self) -> set[str]:
        """Of whom the webhook was told."""
        return {one["alert"]["patient_id"] for one in self.clinician.received}

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the heartbeat logged under a name."""
        lines = (self.folder / "heartbeat.log").read_text().splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{")]
        return [one for one in told if one["event"] == name]

    def wait(self, until: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not until():
            assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s: {self.logs()}"
            time.sleep(0.1)

    def logs(self) -> str:
        return "\n".join(f"{log.name}: {log.read_text()[-900:]}" for log in sorted(self.folder.glob("*.log")))

    def count(self, query: str) -> int:
        with psycopg.connect(self.url) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture(scope="module")
def stack(postgres: EmbeddedPostgres) -> Iterator[Stack]:
    with (
        tempfile.TemporaryDirectory(prefix="vigil-heartbeat-") as name,
        EmbeddedBroker(log=Path(name) / "broker.log") as broker,
        Receiver() as operators,
        Receiver() as clinician,
    ):
        folder, url = Path(name), _database(postgres.url)
        migrate(url)
        asyncio.run(create_topics(broker.bootstrap, partitions=2))
        gateway, metrics = free_port(), free_port()
        environment = {
            "DATABASE_URL": url, "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
            "VIGIL_HASH_KEY": "a key of the heartbeat's test", "VIGIL_SESSION_S": "3", "VIGIL_LOG_FORMAT": "json",
            "VIGIL_STRICT_DEVICES": "true", "VIGIL_REQUIRE_CONSENT": "true",
            "VIGIL_POLICY_COPY": str(folder / "policy.toml"), "VIGIL_WATCH_SNAPSHOT_S": "2",
            "VIGIL_WEBHOOK_URL": clinician.url, "VIGIL_NOTIFICATION_LOG": str(folder / "notifications.jsonl"),
            "VIGIL_GATEWAY_PORT": str(gateway), "VIGIL_GATEWAY_FOLDER": str(folder / "gateway"),
            "VIGIL_HEARTBEAT_GATEWAY_URL": f"http://127.0.0.1:{gateway}", "VIGIL_HEARTBEAT_TOKEN": new(url),
            "VIGIL_HEARTBEAT_PERIOD_S": str(PERIOD_S), "VIGIL_HEARTBEAT_MISSING_S": str(MISSING_S),
            "VIGIL_OPERATIONS_URL": operators.url, "VIGIL_OPERATIONS_SECRET": "a secret of operations",
        }  # fmt: skip
        workers = {
            one: Worker(
                one, [one], environment | ({"VIGIL_METRICS_PORT": str(metrics)} if one == "heartbeat" else {}), folder
            )
            for one in SERVICES
        }
        try:
            for worker in workers.values():
                worker.start()
            yield Stack(url, broker.bootstrap, workers, operators, clinician, folder, metrics)
        finally:
            for worker in workers.values():
                worker.kill()


def test_a_beat_passes_the_whole_way(stack: Stack) -> None:
    stack.wait(lambda: min(map(stack.passed, STAGES)) >= 4, "four beats through every stage", 90)
    told = stack.metrics()
    assert 0 < told["vigil_heartbeat_last_seconds"] < MISSING_S
    assert told['vigil_heartbeat_beats_total{outcome="sent"}'] >= 4
    assert [(one["door"], one["looks_into_database"]) for one in stack.events("heartbeat_starting")] == [
        ("gateway", True)
    ]
    assert (
        stack.count(
            "SELECT count(*) FROM samples JOIN patients USING (patient_key) WHERE patient_id = 'vigil-synthetic'"
        )
        >= 4
    )
    assert stack.count("SELECT count(*) FROM quarantine") == 0
    assert stack.count("SELECT count(*) FROM not_consented") == 0


def test_a_watch_that_is_gone_is_told_once_by_the_stage_that_is_missing_and_taken_back(stack: Stack) -> None:
    stack.wait(lambda: stack.passed("delivered") >= 1 and not stack.missing(), "a beat delivered", 90)
    told, back = len(stack.operators.received), len(stack.events("heartbeat_back"))
    stack.workers["watch"].kill()
    killed = time.monotonic()
    stack.wait(lambda: len(stack.operators.received) > told, "operations to be told")
    assert MISSING_S - PERIOD_S - 1 < time.monotonic() - killed < MISSING_S + PERIOD_S + 3
    (message,) = stack.operators.received[told:]
    alert = message["alert"]
    assert (alert["rule"], alert["state"], alert["kind"], alert["priority"]) == (
        "heartbeat_missing", "raised", "technical", "high"
    )  # fmt: skip
    assert (alert["evidence"]["figures"]["stage"], alert["evidence"]["figures"]["reached"]) == ("notified", "sent")
    assert stack.events("heartbeat_missing")[-1]["stage"] == "notified"
    assert stack.missing() == {"notified", "delivered"}
    before = stack.passed("stored")
    stack.wait(lambda: stack.passed("stored") >= before + 2, "the recorder to go on")

    stack.workers["watch"].start()
    stack.wait(lambda: len(stack.events("heartbeat_back")) > back, "the heartbeat to be back", 60)
    stack.wait(lambda: len(stack.operators.received) > told + 1, "operations to be told of it")
    again = stack.operators.received[told + 1]["alert"]
    assert (again["state"], again["alert_id"]) == ("cleared", alert["alert_id"])
    assert stack.missing() == set()
    assert len(stack.events("heartbeat_missing")) == len(stack.events("heartbeat_back"))


async def test_nobody_sees_the_synthetic_patient(stack: Stack) -> None:
    stack.wait(lambda: min(map(stack.passed, STAGES)) >= 2, "beats through every stage", 90)
    person = an_event()  # who is told of a person is told nothing of it
    async with safe_producer(stack.bootstrap, "test") as producer:
        await send_until_taken(producer, "test", ALERTS, [(person.patient_id, person)])
    log = stack.folder / "notifications.jsonl"
    stack.wait(lambda: person.patient_id in stack.paged() and log.exists(), "the clinician to be told")
    stack.wait(lambda: stack.count("SELECT count(*) FROM delivery_attempts") >= 2, "the ledger")
    before = stack.passed("delivered")
    stack.wait(lambda: stack.passed("delivered") > before + 1, "beats after it")
    assert PATIENT not in stack.paged()
    assert PATIENT not in log.read_text()
    for table in ("alerts", "notifications", "delivery_attempts"):
        assert stack.count(f"SELECT count(*) FROM {table} WHERE {table}::text LIKE '%synthetic%'") == 0, table

    refresh(stack.url)
    now_us = system_clock()
    reader = ConsoleReader(stack.url)
    async with visiting(reader, now=to_datetime(now_us)) as page:
        for path in ("/", "/api/patients", "/api/alerts"):
            answer = await page.get(path)
            assert (answer.status_code, PATIENT in answer.text) == (200, False), path
        for path in (f"/patients/{PATIENT}", f"/api/patients/{PATIENT}/series?metric=heart_rate"):
            assert (await page.get(path)).status_code == 404, path
        now = to_datetime(now_us)
        seen = await reader.overview(silent_since=now, limit=10, offset=0, alert_limit=10)
        assert (seen.patients, seen.totals.patients) == ((), 0)
        assert person.patient_id in {one.patient_id for one in seen.alerts}
        assert PATIENT not in {one.patient_id for one in seen.alerts}
        assert await reader.patient(PATIENT, alert_limit=5) is None
        for step_s in (1, 60, 900, 3_600):
            assert await reader.series([PATIENT], ["heart_rate"], now - timedelta(hours=2), now, step_s) == ()
    views = (
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'data' AND column_name = 'patient_id'"
    )
    with psycopg.connect(stack.url) as connection:
        names = [name for (name,) in connection.execute(views.encode())]
        assert {"patients", "samples", "vitals_1m", "vitals_1h", "alerts"} <= set(names)
        for name in names:
            found = connection.execute(f'SELECT DISTINCT patient_id FROM data."{name}"'.encode()).fetchall()
            assert (PATIENT,) not in found, name
        assert connection.execute("SELECT count(*) > 0 FROM vitals_1m").fetchone() == (True,)
