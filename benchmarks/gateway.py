"""The gateway, HTTP to broker with all checks on, beside a bare FastAPI endpoint that parses the body and drops it.

Both run as one process each, on uvicorn with uvloop and httptools, and are asked in turn by the same client: so many
connections, each of which sends its next request when the last one is answered. The gateway answers when the broker
has the samples on acks=all; broker, gateway and client share the machine.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import httpx
import numpy as np
import orjson
import psutil
import psycopg

from ingest.admin import create_topics
from ingest.record import encode
from timeseries.access_tokens import Tokens, Wanted
from timeseries.migrate import migrate
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.ports import free_port
from vigil.embedded.postgres import EmbeddedPostgres
from vigil.supervisor import Worker
from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S, system_clock, to_datetime
from vitals.ids import device_id, patient_id

METRICS = ("heart_rate", "spo2", "respiratory_rate", "pulse_rate")
JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"
TURNS = 3
TURN_S = 6.0
WARM_S = 2.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: `samples` a request, over so many connections, in one of the two forms."""

    name: str
    media_type: str
    samples: int
    connections: int


LOADS = (
    Load("gateway_json_500", JSON, 500, 8),
    Load("gateway_arrow_500", ARROW, 500, 8),
    Load("gateway_arrow_10000", ARROW, 10_000, 6),
)


def run() -> Iterator[dict[str, object]]:
    """Measure each load against the gateway and against the bare endpoint, in turn."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vigil-bench-")))
        postgres = stack.enter_context(EmbeddedPostgres(folder / "data"))
        broker = stack.enter_context(EmbeddedBroker(log=folder / "broker.log"))
        migrate(postgres.url)
        asyncio.run(create_topics(broker.bootstrap, partitions=4))
        token, ports = _token(postgres.url), (free_port(), free_port())
        gateway = stack.enter_context(_gateway(postgres.url, broker.bootstrap, folder, ports[0]))
        stack.enter_context(Bare(ports[1], folder))
        for port in ports:
            _wait_for(port)
        for load in LOADS:
            yield _measure(load, token, ports, gateway.pid or 0)


def _measure(load: Load, token: str, ports: tuple[int, int], pid: int) -> dict[str, object]:
    asyncio.run(ask(load, token, ports[0], WARM_S))
    found, bare = [], []
    for _ in range(TURNS):
        found.append(asyncio.run(ask(load, token, ports[0], TURN_S)))
        bare.append(asyncio.run(ask(load, token, ports[1], TURN_S)))
        _say(f"{load.name}: {found[-1].rate:,.0f} samples/s, p99 {found[-1].at(99):.0f} ms; bare {bare[-1].rate:,.0f}")
    rate, yardstick = mean(one.rate for one in found), mean(one.rate for one in bare)
    return {
        "name": load.name,
        "samples_per_s": round(rate),
        "requests_per_s": round(rate / load.samples, 1),
        "p50_ms": round(mean(one.at(50) for one in found), 1),
        "p99_ms": round(max(one.at(99) for one in found), 1),
        "yardstick": "bare FastAPI endpoint that parses the same body and drops it",
        "yardstick_samples_per_s": round(yardstick),
        "yardstick_p99_ms": round(max(one.at(99) for one in bare), 1),
        "ratio": round(rate / yardstick, 3),
        "runs": [round(one.rate) for one in found],
        "connections": load.connections,
        "samples_a_request": load.samples,
        "rss_mb": round(psutil.Process(pid).memory_info().rss / 1e6),
    }


@dataclass(frozen=True, slots=True)
class Answers:
    """Samples a second that were answered 202, and how long each request took, ms."""

    rate: float
    took_ms: np.ndarray[tuple[int], np.dtype[np.float64]]

    def at(self, percent: float) -> float:
        """Return a percentile of the times."""
        return float(np.percentile(self.took_ms, percent))


async def ask(load: Load, token: str, port: int, seconds: float) -> Answers:
    """Send over all connections for so long. Raises RuntimeError for an answer other than all accepted."""
    requests = [_request(load, token, body) for body in bodies(load, system_clock())]
    took: list[float] = []
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(load.connections):
            group.create_task(_sender(load, port, requests, number, began + seconds, took))
    rate = len(took) * load.samples / (time.perf_counter() - began)
    return Answers(rate, np.array(took) * 1_000)


async def _sender(
    load: Load, port: int, requests: Sequence[bytes], number: int, until: float, took: list[float]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    wanted = b'"accepted":%d,' % load.samples
    turn = number
    while (sent := time.perf_counter()) < until:
        writer.write(requests[turn % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        answer = await reader.readexactly(length)
        took.append(time.perf_counter() - sent)
        if b" 202 " not in head.split(b"\r\n", 1)[0] or wanted not in answer:
            raise RuntimeError(f"not accepted: {head[:40]!r} {answer[:300]!r}")
        turn += load.connections
    writer.close()
    await writer.wait_closed()


def bodies(load: Load, now_us: int, count: int = 24) -> list[bytes]:
    """Return so many different bodies of live samples."""
    columns = [_columns(load.samples, now_us - number * 1_000) for number in range(count)]
    if load.media_type == ARROW:
        header = BatchHeader(patient_id("p1"), device_id("d1"), "bench", "gateway")
        return [encode(header, one).value for one in columns]
    return [_json(one) for one in columns]


def _columns(samples: int, end_us: int) -> SampleColumns:
    position = np.arange(samples)
    start_us = end_us - (samples - position) // len(METRICS) * US_PER_S // 100  # four signals, so that all is live
    numbers = np.array([BY_CODE[code].number for code in METRICS], np.int16)[position % len(METRICS)]
    return sample_columns(start_us, numbers, np.round(60 + position % 30, 1).astype(np.float64), received_us=end_us)


def _json(columns: SampleColumns) -> bytes:
    samples = [
        {"metric": METRICS[at % len(METRICS)], "start": to_datetime(start).isoformat(), "value": value, "quality": 1}
        for at, (start, value) in enumerate(zip(columns.start_us.tolist(), columns.value.tolist(), strict=True))
    ]
    return orjson.dumps({"device": "d1", "source_app": "bench", "samples": samples})


def _request(load: Load, token: str, body: bytes) -> bytes:
    lines = (
        "POST /v1/samples HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}",
        f"Content-Type: {load.media_type}", f"Content-Length: {len(body)}", f"X-Samples: {load.samples}",
        "Vigil-Device: d1", "Vigil-Source-App: bench", "", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode() + body


def _token(url: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        made = Tokens(connection, "bench").create(Wanted(patient="p1"))
    if made.text is None:
        raise RuntimeError("a token of a patient has a text")
    return made.text


def _gateway(url: str, bootstrap: str, folder: Path, port: int) -> Worker:
    environment = {
        "DATABASE_URL": url,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "VIGIL_HASH_KEY": "0" * 32,
        "VIGIL_GATEWAY_PORT": str(port),
        "VIGIL_GATEWAY_FOLDER": str(folder / "gateway"),
        "VIGIL_GATEWAY_REQUESTS_PER_S": "10000",
        "VIGIL_GATEWAY_SAMPLES_PER_S": "1e9",
        "VIGIL_LOG_LEVEL": "warning",
    }
    return Worker("gateway", ["serve"], environment, folder)


class Bare(Worker):
    """The yardstick as a process."""

    def __init__(self, port: int, folder: Path) -> None:
        super().__init__("bare", [], {**os.environ, "BARE_PORT": str(port)}, folder)

    def _command(self) -> Sequence[str]:
        return [sys.executable, "-m", "benchmarks.bare_endpoint"]


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2)
        except (OSError, httpx.HTTPError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
