"""Reads an Apple Health export, `export.xml` or `export.zip`, as a stream of pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from devices.adapter import Piece
from devices.apple.collect import Collector
from devices.apple.ecg import MAX_BYTES, BadRecording, read_ecg
from devices.apple.origin import Origins
from devices.apple.records import RecordReader
from devices.apple.scanner import ElementScanner
from devices.apple.source import ExportFile, ExportStream, open_export
from devices.apple.summary import ExportSummary, Rejected
from devices.errors import MalformedExport
from vitals.waveform import WaveformChunk

Progress = Callable[[int, int], None]
"""Told (bytes of XML read, bytes of XML in all) after every chunk."""
_ECG_SOURCE = "electrocardiograms"


def read_export(
    source: ExportFile,
    *,
    received_us: int,
    hash_key: bytes,
    batch_size: int = 5_000,
    on_progress: Progress | None = None,
    summary: ExportSummary | None = None,
) -> Iterator[Piece]:
    """Yield what an export tells: its ECG files, then its samples and sessions by origin (device and source app).

    `source` is a path or a seekable binary file; `hash_key` makes the pseudonyms of devices and apps; `summary`, if
    given, is filled on the way; a piece has `batch_size` samples at most. Memory is bounded whatever the file's size.
    One bad record costs that record. A file that cannot be read to its end raises `MalformedExport` after everything
    before that point was yielded; no name, birth date or place in the file reaches a piece, the summary or an error.
    """
    if batch_size < 1:
        raise ValueError("batch_size must be at least 1")
    summary = ExportSummary() if summary is None else summary
    origins = Origins(hash_key)
    collector = Collector(origins, summary.by_metric, batch_size=batch_size, received_us=received_us)
    scanner = ElementScanner(RecordReader(origins, summary, received_us))
    try:
        with open_export(source) as stream:
            yield from _ecgs(stream, origins, summary, received_us)
            for done in _scan(stream, scanner):
                yield from _counted(collector.ready(), summary)
                if on_progress is not None:
                    on_progress(done, max(done, stream.total))
    except MalformedExport as damage:
        scanner.abandon()
        yield from _counted(collector.rest(), summary)
        raise damage.after(summary.read) from None
    yield from _counted(collector.rest(), summary)


def _counted(pieces: Iterator[Piece], summary: ExportSummary) -> Iterator[Piece]:
    for piece in pieces:
        summary.sessions += len(piece.sessions)
        summary.waveforms += len(piece.waveforms)
        yield piece


def _scan(stream: ExportStream, scanner: ElementScanner) -> Iterator[int]:
    """Feed the whole export to the scanner; yield the bytes done after each chunk."""
    done = 0
    for chunk in stream.chunks():
        scanner.feed(chunk)
        done += len(chunk)
        yield done
    scanner.close()


def _ecgs(stream: ExportStream, origins: Origins, summary: ExportSummary, received_us: int) -> Iterator[Piece]:
    for data in stream.recordings(MAX_BYTES):
        summary.ecgs += 1
        try:
            piece = _ecg(data, origins, received_us)
        except BadRecording as bad:
            summary.rejected_ecgs[bad.reason.value] += 1
            continue
        summary.accepted_ecgs += 1
        yield from _counted(iter([piece]), summary)


def _ecg(data: bytes | None, origins: Origins, received_us: int) -> Piece:
    """Return the piece of one ECG file. Raises `BadRecording`."""
    if data is None:
        raise BadRecording(Rejected.OVERSIZED)
    recording = read_ecg(data)
    # The file does not name its source; its device is the watch's model, as in HKDevice.
    origin = origins.of(_ECG_SOURCE, f", hardware:{recording.model}", "")
    origins.add_session(
        origin, "ecg", recording.start_us, recording.end_us, ("ecg",), label=recording.label or "unclassified"
    )
    sessions, origin.sessions = tuple(origin.sessions), []
    chunks: tuple[WaveformChunk, ...] = recording.chunks(received_us)
    return Piece(origin.device_id, origin.source_app, waveforms=chunks, sessions=sessions)
