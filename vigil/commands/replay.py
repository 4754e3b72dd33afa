"""`vigil replay`: what the rules, or changed ones, make of recorded samples."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from vitals.care_profile import UNKNOWN

_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


def register(app: typer.Typer) -> None:
    """Add the command at top level."""
    app.command()(replay)


def replay(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            exists=True,
            dir_okay=False,
            readable=True,
            help="csv or Parquet (time, metric, value [, quality]), a list of RR intervals, a WFDB annotation file.",
        ),
    ] = None,
    patient: Annotated[
        str | None, typer.Option(metavar="ID", help="Instead of a file: this patient's samples.")
    ] = None,
    start: Annotated[datetime | None, typer.Option("--from", formats=_FORMATS, help="With --patient; UTC.")] = None,
    end: Annotated[datetime | None, typer.Option("--to", formats=_FORMATS, help="With --patient; UTC.")] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="TOML", exists=True, dir_okay=False, readable=True, help="Not the policy in force, but this."
        ),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(metavar="TOML", exists=True, dir_okay=False, help="With FILE: the wearer's care profile."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="SVG", dir_okay=False, help="Draw the alarm burden.")] = None,
    warm_up: Annotated[
        float,
        typer.Option(metavar="DAYS", min=0, max=90, help="With --patient: so much before --from is replayed first."),
    ] = 28.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Alerts only: no table, no progress.")] = False,
) -> None:
    """Run recorded samples through the production rules, with the recording's own clock; nothing is sent or stored.

    Alerts are JSON lines on standard output; on standard error stands the alarm burden: alerts a patient-day by rule
    and the share that cleared by themselves. With --patient what fired (A) stands beside what would have (B), for the
    owner of the database: **vigil replay --patient p-017 --from 2026-11-01 --to 2026-11-08 --policy new.toml**.
    """
    if (file is None) == (patient is None):
        raise typer.BadParameter("give a FILE, or --patient with --from and --to")
    if plot is not None and not plot.absolute().parent.is_dir():
        raise typer.BadParameter("--plot names a folder that does not exist")
    if file is not None:
        from stream.policy_file.profile import read_profile
        from stream.policy_file.reading import read_bounded
        from vigil.replay.run import replay_file

        own = UNKNOWN if profile is None else read_profile(read_bounded(profile), str(profile))
        replay_file(file, policy=policy, profile=own, plot=plot, quiet=quiet)
        return
    if patient is None or start is None or end is None:
        raise typer.BadParameter("--patient goes with --from and --to")
    from vigil.replay.stored import replay_patient

    replay_patient(
        patient, start.replace(tzinfo=UTC), end.replace(tzinfo=UTC), policy=policy, plot=plot, quiet=quiet,
        warm_up=timedelta(days=warm_up),
    )  # fmt: skip
