"""`vigil erase`: all that is stored of one person goes, for good."""

from __future__ import annotations

from typing import Annotated

import typer

from vigil.settings import settings
from vitals.errors import VigilError


class ErasureBrokenOff(VigilError):
    """The database or the archive's storage does not answer; what went is gone, and the same command goes on."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(erase)


def erase(
    patient: Annotated[str, typer.Option("--patient", metavar="ID", help="Whose data to erase (opaque id).")],
    who: Annotated[str, typer.Option("--who", metavar="ID", help="Who does this: an opaque id, never a name.")],
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="The number of the matter, never a name.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase all that is stored of one person, in the database and the archive; nothing brings it back.

    Refused while a legal hold stands. Tokens that speak for the person alone are revoked, and all consents withdrawn:
    what is still on its way is counted and not stored, until `vigil consent grant`. Stop the person's devices all the
    same (`vigil device retire`). Outside the database, the gateway's folder (VIGIL_GATEWAY_FOLDER) may hold an upload,
    deleted when its job ends (7 days at most), and records in the spool, until the broker has them;
    what lies in Kafka goes by the topics' retention (30 days at most), what the watch knew within hours (but for the
    opaque id, which is not to be watched again), what lies in backups by theirs. That there was consent, and what
    became of it, stays noted.
    """
    import psycopg

    from timeseries.erasure import erase as run
    from timeseries.lifecycle_archive import LifecycleArchive

    if not yes:
        typer.confirm(f"Erase everything of {patient}, for good?", abort=True)
    config = settings()
    archive = None if config.archive_uri is None else LifecycleArchive.at(config.archive_uri)
    try:
        done = run(config.database(), archive, patient, who, why)
    except (psycopg.OperationalError, OSError) as error:
        raise ErasureBrokenOff(f"broken off ({type(error).__name__}): say the same again, it goes on") from None
    for table, rows in sorted(done.rows.items()):
        typer.echo(f"{table:>24}  {rows:,}")
    typer.echo(f"{sum(done.rows.values()):,} rows are erased; that it was done stands in the table erasures")
    if done.still_coming:
        typer.echo("more has come meanwhile: stop the person's devices, and say the same again")
        raise typer.Exit(1)
