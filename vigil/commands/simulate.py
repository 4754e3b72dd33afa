"""`vigil simulate`: people who do not exist, what befalls them, and what their devices do wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from vigil.simulation import Plan

app = typer.Typer(
    invoke_without_command=True,
    help=(
        "Simulate people with wearables, into files or onto the broker, and state the truth that detection is scored "
        "against.\n\n"
        "**vigil simulate --patients 20 --days 7 --scenario af,fever,well --fault loss,drift --out week** writes "
        "`week/samples.parquet` and `week/truth.jsonl` (no broker needed).\n\n"
        "**vigil simulate --patients 5 --scenario panic --demo** sends five people, live, into a running demo.\n\n"
        "**vigil simulate --days 2 --speed 60** replays two days in 48 minutes, ending now; **--once** sends a history "
        "as fast as the broker takes it (the backfill lane, which raises no alerts).\n\n"
        "**vigil simulate scenarios** lists what can befall people, and what can go wrong.\n\n"
        "The same seed, start and options give the same samples, to the bit. What is found in simulated data says "
        "nothing about clinical performance."
    ),
)


class Channels(StrEnum):
    """What the wearers have on: a watch, or everything there is."""

    watch = "watch"
    all = "all"


class Lane(StrEnum):
    """Which of the two lanes for samples to use."""

    live = "live"
    backfill = "backfill"


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter("a day or a time, for example 2026-03-01 or 2026-03-01T12:30+01:00") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


@app.callback()
def simulate(
    context: typer.Context,
    patients: Annotated[int, typer.Option(min=1, max=100_000, help="How many people.")] = 10,
    days: Annotated[float, typer.Option(min=0.0007, help="How much of their time; 0.0007 is a minute.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Everything random follows from it.")] = 1,
    scenario: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="People take these in turn; `a+b` is both at once, `well` is none."),
    ] = None,
    fault: Annotated[str | None, typer.Option(metavar="NAME,...", help="Every device has all of these.")] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.1, max=10_000, help="Live, so many times as fast as life; 1 by default.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="All of it at once, as history.")] = False,
    out: Annotated[Path | None, typer.Option(file_okay=False, help="Write files into this folder instead.")] = None,
    start: Annotated[
        Any, typer.Option("--from", parser=_time, metavar="TIME", help="When it begins; else so that it ends now.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Where the truth goes, JSON lines (with --out: truth.jsonl).")
    ] = None,
    channels: Annotated[Channels, typer.Option(help="A watch's channels, or all there are.")] = Channels.watch,
    beats: Annotated[bool, typer.Option("--beats/--no-beats", help="RR intervals, beat by beat.")] = True,
    waveform: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Also ecg, ppg, acceleration: much data.")
    ] = None,
    zone_offset: Annotated[int, typer.Option(min=-840, max=840, help="Their zone's minutes east of UTC.")] = 0,
    lane: Annotated[Lane | None, typer.Option(help="live, or backfill (the default with --once).")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Into the demo that runs on this machine.")] = False,
) -> None:
    """Make them, and print a JSON summary."""
    if context.invoked_subcommand is not None:
        return
    if (speed is not None) + once + (out is not None) > 1:
        raise typer.BadParameter("choose one of --speed, --once and --out")
    from devices.simulator import ALL_CADENCES_S, CADENCES_S, cohort
    from vigil.simulation import Plan
    from vitals.clock import US_PER_S, from_datetime, system_clock

    length_us, live = round(days * 86_400 * US_PER_S), out is None and not once
    # Live, and faster than life, simulated time catches up with ours as it ends and is never ahead of it.
    back_us = round(length_us * (1.0 - 1.0 / max(speed or 1.0, 1.0))) if live else length_us
    start_us = (system_clock() - back_us) // US_PER_S * US_PER_S if start is None else from_datetime(start)
    people = cohort(
        patients, seed, start_us, start_us + length_us,
        scenarios=_words(scenario), faults=_words(fault), zone_offset_min=zone_offset, beats=beats,
        cadences_s=ALL_CADENCES_S if channels is Channels.all else CADENCES_S,
    )  # fmt: skip
    plan = Plan(people, start_us, start_us + length_us, _signals(waveform))
    if out is not None:
        _to_files(plan, out, truth)
    else:
        _to_broker(plan, truth, demo=demo, speed=(speed or 1.0) if live else None, lane=lane)


def _signals(text: str | None) -> tuple[str, ...]:
    from devices.simulator import RATES_HZ

    named = _words(text)
    if not set(named) <= RATES_HZ.keys():
        raise typer.BadParameter(f"--waveform takes {', '.join(RATES_HZ)}")
    return named


def _to_files(plan: Plan, out: Path, truth: Path | None) -> None:
    from vigil.simulation import write_files

    with _bar("simulating", plan.pieces) as advance:
        told = write_files(plan, out, lambda: advance(1.0), truth)
    _say(plan, told)


def _to_broker(plan: Plan, truth: Path | None, *, demo: bool, speed: float | None, lane: Lane | None) -> None:
    import asyncio

    from ingest.topics import SAMPLES, SAMPLES_BACKFILL
    from vigil.settings import settings
    from vigil.simulation import Ledger, summary, write_truth
    from vigil.simulation_broker import send_history, send_live
    from vitals.clock import system_clock

    if demo:
        from vigil.demo import use_running_demo

        use_running_demo()
    broker, ledger = settings().broker(), Ledger()
    lane = lane or (Lane.backfill if speed is None else Lane.live)
    topic = SAMPLES if lane is Lane.live else SAMPLES_BACKFILL
    try:
        if speed is None:
            with _bar("sending", plan.pieces) as advance:
                asyncio.run(send_history(plan, broker, topic, ledger, lambda: advance(1.0)))
        else:
            with _bar("live", 1.0) as advance:
                asyncio.run(send_live(plan, broker, topic, speed, ledger, system_clock, _so_far(advance)))
    finally:
        truths = ledger.truths(plan)
        if truth is not None:
            write_truth(truths, truth)
        _say(plan, summary(plan, ledger, truths))


def _so_far(advance: Callable[[float], None]) -> Callable[[float], None]:
    """Turn "advance by" into "now at"."""
    before = 0.0

    def show(share: float) -> None:
        nonlocal before
        advance(share - before)
        before = share

    return show


@contextmanager
def _bar(what: str, total: float) -> Iterator[Callable[[float], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    errors = Console(stderr=True)
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda by: bar.advance(task, by)


def _say(plan: Plan, told: dict[str, Any]) -> None:
    import json

    from vitals.clock import to_datetime

    span = {"from": to_datetime(plan.start_us).isoformat(), "to": to_datetime(plan.end_us).isoformat()}
    typer.echo(json.dumps(span | told, indent=2))


@app.command()
def scenarios() -> None:
    """List what can befall simulated people, and what their devices can do wrong."""
    from rich.console import Console

    from devices.simulator import FAULTS, SCENARIOS

    out = Console()
    befall = _table("--scenario", "what befalls them", "where it shows")
    for one in SCENARIOS.values():
        befall.add_row(one.name, one.about, one.shows)
    wrong = _table("--fault", "what goes wrong")
    for name, recipe in FAULTS.items():
        wrong.add_row(name, recipe.about)
    out.print(befall)
    out.print()
    out.print(wrong)
    out.print("\nEach is placed somewhere in the middle of the simulated time; truth.jsonl says where.", style="dim")


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        table.add_column(name, no_wrap=number == 0)
    return table
