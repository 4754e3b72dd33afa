"""What `vigil replay` shows beside the alerts: how it read the file, the alarm burden as a table, and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape as html
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alerts.wording import NOTICE
from vigil.replay.burden import Burden
from vigil.replay.recording import Recording

_BAR: Final = 24
_ROW_PX, _LEFT_PX, _WIDTH_PX = 34, 260, 560
_COLOURS: Final = ("#2f6f8f", "#c2703d")
_LOOK: Final = (
    'font-family="system-ui, sans-serif" font-size="13" fill="#1c2a30" role="img" aria-label="Alarm burden by rule"'
)
Side = tuple[str, Sequence[Burden]]
"""What fired it, in words, and its burden."""


def show_reading(out: Console, read: Recording, samples: int, refused: dict[str, int]) -> None:
    """Say how many samples were read, over how long those last that count, what was left out, and how the file was
    understood."""
    for note in read.notes:
        out.print(f"[dim]{note}[/]")
    told = ", ".join(f"{count:,} {reason}" for reason, count in sorted(refused.items()) if count)
    out.print(f"{samples:,} samples over {read.hours:.1f} h" + (f"; left out: {told}" if told else ""))


def show_warm_up(out: Console, days: float, samples: int) -> None:
    """Say how many samples were read, and how much of what lies before the wanted time came first."""
    said = f"the clock began {days:.1f} days earlier, so that baselines are known" if days > 0 else "without a warm-up"
    out.print(f"[dim]{samples:,} samples; {said}[/]")


def show_burden(out: Console, sides: Sequence[Side], days: float) -> None:
    """Print one row a rule; of two sides each figure beside the other's."""
    rules = list(dict.fromkeys(one.rule for _, found in sides for one in found))
    names = [name if len(sides) == 1 else f"{sign} is {name}" for sign, (name, _) in zip("AB", sides, strict=False)]
    out.print(f"\nAlarm burden over {days:.2f} patient-days" + (": " + escape(", ".join(names))))
    if not rules:
        out.print("nothing fired")
        return
    out.print(_table(sides, rules) if len(sides) == 1 else _compared(sides, rules))
    out.print(f"[dim]{NOTICE}[/]")


def _compared(sides: Sequence[Side], rules: Sequence[str]) -> Table:
    """Return a table of what fired (A) and what would have (B), narrow enough for a terminal of 80 columns."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rule", no_wrap=True)
    for column in ("alerts", "a day", "paging"):
        for sign in "AB":
            table.add_column(f"{column}\n{sign}", justify="right", no_wrap=True)
    table.add_column("alerts\nB - A", justify="right", no_wrap=True)
    for rule in rules:
        pair = [next((one for one in found if one.rule == rule), None) for _, found in sides]
        cells = [("0", "0", "0") if one is None else _compact(one) for one in pair]
        fired, would = (0 if one is None else one.raised for one in pair)
        beside = [cell for both in zip(*cells, strict=True) for cell in both]
        table.add_row(rule, *beside, f"{would - fired:+,}" if would != fired else "")
    return table


def _compact(one: Burden) -> tuple[str, str, str]:
    return f"{one.raised:,}", f"{one.per_day:.2f}", f"{one.paging:,}"


def _table(sides: Sequence[Side], rules: Sequence[str]) -> Table:
    """Return a table of one side."""
    found = {one.rule: one for one in sides[0][1]}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rule", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    for column in ("alerts", "a patient-day", "paging", "retrospective", "cleared", "open, min"):
        table.add_column(column, justify="right")
    table.add_column("")
    most = max(one.per_day for one in found.values())
    for rule in rules:
        one = found[rule]
        table.add_row(rule, one.kind.value, *_cells(one), "█" * round(_BAR * one.per_day / most) if most else "")
    return table


def _cells(one: Burden) -> list[str]:
    lasted = "" if one.open_min is None else f"{one.open_min:.0f}"
    return [*_compact(one), f"{one.retrospective:,}", f"{100 * one.cleared:.0f} %", lasted]


def write_plot(path: Path, sides: Sequence[Side], days: float) -> None:
    """Write the burden as an SVG: a bar a rule and side, its paging part full, its length alerts a patient-day."""
    rules = list(dict.fromkeys(one.rule for _, found in sides for one in found))
    most = max((one.per_day for _, found in sides for one in found), default=0.0) or 1.0
    height = 74 + _ROW_PX * max(len(rules), 1) + 18 * len(sides)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT_PX + _WIDTH_PX + 120}" height="{height}" {_LOOK}>',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="16" y="28" font-size="16" font-weight="600">Alerts a patient-day by rule, {days:.2f} days</text>',
    ]
    for row, rule in enumerate(rules):
        y = 48 + row * _ROW_PX
        parts.append(f'<text x="{_LEFT_PX - 12}" y="{y + 18}" text-anchor="end">{html(rule)}</text>')
        for side, (_, found) in enumerate(sides):
            one = next((each for each in found if each.rule == rule), None)
            parts += _bar(one, y + 3 + side * 13, 11 if len(sides) > 1 else 20, most, _COLOURS[side % 2])
    if not rules:
        parts.append('<text x="16" y="70">nothing fired</text>')
    for side, (name, _) in enumerate(sides):
        y = height - 18 * (len(sides) - side)
        parts.append(f'<rect x="16" y="{y - 10}" width="12" height="12" fill="{_COLOURS[side % 2]}"/>')
        parts.append(f'<text x="34" y="{y}">{html(name)} (full: pages; pale: does not)</text>')
    path.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")


def _bar(one: Burden | None, y: int, height: int, most: float, colour: str) -> list[str]:
    if one is None:
        return []
    length, share = one.per_day / most * _WIDTH_PX, one.paging / one.raised
    return [
        f'<rect x="{_LEFT_PX}" y="{y}" width="{length:.1f}" height="{height}" fill="{colour}" fill-opacity="0.35"/>',
        f'<rect x="{_LEFT_PX}" y="{y}" width="{length * share:.1f}" height="{height}" fill="{colour}"/>',
        f'<text x="{_LEFT_PX + length + 6:.1f}" y="{y + height - 1}" font-size="12">{one.per_day:.2f}</text>',
    ]
