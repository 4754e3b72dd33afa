"""What the commands on quarantine print: tables for people, dictionaries for programs. No value, no raw byte."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from rich.console import Console
from rich.table import Table

from ingest.topics import SAMPLES_BACKFILL, WAVEFORMS
from stream.quarantine_replay import DERIVED, WHOLE
from timeseries.quarantine_model import Count, Example
from vigil.quarantine import Tally
from vitals.quality import Reason

WORDS: Final[Mapping[str, str]] = {
    Reason.UNDECODABLE: "the bytes are no Arrow stream of ours",
    Reason.SCHEMA_VERSION: "a version of the wire schema that this build does not read",
    Reason.SCHEMA_MISMATCH: "columns other than the version promises",
    Reason.HEADERS: "key or headers are missing or no opaque ids; cannot be replayed",
    Reason.OVERSIZED: "no samples, or more than a record may hold",
    Reason.UNKNOWN_METRIC: "the catalogue does not have the metric",
    Reason.NOT_FINITE: "no number",
    Reason.OUT_OF_RANGE: "the channel cannot mean this value",
    Reason.QUALITY: "the quality is not within 0 to 1",
    Reason.FUTURE: "measured more than five minutes after it was received",
    Reason.TOO_OLD: "a clock that was never set: before 2000",
    Reason.DURATION: "negative, missing where the metric needs one, or too long",
    Reason.CONFLICT: "told with two contents for one written time; the other stands",
    Reason.UNKNOWN_DEVICE: "nobody registered the device (vigil device register)",
    Reason.DEVICE_SUSPENDED: "the device is suspended (vigil device resume)",
    Reason.DEVICE_RETIRED: "the device is retired",
    Reason.NOT_PERMITTED: "the registry does not let this device tell this metric",
    Reason.OTHER_WEARER: "the device was not bound to this patient when it measured",
    Reason.NO_CONSENT: "the record also held what no consent covers: its value is not kept, no replay",
    Reason.WRITE_REFUSED: "the database refused this very record",
    DERIVED: "found in a waveform that is stored; cannot be replayed",
}
"""What each reason, for being here or for staying here, means in a few words."""
_BY: Final = ("reason", "device", "adapter", "topic")
_PIPE_COLUMNS: Final = 200
_WIDE: Final = 110
"""Narrower terminals get no explanations beside the figures, and two lines an example: nothing is cut or folded."""
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def console() -> Console:
    """Return the console for results; into a pipe or file it writes wide lines, so that nothing is cut."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)


def age(then: datetime | None, now: datetime) -> str:
    """Return how long ago `then` was, in its largest unit."""
    seconds = 0 if then is None else max(0, int((now - then).total_seconds()))
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), (1, "s"))
    return "-" if then is None else f"{seconds // size} {unit}"


def show_counts(out: Console, counts: Sequence[Count], now: datetime, limit: int) -> None:
    """Print one table a description, the most frequent first, at most `limit` words each."""
    for by in _BY:
        found = [count for count in counts if count.by == by]
        out.print(_counted(by, found[:limit], now, explained=by == "reason" and out.width >= _WIDE))
        if len(found) > limit:
            out.print(f"[dim]... and {len(found) - limit:,} more; --limit shows them[/]")
        out.print()


