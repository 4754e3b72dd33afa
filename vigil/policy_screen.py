"""What `vigil policy` prints: values with their sources, differences, who put what in force."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import typer
from rich.markup import escape
from rich.table import Table

from vigil.quarantine_screen import console

_SHOWN: Final = 20

if TYPE_CHECKING:
    from stream.policy_file.policies import Policies
    from timeseries.policies import AppliedPolicy
    from vitals.care_profile import CareProfile


def show_effective(patient: str, policies: Policies, profile: CareProfile, *, as_json: bool) -> None:
    """Print every value that holds for a patient, and where it comes from."""
    from stream.policy_file.faults import dotted
    from stream.policy_file.writing import written

    found = [(dotted(one.path), written(one.value), one.source) for one in policies.effective(patient, profile)]
    if as_json:
        for name, value, source in found:
            typer.echo(json.dumps({"field": name, "value": value, "from": source}))
        return
    out = console()
    ward = policies.ward_of(patient)
    where = "in no ward" if ward is None else f"ward {ward}"
    out.print(escape(f"{policies.told}; {where}; {_individual(profile)}"))
    table = _table("field", "value", "from")
    for row in found:
        table.add_row(*map(escape, row))
    out.print(table)


def _individual(profile: CareProfile) -> str:
    if not profile.individualised:
        return "no care profile: not individualised"
    return f"care profile version {profile.version}{', a child: adult rules find nothing' if profile.is_child else ''}"


def show_taken_out(policies: Policies) -> None:
    """Say what a policy switches off, and for whom: nobody should find out by what was not told."""
    from stream.policy_file.faults import dotted

    for source, units in policies.taken_out().items():
        who = "for everybody" if source == "deployment" else f"for {source}"
        typer.echo(f"takes out {who}: {', '.join(map(dotted, units))}")
    if policies.is_blind():
        typer.echo("no rule and no detector is left: by this policy somebody is watched for nothing at all")


def show_unknown(unknown: Sequence[str]) -> None:
    """Say whom a policy names of whom nothing is known: with a wrong id what was meant holds for nobody."""
    if unknown:
        more = f" and {len(unknown) - _SHOWN:,} more" if len(unknown) > _SHOWN else ""
        typer.echo(f"nobody of these ids is known yet: {', '.join(unknown[:_SHOWN])}{more}")


def show_differences(changes: Sequence[tuple[str, str | None, str | None]]) -> None:
    """Print what two policies state otherwise."""
    out = console()
    if not changes:
        out.print("nothing differs")
        return
    table = _table("field", "before", "after")
    for name, before, after in changes:
        table.add_row(escape(name), *("(not stated)" if one is None else escape(one) for one in (before, after)))
    out.print(table)


def show_history(found: Sequence[AppliedPolicy]) -> None:
    """Print every policy that was put in force, the newest last."""
    out = console()
    if not found:
        out.print("no policy was ever applied: the program's defaults are in force (vigil policy show --default)")
        return
    table = _table("version", "label", "sha256", "when", "by", "reason", "changes")
    for one in found:
        when = f"{one.applied_at:%Y-%m-%d %H:%M}"
        told = "\n".join(_change(change) for change in one.changes[:10])
        rest = f"\nand {len(one.changes) - 10} more" if len(one.changes) > 10 else ""
        row = (str(one.version), one.label, one.sha256[:12], when, one.applied_by, one.reason, told + rest)
        table.add_row(*map(escape, row))
    out.print(table)


def _change(change: dict[str, str | None]) -> str:
    return f"{change['field']}: {change['before'] or '(not stated)'} -> {change['after'] or '(not stated)'}"


def _table(*names: str) -> Table:
    return Table(*names, box=None, pad_edge=False, header_style="bold")
