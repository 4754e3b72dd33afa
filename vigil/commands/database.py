"""`vigil db`: the schema and its health."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from vigil.settings import settings

app = typer.Typer(no_args_is_help=True, help="The database: schema, health, rollups.")


@app.command()
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would run, and what it locks.")] = False,
    before_deploy: Annotated[
        bool, typer.Option("--before-deploy", help="Only what the release before still works with.")
    ] = False,
) -> None:
    """Bring the schema of DATABASE_URL up to date. Safe to run at every start and from several places at once."""
    from timeseries.migrate import migrate as run
    from timeseries.migrate import plan

    url = settings().database()
    if dry_run:
        table = Table("would run", "phase", "locks", box=None)
        for one in plan(url):
            table.add_row(one.label, one.notes["phase"], one.notes["locks"])
        Console().print(table if table.rows else "nothing to do: the schema is up to date")
        return
    done = run(url, before_deploy=before_deploy)
    for name in done:
        typer.echo(f"ran {name}")
    if not done:
        typer.echo("nothing to do: the schema is up to date")


@app.command()
def status() -> None:
    """Show the mode (TimescaleDB or stock PostgreSQL), migrations, how far each topic is stored, what came twice."""
    from timeseries.migrate import status as read
    from timeseries.overview import overview

    url = settings().database()
    found = read(url)
    console = Console()
    words = {"timescale": "TimescaleDB", "stock": "stock PostgreSQL: rollups are rebuilt by `vigil db rollup`"}
    console.print(f"mode        {words[found.mode]}")
    console.print(f"applied     {', '.join(found.applied) or 'nothing'}")
    console.print(f"pending     {', '.join(found.pending) or 'nothing'}")
    if found.pending:
        raise typer.Exit(1)
    table = Table("table", "rows (estimate)", "bytes", box=None)
    seen = overview(url)
    for name, rows, size in seen.tables:
        table.add_row(name, f"{rows:,}", f"{size:,}")
    console.print(table)
    for topic, partitions, stored, age_s in seen.watermarks:
        console.print(f"{topic}: {partitions} partitions, {stored:,} records stored, last {age_s:,.0f} s ago")
    if seen.duplicates:
        again = Table("told again by", "reason", "samples, 7 days", "ever", box=None)
        for adapter, reason, recent, ever in seen.duplicates:
            again.add_row(adapter, reason, f"{recent:,}", f"{ever:,}")
        console.print(again)


@app.command()
def rollup(
    every: Annotated[float | None, typer.Option(help="Keep going, once in so many seconds.")] = None,
) -> None:
    """Bring the rollups (1 minute, 15 minutes, 1 hour) up to date where samples changed."""
    import time

    from timeseries.rollup import refresh

    while True:
        typer.echo(f"refreshed {refresh(settings().database()):,} dirty ranges")
        if every is None:
            return
        time.sleep(every)


@app.command()
def lifecycle(
    run: Annotated[bool, typer.Option("--run", help="Delete what is due; without it, only show.")] = False,
) -> None:
    """Show what the retention policies let go now; with --run, delete it."""
    from timeseries import lifecycle as work

    url = settings().database()
    if run:
        work.apply(url)
    table = Table("class", "tier", "kept for", "rows due", box=None)
    for one in work.due(url):
        kept = "ever" if one.drop_after is None else f"{one.drop_after.days} days"
        table.add_row(one.retention_class, one.tier, kept, f"{one.rows:,}")
    Console().print(table)