def _counted(by: str, counts: Sequence[Count], now: datetime, *, explained: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(by, min_width=20, no_wrap=True)
    for name in ("samples", "records", "replayed", "newest"):
        table.add_column(name, justify="right", no_wrap=True)
    if explained:
        table.add_column("meaning", style="dim")
    for count in counts:
        figures = [_figure(number) for number in (count.samples, count.records, count.replayed)]
        meaning = [WORDS.get(count.word, "")] if explained else []
        table.add_row(count.word, *figures, age(count.newest, now), *meaning)
    return table


def _figure(number: int) -> str:
    return f"{number:,}" if number else "-"


def show_examples(out: Console, examples: Sequence[Example], now: datetime, *, patients: bool) -> None:
    """Print the newest examples, with patient ids only where they were asked for."""
    out.print("[bold]newest[/]")
    if out.width < _WIDE:
        for one in examples:
            out.print(_in_two_lines(one, now, patients=patients))
    else:
        out.print(_in_columns(examples, now, patients=patients))


def _in_columns(examples: Sequence[Example], now: datetime, *, patients: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    names = ["topic/partition/epoch/offset", "index", "reason", "metric", "adapter", "device", "age", "replayed"]
    for name in [*names, "patient"] if patients else names:
        table.add_column(name, justify="right" if name in {"index", "age", "replayed"} else "left", overflow="fold")
    for one in examples:
        index = "whole" if one.index == WHOLE else str(one.index)
        words = (one.reason, one.metric or "-", one.adapter or "-", one.device_id or "-")
        ages = (age(one.recorded_at, now), age(one.replayed_at, now))
        table.add_row(str(one.place), index, *words, *ages, *([one.patient_id or "-"] if patients else []))
    return table


def _in_two_lines(one: Example, now: datetime, *, patients: bool) -> str:
    replayed = "" if one.replayed_at is None else f", replayed {age(one.replayed_at, now)} ago"
    named = (("adapter", one.adapter), ("device", one.device_id), ("patient", one.patient_id if patients else None))
    what = [one.reason, *([one.metric] if one.metric else []), *(f"{name} {word}" for name, word in named if word)]
    which = "whole record" if one.index == WHOLE else f"sample {one.index}"
    first = f"{one.place}  {which}, {age(one.recorded_at, now)} ago{replayed}"
    return f"{first}\n    [dim]{', '.join(what)}[/]"


def as_json(counts: Sequence[Count], examples: Sequence[Example], *, patients: bool) -> dict[str, object]:
    """Return counts and examples for a program."""
    return {
        "total": next((_count_json(count) for count in counts if count.by == "all"), None),
        "by": {by: {one.word: _count_json(one) for one in counts if one.by == by} for by in _BY},
        "newest": [_example_json(one, patients=patients) for one in examples],
    }


def _count_json(count: Count) -> dict[str, object]:
    newest = None if count.newest is None else count.newest.isoformat()
    return {"samples": count.samples, "records": count.records, "replayed": count.replayed, "newest": newest}


def _example_json(one: Example, *, patients: bool) -> dict[str, object]:
    told: dict[str, object] = {
        "place": str(one.place), "index": one.index, "reason": one.reason, "metric": one.metric,
        "adapter": one.adapter, "device": one.device_id, "recorded_at": one.recorded_at.isoformat(),
        "replayed_at": None if one.replayed_at is None else one.replayed_at.isoformat(),
    }  # fmt: skip
    return told | ({"patient": one.patient_id} if patients else {})


def show_tally(out: Console, tally: Tally, *, dry_run: bool) -> None:
    """Print what became of a replay."""
    if not tally.records:
        out.print("nothing to replay: no selected row is waiting")
    else:
        _show_rows(out, tally, dry_run=dry_run)
    if tally.conflicts:
        out.print(
            f"left out: {tally.conflicts:,} in conflict. The rules have nothing against them, another content stands "
            "for the same written time;\nreplayed they would come back. --reason conflict replays them all the same"
        )


def _show_rows(out: Console, tally: Tally, *, dry_run: bool) -> None:
    out.print(f"looked at       {tally.rows:>10,} rows in {tally.records:,} records")
    what = f"{tally.accepted:,} samples" + (f" and {tally.chunks:,} waveform chunks" if tally.chunks else "")
    out.print(f"pass today      {tally.passing:>10,} rows: {what} in {tally.passing_records:,} records")
    for reason, count in tally.rejected.most_common():
        out.print(f"stay            {count:>10,} {reason}: {WORDS.get(reason, '')}")
    for reason, count in tally.returning.most_common():
        out.print(f"will come back  {count:>10,} {reason}: samples of whole records, then each by itself")
    if dry_run:
        out.print("a dry run: nothing was sent")
    else:
        lanes = f"{SAMPLES_BACKFILL} and {WAVEFORMS}" if tally.chunks else SAMPLES_BACKFILL
        out.print(f"replayed        {tally.marked:>10,} rows, on {lanes}; the recorder there stores them")
