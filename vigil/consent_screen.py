"""What `vigil consent` prints: what stands, what was said before, and how much is not let in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import typer
from rich.table import Table

from timeseries.consent import Consent, Person, Withdrawal
from vigil.quarantine_screen import console


def as_lines(people: Sequence[Person]) -> None:
    """Print one JSON object a line."""
    for one in people:
        typer.echo(json.dumps(asdict(one), default=lambda moment: moment.isoformat()))


def show_people(people: Sequence[Person]) -> None:
    """Print a table."""
    out = console()
    if not people:
        out.print("no consent is noted: `vigil consent grant` does that")
        return
    table = _table("patient", "care", "research", "changed", "")
    for one in people:
        owed = "stored data are still to be erased" if one.is_owed_erasure else ""
        table.add_row(one.patient_id, _words(one.care), _words(one.research), _at(one.changed_at), owed)
    out.print(table)


def show_person(
    patient: str, found: Sequence[Consent], events: Sequence[tuple[Any, ...]], owed: Sequence[tuple[str, ...]]
) -> None:
    """Print what stands of one patient, and what was said before."""
    out = console()
    standing = [one for one in found if one.withdrawn_at is None]
    if standing:
        table = _table(patient, "for", "from", "until", "stored data on withdrawal", "document", "noted by", "on")
        for one in standing:
            table.add_row(
                one.category, one.purpose, _at(one.valid_from), _at(one.valid_until), one.on_withdrawal, one.document,
                one.recorded_by, _at(one.recorded_at),
            )  # fmt: skip
        out.print(table)
    else:
        out.print(f"no consent of {patient} stands: nothing is let in")
    for classes in owed:
        out.print(f"still to be erased: {', '.join(classes)} (vigil consent withdraw {patient} goes on)")
    out.print()
    history = _table("when", "what", "for", "classes", "who", "document", "")
    for at, what, purpose, categories, who, document, detail in events:
        history.add_row(_at(at), what, purpose, ", ".join(categories), who, document, _told(detail))
    out.print(history)


def show_counts(counts: Sequence[tuple[str, str, int, Any]]) -> None:
    """Print how many samples were not let in, of all patients: they are never counted by patient."""
    if not counts:
        return
    out = console()
    out.print()
    table = _table("not let in, 30 days, of all patients", "metric", "samples", "newest")
    for adapter, metric, samples, newest in counts:
        table.add_row(adapter, metric, f"{samples:,}", str(newest))
    out.print(table)


def show_withdrawal(patient: str, done: Withdrawal) -> None:
    """Say what was withdrawn, what that means, and what becomes of stored data."""
    for purpose, classes in done.withdrawn.items():
        typer.echo(f"{patient} no longer consents to {purpose.value}: {', '.join(classes)}")
        if purpose.value == "research":
            typer.echo("  research readers no longer see them; nothing else changes")
            continue
        typer.echo("  recorders and gateway let in nothing of these any more, within seconds")
        kept = [one for one in classes if one not in done.erased]
        if kept:
            typer.echo(f"  stored data stay: {', '.join(kept)}")
        if done.erased:
            typer.echo(f"  stored data are erased now: {', '.join(done.erased)}")


def _table(*names: str) -> Table:
    return Table(*names, box=None, pad_edge=False, header_style="bold")


def _words(classes: Sequence[str]) -> str:
    return ", ".join(classes) or "none"


def _at(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _told(detail: dict[str, Any]) -> str:
    said = {name: value for name, value in detail.items() if value}
    return json.dumps(said) if said else ""
