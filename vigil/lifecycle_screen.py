"""What `vigil db lifecycle` prints: what is due, a bar while it is done, and what was left."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from timeseries.lifecycle_model import Due, Report

_PIPE_COLUMNS: Final = 200
_SHOWN: Final = 20


class Step(Protocol):
    """Told of each step that is done and how many rows it was about."""

    def __call__(self, step: str, rows: int) -> None:
        """Note one step."""


def console() -> Console:
    """Return the console for results; into a pipe it writes wide lines, so that nothing is cut."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)


def show_due(out: Console, found: Sequence[Due], *, everything: bool) -> None:
    """Print what is due by class and tier, and why some of it waits; with `everything` also what is not."""
    shown = [one for one in found if everything or one.rows or one.waits]
    if not shown:
        out.print("nothing is due (--all shows every policy)")
        return
    table = Table("class", "tier", "what", "after", box=None, pad_edge=False, header_style="bold")
    for name in ("rows", "days"):
        table.add_column(name, justify="right")
    table.add_column("waits")
    for one in shown:
        days = f"{one.days:,}" if one.tier == "raw" and one.days else ""
        table.add_row(
            one.retention_class, one.tier, one.action, one.after or "never", f"{one.rows:,}", days, "; ".join(one.waits)
        )
    out.print(table)


def show_report(out: Console, report: Report) -> None:
    """Print what a run did and what it left, with the reasons."""
    out.print(f"archived    {len(report.archived):,} days")
    if report.late:
        out.print(f"late        {len(report.late):,} days again, into archive and history")
    for (retention_class, tier), rows in sorted(report.dropped.items()):
        out.print(f"dropped     {rows:,} rows of {retention_class} {tier}")
    for word, reasons in (("waits", report.waits), ("failed", report.failed)):
        for why in reasons[:_SHOWN]:
            out.print(f"{word:11} {why}")
        if len(reasons) > _SHOWN:
            out.print(f"            ... and {len(reasons) - _SHOWN:,} more")


@contextmanager
def bar(total: int) -> Iterator[Step]:
    """Show a progress bar over `total` rows on standard error, where that is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    errors = Console(stderr=True)
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("looking", total=total)

        def done(step: str, rows: int) -> None:
            progress.update(task, advance=rows, description=step)

        yield done
