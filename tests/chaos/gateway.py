"""Phones send through a gateway while it, the broker and its disk are killed or filled; every 202 must be stored, once.

`python -m tests.chaos.gateway`, JSON at the end. A phone keeps a batch and sends it again until it is answered 202, as
the contract says; what was answered 202 is then looked for in the table, sample by sample.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import numpy as np
import psycopg

from ingest.admin import create_topics
from ingest.record import encode
from tests.services.kafka import ApacheKafka, ensure_jars
from timeseries.access_tokens import Tokens, Wanted
from timeseries.migrate import migrate
from vigil import logs
from vigil.embedded.ports import free_port
from vigil.embedded.postgres import EmbeddedPostgres
from vigil.embedded.process import ServiceFailed
from vigil.supervisor import Supervisor, Worker
from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S, system_clock, to_datetime
from vitals.ids import device_id, patient_id

ARROW: Final = "application/vnd.apache.arrow.stream"
_LIVE: Final = ("heart_rate", "pulse_rate", "spo2", "bp_systolic", "battery")
_DISK_MB: Final = 40
_OLD_S: Final = 20 * 86_400


@dataclass(frozen=True, slots=True)
class Plan:
    """How many phones send for how long, how often something is killed or filled; `batch` samples of history."""

    phones: int = 16
    seconds: float = 180.0
    faults: int = 24
    batch: int = 100
    settle_s: float = 120.0
    seed: int = 1


@dataclass(slots=True)
class Book:
    """What the phones were told. `safe` has (patient, metric number, start us, value) of every sample answered 202."""

    safe: list[tuple[str, int, int, float]] = field(default_factory=list)
    places: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    given_up: int = 0
    sent: int = 0


def run(plan: Plan, say: Callable[[str], None] = lambda _: None) -> dict[str, object]:
    """Return the reconciliation; `ok` only where every 202 is stored as it was sent, and nothing stands twice."""
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="vigil-chaos-") as name,
        small_disk(Path(name) / "gateway") as mounted,
        ApacheKafka(Path(name) / "kafka") as kafka,
        EmbeddedPostgres(Path(name) / "data") as postgres,
    ):
        migrate(postgres.url)
        asyncio.run(create_topics(kafka.bootstrap, partitions=4))
        port = free_port()
        environment = {
            "DATABASE_URL": postgres.url,
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
            "VIGIL_HASH_KEY": "0" * 32,
            "VIGIL_SESSION_S": "6",
            "VIGIL_LOG_FORMAT": "json",
            "VIGIL_GATEWAY_PORT": str(port),
            "VIGIL_GATEWAY_FOLDER": str(Path(name) / "gateway"),
            "VIGIL_GATEWAY_SPOOL_BYTES": str(64 << 20 if mounted else 3 << 20),
            "VIGIL_GATEWAY_REQUESTS_PER_S": "1000",
            "VIGIL_GATEWAY_SAMPLES_PER_S": "1000000",
        }
        gateway = Worker("gateway", ["serve"], environment, Path(name))
        recorders = [
            Worker("recorder", ["recorder"], environment, Path(name)),
            Worker("recorder-backfill", ["recorder", "--lane", "backfill"], environment, Path(name)),
        ]
        tokens = make_tokens(postgres.url, plan.phones)
        with Supervisor([gateway, *recorders], most_pause_s=1.0):
            trouble = Trouble(gateway, kafka, Path(name) / "gateway" if mounted else None, plan, say)
            book = asyncio.run(_send_all(plan, tokens, f"http://127.0.0.1:{port}", trouble))
            say(f"{len(book.safe):,} samples answered 202, {dict(book.places)}, {dict(book.answers)}")
            found = _settle(postgres.url, book, plan.settle_s)
        ended = {} if found["ok"] else {log.name: log.read_text()[-4_000:] for log in Path(name).glob("*.log")}
    return {
        "name": "chaos_gateway", **found, "samples": book.sent, "answered_202": len(book.safe), "places": book.places,
        "answers": book.answers, "given_up_batches": book.given_up, "faults": trouble.done, "small_disk": mounted,
        "seconds": round(time.monotonic() - begun, 1), **({"logs": ended} if ended else {}),
    }  # fmt: skip


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Give `folder` a disk of its own that can really be filled; False where this machine does not allow mounting."""
    folder.mkdir(mode=0o700)
    options = ["-t", "tmpfs", "-o", f"size={_DISK_MB}m,mode=0700", "vigil-chaos", str(folder)]
    try:
        mounted = subprocess.run(["mount", *options], check=False, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def make_tokens(url: str, phones: int) -> list[str]:
    """Return a token for each phone's patient."""
    with psycopg.connect(url, autocommit=True) as connection:
        tokens = Tokens(connection, "chaos")
        made = [tokens.create(Wanted(patient=f"p{number}")).text for number in range(phones)]
    return [text for text in made if text is not None]


class Trouble:
    """Makes it, in a thread of its own: kills the gateway and the broker, fills the gateway's disk."""

    def __init__(
        self, gateway: Worker, kafka: ApacheKafka, disk: Path | None, plan: Plan, say: Callable[[str], None]
    ) -> None:
        self._gateway, self._kafka, self._disk = gateway, kafka, disk
        self._draw = random.Random(plan.seed)
        self._plan, self._say = plan, say
        self.done: Counter[str] = Counter()

    def work(self) -> None:
        """Make all of it, evenly spread; at the end everything is back."""
        kinds = [self._kill_gateway, self._kill_broker, self._fill_disk]
        pause_s = self._plan.seconds / (self._plan.faults + 1)
        for number in range(self._plan.faults):
            began = time.monotonic()
            kind = kinds[number] if number < len(kinds) else self._draw.choice(kinds)
            kind()
            time.sleep(max(0.0, pause_s * self._draw.uniform(0.5, 1.3) - (time.monotonic() - began)))

    def _kill_gateway(self) -> None:
        self._note("gateway")
        self._gateway.kill()

    def _kill_broker(self) -> None:
        self._note("broker")
        self._kafka.kill()
        time.sleep(self._draw.uniform(8, 12))  # the gateway gives a broker six seconds before it spools
        if self._draw.random() < 0.5:
            self._kill_gateway()  # with samples in its spool
            time.sleep(self._draw.uniform(1, 3))
        _back(self._kafka)

    def _fill_disk(self) -> None:
        """Fill it while the broker is away, so that the spool needs it."""
        self._note("broker")
        self._kafka.kill()
        ballast = None if self._disk is None else self._disk / "ballast"
        if ballast is not None:
            self._note("disk")
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 65_536)
        time.sleep(self._draw.uniform(8, 12))
        if ballast is not None:
            ballast.unlink()
        time.sleep(self._draw.uniform(0, 2))
        _back(self._kafka)

    def _note(self, what: str) -> None:
        self._say(f"{what} goes")
        self.done[what] += 1


