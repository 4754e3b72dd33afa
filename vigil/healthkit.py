"""Imports an Apple Health export: reads it as a stream, sends it on the backfill lane, sums up what became of it.

An import that was interrupted is said again: it begins at the file's beginning, and whatever had been stored is found
there and stored no second time (a sample's identity decides, docs/decisions/0006-versions-and-tombstones.md). It keeps
no place of its own: what a broker acknowledged may never have been stored, and reading a gigabyte takes seconds.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from devices.adapter import Piece
from devices.apple import ExportSummary, read_export
from vigil.imports import send
from vigil.settings import Settings, settings
from vitals.batch import SampleColumns
from vitals.catalogue import BY_CODE
from vitals.clock import system_clock
from vitals.ids import patient_id
from vitals.validity import REASONS, reasons

ADAPTER = "apple-export"
_DRY_RUN_KEY = b"only for a summary that nobody keeps"
_NOT_RECORDS = (BY_CODE["workout"].number, BY_CODE["rr_interval"].number)


def import_export(file: Path, patient: str, *, dry_run: bool, config: Settings | None = None) -> None:
    """Import `file` for `patient` and print a JSON summary.

    Raises `MissingSetting` without a broker or hash key (unless `dry_run`), `MalformedExport` for a file that cannot be
    read to its end (what stands before the damage is imported), `BrokerUnreachable`.
    """
    whose = patient_id(patient)
    config = config or settings()
    key = _DRY_RUN_KEY if dry_run else config.pseudonym_key()
    summary, refused = ExportSummary(), Counter[str]()
    with _bar() as bar:
        task = bar.add_task("reading", total=None)
        read = read_export(
            file,
            received_us=system_clock(),
            hash_key=key,
            summary=summary,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        pieces = _counted(read, refused)
        try:
            if dry_run:
                deque(pieces, maxlen=0)
            else:
                asyncio.run(send(config.broker(), ADAPTER, whose, pieces))
        finally:
            typer.echo(json.dumps(summed_up(summary, refused), indent=2))


def summed_up(summary: ExportSummary, refused: Counter[str]) -> dict[str, object]:
    """Return the summary with what validation refuses moved from accepted to rejected: read = accepted + rejected."""
    told = summary.to_json()
    told["accepted"] = summary.accepted - refused.total()
    told["rejected"] = dict(sorted((summary.rejected + refused).items()))
    return told


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _refused(samples: SampleColumns | None) -> Counter[str]:
    """Count what the recorder will quarantine, by reason; workouts and beats are counted apart from records."""
    if samples is None:
        return Counter()
    codes = reasons(samples)
    codes = codes[(codes > 0) & ~np.isin(samples.metric, _NOT_RECORDS)]
    return Counter(str(REASONS[code]) for code in codes)


def _counted(pieces: Iterator[Piece], refused: Counter[str]) -> Iterator[Piece]:
    for piece in pieces:
        refused.update(_refused(piece.samples))
        yield piece
