"""`vigil demo`: everything on this machine, without installing anything."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    wearers: Annotated[int, typer.Option(min=1, max=500, help="How many people to simulate.")] = 6,
    seconds: Annotated[float | None, typer.Option(min=1, help="End by itself after so long.")] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit 0 only if samples were stored, an alert fired and was delivered."),
    ] = False,
) -> None:
    """Start broker, database, all services and simulated wearers, and show what happens. Ctrl-C stops everything."""
    from vigil.demo import Options, run

    run(Options(wearers=wearers, seconds=seconds, check=check))
