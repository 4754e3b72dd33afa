"""`vigil quarantine`: what was rejected, its second chance, and the topic that tells of it."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from typing import Annotated, Any

import typer

from vigil.settings import settings
from vitals.errors import VigilError
from vitals.quality import Reason

app = typer.Typer(no_args_is_help=True, help="What was rejected, why, and its second chance.")

_UNITS = {"min": 60, "h": 3_600, "d": 86_400}


class NothingSelected(VigilError):
    """A replay was asked for without saying of what."""

    def __init__(self) -> None:
        super().__init__(
            "say what to replay: --reason, --adapter, --device, --since or --id, or --all; --dry-run only looks"
        )


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5}) ?(min|h|d)", text.strip())
    if found is None:
        raise typer.BadParameter("a number and min, h or d, for example 12h or 7d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def _place(text: str) -> Any:
    from timeseries.quarantine_model import Place

    found = re.fullmatch(r"([A-Za-z0-9._-]{1,249})/(\d{1,9})/(\d{1,9})/(\d{1,18})", text.strip())
    if found is None:
        raise typer.BadParameter("topic/partition/epoch/offset, as `vigil quarantine list` shows it")
    return Place(found[1], int(found[2]), int(found[3]), int(found[4]))


Reasons = Annotated[
    list[Reason] | None,
    typer.Option("--reason", metavar="REASON", help="Only what was rejected for this; repeatable."),
]
Adapters = Annotated[
    list[str] | None,
    typer.Option("--adapter", metavar="NAME", help="Only what this adapter sent; repeatable."),
]
Devices = Annotated[
    list[str] | None,
    typer.Option("--device", metavar="ID", help="Only this device's (opaque id); repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]


@app.command("list")
def list_(
    since: Annotated[timedelta, typer.Option(parser=_age, metavar="AGE", help="12h, 7d, ...")] = "7d",  # type: ignore[assignment]
    reason: Reasons = None,
    adapter: Adapters = None,
    device: Devices = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="So many examples, and words of each kind.")
    ] = 10,
    patients: Annotated[
        bool,
        typer.Option("--patients", help="Show patient ids too: opaque, but they say whom it is about."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Count what was rejected by reason, device, adapter and topic, and show the newest examples.

    Never a measured value, never a byte of the raw record: both may say more about a person than an id does.
    """
    from timeseries.quarantine_model import Selection
    from timeseries.quarantine_review import QuarantineReview
    from vigil import quarantine_screen as screen
    from vigil.quarantine import now

    present = now()
    selection = Selection(present - since, tuple(reason or ()), tuple(adapter or ()), tuple(device or ()))

    async def look() -> Any:
        async with QuarantineReview(settings().database()) as review:
            return await review.counts(selection), await review.newest(selection, limit)

    counts, examples = asyncio.run(look())
    if as_json:
        typer.echo(json.dumps(screen.as_json(counts, examples, patients=patients)))
    elif not examples:
        typer.echo("nothing was quarantined in that time (or nothing of what was asked for)")
    else:
        out = screen.console()
        screen.show_counts(out, counts, now(), limit)
        screen.show_examples(out, examples, now(), patients=patients)
        out.print("\n[dim]What today's rules would accept: vigil quarantine replay --reason ... --dry-run[/]")


@app.command()
def replay(
    reason: Reasons = None,
    adapter: Adapters = None,
    device: Devices = None,
    since: Annotated[timedelta | None, typer.Option(parser=_age, metavar="AGE", help="Only what is younger.")] = None,
    place: Annotated[
        list[Any] | None,
        typer.Option("--id", parser=_place, metavar="PLACE", help="topic/partition/epoch/offset; repeatable."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that waits.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also what was replayed before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be accepted; send nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Send again what today's rules accept, on the backfill lane; what they reject stays. Safe to stop and to repeat.

    Chunks of waveforms go on their own lane again. Identity and version decide what becomes of a sample: replayed
    twice it is stored once. Conflicts are left out
    unless --reason conflict names them: another content stands for the same written time, so they come back.
    """
    from timeseries.quarantine_model import Selection
    from vigil.quarantine import now

    if not (reason or adapter or device or since or place or everything):
        raise NothingSelected
    selection = Selection(
        None if since is None else now() - since,
        tuple(reason or ()), tuple(adapter or ()), tuple(device or ()), tuple(place or ()), again,
    )  # fmt: skip
    _replay(selection, dry_run=dry_run, as_json=as_json)


def _replay(selection: Any, *, dry_run: bool, as_json: bool) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from vigil.quarantine import Tally, run_replay

    tally = Tally()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    errors = Console(stderr=True)
    try:
        with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
            task = bar.add_task("looking" if dry_run else "replaying", total=None)
            work = run_replay(
                settings(), selection, tally, dry_run=dry_run,
                on_extent=lambda extent: bar.update(task, total=extent.records),
                on_page=lambda so_far: bar.update(task, completed=so_far.records),
            )  # fmt: skip
            asyncio.run(work)
    except BaseException:
        if tally.records:  # interrupted: what is marked is with the broker, and the rest waits as before
            _tell(tally, dry_run=dry_run, as_json=as_json)
        raise
    _tell(tally, dry_run=dry_run, as_json=as_json)


def _tell(tally: Any, *, dry_run: bool, as_json: bool) -> None:
    from vigil import quarantine_screen as screen

    if as_json:
        typer.echo(json.dumps({**tally.to_json(), "dry_run": dry_run}))
    else:
        screen.show_tally(screen.console(), tally, dry_run=dry_run)


@app.command()
def feed() -> None:
    """Tell the topic vigil.quarantine what was rejected, at least once each. Needs the broker and the database."""
    from vigil.commands.services import _run
    from vigil.quarantine import feed as service

    _run("quarantine-feed", service)
