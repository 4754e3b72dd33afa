"""What the gateway is put together from; `vigil/` makes one of these, a test another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ingest.gateway.ports import AccessSource, Books, GateSource, Importer, Notes, WayIn
from ingest.spool import SpoolState
from vitals.clock import Clock, system_clock


class BearerCheck(Protocol):
    """Checks a platform's bearer token (`ingest.gateway.oidc`)."""

    async def subject_of(self, token: str, now_us: int, certificate_sha256: str | None) -> tuple[str, str] | None:
        """Return (issuer, subject) of a valid JWT, None for anything else. Raises `Unavailable` without the keys."""


@dataclass(slots=True)
class Parts:
    """The rooms behind the door. `folder` is the gateway's own, beside the spool: replies and uploads lie there.

    `hash_key` pseudonymises what a sender's file tells of devices; `zone` is where its times without an offset are.
    `spool_state` raises `SpoolError` where the spool is not usable.
    """

    access: AccessSource
    gate: GateSource
    way_in: WayIn
    spool_state: Callable[[], Awaitable[SpoolState]]
    books: Books
    notes: Notes
    importer: Importer
    hash_key: bytes
    folder: Path
    zone: str = "UTC"
    oidc: BearerCheck | None = None
    clock: Clock = system_clock
