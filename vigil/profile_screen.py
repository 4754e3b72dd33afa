"""What `vigil profile history` prints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.markup import escape
from rich.table import Table

from stream.policy_file.profile import profile_text
from timeseries.profiles import ProfileVersion
from vigil.quarantine_screen import console


def show_history(patient: str, found: Sequence[ProfileVersion]) -> None:
    """Print every version, the newest last."""
    out = console()
    if not found:
        out.print(f"no profile of {patient} was ever set: adult defaults, not individualised")
        return
    table = Table(
        "version", "from", "until", "set by", "reason", "ended by", "why ended", "says",
        box=None, pad_edge=False, header_style="bold",
    )  # fmt: skip
    for one in found:
        says = "(written by another release)" if one.profile is None else profile_text(one.profile).strip()
        row = (
            str(one.version), _at(one.valid_from), _at(one.valid_to), one.created_by, one.reason, one.ended_by or "",
            one.end_reason or "", says,
        )  # fmt: skip
        table.add_row(*map(escape, row))
    out.print(table)


def _at(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"
