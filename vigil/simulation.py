"""Edge: simulated people as files: samples and waveforms as Parquet, the truth as JSON lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from devices.simulator import Stretch, Truth, Wearer, tell, truth, waveforms
from vitals.batch import SCHEMA, to_arrow
from vitals.clock import US_PER_S
from vitals.ids import PatientId
from vitals.waveform import WAVEFORM_SCHEMA, WaveformChunk, chunk_to_arrow

ADAPTER: Final = "simulator"
PIECE_US: Final = 6 * 3_600 * US_PER_S
"""So much of a wearer's time is made at once: large enough to be fast, small enough for the processor's cache."""
_WAVEFORM_PIECE_US: Final = 600 * US_PER_S
_FILE_CHUNK_S: Final = 10
_WHOSE: Final = [
    pa.field("patient_id", pa.string(), nullable=False),
    pa.field("device_id", pa.string(), nullable=False),
]
SAMPLES_SCHEMA: Final = pa.schema(
    [*_WHOSE, pa.field("firmware", pa.string(), nullable=False), *(one for one in SCHEMA if one.name != "metric"),
     pa.field("metric", pa.string(), nullable=False)]
)  # fmt: skip
"""`samples.parquet`: the columns of a sample batch, and whose and which device's each is."""
_TIMES: Final = ("start", "written", "received")
# Times grow by little: as differences a sample takes 10 bytes rather than 17.
_ENCODING: Final[dict[str, Any]] = {
    "compression": "zstd",
    "use_dictionary": [name for name in SAMPLES_SCHEMA.names if name not in _TIMES],
    "column_encoding": dict.fromkeys(_TIMES, "DELTA_BINARY_PACKED"),
}

Progressed = Callable[[], None]
Counts = list[tuple[Counter[str], ...]]


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to simulate, from when to when (us UTC), and which waveforms besides."""

    people: list[Wearer]
    start_us: int
    end_us: int
    waveforms: tuple[str, ...] = ()

    @property
    def pieces(self) -> int:
        """How many pieces `pieces_of` cuts everybody's time into."""
        return len(self.people) * len(list(pieces_of(self)))


@dataclass(slots=True)
class Ledger:
    """What was made: how many samples and chunks, and each wearer's counts of faults, piece by piece."""

    samples: int = 0
    chunks: int = 0
    counts: dict[PatientId, Counts] = field(default_factory=dict)
    until_us: dict[PatientId, int] = field(default_factory=dict)

    def note(self, who: Wearer, counts: tuple[Counter[str], ...], until_us: int) -> None:
        """Keep a piece's counts; sums would do, but pieces are few."""
        kept = self.counts.setdefault(who.patient_id, [])
        kept[:] = [tuple(a + b for a, b in zip(kept[0], counts, strict=True))] if kept else [counts]
        self.until_us[who.patient_id] = until_us

    def cut(self, plan: Plan, who: Wearer, until_us: int) -> None:
        """Say that a wearer's time was made further than it was told, and count anew what was told."""
        pieces = ((start_us, min(end_us, until_us)) for start_us, end_us in pieces_of(plan) if start_us < until_us)
        self.counts[who.patient_id], self.until_us[who.patient_id] = [], plan.start_us
        for start_us, end_us in pieces:
            self.note(who, tell(who, start_us, end_us).counts, end_us)

    def truths(self, plan: Plan) -> list[Truth]:
        """Return everybody's truth, as far as they were simulated."""
        return [
            truth(
                who, plan.start_us, self.until_us.get(who.patient_id, plan.start_us),
                self.counts.get(who.patient_id, []),
            )
            for who in plan.people
        ]  # fmt: skip


def pieces_of(plan: Plan, piece_us: int = PIECE_US) -> Iterator[tuple[int, int]]:
    """Yield the pieces of time that a plan is made in."""
    for at_us in range(plan.start_us, plan.end_us, piece_us):
        yield at_us, min(at_us + piece_us, plan.end_us)


