"""`vigil review`: changes of sleep and activity over weeks, for the clinician whom the care profile names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from vigil.settings import settings
from vitals.errors import VigilError

if TYPE_CHECKING:
    from timeseries.reviews import ReviewList

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Changes of sleep and activity over weeks, for review.\n\n"
        "They are looked for only in people whose care profile names a clinician in `review_by`, under a plan agreed "
        "with them (**vigil profile set**). What is seen is compared with the person's own first four weeks and "
        "named, never a disorder. It stands on that clinician's list and goes nowhere by itself.\n\n"
        "Vigil informs, it does not diagnose: it is no medical device and no alarm system."
    ),
)

Who = Annotated[str, typer.Option("--who", metavar="CLINICIAN", help="Whose list: the opaque id in review_by.")]


class ReviewsUnavailable(VigilError):
    """The database does not answer, or lacks the tables of reviews."""


@contextmanager
def _speaking() -> Iterator[None]:
    import psycopg

    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        raise ReviewsUnavailable("the database has no reviews yet: run vigil db migrate") from None
    except psycopg.errors.InsufficientPrivilege:
        raise ReviewsUnavailable(
            "only the owner of the tables reads reviews: this DATABASE_URL is another role"
        ) from None
    except psycopg.OperationalError as error:
        state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        raise ReviewsUnavailable(f"the database does not answer{state}; say it again, nothing is done twice") from None


@contextmanager
def _list(who: str) -> Iterator[ReviewList]:
    import psycopg

    from timeseries.reviews import ReviewList

    with (
        _speaking(),
        psycopg.connect(settings().database(), autocommit=True, options="-c timezone=UTC") as connection,
    ):
        yield ReviewList(connection, who)


@app.command("list")
def list_(
    who: Who,
    everything: Annotated[bool, typer.Option("--all", help="Also those that ended, and why they did.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For a program: one review a line.")] = False,
) -> None:
    """Show what changed in the people under a plan with you, newest first; nobody else's list.

    *since* is the day on which the change began to add up; the figures say what is usual, what it is since then and by
    how many standard deviations. Below: how many people are looked at, how far, and who is still being learned.
    """
    from vigil import review_screen as screen

    with _list(who) as reviews:
        listed = reviews.listed(everything=everything)
        looks = [] if as_json else reviews.looks()
    if as_json:
        for one in listed:
            typer.echo(json.dumps(screen.as_dict(one)))
        return
    screen.show(who, listed, looks, everything=everything)


@app.command()
def seen(
    review: Annotated[str, typer.Argument(metavar="REVIEW", help="Its id, or the first 8 characters or more of it.")],
    who: Who,
) -> None:
    """Note that you looked at a review on your list: who was first, and when, stays. It does not end the review."""
    with _list(who) as reviews:
        found, is_first = reviews.seen(review)
    typer.echo(f"review {found[:12]} " + ("is noted as seen" if is_first else "was noted as seen before"))


@app.command()
def look(
    patient: Annotated[
        str | None, typer.Option("--patient", metavar="ID", help="Only this person; else all under a plan.")
    ] = None,
) -> None:
    """Look at the days now. `vigil db rollup` does so by itself, within an hour after a person's day is over and made.

    Looking again changes nothing that the days do not change.
    """
    from vigil.reviews import look_now
    from vitals.ids import patient_id

    with _speaking():
        found = look_now(settings(), patient=None if patient is None else patient_id(patient), everybody=True)
    told = [f"people under a plan: {found.people:,}, their days: {found.days:,}"]
    told += [f"still being learned: {found.learning:,}"] if found.learning else []
    told += [f"skipped, with profiles of another release: {found.unreadable:,}"] if found.unreadable else []
    news = [f"{count:,} {state.replace('_', ' ')}" for state, count in sorted(found.reviews.items())]
    typer.echo(f"{'; '.join(told)}. Reviews: {', '.join(news) if news else 'nothing new'}")