def _back(kafka: ApacheKafka) -> None:
    """Start it; a machine that is busy with other things may need longer than once."""
    for _ in range(3):
        try:
            kafka.start()
        except ServiceFailed:
            kafka.kill()
        else:
            return
    kafka.start()


async def _send_all(plan: Plan, tokens: list[str], url: str, trouble: Trouble) -> Book:
    book, over = Book(), asyncio.Event()
    phones = [asyncio.create_task(_phone(number, token, url, plan, book, over)) for number, token in enumerate(tokens)]
    async with asyncio.timeout(60):
        while not book.places["broker"]:  # noqa: ASYNC110  what was well before is part of the run
            await asyncio.sleep(0.05)
    await asyncio.to_thread(trouble.work)
    over.set()
    await asyncio.gather(*phones)
    return book


async def _phone(number: int, token: str, url: str, plan: Plan, book: Book, over: asyncio.Event) -> None:
    """Send batch after batch; even phones send history, odd ones what they measure now; JSON and Arrow in turn."""
    header = BatchHeader(patient_id(f"p{number}"), device_id(f"d{number}"), "phone", "gateway")
    turn = 0
    async with httpx.AsyncClient(base_url=url, timeout=10.0, headers={"authorization": f"Bearer {token}"}) as client:
        while not over.is_set():
            columns = _history(plan, turn) if number % 2 == 0 else _live()
            book.sent += len(columns)
            body = encode(header, columns).value if turn % 2 else _json(header, columns)
            kind = ARROW if turn % 2 else "application/json"
            headers = {
                "content-type": kind, "vigil-device": header.device_id, "vigil-source-app": "phone",
                "idempotency-key": f"{number}-{turn}",
            }  # fmt: skip
            if await _until_accepted(client, body, headers, book, over):
                keys = zip(columns.metric.tolist(), columns.start_us.tolist(), columns.value.tolist(), strict=True)
                book.safe += [(header.patient_id, *key) for key in keys]
            else:
                book.given_up += 1
            turn += 1
            await asyncio.sleep(0.1 if number % 2 == 0 else 0.5)


