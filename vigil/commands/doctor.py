"""`vigil doctor`: is everything as it must be, and what to do where it is not."""

from __future__ import annotations

from typing import Annotated

import typer

from vigil.settings import settings


def register(app: typer.Typer) -> None:
    """Put the command on the program."""
    app.command()(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 also where something is only to look at.")
    ] = False,
) -> None:
    """Check broker, topics, database, clocks, policies, gateway, tokens and consents; say what to do.

    Changes nothing. Exits with 1 where something does not work.
    """
    import asyncio

    from vigil import doctor_screen as screen
    from vigil.checks.finding import Verdict, worst
    from vigil.doctor import examine

    found = asyncio.run(examine(settings()))
    if as_json:
        typer.echo(screen.as_json(found))
    else:
        screen.show(found)
    verdict = worst(found)
    if verdict is Verdict.FAIL or (strict and verdict is Verdict.WARN):
        raise typer.Exit(1)
