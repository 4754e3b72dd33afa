"""`vigil archive`: is the cold archive whole, what is in it, bringing samples back, erasing a patient."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Annotated, Any

import typer

from vigil import logs
from vigil.settings import settings
from vitals.errors import VigilError

app = typer.Typer(no_args_is_help=True, help="The cold archive: Parquet files, their manifest, samples brought back.")


class ArchiveUnavailable(VigilError):
    """The database or the archive's storage does not answer; what was done stands, and the same command goes on."""


class NothingSelected(VigilError):
    """A restore was asked for without saying of what."""

    def __init__(self) -> None:
        super().__init__("say what to bring back: --patient, --from, --to, or --all")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter("a UTC day, for example 2026-03-01") from None


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter("a day or a time, for example 2026-03-01 or 2026-03-01T12:30+01:00") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


Class = Annotated[str | None, typer.Option("--class", metavar="NAME", help="Only this retention class, e.g. vital.")]
From = Annotated[Any, typer.Option("--from", parser=_day, metavar="DAY", help="From this UTC day on.")]
To = Annotated[Any, typer.Option("--to", parser=_day, metavar="DAY", help="Before this UTC day.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]


@contextmanager
def _opened(*, storage: bool = True) -> Iterator[tuple[Any, Any]]:
    """Yield (connection, storage); whatever of the two is away is a `VigilError` with a way on."""
    import psycopg

    from timeseries.archive_storage import open_storage

    config = settings()
    logs.configure(level=config.log_level, fmt=config.log_format, service="archive")  # standard output is the answer's
    opened = open_storage(config.archive()) if storage else None
    try:
        with psycopg.connect(
            config.database(), autocommit=True, options="-c timezone=UTC", application_name="vigil archive"
        ) as connection:
            yield connection, opened
    except psycopg.errors.UndefinedTable:
        raise ArchiveUnavailable("the database has no archive's tables yet: run vigil db migrate") from None
    except psycopg.errors.InsufficientPrivilege:
        raise ArchiveUnavailable("DATABASE_URL's role may not do this: take the role that owns the tables") from None
    except psycopg.Error as error:
        state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        raise ArchiveUnavailable(f"the database does not answer{state}: say the same again, nothing is lost") from None
    except OSError as error:  # it names a path of the archive (class and day), never a patient
        raise ArchiveUnavailable(
            f"the archive's storage failed, nothing is lost, say the same again: {error}"
        ) from None


def _days(start: date | None, end: date | None) -> None:
    if start is not None and end is not None and start >= end:
        raise typer.BadParameter("--from must be before --to")


@contextmanager
def _bar(what: str) -> Iterator[Callable[[float, float, str], None]]:
    """Show progress on a terminal: the yielded function takes how much is done, of how much, and what is at work."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    errors = Console(stderr=True)
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total, now: bar.update(task, completed=done, total=total, description=f"{what} {now}")


@app.command("list")
def list_(class_: Class = None, start: From = None, end: To = None, as_json: Json = False) -> None:
    """Show what the archive holds by class and year, and what was brought back from it."""
    from timeseries.archive_overview import overview
    from vigil import archive_screen as screen

    _days(start, end)
    with _opened(storage=False) as (connection, _):
        found = overview(connection, class_, start, end)
    if as_json:
        typer.echo(json.dumps(screen.overview_json(found)))
    else:
        screen.show_overview(found)


@app.command()
def verify(class_: Class = None, start: From = None, end: To = None, as_json: Json = False) -> None:
    """Read the files again and hold them against their manifest; say which is missing or was changed.

    Exit code 0: everything is as it was archived; 1: something is not.
    """
    from timeseries.archive_verify import verify as run
    from vigil import archive_screen as screen

    _days(start, end)
    with _opened() as (connection, storage), _bar("verifying") as show:
        looked = iter(range(1 << 60))
        verdict = run(
            connection, storage, class_, start, end,
            on_file=lambda file, total: show(next(looked), total, f"{file.retention_class} {file.utc_day}"),
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(screen.verdict_json(verdict)))
    else:
        screen.show_verdict(verdict)
    if verdict.faults:
        raise typer.Exit(1)


@app.command()
def restore(
    patient: Annotated[str | None, typer.Option("--patient", metavar="ID", help="Only this patient's.")] = None,
    start: Annotated[Any, typer.Option("--from", parser=_time, metavar="TIME", help="From this time on (UTC).")] = None,
    end: Annotated[Any, typer.Option("--to", parser=_time, metavar="TIME", help="Before this time (UTC).")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that is in the archive.")] = False,
    who: Annotated[str, typer.Option("--who", metavar="ID", help="Who asks: an opaque id, never a name.")] = "operator",
    again: Annotated[bool, typer.Option("--again", help="Also where it was brought back before.")] = False,
) -> None:
    """Bring samples back from the archive into the table restored_samples, each exactly once.

    Broken off, the same command goes on where it stopped. `vigil archive discard` removes what was brought back.
    """
    from timeseries.archive_restore import ALWAYS
    from timeseries.archive_restore import restore as run

    if patient is None and start is None and end is None and not everything:
        raise NothingSelected
    start, end = start or ALWAYS[0], end or ALWAYS[1]
    if start >= end:
        raise typer.BadParameter("--from must be before --to")
    with _opened() as (connection, storage), _bar("restoring") as show:
        done = run(
            connection, storage, patient, start, end, who, again=again,
            on_step=lambda now, total: show(now, total, "rows"),
        )  # fmt: skip
    typer.echo(f"restore {done.restore_id}: {done.rows:,} samples stand in restored_samples")


@app.command()
def discard(
    number: Annotated[int, typer.Argument(metavar="RESTORE", min=1, help="Its number, as `vigil archive list` shows.")],
) -> None:
    """Remove from restored_samples what a restore brought back. The archive keeps it."""
    from timeseries.archive_restore import discard as run

    with _opened(storage=False) as (connection, _):
        typer.echo(f"removed {run(connection, number):,} samples of restore {number} from restored_samples")


@app.command()
def erase(
    patient: Annotated[str, typer.Option("--patient", metavar="ID", help="Whose samples to erase (opaque id).")],
    who: Annotated[str, typer.Option("--who", metavar="ID", help="Who does this: an opaque id, never a name.")],
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="The number of the matter, never a name.")],
) -> None:
    """Erase one patient from the archive and from restores, for good; refused while a legal hold stands.

    The files that hold the patient are written anew; everybody else's rows and the chain verify as before.
    """
    from timeseries.archive_erase import erase_patient

    with _opened() as (connection, storage), _bar("erasing") as show:
        looked = iter(range(1 << 60))
        done = erase_patient(
            connection, storage, patient, who, why,
            on_file=lambda file, total: show(next(looked), total, f"{file.retention_class} {file.utc_day}"),
        )  # fmt: skip
    typer.echo(f"erased {done.rows:,} samples from {done.files:,} files, and {done.restored:,} that were restored")
    if done.still_in_samples:
        typer.echo("the table samples still holds rows of this patient: they are archived again when they are due")
