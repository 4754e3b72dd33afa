"""What `vigil db status` prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from timeseries.migrate import Status
from timeseries.overview import Held, Overview

_PIPE_COLUMNS: Final = 200
_UNITS: Final = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))
_NAMES: Final = {"timescale": "TimescaleDB", "stock": "stock PostgreSQL"}
COSTS: Final = {
    "timescale": (
        "It costs an extension that not every hosted PostgreSQL has, and a correction of what is in the columnstore is "
        "slower, since it opens its batch of 1,000 samples again."
    ),
    "stock": (
        "It costs space and time: a sample takes about 130 bytes for as long as it is kept (TimescaleDB's columnstore: "
        "2 to 6), rollups are as old as the last `vigil db rollup`, and old samples are deleted one by one."
    ),
}
"""What each mode costs, in a sentence; the bytes are those of `python -m benchmarks storage`."""


def console() -> Console:
    """Return the console for results; into a pipe it writes wide lines, so that nothing is cut."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)


def show_schema(out: Console, found: Status, extension: str | None) -> None:
    """Print the mode (with the extension's version, where it is installed), what it costs, and the migrations."""
    table = Table.grid(padding=(0, 2))
    table.add_row("mode", f"{_NAMES[found.mode]} {extension or ''}")
    table.add_row("", COSTS[found.mode])
    table.add_row("applied", ", ".join(found.applied) or "nothing")
    table.add_row("pending", ", ".join(found.pending) or "nothing")
    out.print(table)


def show_overview(out: Console, seen: Overview) -> None:
    """Print sizes, progress and repeats."""
    out.print()
    out.print(_tables([one for one in seen.tables if one.rows != 0 or one.chunks], chunked=seen.extension is not None))
    for line in _notes(seen):
        out.print(line)
    if seen.watermarks:
        out.print()
        out.print(_progress(seen.watermarks))
    if seen.duplicates:
        out.print()
        out.print(_repeats(seen.duplicates))


def _tables(held: Sequence[Held], *, chunked: bool) -> Table:
    table = _table("table", "rows", "size", *(("chunks", "in columnstore") if chunked else ()))
    for one in held:
        cells = [one.name, _rows(one), size(one.size)]
        if chunked and one.chunks is not None:
            cells += [f"{one.chunks:,}", _packed(one)]
        table.add_row(*cells)
    return table


def _rows(one: Held) -> str:
    if one.rows is None:
        return "not known"
    return f"{one.rows:,}" if one.exact else f"about {one.rows:,}"


def _packed(one: Held) -> str:
    return f"{one.packed:,}: {size(one.packed_from)} became {size(one.packed_to)}" if one.packed else ""


def _notes(seen: Overview) -> list[str]:
    empty = sum(one.rows == 0 and not one.chunks for one in seen.tables)
    notes = [f"{empty} more tables are empty."] if empty else []
    if any(one.rows is None for one in seen.tables):
        notes.append("Not known: so new that PostgreSQL has not estimated it yet (ANALYZE makes it).")
    return notes


def _progress(marks: Sequence[tuple[str, int, int, float]]) -> Table:
    table = _table("topic", "partitions", "records stored", "last")
    for topic, partitions, stored, age_s in marks:
        table.add_row(topic, f"{partitions:,}", f"{stored:,}", f"{age_s:,.0f} s ago")
    return table


def _repeats(duplicates: Sequence[tuple[str, str, int, int]]) -> Table:
    table = Table("told again by", "reason", box=None, pad_edge=False, header_style="bold")
    for name in ("samples, 7 days", "ever"):
        table.add_column(name, justify="right")
    for adapter, reason, recent, ever in duplicates:
        table.add_row(adapter, reason, f"{recent:,}", f"{ever:,}")
    return table


def _table(first: str, *numbers: str) -> Table:
    table = Table(first, box=None, pad_edge=False, header_style="bold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def size(size_bytes: int) -> str:
    """Return bytes as people read them."""
    return next((f"{size_bytes / unit:,.1f} {name}" for name, unit in _UNITS if size_bytes >= unit), f"{size_bytes} B")
