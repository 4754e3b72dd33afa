"""Edge: reads posted documents without holding up live traffic.

Parsing JSON holds the interpreter: 30 MB of it stop every other request for the better part of a second, in a thread
too. So what is large is read in a process of its own, kept for the next; what is small costs less than handing it over,
and is read in a thread.
"""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Final

import numpy as np

from devices import fhir
from devices.adapter import Reading
from devices.health_auto_export import read_payload
from ingest.gateway.parsed import Outcome, Retry, Status
from ingest.gateway.pieces import MAX_OUTCOMES, Ignored, Told, gathered
from ingest.gateway.ports import Unavailable

HEALTH_AUTO_EXPORT: Final = "health-auto-export"
FHIR: Final = fhir.ADAPTER.name
_NICENESS: Final = 5
_DOCUMENTS_A_POOL: Final = 64
"""A process that read much keeps the memory: after so many documents new ones take its place."""


@dataclass(frozen=True, slots=True)
class Document:
    """What was posted, and how it is to be read."""

    adapter: str
    body: bytes = field(repr=False)
    received_us: int
    hash_key: bytes = field(repr=False)
    zone: str
    aggregation: str | None = None


def read(document: Document) -> Told:
    """Return what a document tells. Raises `MalformedExport`."""
    reading = Reading(document.received_us, document.hash_key, document.zone)
    if document.adapter == HEALTH_AUTO_EXPORT:
        pieces = gathered(read_payload(document.body, reading, aggregation=document.aggregation))
        return Told(pieces, reading.tally)
    return _read_fhir(document, reading)


def _read_fhir(document: Document, reading: Reading) -> Told:
    found = fhir.Entries(most=MAX_OUTCOMES)
    pieces = gathered(fhir.ADAPTER.read(io.BytesIO(document.body), reading, found))
    return Told(
        pieces,
        reading.tally,
        {(device, app): np.array(places, np.int64) for (device, app), places in found.places.items()},
        tuple(
            Outcome(one.index, Status.REJECTED, one.reason, Retry.NEVER) for one in found.left_out if not one.ignored
        ),
        tuple(Ignored(one.index, one.reason) for one in found.left_out if one.ignored),
    )


class DocumentReader:
    """Reads documents: those of up to `thread_bytes` in threads, larger ones in processes, so many of each at once.

    Of those beyond `heavy_bytes` one at a time: 25 MB of points are half a gigabyte while they are read. A process that
    is killed, or runs out of memory, costs the requests that were read beside it.
    """

    def __init__(
        self, *, processes: int = 2, threads: int = 4, thread_bytes: int = 128 << 10, heavy_bytes: int = 8 << 20
    ) -> None:
        self._at_once, self._thread_bytes, self._heavy_bytes = processes, thread_bytes, heavy_bytes
        self._heavy = asyncio.Semaphore(1)
        self._small, self._large = asyncio.Semaphore(threads), asyncio.Semaphore(processes)
        self._pool: ProcessPoolExecutor | None = None
        self._handed_over = 0

    async def read(self, document: Document) -> Told:
        """Return what a document tells. Raises `MalformedExport`, `Unavailable` where the process was killed."""
        if len(document.body) <= self._thread_bytes:
            async with self._small:
                return await asyncio.to_thread(read, document)
        if len(document.body) <= self._heavy_bytes:
            async with self._large:
                return await self._elsewhere(document)
        async with self._heavy, self._large:  # in this order: one that waits for its turn takes no place meanwhile
            return await self._elsewhere(document)

    async def _elsewhere(self, document: Document) -> Told:
        pool = self._processes()
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, read, document)
        except BrokenProcessPool:
            if self._pool is pool:
                self._pool = None
            pool.shutdown(wait=False)
            raise Unavailable("reading the document was interrupted: send it again") from None

    def _processes(self) -> ProcessPoolExecutor:
        # Not by `max_tasks_per_child`: in Python 3.11 a pool may hang on it.
        if self._pool is not None and self._handed_over >= _DOCUMENTS_A_POOL:
            self._pool.shutdown(wait=False)
            self._pool = None
        if self._pool is None:
            self._pool, self._handed_over = _new_pool(self._at_once), 0
        self._handed_over += 1
        return self._pool

    def close(self) -> None:
        """Stop the processes; what they read is lost."""
        pool, self._pool = self._pool, None
        if pool is not None:
            processes = list((pool._processes or {}).values())  # noqa: SLF001  it offers no other way to stop at once
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()


def _new_pool(processes: int) -> ProcessPoolExecutor:
    # Not forked: a child would have the gateway's sockets, and threads that hold its locks.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, context, _settle_in)


def _settle_in() -> None:
    """Make way for live traffic, and end with the gateway, also where that is killed."""
    os.nice(_NICENESS)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(lambda: wait([parent.sentinel]),), daemon=True).start()


def _end_with(ended: Callable[[], object]) -> None:
    ended()
    os._exit(1)
