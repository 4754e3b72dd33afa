"""`vigil policy`: which limits and rules the watch goes by, who put them in force, and whether a file is right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vigil.settings import settings
from vitals.errors import VigilError

if TYPE_CHECKING:
    from stream.policy_file.policies import Policies
    from stream.policy_file.reading import Document
    from timeseries.policies import PolicyBook

app = typer.Typer(no_args_is_help=True, help="Policies: limits, detectors, staffed hours, by ward and patient.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="A policy, TOML.")]
Either = Annotated[str, typer.Argument(metavar="FILE|VERSION", help="A file, or the number of an applied version.")]
By = Annotated[str, typer.Option("--by", metavar="ID", help="Who does this: an opaque id, never a name.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="The number of the matter, never a name.")]


class PoliciesUnavailable(VigilError):
    """The database does not answer, or lacks the table of policies."""


class NoSuchPolicy(VigilError):
    """No file can be read under that name, or no version of that number was applied."""


@contextmanager
def _book() -> Iterator[PolicyBook]:
    import psycopg

    from timeseries.policies import PolicyBook

    try:
        with psycopg.connect(settings().database(), autocommit=True, options="-c timezone=UTC") as connection:
            yield PolicyBook(connection)
    except psycopg.errors.UndefinedTable:
        raise PoliciesUnavailable("the database has no policies yet: run vigil db migrate") from None
    except psycopg.errors.InsufficientPrivilege:
        raise PoliciesUnavailable(
            "only the owner of the tables puts policies in force: this DATABASE_URL is another role"
        ) from None
    except psycopg.OperationalError as error:
        state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        raise PoliciesUnavailable(f"the database does not answer{state}; nothing was changed") from None


@app.command()
def check(file: File) -> None:
    """Say whether a file is a policy; if not, every error by line and field. And what it takes out."""
    from vigil import policy_screen as screen

    policies = _read(file)[1]
    typer.echo(f"{file}: {policies.told}: no error; {_extent(policies)}")
    screen.show_taken_out(policies)


@app.command()
def show(
    which: Annotated[str | None, typer.Argument(metavar="[FILE|VERSION]", help="Otherwise what is in force.")] = None,
    default: Annotated[bool, typer.Option("--default", help="The program's own defaults, as a file.")] = False,
    patient: Annotated[
        str | None, typer.Option("--patient", metavar="ID", help="What holds for a patient, and where it comes from.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --patient: one JSON object a line.")] = False,
) -> None:
    """Show a policy as it was written, or with --patient every value that holds and which layer it comes from."""
    from vigil import policy_screen as screen

    if default:
        typer.echo(_default_text(), nl=False)
        return
    text, policies = _in_force() if which is None else _found(which)
    if patient is None:
        typer.echo(text or _default_text(), nl=False)
        return
    from vitals.ids import patient_id

    profile = _profile_of(patient_id(patient))
    screen.show_effective(patient, policies, profile, as_json=as_json)


@app.command()
def diff(before: Either, after: Either) -> None:
    """Show which fields two policies state otherwise."""
    from stream.policy_file.writing import differences
    from vigil import policy_screen as screen

    screen.show_differences(differences(_document(before), _document(after)))


@app.command()
def history() -> None:
    """Show every policy that was put in force: when, by whom, why, and what changed."""
    from vigil import policy_screen as screen

    with _book() as book:
        screen.show_history(book.all())


@app.command()
def apply(
    file: File,
    by: By,
    reason: Reason,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
) -> None:
    """Put a policy in force: it is checked, recorded with who and why, and every watch goes by it within seconds."""
    from stream.policy_file.reading import read
    from stream.policy_file.writing import differences
    from vigil import policy_screen as screen

    text, policies = _read(file)
    document = read(text, str(file))
    with _book() as book:
        newest = book.in_force()
        before = None if newest is None else read(newest.body, f"version {newest.version}")
        if newest is not None and newest.sha256 == document.sha256:
            typer.echo(f"{policies.told} is in force already")
            return
        changes = differences(before, document)
        screen.show_differences(changes)
        screen.show_taken_out(policies)
        screen.show_unknown(book.unknown(policies.named()))
        if dry_run:
            return
        told = [{"field": name, "before": old, "after": new} for name, old, new in changes]
        at = book.apply(
            document.version, document.label, document.sha256, document.text, told,
            after=0 if newest is None else newest.version, who=by, reason=reason,
        )  # fmt: skip
    typer.echo(f"{policies.told} is in force since {at:%Y-%m-%d %H:%M:%S %Z}; {_extent(policies)}")
    if settings().policy_file is not None:
        typer.echo("VIGIL_POLICY_FILE is set: a watch with that setting goes by the file, not by this")


@app.command()
def schema() -> None:
    """Print the JSON schema of policy files, for editors."""
    from stream.policy_file.document import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


def _default_text() -> str:
    from stream.policy_file.policies import default_stack
    from stream.policy_file.writing import default_text

    return default_text(default_stack(), version=1, label="adult defaults")


def _read(file: Path) -> tuple[str, Policies]:
    from stream.policy_file.policies import policies_of

    body = _bytes(file)
    policies = policies_of(body, str(file))
    return policies.text, policies


def _bytes(file: Path) -> bytes:
    from stream.policy_file.reading import read_bounded

    try:
        return read_bounded(file)
    except OSError as error:
        raise NoSuchPolicy(f"{file} cannot be read ({type(error).__name__})") from None


def _found(which: str) -> tuple[str, Policies]:
    from stream.policy_file.policies import policies_of

    if not which.isdigit():
        return _read(Path(which))
    with _book() as book:
        found = book.all(int(which))
    if not found:
        raise NoSuchPolicy(f"version {which} was never applied: look at `vigil policy history`")
    return found[0].body, policies_of(found[0].body, f"version {which}")


def _document(which: str) -> Document:
    from stream.policy_file.reading import read

    return read(_found(which)[0], which)


def _in_force() -> tuple[str, Policies]:
    """Return what the watch of these settings goes by."""
    from stream.policy_file.policies import built_in, policies_of

    config = settings()
    if config.policy_file is not None:
        return _read(config.policy_file)
    if config.database_url is not None:
        with _book() as book:
            newest = book.in_force()
        if newest is not None:
            return newest.body, policies_of(newest.body, f"version {newest.version}")
    return "", built_in()


def _profile_of(patient: str) -> Any:
    """Return the care profile that holds for a patient, the unknown one without a database."""
    from vitals.care_profile import UNKNOWN

    if settings().database_url is None:
        return UNKNOWN
    import psycopg

    from timeseries.profiles import Profiles

    try:
        with psycopg.connect(settings().database(), autocommit=True, options="-c timezone=UTC") as connection:
            return Profiles(connection, "operator").holds(patient) or UNKNOWN
    except psycopg.Error:
        raise PoliciesUnavailable("the database does not answer, or is behind this release: vigil db status") from None


def _extent(policies: Policies) -> str:
    return f"it names {len(policies.named()):,} patients; everybody else has the deployment's values"
