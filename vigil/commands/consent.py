"""`vigil consent`: who agreed to what, and what becomes of their data when they no longer do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vigil.settings import settings
from vitals.errors import VigilError

if TYPE_CHECKING:
    from timeseries.consent import Consents

app = typer.Typer(no_args_is_help=True, help="Consent: what may be stored of whom, and who may see it.")

SETTLE_S: Final = 5.0
"""Recorders look every two seconds; a batch that they are storing takes no longer than the rest of this."""
_ROUNDS: Final = 4


class ConsentUnavailable(VigilError):
    """The database does not answer, or lacks the tables of consent."""


class ErasureOwed(VigilError):
    """Consent is withdrawn, and stored data that are to go are not all gone."""


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter("a day or a time, for example 2026-03-01 or 2026-03-01T12:30+01:00") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _classes(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


Patient = Annotated[str, typer.Argument(metavar="PATIENT", help="Their opaque id.")]
Who = Annotated[str, typer.Option("--who", metavar="ID", help="Who notes this: an opaque id, never a name.")]
Document = Annotated[str, typer.Option("--document", metavar="NUMBER", help="Number of the document; never a name.")]
Classes = Annotated[
    Any,
    typer.Option(
        "--classes", parser=_classes, metavar="CLASSES",
        help="vital, activity, sleep, reported, technical, waveform, by commas; all.",
    ),
]  # fmt: skip
_PURPOSE: Final = "care: store and watch; research: the data team's research readers may see it."


@contextmanager
def _consents(who: str) -> Iterator[Consents]:
    import psycopg

    from timeseries.consent import Consents

    try:
        with psycopg.connect(settings().database(), autocommit=True, options="-c timezone=UTC") as connection:
            yield Consents(connection, who)
    except psycopg.errors.UndefinedTable:
        raise ConsentUnavailable("the database has no consents yet: run vigil db migrate") from None
    except psycopg.OperationalError as error:
        state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        raise ConsentUnavailable(f"the database does not answer{state}; see `vigil consent show`") from None


@app.command()
def grant(
    patient: Patient,
    who: Who,
    document: Document,
    classes: Classes = None,
    purpose: Annotated[str, typer.Option("--purpose", metavar="care|research", help=_PURPOSE)] = "care",
    start: Annotated[Any, typer.Option("--from", parser=_time, metavar="TIME", help="From when on; now.")] = None,
    until: Annotated[Any, typer.Option("--until", parser=_time, metavar="TIME", help="Until when; no end.")] = None,
    on_withdrawal: Annotated[
        str, typer.Option("--on-withdrawal", metavar="keep|erase", help="What becomes of stored data then.")
    ] = "keep",
) -> None:
    """Note a consent. Samples measured from then on are let in, within seconds; --from says since when."""
    from timeseries.consent import ordered
    from vitals.gate import CATEGORIES

    asked = ordered(classes or CATEGORIES)
    with _consents(who) as consents:
        began = consents.grant(
            patient,
            asked,
            _purpose(purpose),
            document=document,
            stored=_stored(on_withdrawal),
            start=start,
            until=until,
        )
    typer.echo(
        f"{patient} consents to {purpose}: {', '.join(asked)}; what is measured from {began:%Y-%m-%d %H:%M:%S %Z} on"
    )


@app.command()
def withdraw(
    patient: Patient,
    who: Who,
    document: Document,
    classes: Classes = None,
    purpose: Annotated[
        str | None, typer.Option("--purpose", metavar="care|research", help=f"{_PURPOSE} Both unless named.")
    ] = None,
    stored: Annotated[
        str | None, typer.Option("--stored", metavar="keep|erase", help="What becomes of stored data; as agreed.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before erasing.")] = False,
) -> None:
    """Withdraw consent: of these classes nothing is let in any more, within seconds, whenever it was measured.

    Stored data stay or are erased as it was agreed, or as --stored says. An erasure that is broken off, or that waits
    for a legal hold, goes on when the same is said again.
    """
    from timeseries.consent import Purpose

    purposes = tuple(Purpose) if purpose is None else (_purpose(purpose),)
    with _consents(who) as consents:
        owed = consents.owed(patient)
        if not yes and not owed and (at_stake := _at_stake(consents, patient, classes, purpose, stored)):
            typer.confirm(f"Erase what is stored of {patient} in {', '.join(at_stake)}, for good?", abort=True)
        _withdraw(consents, patient, classes, purposes, document, stored, is_owed=bool(owed))
        owed = consents.owed(patient)
    for one in owed:
        _erase(patient, one, who, document)


def _withdraw(
    consents: Consents, patient: str, classes: Any, purposes: Any, document: str, stored: str | None, *, is_owed: bool
) -> None:
    from timeseries.consent import ConsentRefused
    from vigil import consent_screen as screen

    wanted = None if stored is None else _stored(stored)
    try:
        done = consents.withdraw(patient, classes, purposes, document=document, stored=wanted)
    except ConsentRefused:
        if not is_owed:
            raise
        typer.echo("it was withdrawn before; the erasure that it promised goes on")
        return
    screen.show_withdrawal(patient, done)
    if done.erased:
        time.sleep(SETTLE_S)


@app.command()
def show(patient: Patient) -> None:
    """Show what stands of one patient, its history, and how much is not let in for want of consent."""
    from vigil import consent_screen as screen

    with _consents("operator") as consents:
        found = consents.consents(patient)
        if not found:
            means = "nothing is let in" if settings().require_consent else "everything is let in"
            typer.echo(f"no consent of {patient} is noted: {means} (VIGIL_REQUIRE_CONSENT)")
            return
        screen.show_person(patient, found, consents.events(patient), consents.owed(patient))
        screen.show_counts(consents.counts())


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """Show everybody of whom a consent was noted, and what stands."""
    from vigil import consent_screen as screen

    with _consents("operator") as consents:
        found, counts = consents.people(), consents.counts()
    if as_json:
        screen.as_lines(found)
        return
    screen.show_people(found)
    screen.show_counts(counts)


def _purpose(word: str) -> Any:
    from timeseries.consent import Purpose

    if word not in {one.value for one in Purpose}:
        raise typer.BadParameter("the purpose is care or research")
    return Purpose(word)


def _stored(word: str) -> Any:
    from timeseries.consent import Stored

    if word not in {one.value for one in Stored}:
        raise typer.BadParameter("stored data are to keep or to erase")
    return Stored(word)


def _at_stake(
    consents: Consents, patient: str, classes: list[str] | None, purpose: str | None, stored: str | None
) -> list[str]:
    """Return the classes of which a withdrawal would erase stored data."""
    from vitals.gate import CATEGORIES

    if purpose == "research":
        return []
    asked = [one.value for one in CATEGORIES if not classes or one.value in classes]
    standing = [one for one in consents.consents(patient) if one.withdrawn_at is None and one.purpose == "care"]
    if stored == "erase":
        return asked
    return [one for one in asked if any(c.category == one and c.on_withdrawal == "erase" for c in standing)]


def _erase(patient: str, classes: tuple[str, ...], who: str, document: str) -> None:
    import psycopg

    from timeseries.archive_erase import UnderHold
    from timeseries.erasure_classes import erase_classes
    from timeseries.lifecycle_archive import LifecycleArchive

    config = settings()
    archive = None if config.archive_uri is None else LifecycleArchive.at(config.archive_uri)
    try:
        for _ in range(_ROUNDS):
            done = erase_classes(config.database(), archive, patient, classes, who, document)
            if not done.still_coming:
                break
            time.sleep(SETTLE_S)
    except UnderHold:
        raise ErasureOwed("a legal hold stands: stored data stay until it is lifted; then say the same again") from None
    except (psycopg.OperationalError, OSError) as error:
        raise ErasureOwed(f"erasing broke off ({type(error).__name__}): say the same again, it goes on") from None
    for table, rows in sorted(done.rows.items()):
        typer.echo(f"{table:>24}  {rows:,}")
    if done.still_coming:
        raise ErasureOwed("more has come meanwhile: are all recorders of this release? Say the same again")
    typer.echo(f"what was stored of {patient} in {', '.join(classes)} is erased")
