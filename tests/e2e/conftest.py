"""The whole of Vigil as its services, on real PostgreSQL and a real broker."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from ingest.admin import create_topics
from timeseries.migrate import migrate
from vigil.demo_receiver import Receiver
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.postgres import EmbeddedPostgres
from vigil.supervisor import Supervisor, Worker

SERVICES = {
    "recorder": ["recorder"],
    "recorder-backfill": ["recorder", "--lane", "backfill"],
    "watch": ["watch"],
    "dispatch": ["dispatch"],
    "notifier": ["notifier"],
}


@dataclass(frozen=True)
class Stack:
    """Addresses of a running Vigil, and how to ask its database."""

    url: str
    bootstrap: str
    environment: dict[str, str]
    receiver: Receiver
    folder: Path
    supervisor: Supervisor

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query, values).fetchall()

    def count(self, query: str, *values: object) -> int:
        return int(self.rows(query, *values)[0][0])

    def wait(self, until: Callable[[], bool], what: str, timeout_s: float = 40.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not until():
            assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s: {self.logs()}"
            time.sleep(0.1)

    def logs(self) -> str:
        return "\n".join(f"{log.name}: {log.read_text()[-600:]}" for log in sorted(self.folder.glob("*.log")))


@pytest.fixture(scope="package")
def stack(postgres: EmbeddedPostgres) -> Iterator[Stack]:
    with (
        tempfile.TemporaryDirectory(prefix="vigil-e2e-") as name,
        EmbeddedBroker(log=Path(name) / "broker.log") as broker,
        Receiver() as receiver,
    ):
        url = _database(postgres.url)
        migrate(url)
        asyncio.run(create_topics(broker.bootstrap, partitions=4))
        environment = {
            "DATABASE_URL": url,
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
            "VIGIL_HASH_KEY": "a key of the end-to-end test",
            "VIGIL_POLICY": "demo",
            "VIGIL_WEBHOOK_URL": receiver.url,
            "VIGIL_WEBHOOK_SECRET": "a secret of the end-to-end test",
            "VIGIL_NOTIFICATION_LOG": str(Path(name) / "notifications.jsonl"),
            "VIGIL_LOG_FORMAT": "json",
        }
        with Supervisor(_workers(environment, Path(name), SERVICES)) as supervisor:
            yield Stack(url, broker.bootstrap, environment, receiver, Path(name), supervisor)


def _workers(environment: dict[str, str], folder: Path, services: dict[str, list[str]]) -> Sequence[Worker]:
    return [Worker(name, arguments, environment, folder) for name, arguments in services.items()]


def _database(url: str) -> str:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name := f"e2e_{uuid4().hex}")))
    return f"{url.rpartition('/')[0]}/{name}"
