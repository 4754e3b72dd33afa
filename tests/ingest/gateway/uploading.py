"""A gateway for the tests of documents and uploads. What is behind it is in memory, open to look at."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from devices.adapter import Piece
from ingest.gateway.app import create_app
from ingest.gateway.parts import Parts
from ingest.gateway.policy import GatewayPolicy
from ingest.gateway.ports import LastSample, Upload
from ingest.record import Record, decode
from ingest.spool import Place, SpoolState
from ingest.topics import SAMPLES, SAMPLES_BACKFILL
from vigil.sessions import annotation_of
from vitals.access import Access, Credential, Kind, NewToken, Principal, new_token
from vitals.batch import BatchHeader, SampleColumns, metric_codes
from vitals.clock import Clock, system_clock
from vitals.gate import OPEN, Gate
from vitals.ids import DeviceId, PatientId

KEY = b"a key of the gateway's tests"
PATIENT = PatientId("patient-1")
Row = tuple[str, int, int, float]
"""Metric, start, duration in ms, value."""


@dataclass
class Kept:
    """The way in: keeps what it is given."""

    sent: list[tuple[str, Record]] = field(default_factory=list)
    place: Place = Place.BROKER
    fails: Exception | None = None

    async def accept(self, record: Record, *, topic: str = SAMPLES, later: str = SAMPLES_BACKFILL) -> Place:
        if self.fails is not None:
            raise self.fails
        self.sent.append((topic if self.place is Place.BROKER else later, record))
        return self.place

    def batches(self) -> list[tuple[str, BatchHeader, SampleColumns]]:
        return [
            (topic, *decode(one.key, one.value, one.headers))
            for topic, one in self.sent
            if topic in {SAMPLES, SAMPLES_BACKFILL}
        ]

    def rows(self) -> list[Row]:
        return sorted(row for _, _, columns in self.batches() for row in rows_of(columns))


def rows_of(columns: SampleColumns) -> list[Row]:
    values = zip(
        metric_codes(columns),
        columns.start_us.tolist(),
        columns.duration_ms.tolist(),
        columns.value.tolist(),
        strict=True,
    )
    return [(metric, start, duration, round(value, 6)) for metric, start, duration, value in values]


@dataclass
class Noted:
    """The books: remembers what was refused for want of consent."""

    unconsented: list[tuple[str, dict[int, int]]] = field(default_factory=list)

    def used(self, token_id: str, now_us: int) -> None:
        return

    def anchored(self, token_id: str, anchors: Mapping[str, str]) -> None:
        return

    def not_consented(self, adapter: str, counts: Mapping[int, int]) -> None:
        self.unconsented.append((adapter, dict(counts)))

    async def anchors(self, token_id: str) -> Mapping[str, str]:
        return {}

    async def last_samples(self, principal: Principal) -> Sequence[LastSample]:
        return []

    async def rotate(self, token_id: str, now_us: int) -> str:
        raise NotImplementedError


End = Exception | Mapping[str, object]


class Scripted:
    """An importer that ends as it was told, one end after the other; the last stays. `hold` keeps it reading."""

    def __init__(self, *ends: End) -> None:
        self.ends = list(ends)
        self.read: list[tuple[Upload, bytes]] = []
        self.hold: asyncio.Event | None = None
        self.stopped = 0

    async def run(self, upload: Upload, progress: Callable[[int, int], None]) -> Mapping[str, object]:
        self.read.append((upload, upload.file.read_bytes()))
        progress(3, 10)
        try:
            if self.hold is not None:
                await self.hold.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(end, Exception):
            raise end
        return end


class NoImporter:
    """Reads nothing: these tests upload nothing."""

    async def run(self, upload: Upload, progress: Callable[[int, int], None]) -> Mapping[str, object]:
        raise AssertionError("nothing was to be read")


def notes(patient: PatientId, piece: Piece) -> list[Record]:
    told = [annotation_of(patient, piece, session) for session in piece.sessions]
    return [Record(one.patient_id.encode(), one.to_bytes(), ()) for one in told]


def credential(
    token: NewToken, patient: PatientId | None = PATIENT, devices: frozenset[DeviceId] | None = None
) -> Credential:
    kind = Kind.BRIDGE if devices is None else Kind.DEVICE
    return Credential(Principal(token.token_id, kind, patient, devices), token.secret_sha256, 1 << 60)


@dataclass
class Gateway:
    """A gateway that runs, a client with a phone's token, and other tokens of other scopes."""

    app: FastAPI
    client: httpx.AsyncClient
    kept: Kept
    books: Noted
    folder: Path
    tokens: dict[str, str]

    def as_(self, who: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[who]}"}

    async def job(self, location: str, *states: str, timeout_s: float = 20.0) -> dict[str, Any]:
        """The job, once it is in one of these states."""
        deadline = time.monotonic() + timeout_s
        while True:
            answer = await self.client.get(location)
            assert answer.status_code == 200, answer.text
            told: dict[str, Any] = answer.json()
            if told["state"] in states:
                return told
            assert time.monotonic() < deadline, f"the job is {told}"
            await asyncio.sleep(0.02)


@asynccontextmanager
async def gateway(
    folder: Path,
    *,
    gate: Gate = OPEN,
    importer: Any = None,
    policy: GatewayPolicy | None = None,
    clock: Clock = system_clock,
    tokens: Mapping[str, NewToken] | None = None,
) -> AsyncIterator[Gateway]:
    made = dict(tokens or {name: new_token() for name in ("phone", "rotated", "other", "device", "ward")})
    access = Access(
        {
            made["phone"].token_id: credential(made["phone"]),
            made["rotated"].token_id: credential(made["rotated"]),
            made["other"].token_id: credential(made["other"], PatientId("patient-2")),
            made["device"].token_id: credential(made["device"], devices=frozenset({DeviceId("watch-1")})),
            made["ward"].token_id: credential(made["ward"], None, frozenset({DeviceId("watch-1")})),
        }
    )
    kept, books = Kept(), Noted()

    async def access_now() -> Access:
        return access

    async def gate_now() -> Gate:
        return gate

    async def spool_state() -> SpoolState:
        return SpoolState(0, 0, None)

    parts = Parts(
        access=access_now, gate=gate_now, way_in=kept, spool_state=spool_state, books=books, notes=notes,
        importer=importer or NoImporter(), hash_key=KEY, folder=folder, clock=clock,
    )  # fmt: skip
    app = create_app(parts, policy or GatewayPolicy())
    headers = {"authorization": f"Bearer {made['phone'].text}"}
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers, timeout=60) as client,
    ):
        yield Gateway(app, client, kept, books, folder, {name: one.text for name, one in made.items()})


async def until(what: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait for what will be so soon."""
    async with asyncio.timeout(timeout_s):
        while True:
            if what():
                return
            await asyncio.sleep(0.01)


def body_of(**data: object) -> bytes:
    return json.dumps({"data": data}).encode()
