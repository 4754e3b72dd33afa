"""The command line. Each group of commands is a module of its own; this one joins them and turns errors into words."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from vigil.commands import (
    archive,
    ble,
    consent,
    data,
    database,
    demo,
    device,
    doctor,
    erase,
    hold,
    imports,
    policy,
    profile,
    quarantine,
    replay,
    review,
    services,
    simulate,
    token,
    topics,
)
from vitals.errors import VigilError

app = typer.Typer(
    name="vigil",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help=(
        "From wearables to a record a data team can trust and alerts a clinician wants to read.\n\n"
        "Try it: **vigil demo**. Run it: set DATABASE_URL and KAFKA_BOOTSTRAP_SERVERS, then **vigil db migrate**, "
        "**vigil topics create**, and one process each of recorder, watch, dispatch, notifier and console.\n\n"
        "Vigil informs, it does not diagnose: it is no medical device and no alarm system."
    ),
)
demo.register(app)
services.register(app)
data.register(app)
erase.register(app)
imports.register(app)
replay.register(app)
doctor.register(app)
app.add_typer(database.app, name="db")
app.add_typer(topics.app, name="topics")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(ble.app, name="ble")
app.add_typer(device.app, name="device")
app.add_typer(token.app, name="token")
app.add_typer(consent.app, name="consent")
app.add_typer(hold.app, name="hold")
app.add_typer(policy.app, name="policy")
app.add_typer(profile.app, name="profile")
app.add_typer(review.app, name="review")
app.add_typer(simulate.app, name="simulate")
app.add_typer(archive.app, name="archive")
app.add_typer(data.healthkit, name="healthkit")


def main() -> None:
    """Run the command line; an error of ours is one line on standard error and exit code 2."""
    try:
        app()
    except VigilError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {_plain(str(error))}")
        sys.exit(2)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
