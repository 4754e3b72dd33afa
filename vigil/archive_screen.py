"""What the commands on the archive print: tables for people, dictionaries for programs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.table import Table

from timeseries.archive_overview import Overview
from timeseries.archive_restore import ALWAYS
from timeseries.archive_verify import Verdict
from vigil.quarantine_screen import console

_UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def show_overview(found: Overview) -> None:
    """Print what the archive holds, and what was brought back."""
    out = console()
    if found.held:
        out.print(_held(found))
    else:
        out.print("the archive is empty (or has nothing of what was asked for)")
    if found.link:
        out.print(f"[dim]chain: link {found.link:,}, {found.chain.hex()}[/]", soft_wrap=True)
    if found.restores:
        out.print()
        out.print(_restores(found))


def _held(found: Overview) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("class", "year"):
        table.add_column(name, no_wrap=True)
    for name in ("days", "files", "samples", "size", "a sample", "first day", "last day", "verified since"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found.held:
        table.add_row(
            one.retention_class, str(one.year), f"{one.days:,}", f"{one.files:,}", f"{one.rows:,}",
            _size(one.size_bytes), f"{one.size_bytes / one.rows:.1f} B", str(one.first), str(one.last),
            f"{one.verified_at:%Y-%m-%d}",
        )  # fmt: skip
    return table


def _restores(found: Overview) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("restore", "patient", "from", "before", "by", "asked for", "samples", "state"):
        table.add_column(name, no_wrap=True)
    for one in found.restores:
        table.add_row(
            str(one.restore_id), one.patient_id or "everybody", _moment(one.start), _moment(one.end), one.requested_by,
            _moment(one.requested_at), f"{one.rows:,}", "done" if one.finished_at else "unfinished: say it again",
        )  # fmt: skip
    return table


def _moment(moment: datetime) -> str:
    return "-" if moment in ALWAYS else f"{moment:%Y-%m-%d %H:%M}"


def _size(size: int) -> str:
    return next((f"{size / unit:,.1f} {name}" for name, unit in _UNITS if size >= unit), f"{size} B")


def overview_json(found: Overview) -> dict[str, Any]:
    """Return what the archive holds for a program."""
    return {
        "held": [
            {
                "class": one.retention_class, "year": one.year, "days": one.days, "files": one.files,
                "rows": one.rows, "size_bytes": one.size_bytes, "first": one.first.isoformat(),
                "last": one.last.isoformat(), "verified_at": one.verified_at.isoformat(),
            }
            for one in found.held
        ],
        "restores": [
            {
                "restore_id": one.restore_id, "patient_id": one.patient_id, "from": one.start.isoformat(),
                "to": one.end.isoformat(), "requested_by": one.requested_by,
                "requested_at": one.requested_at.isoformat(), "finished": one.finished_at is not None, "rows": one.rows,
            }
            for one in found.restores
        ],
        "chain": {"link": found.link, "sha256": found.chain.hex()},
    }  # fmt: skip


def show_verdict(verdict: Verdict) -> None:
    """Print what a verification found."""
    out = console()
    out.print(
        f"read {verdict.files:,} files with {verdict.rows:,} samples ({_size(verdict.size_bytes)}), "
        f"followed {verdict.links:,} links"
    )
    for what, why in verdict.faults:
        out.print(f"[bold red]wrong[/]  {what}: {why}", soft_wrap=True)
    for what in verdict.unfinished:
        out.print(f"[yellow]unfinished[/]  {what}: its manifest is written, or its forerunner removed, by the next run")
    for path in verdict.unknown:
        out.print(f"[yellow]unknown[/]  {path}: the table does not name it (see docs/operations.md)", soft_wrap=True)
    if verdict.faults:
        count = len(verdict.faults)
        told = f"[bold red]{count:,} fault{'s' * (count > 1)}[/]"
        out.print(f"{told}: nothing is dropped that rests on these files")
    else:
        out.print(
            f"everything is as it was archived; chain: link {verdict.links:,}, {verdict.head.hex()}", soft_wrap=True
        )


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return what a verification found for a program."""
    return {
        "ok": not verdict.faults, "files": verdict.files, "rows": verdict.rows, "size_bytes": verdict.size_bytes,
        "links": verdict.links, "head": verdict.head.hex(),
        "faults": [{"what": what, "why": why} for what, why in verdict.faults],
        "unfinished": verdict.unfinished, "unknown": verdict.unknown,
    }  # fmt: skip