def write_files(plan: Plan, folder: Path, progressed: Progressed, truth_file: Path | None = None) -> dict[str, Any]:
    """Write `samples.parquet`, `truth.jsonl` and, where asked, `waveforms.parquet`; return a summary.

    Samples stand in the order in which they were measured, wearer by wearer; `received` says when each arrived.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger()
    with pq.ParquetWriter(folder / "samples.parquet", SAMPLES_SCHEMA, **_ENCODING) as writer:
        for who in plan.people:
            for start_us, end_us in pieces_of(plan):
                told = tell(who, start_us, end_us)
                for one in told.stretches:
                    writer.write_table(samples_table(who, one))
                ledger.note(who, told.counts, end_us)
                ledger.samples += told.samples
                progressed()
    if plan.waveforms:
        ledger.chunks = _write_waveforms(plan, folder / "waveforms.parquet")
    truths = ledger.truths(plan)
    write_truth(truths, truth_file or folder / "truth.jsonl")
    return summary(plan, ledger, truths)


def samples_table(who: Wearer, told: Stretch) -> pa.Table:
    """Return a stretch of one wearer as a table of `SAMPLES_SCHEMA`."""
    batch = to_arrow(told.samples)
    columns: dict[str, Any] = {name: batch.column(name) for name in SCHEMA.names}
    columns["metric"] = columns["metric"].dictionary_decode()
    words = {"patient_id": who.patient_id, "device_id": told.device_id, "firmware": told.firmware}
    columns |= {name: pa.repeat(pa.scalar(word), batch.num_rows) for name, word in words.items()}
    return pa.table([columns[name] for name in SAMPLES_SCHEMA.names], schema=SAMPLES_SCHEMA)


def _write_waveforms(plan: Plan, file: Path) -> int:
    schema, chunks = pa.schema([*_WHOSE, *WAVEFORM_SCHEMA]), 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for who in plan.people:
            for piece in pieces_of(plan, _WAVEFORM_PIECE_US):
                made = chunks_of(who, plan.waveforms, *piece, chunk_s=_FILE_CHUNK_S)
                if made:
                    writer.write_table(_chunks_table(who, made, schema))
                chunks += len(made)
    return chunks


def chunks_of(
    who: Wearer, metrics: tuple[str, ...], start_us: int, end_us: int, *, chunk_s: int = 1
) -> list[WaveformChunk]:
    """Return all chunks of these signals that end within [start_us, end_us)."""
    return [chunk for metric in metrics for chunk in waveforms(who, metric, start_us, end_us, chunk_s=chunk_s)]


def _chunks_table(who: Wearer, chunks: list[WaveformChunk], schema: pa.Schema) -> pa.Table:
    table = pa.Table.from_batches([chunk_to_arrow(chunk) for chunk in chunks])
    whose = [pa.repeat(pa.scalar(word), len(chunks)) for word in (who.patient_id, who.device_id)]
    return pa.table([*whose, *table.columns], schema=schema)


def write_truth(truths: list[Truth], file: Path) -> None:
    """Write everybody's truth as JSON lines."""
    with file.open("w", encoding="utf-8") as out:
        for told in truths:
            out.writelines(f"{line}\n" for line in told.json_lines())


def summary(plan: Plan, ledger: Ledger, truths: list[Truth]) -> dict[str, Any]:
    """Return what was made as a JSON object: everybody's episodes by kind, and what each kind of fault did."""
    episodes = Counter(one.kind for told in truths for one in told.episodes)
    faults: dict[str, Counter[str]] = {}
    for fault in (one for told in truths for one in told.faults):
        faults.setdefault(fault.kind, Counter()).update(fault.counts)
    channels = sorted({code for who in plan.people for code in who.cadences_s})
    return {
        "patients": len(plan.people), "samples": ledger.samples, "waveform_chunks": ledger.chunks,
        "channels": [*channels, *(["rr_interval"] if any(who.beats for who in plan.people) else [])],
        "episodes": dict(sorted(episodes.items())), "faults": {kind: dict(faults[kind]) for kind in sorted(faults)},
    }  # fmt: skip
