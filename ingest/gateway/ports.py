"""What the gateway needs of other rooms; `vigil/` wires the real ones in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from devices.adapter import Piece
from ingest.record import Record
from ingest.spool import Place
from vitals.access import Access, Principal
from vitals.errors import VigilError
from vitals.gate import Gate
from vitals.ids import PatientId


class Unavailable(VigilError):
    """Something the gateway asks (credentials, registry, books) cannot answer now; asking again may help."""


AccessSource = Callable[[], Awaitable[Access]]
"""Tells which credentials stand, seconds old at most. Raises `Unavailable`."""

GateSource = Callable[[], Awaitable[Gate]]
"""Tells what registry and consents say, seconds old at most. Raises `Unavailable`."""

Notes = Callable[[PatientId, Piece], Sequence[Record]]
"""Turns the sessions of a piece into records for `vigil.annotations`; pure."""


class WayIn(Protocol):
    """Where records go: `ingest.spool.Arrival`."""

    async def accept(self, record: Record, *, topic: str = ..., later: str = ...) -> Place:
        """Return where the record is safe. Raises `SpoolError`."""


@dataclass(frozen=True, slots=True)
class LastSample:
    """The newest stored sample of a device's metric; times are microseconds UTC."""

    device_id: str
    metric: str
    start_us: int
    received_us: int


class Books(Protocol):
    """What the gateway keeps and asks beside the stream. Nothing a request needs to be answered 202 waits for it.

    `used`, `anchored` and `not_consented` note in memory and are written within seconds, later where the database is
    away; what is lost with the process is harmless (an older anchor makes a phone send again).
    """

    def used(self, token_id: str, now_us: int) -> None:
        """Note that a token was used."""

    def anchored(self, token_id: str, anchors: Mapping[str, str]) -> None:
        """Note how far a HealthKit client has come, by type; the samples before are safe."""

    def not_consented(self, adapter: str, counts: Mapping[int, int]) -> None:
        """Note how many samples, by metric number, were refused for want of consent."""

    async def anchors(self, token_id: str) -> Mapping[str, str]:
        """Return what `anchored` was last told. Raises `Unavailable`."""

    async def last_samples(self, principal: Principal) -> Sequence[LastSample]:
        """Return the newest stored samples of what the principal may send for. Raises `Unavailable`."""

    async def rotate(self, token_id: str, now_us: int) -> str:
        """Return a new token with the same scope; the old one ends when the new is first used, in a day at the latest.

        Raises `Unavailable`.
        """


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded export that waits to be read: where it lies, whose it is, what reads it."""

    job_id: str
    file: Path
    patient_id: PatientId
    adapter: str
    zone: str


class Importer(Protocol):
    """Reads an uploaded export into the backfill lane, outside of this process, and may be killed and run again."""

    async def run(self, upload: Upload, progress: Callable[[int, int], None]) -> Mapping[str, object]:
        """Return the summary; `progress` hears bytes done of all. Raises `VigilError` with what to tell the sender."""