async def _until_accepted(
    client: httpx.AsyncClient, body: bytes, headers: dict[str, str], book: Book, over: asyncio.Event
) -> bool:
    """Send one batch until it is answered 202, or until the run is over. Raises AssertionError for another answer."""
    while True:
        try:
            answer = await client.post("/v1/samples", content=body, headers=headers)
        except httpx.TransportError as error:
            book.answers[type(error).__name__] += 1
        else:
            book.answers[str(answer.status_code)] += 1
            if answer.status_code == 202:
                book.places[answer.json()["safe"]] += 1
                return True
            assert answer.status_code in {409, 503}, answer.text
        if over.is_set():
            return False
        await asyncio.sleep(random.uniform(0.1, 0.4))


def _history(plan: Plan, turn: int) -> SampleColumns:
    second = np.arange(turn * plan.batch, (turn + 1) * plan.batch)
    start_us = (system_clock() // (86_400 * US_PER_S) * 86_400 - _OLD_S + second) * US_PER_S
    value = (60 + second % 40).astype(np.float64)
    number = BY_CODE["heart_rate"].number
    return sample_columns(start_us, np.full(plan.batch, number, np.int16), value, received_us=system_clock())


def _live() -> SampleColumns:
    now_us = system_clock() // 1_000 * 1_000
    metric = np.array([BY_CODE[code].number for code in _LIVE], np.int16)
    value = np.full(len(metric), 70.0 + now_us // 1_000 % 30)
    return sample_columns(np.full(len(metric), now_us), metric, value, received_us=now_us)


def _json(header: BatchHeader, columns: SampleColumns) -> bytes:
    code = {metric.number: metric.code for metric in BY_CODE.values()}
    samples = [
        {"metric": code[metric], "start": to_datetime(start).isoformat(), "value": value}
        for metric, start, value in zip(
            columns.metric.tolist(), columns.start_us.tolist(), columns.value.tolist(), strict=True
        )
    ]
    told = {"device": header.device_id, "source_app": header.source_app, "samples": samples}
    return json.dumps(told).encode()


def _settle(url: str, book: Book, within_s: float) -> dict[str, object]:
    deadline = time.monotonic() + within_s
    while True:
        found = reconcile(url, book)
        if found["ok"] or time.monotonic() > deadline:
            return found
        time.sleep(1.0)


def reconcile(url: str, book: Book) -> dict[str, object]:
    """Hold the table against what was answered 202. What was sent and never answered may be there or not."""
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        rows = connection.execute(
            "SELECT p.patient_id, s.metric_key, (extract(epoch FROM s.time) * 1000000)::bigint, s.value"
            " FROM samples s JOIN patients p USING (patient_key)"
        ).fetchall()
        (quarantined,) = connection.execute("SELECT count(*) FROM quarantine").fetchone() or (0,)
    stored = Counter((patient, metric, start) for patient, metric, start, _ in rows)
    values = {(patient, metric, start): value for patient, metric, start, value in rows}
    missing = sum(one[:3] not in stored for one in book.safe)
    other = sum(one[:3] in values and values[one[:3]] != one[3] for one in book.safe)
    twice = sum(count > 1 for count in stored.values())
    safe = {one[:3] for one in book.safe}
    return {
        "ok": missing == other == twice == quarantined == 0 and len(safe) == len(book.safe) > 0,
        "stored": len(rows), "missing": missing, "with_another_value": other, "twice": twice,
        "stored_without_202": len(stored.keys() - safe), "quarantined": quarantined,
    }  # fmt: skip


def main() -> None:
    """Run it as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.gateway", description=__doc__)
    for name, kind, default in (("phones", int, 16), ("seconds", float, 180.0), ("faults", int, 24), ("seed", int, 1)):
        parser.add_argument(f"--{name}", type=kind, default=default)
    given = parser.parse_args()
    logs.configure(level="warning", service="chaos")
    ensure_jars()
    plan = Plan(given.phones, given.seconds, given.faults, seed=given.seed)
    found = run(plan, lambda what: print(what, file=sys.stderr, flush=True))
    print(json.dumps(found, indent=2))
    sys.exit(0 if found["ok"] else 1)


if __name__ == "__main__":
    main()
