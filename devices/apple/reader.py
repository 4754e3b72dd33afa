"""Reads an Apple Health export, `export.xml` or `export.zip`, as a stream of sample batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from devices.apple.collect import Batch, Collector
from devices.apple.origin import Origins
from devices.apple.records import RecordReader
from devices.apple.scanner import ElementScanner
from devices.apple.source import ExportFile, open_export
from devices.apple.summary import ExportSummary
from devices.errors import MalformedExport

Progress = Callable[[int, int], None]
"""Told (bytes of XML read, bytes of XML in all) after every chunk."""


def read_export(
    source: ExportFile,
    *,
    received_us: int,
    hash_key: bytes,
    batch_size: int = 5_000,
    on_progress: Progress | None = None,
    summary: ExportSummary | None = None,
) -> Iterator[Batch]:
    """Yield the samples of an export, grouped by origin (device and source app), `batch_size` at most in a batch.

    `source` is a path or a seekable binary file; `hash_key` makes the pseudonyms of devices and apps; `summary`, if
    given, is filled on the way. Memory is bounded whatever the file's size. One bad record costs that record. A file
    that cannot be read to its end raises `MalformedExport` after everything before that point was yielded; no name,
    birth date or place in the file reaches a sample, the summary or an error.
    """
    if batch_size < 1:
        raise ValueError("batch_size must be at least 1")
    summary = ExportSummary() if summary is None else summary
    origins = Origins(hash_key)
    collector = Collector(origins, summary, batch_size=batch_size, received_us=received_us)
    scanner = ElementScanner(RecordReader(origins, summary, received_us))
    try:
        for done, total in _scan(source, scanner):
            yield from collector.ready()
            if on_progress is not None:
                on_progress(done, total)
    except MalformedExport as damage:
        yield from collector.rest()
        raise damage.after(summary.read) from None
    yield from collector.rest()


def _scan(source: ExportFile, scanner: ElementScanner) -> Iterator[tuple[int, int]]:
    """Feed the whole export to the scanner; yield (bytes done, bytes in all) after each chunk."""
    done = 0
    with open_export(source) as stream:
        for chunk in stream.chunks():
            scanner.feed(chunk)
            done += len(chunk)
            yield done, max(done, stream.total)
        scanner.close()
