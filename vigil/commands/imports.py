"""The command that imports a file through one of the installed adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command at top level."""
    app.command("import")(import_)


def import_(
    adapter: Annotated[str | None, typer.Argument(metavar="ADAPTER", help="Its name, as --list shows it.")] = None,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="What it reads.", exists=True, dir_okay=False)
    ] = None,
    patient: Annotated[str | None, typer.Option(help="The patient's opaque id.")] = None,
    zone: Annotated[str, typer.Option(metavar="IANA", help="Where the wearer lives, for local times.")] = "UTC",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing, print a JSON summary.")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Send it into the demo that runs on this machine.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show the adapters that are installed.")] = False,
) -> None:
    """Send a file of a device or service into the stream (the backfill lane), or with --dry-run only say what is in it.

    Sending it again stores nothing twice. No name, birth date or place in the file leaves this command. Adapters are
    entry points of the group vigil.adapters; docs/adapters.md shows how to add one.
    """
    from vigil.imports import import_file, print_adapters

    if listed:
        print_adapters()
        return
    if adapter is None or file is None or patient is None:
        raise typer.BadParameter("ADAPTER, FILE and --patient are needed; --list shows the adapters")
    if demo:
        from vigil.demo import use_running_demo

        use_running_demo()
    import_file(adapter, file, patient, zone=zone, dry_run=dry_run)
