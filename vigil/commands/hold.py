"""`vigil hold`: whose data must be kept, whatever a policy says."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vigil.settings import settings

app = typer.Typer(no_args_is_help=True, help="Legal holds: whose data nothing drops or erases.")

Who = Annotated[str, typer.Option("--who", metavar="ID", help="Who does this: an opaque id, never a name.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="The number of the matter, never a name.")]


@app.command()
def place(
    patient: Annotated[str, typer.Option("--patient", metavar="ID", help="Whose data to keep (opaque id).")],
    who: Who,
    why: Why,
) -> None:
    """Keep everything of a patient until the hold is lifted; waits for a slice that is just being dropped."""
    from timeseries.holds import place as run

    hold = run(settings().database(), patient, who, why)
    typer.echo(f"hold {hold.hold_id} stands on {hold.patient_id} since {hold.placed_at:%Y-%m-%d %H:%M:%S %Z}")


@app.command()
def lift(
    hold: Annotated[int, typer.Argument(metavar="HOLD", min=1, help="Its number, as `vigil hold list` shows it.")],
    who: Who,
    why: Why,
) -> None:
    """Lift one hold; what waited for it goes with the next run of the lifecycle, unless another hold stands."""
    from timeseries.holds import lift as run

    lifted = run(settings().database(), hold, who, why)
    typer.echo(f"hold {lifted.hold_id} on {lifted.patient_id} is lifted")


@app.command("list")
def list_(
    patient: Annotated[str | None, typer.Option("--patient", metavar="ID", help="Only this patient's.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were lifted.")] = False,
) -> None:
    """Show the holds that stand: who placed them, when and why."""
    from rich.console import Console
    from rich.table import Table

    from timeseries.holds import holds

    found = holds(settings().database(), patient, lifted=everything)
    if not found:
        typer.echo("no hold stands" + (" (--all shows those that were lifted)" if not everything else ""))
        return
    table = Table("hold", "patient", "since", "placed by", "why", "lifted", "by", "why lifted", box=None)
    for one in found:
        lifted = "" if one.lifted_at is None else f"{one.lifted_at:%Y-%m-%d %H:%M}"
        ended = (lifted, one.lifted_by or "", one.lift_reason or "")
        table.add_row(
            str(one.hold_id), one.patient_id, f"{one.placed_at:%Y-%m-%d %H:%M}", one.placed_by, one.reason, *ended
        )
    width = None if sys.stdout.isatty() else 200  # into a pipe nothing is cut
    Console(highlight=False, markup=False, width=width).print(table)
