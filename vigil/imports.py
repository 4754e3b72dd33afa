"""Edge: imports a file through its adapter: reads it as a stream, sends it on the backfill lane, sums up.

An import that was interrupted is said again: a sample's identity decides, and what had been stored is stored no second
time.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from devices.adapter import Adapter, Piece, Reading
from devices.adapters import load, load_all
from devices.local_time import Zone
from ingest.publisher import Publisher
from ingest.record import encode, split
from ingest.topics import SAMPLES_BACKFILL, WAVEFORMS
from ingest.waveform_record import encode_chunk
from vigil.sessions import publish_sessions
from vigil.settings import Settings, settings
from vitals.batch import BatchHeader, SampleColumns
from vitals.clock import system_clock
from vitals.errors import VigilError
from vitals.ids import PatientId, patient_id
from vitals.validity import REASONS, reasons

_DRY_RUN_KEY: Final = b"only for a summary that nobody keeps"
_UNDER_WAY: Final = 64
"""Records that may wait for their acknowledgement while the file is read on: at most 64 MB."""


class AdapterFailed(VigilError):
    """An adapter broke on a file in a way that it should not; what it said is not repeated, it may quote the file."""


def import_file(
    adapter_name: str, file: Path, patient: str, *, zone: str = "UTC", dry_run: bool, config: Settings | None = None
) -> None:
    """Import `file` for `patient` through the adapter and print a JSON summary.

    Raises `UnknownAdapter`, `BrokenAdapter`, `UnknownZone`, `MissingSetting` without a broker or hash key (unless
    `dry_run`), `MalformedExport` for a file that cannot be read to its end (what stands before the damage is imported),
    `AdapterFailed`, `BrokerUnreachable`.
    """
    whose, adapter = patient_id(patient), load(adapter_name)
    Zone(zone)
    config = config or settings()
    key = _DRY_RUN_KEY if dry_run else config.pseudonym_key()
    refused = Counter[str]()
    with _bar() as bar:
        task = bar.add_task("reading", total=None)
        reading = Reading(
            system_clock(), key, zone, on_progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
        pieces = counted(read_pieces(adapter, file, reading), refused)
        try:
            if dry_run:
                deque(pieces, maxlen=0)
            else:
                asyncio.run(send(config.broker(), adapter.name, whose, pieces))
        finally:
            typer.echo(json.dumps(summary(adapter.name, reading, refused), indent=2))


def summary(adapter_name: str, reading: Reading, refused: Counter[str]) -> dict[str, object]:
    """Return what became of the file: its records by the adapter, and which samples validation will quarantine."""
    return {"adapter": adapter_name, **reading.tally.to_json(), "quarantined": dict(sorted(refused.items()))}


def print_adapters() -> None:
    """Print a table of the installed adapters, and on standard error what is wrong with others."""
    adapters, broken = load_all()
    table = Table("adapter", "what it reads", box=None, pad_edge=False)
    for adapter in adapters:
        table.add_row(adapter.name, adapter.about)
    Console().print(table)
    for error in broken:
        typer.echo(f"not usable: {error}", err=True)


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def read_pieces(adapter: Adapter, file: Path, reading: Reading) -> Iterator[Piece]:
    """Yield what a file tells. Raises `AdapterFailed` for whatever an adapter should not raise."""
    try:
        yield from adapter.read(file, reading)
    except (VigilError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - another package's code; a traceback of it could show a person's data
        raise AdapterFailed(f"adapter {adapter.name} broke on this file ({type(error).__name__})") from None


def counted(pieces: Iterator[Piece], refused: Counter[str]) -> Iterator[Piece]:
    """Yield the pieces, and count in `refused` the samples that validation will quarantine."""
    for piece in pieces:
        if piece.samples is not None:
            refused.update(_refused(piece.samples))
        yield piece


def _refused(samples: SampleColumns) -> Counter[str]:
    codes, counts = np.unique(reasons(samples), return_counts=True)
    return Counter({str(REASONS[code]): int(count) for code, count in zip(codes, counts, strict=True) if code})


async def send(broker: str, adapter_name: str, whose: PatientId, pieces: Iterator[Piece]) -> None:
    """Send pieces as they are read and return when the broker has all of them.

    Raises `BrokerUnreachable`, and whatever reading raises once what was read before is acknowledged.
    """
    async with Publisher(broker, linger_ms=50) as publisher:
        acks: deque[asyncio.Future[Any]] = deque()
        try:
            for piece in pieces:
                acks += await _send(publisher, adapter_name, whose, piece)
                await sessions(publisher, whose, piece)
                await _confirm(publisher, acks, leave=_UNDER_WAY)
        finally:
            await _confirm(publisher, acks, leave=0)


async def sessions(publisher: Publisher, whose: PatientId, piece: Piece) -> int:
    """Send the sessions of a piece, as annotations, and return how many they are. Raises `BrokerUnreachable`."""
    return await publish_sessions(publisher, whose, [piece]) if piece.sessions else 0


async def _send(publisher: Publisher, adapter_name: str, whose: PatientId, piece: Piece) -> list[asyncio.Future[Any]]:
    header = BatchHeader(whose, piece.device_id, piece.source_app, adapter_name)
    samples = [] if piece.samples is None else split(piece.samples)
    return [
        *[await publisher.send(encode(header, part), topic=SAMPLES_BACKFILL) for part in samples],
        *[await publisher.send(encode_chunk(header, chunk), topic=WAVEFORMS) for chunk in piece.waveforms],
    ]


async def _confirm(publisher: Publisher, acks: deque[asyncio.Future[Any]], *, leave: int) -> None:
    """Wait for the oldest acknowledgements until `leave` are left; let the producer work meanwhile in any case."""
    while len(acks) > leave:
        await publisher.confirm([acks.popleft()])
    await asyncio.sleep(0)
