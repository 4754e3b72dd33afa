"""What `vigil doctor` prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vigil.checks.finding import Finding, Verdict

_LOOKS: Final = {
    Verdict.OK: ("ok", "green"), Verdict.SKIP: ("-", "dim"), Verdict.WARN: ("look", "yellow"),
    Verdict.FAIL: ("BAD", "bold red"),
}  # fmt: skip
_PIPE_COLUMNS: Final = 160


def as_json(findings: Sequence[Finding]) -> str:
    """Return one JSON object: the verdict over all, and each finding."""
    from vigil.checks.finding import worst

    return json.dumps({"verdict": worst(findings), "findings": [asdict(one) for one in findings]}, indent=2)


def show(findings: Sequence[Finding]) -> None:
    """Print what was found, area by area; under each line that is not fine, what to do about it."""
    out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for name in ("area", "verdict", "what"):
        table.add_column(name, no_wrap=True)
    table.add_column("says")
    for area, group in groupby(findings, key=lambda one: one.area):
        first = True
        for one in group:
            word, style = _LOOKS[one.verdict]
            table.add_row(Text(area if first else "", "bold"), Text(word, style), one.what, _says(one))
            first = False
    out.print(table)
    out.print(_summary(findings))


def _says(one: Finding) -> Text:
    text = Text(one.says)
    return text if not one.do else text.append(f"\n→ {one.do}", "cyan")


def _summary(findings: Sequence[Finding]) -> Text:
    bad, look = (sum(one.verdict is verdict for one in findings) for verdict in (Verdict.FAIL, Verdict.WARN))
    if bad:
        return Text(f"\n{bad} bad, {look} to look at", "bold red")
    return Text(f"\nall well, {look} to look at" if look else "\nall well", "bold green")
