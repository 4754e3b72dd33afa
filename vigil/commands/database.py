"""`vigil db`: the schema and its health."""

from __future__ import annotations

from typing import Annotated, Any

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
    """Show the mode and what it costs, migrations, sizes, how far each topic is stored, what came twice."""
    from timeseries.migrate import status as read
    from timeseries.overview import extension, overview
    from vigil import database_screen as screen

    url = settings().database()
    found = read(url)
    console = screen.console()
    screen.show_schema(console, found, extension(url))
    if found.pending:
        raise typer.Exit(1)
    screen.show_overview(console, overview(url))


@app.command()
def rollup(
    every: Annotated[float | None, typer.Option(help="Keep going, once in so many seconds.")] = None,
) -> None:
    """Bring the rollups (1 minute, 15 minutes, 1 hour), then days and trends, up to date where samples changed.

    Then keep what is owed of them: the samples around alerts and, once an hour, reviews (`vigil review --help`).
    """
    import time

    from timeseries.days import refresh_days
    from timeseries.evidence import take_evidence
    from timeseries.rollup import refresh
    from vigil.reviews import Hourly, look_now

    archive, reviews = _archive(), Hourly(lambda: look_now(settings()))
    if every is not None:
        _as_service("rollup")
    while True:
        ranges, days = refresh(settings().database()), refresh_days(settings().database(), archive=archive)
        typer.echo(f"refreshed {ranges:,} dirty ranges, made {days:,} days")
        take_evidence(settings().database())
        if every is None:
            look_now(settings())
            return
        reviews.maybe()
        time.sleep(every)


@app.command()
def lifecycle(
    run: Annotated[bool, typer.Option("--run", help="Do what is due; without it, only show.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show every policy, also where nothing is due.")] = False,
    every: Annotated[float | None, typer.Option(help="With --run: keep going, once in so many seconds.")] = None,
) -> None:
    """Show what the policies ask for now, and why some of it waits; with --run, do it.

    Archives samples, keeps their rollups, then drops what is archived and on no hold. One run at a time; safe to stop
    and to repeat.
    """
    import time

    if every is not None and not run:
        raise typer.BadParameter("--every goes with --run")
    went_well = _live(run=run, everything=everything)
    while every is not None:
        time.sleep(every)
        _live(run=run, everything=everything)
    if not went_well:
        raise typer.Exit(1)


def _live(*, run: bool, everything: bool) -> bool:
    """Do one run, or only look; show what is due after it; tell whether nothing failed."""
    from timeseries import lifecycle as work
    from vigil import lifecycle_screen as screen

    url, out, failed = settings().database(), screen.console(), False
    due = work.due(url)
    if run:
        with screen.bar(sum(one.rows for one in due)) as done:
            report = work.run(url, _archive(), done=done)
        screen.show_report(out, report)
        due, failed = work.due(url), bool(report.failed)
    screen.show_due(out, due, everything=everything)
    return not failed


@app.command()
def logins() -> None:
    """Let the services log in, each as its own role, with the passwords VIGIL_LOGIN_RECORDER and so on.

    A role whose password is not set stays as it is. Say it again to change a password.
    """
    from timeseries.logins import let_in

    passwords = settings().logins()
    let_in(settings().database(), passwords)
    for role in sorted(passwords):
        typer.echo(f"{role} may log in")


def _as_service(name: str) -> None:
    """Log and tell Prometheus as the services do."""
    from prometheus_client import start_http_server

    from vigil import logs

    config = settings()
    logs.configure(level=config.log_level, fmt=config.log_format, service=name)
    if config.metrics_port is not None:
        start_http_server(config.metrics_port, config.metrics_host)


def _archive() -> Any:
    """Return the archive that the settings name, or None. Raises `ArchiveUnreachable`."""
    from timeseries.lifecycle_archive import LifecycleArchive

    uri = settings().archive_uri
    return None if uri is None else LifecycleArchive.at(uri)
