"""Commands on data: decode one GATT value, import an Apple Health export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

healthkit = typer.Typer(no_args_is_help=True, help="Apple Health exports.")


def register(app: typer.Typer) -> None:
    """Add the commands that stand at top level."""
    app.command()(decode)


def decode(
    uuid: Annotated[str, typer.Argument(help="The characteristic, for example 2a37.")],
    payload: Annotated[str, typer.Argument(metavar="HEX", help="The notification's bytes in hex.")],
) -> None:
    """Decode one GATT value and print it as JSON; exit 2 where it is malformed."""
    from devices.errors import MalformedFrame
    from devices.gatt import decode_json

    try:
        raw = bytes.fromhex(payload)
    except ValueError as error:
        raise MalformedFrame("HEX", "pairs of hexadecimal digits expected", b"") from error
    typer.echo(json.dumps(decode_json(uuid, raw)))


@healthkit.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="export.xml or export.zip", exists=True, dir_okay=False)],
    patient: Annotated[str, typer.Option(help="The patient's opaque id.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing, print a JSON summary.")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Send it into the demo that runs on this machine.")] = False,
) -> None:
    """Send an Apple Health export into the stream (the backfill lane), or with --dry-run only say what is in it.

    Sending it again stores nothing twice. No name, birth date or place in the export leaves this command.
    """
    from vigil.healthkit import import_export

    if demo:
        from vigil.demo import use_running_demo

        use_running_demo()
    import_export(file, patient, dry_run=dry_run)
