"""A gateway on loopback for tests: a real server in a thread of its own, and behind it rooms that tests can break."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import uvloop
from fastapi import FastAPI

from devices.adapter import Piece
from ingest.gateway.app import create_app
from ingest.gateway.parts import Parts
from ingest.gateway.policy import GatewayPolicy
from ingest.gateway.ports import Importer, LastSample, Unavailable, Upload
from ingest.gateway.server import GatewayServer, Tls
from ingest.record import Record
from ingest.spool import Place, SpoolState
from vitals.access import Access, Credential, Kind, Principal, new_token
from vitals.clock import US_PER_S, system_clock
from vitals.gate import Gate
from vitals.ids import DeviceId, PatientId

DAY_US = 86_400 * US_PER_S


class FakeBooks:
    """`ports.Books` in memory."""

    def __init__(self) -> None:
        self.make: Callable[[], str] = lambda: new_token().text
        self.reset()

    def reset(self) -> None:
        self.uses: dict[str, int] = {}
        self.told: dict[str, dict[str, str]] = {}
        self.refused: dict[str, dict[int, int]] = {}
        self.rotated: list[str] = []
        self.away = False

    def used(self, token_id: str, now_us: int) -> None:
        self.uses[token_id] = now_us

    def anchored(self, token_id: str, anchors: Mapping[str, str]) -> None:
        self.told.setdefault(token_id, {}).update(anchors)

    def not_consented(self, adapter: str, counts: Mapping[int, int]) -> None:
        self.refused.setdefault(adapter, {}).update(counts)

    async def anchors(self, token_id: str) -> Mapping[str, str]:
        self._here()
        return self.told.get(token_id, {})

    async def last_samples(self, principal: Principal) -> Sequence[LastSample]:
        self._here()
        return [LastSample("watch-1", "heart_rate", 1_700_000_000_000_000, 1_700_000_001_000_000)]

    async def rotate(self, token_id: str, now_us: int) -> str:
        self._here()
        self.rotated.append(token_id)
        return self.make()

    def _here(self) -> None:
        if self.away:
            raise Unavailable("the database is away")


class FakeImporter:
    """Reads nothing."""

    async def run(self, upload: Upload, progress: Callable[[int, int], None]) -> Mapping[str, object]:
        return {}


def no_notes(patient: PatientId, piece: Piece) -> Sequence[Record]:
    return []


@dataclass
class World:
    """What stands behind the door. Tests change it while the server runs."""

    folder: Path
    access: Access = field(default_factory=Access)
    gate: Gate = field(default_factory=Gate)
    accepted: list[tuple[Record, str, str]] = field(default_factory=list)
    books: FakeBooks = field(default_factory=FakeBooks)
    fails: Exception | None = None
    hangs: threading.Event | None = None
    place: Place = Place.BROKER
    access_away: bool = False
    gate_away: bool = False
    spool: SpoolState | Exception = field(default_factory=lambda: SpoolState(0, 0, None))
    importer: Importer = field(default_factory=FakeImporter)

    async def accept(self, record: Record, *, topic: str = "", later: str = "") -> Place:
        while self.hangs is not None and not self.hangs.is_set():  # noqa: ASYNC110  of another thread
            await asyncio.sleep(0.01)
        if self.fails is not None:
            raise self.fails
        self.accepted.append((record, topic, later))
        return self.place

    async def credentials(self) -> Access:
        if self.access_away:
            raise Unavailable("the database is away")
        return self.access

    async def registry(self) -> Gate:
        if self.gate_away:
            raise Unavailable("the database is away")
        return self.gate

    async def spooled(self) -> SpoolState:
        if isinstance(self.spool, Exception):
            raise self.spool
        return self.spool

    def parts(self) -> Parts:
        return Parts(
            access=self.credentials, gate=self.registry, way_in=self, spool_state=self.spooled, books=self.books,
            notes=no_notes, importer=self.importer, hash_key=b"k" * 32, folder=self.folder,
        )  # fmt: skip

    def token(
        self,
        patient: str | None = "p-1",
        devices: Sequence[str] | None = ("watch-1",),
        kind: Kind = Kind.DEVICE,
        *,
        certificate: str | None = None,
        expires_us: int | None = None,
        lineage: str = "",
    ) -> str:
        """Make a token that stands, and return its text."""
        made = new_token()
        principal = Principal(
            made.token_id,
            kind,
            None if patient is None else PatientId(patient),
            None if devices is None else frozenset(DeviceId(one) for one in devices),
            lineage,
        )
        expires_us = system_clock() + DAY_US if expires_us is None else expires_us
        credential = Credential(principal, made.secret_sha256, expires_us, certificate_sha256=certificate)
        self.access = Access({**self.access.tokens, made.token_id: credential}, self.access.subjects)
        return made.text

    def rotate(self, token: str) -> str:
        """Make a token's successor, and return its text; the old one stands, too."""
        old = self.access.tokens[token.split("_")[1]].principal
        return self.token(old.patient_id, None if old.devices is None else tuple(old.devices), lineage=old.holder)

    def revoke(self, token: str) -> None:
        name = token.split("_")[1]
        ended = replace(self.access.tokens[name], revoked_us=system_clock())
        self.access = Access({**self.access.tokens, name: ended}, self.access.subjects)


@dataclass
class Running:
    """A gateway that runs."""

    world: World
    app: FastAPI
    server: GatewayServer
    port: int
    loop: asyncio.AbstractEventLoop
    ended: threading.Event

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, token: str | None = None, **kwargs: object) -> httpx.Client:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20.0, **kwargs)  # type: ignore[arg-type]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20.0)


@contextlib.contextmanager
def running(
    world: World, policy: GatewayPolicy | None = None, *, tls: Tls | None = None, trusted_proxies: Sequence[str] = ()
) -> Iterator[Running]:
    """Run a gateway in a thread."""
    app = create_app(world.parts(), policy)
    server = GatewayServer(app, port=0, tls=tls, trusted_proxies=trusted_proxies)
    loops: list[asyncio.AbstractEventLoop] = []
    ended = threading.Event()

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve())
        finally:
            ended.set()

    thread = threading.Thread(target=run, name="gateway")
    thread.start()
    try:
        until(lambda: server.started or ended.is_set())
        yield Running(world, app, server, server.port, loops[0], ended)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def until(holds: Callable[[], object], within_s: float = 20.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.01)


def sample(ago_s: float = 5.0, **other: object) -> dict[str, object]:
    start = time.time() - ago_s
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(start))
    return {"metric": "heart_rate", "start": f"{whole}.{int(start % 1 * 1e6):06d}Z", "value": 72, **other}


def request(count: int = 1, **other: object) -> dict[str, object]:
    return {"samples": [sample(5.0 + at) for at in range(count)], **other}


def answer_of(connection: socket.socket | ssl.SSLSocket) -> bytes:
    """Return all that comes until the other side closes, or nothing comes for long."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)
