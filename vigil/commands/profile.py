"""`vigil profile`: what a clinician says of one person, so that rules fit them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vigil.commands.policy import By, NoSuchPolicy, Reason
from vigil.settings import settings
from vitals.errors import VigilError

if TYPE_CHECKING:
    from timeseries.profiles import Profiles

app = typer.Typer(no_args_is_help=True, help="Care profiles: a person's own limits, and what rules must know of them.")

Patient = Annotated[str, typer.Argument(metavar="PATIENT", help="Their opaque id.")]


class ProfilesUnavailable(VigilError):
    """The database does not answer, or lacks the tables of care profiles."""


@contextmanager
def _profiles(who: str) -> Iterator[Profiles]:
    import psycopg

    from timeseries.profiles import Profiles

    try:
        with psycopg.connect(settings().database(), autocommit=True, options="-c timezone=UTC") as connection:
            yield Profiles(connection, who)
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        raise ProfilesUnavailable("the database has no care profiles yet: run vigil db migrate") from None
    except psycopg.errors.InsufficientPrivilege:
        raise ProfilesUnavailable(
            "only the owner of the tables keeps care profiles: this DATABASE_URL is another role"
        ) from None
    except psycopg.OperationalError as error:
        state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        raise ProfilesUnavailable(f"the database does not answer{state}; nothing was changed") from None


@app.command("set")
def set_(
    patient: Patient,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The whole profile, TOML: docs/policies.md.")],
    by: By,
    reason: Reason,
) -> None:
    """Let a profile hold from now on, in the place of the one before. The watch knows within seconds."""
    from stream.policy_file.profile import read_profile
    from stream.policy_file.reading import read_bounded

    try:
        body = read_bounded(file)
    except OSError as error:
        raise NoSuchPolicy(f"{file} cannot be read ({type(error).__name__})") from None
    profile = read_profile(body, str(file))
    with _profiles(by) as profiles:
        version = profiles.set(patient, profile, reason)
    typer.echo(f"profile version {version} of {patient} holds; see `vigil policy show --patient {patient}`")


@app.command()
def show(patient: Patient) -> None:
    """Show the profile that holds, as a file that `vigil profile set` takes."""
    from stream.policy_file.profile import profile_text

    with _profiles("operator") as profiles:
        profile = profiles.holds(patient)
    if profile is None:
        typer.echo(f"# no profile of {patient} holds: adult defaults, not individualised")
        return
    typer.echo(f"# profile of {patient}, version {profile.version}\n{profile_text(profile)}", nl=False)


@app.command()
def history(patient: Patient) -> None:
    """Show every version of a patient's profile: who set and who ended it, when and why."""
    from vigil import profile_screen as screen

    with _profiles("operator") as profiles:
        screen.show_history(patient, profiles.history(patient))


@app.command()
def end(patient: Patient, by: By, reason: Reason) -> None:
    """End the profile that holds: adult defaults hold again, labelled "not individualised"."""
    with _profiles(by) as profiles:
        version = profiles.end(patient, reason)
    typer.echo(f"profile version {version} of {patient} has ended: adult defaults hold")
