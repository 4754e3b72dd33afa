"""The Apple Health export behind the one contract of file adapters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from devices.adapter import Adapter, Piece, Reading, Source, Tally
from devices.apple.reader import read_export
from devices.apple.summary import ExportSummary, Rejected


class _AppleExport:
    name = "apple-export"
    about = "Apple Health: export.zip as the iPhone makes it (with its ECGs), or the export.xml inside."

    def read(self, source: Source, reading: Reading) -> Iterator[Piece]:
        """Yield what the export tells; see `devices.apple.reader.read_export`. Raises `MalformedExport`.

        `reading.zone` is not needed: an Apple export tells each date's offset.
        """
        summary = ExportSummary()
        try:
            yield from read_export(
                source,
                received_us=reading.received_us,
                hash_key=reading.hash_key,
                batch_size=reading.batch_size,
                on_progress=reading.on_progress,
                summary=summary,
            )
        finally:
            add_to(reading.tally, summary)


def add_to(tally: Tally, summary: ExportSummary) -> None:
    """Add what became of an export to a tally: records, workouts and ECG files are all records there."""
    rejected = Counter(summary.rejected) + summary.rejected_workouts + summary.rejected_ecgs
    rejected.pop(Rejected.UNKNOWN_METRIC.value, None)
    tally.read += summary.read + summary.workouts + summary.ecgs
    tally.accepted += summary.accepted + summary.accepted_workouts + summary.accepted_ecgs
    tally.rejected.update(rejected)
    tally.ignored.update(summary.unknown_types)
    tally.by_metric.update(summary.by_metric)
    tally.sessions += summary.sessions
    tally.waveforms += summary.waveforms


ADAPTER: Final[Adapter] = _AppleExport()
"""What the entry point `apple-export` names."""
