"""What the demo shows: a live table on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psycopg
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from timeseries.queries import load

_SQL: Final = load("demo")
_PLAIN_EVERY_S: Final = 5.0
_STYLES: Final = {"high": "bold red", "medium": "yellow", "low": "cyan"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen so far; `first_*` in seconds since the start."""

    elapsed_s: float = 0.0
    samples: int = 0
    quarantined: int = 0
    patients: Sequence[tuple[Any, ...]] = ()
    alerts: Sequence[tuple[Any, ...]] = ()
    delivered: int = 0
    services: Mapping[str, str] = field(default_factory=dict)
    first_sample_s: float | None = None
    first_alert_s: float | None = None
    first_delivery_s: float | None = None

    def missing(self) -> list[str]:
        """Return, in words, which of the three proofs were not seen."""
        proofs = {
            "samples stored": self.first_sample_s,
            "an alert": self.first_alert_s,
            "its notification delivered": self.first_delivery_s,
        }
        return [what for what, when in proofs.items() if when is None]

    def summary(self) -> dict[str, object]:
        """Return the figures as JSON has them."""
        return {
            "samples": self.samples,
            "quarantined": self.quarantined,
            "alerts": len(self.alerts),
            "delivered": self.delivered,
            "first_sample_s": self.first_sample_s,
            "first_alert_s": self.first_alert_s,
            "first_delivery_s": self.first_delivery_s,
        }


def look(
    url: str, received: Sequence[Mapping[str, Any]], services: Mapping[str, str], before: Seen, elapsed_s: float
) -> Seen:
    """Return what is to be seen now."""
    with psycopg.connect(url, autocommit=True) as connection:
        counts = connection.execute(_SQL["counts"]).fetchone() or (0, 0)
        patients = connection.execute(_SQL["patients"]).fetchall()
        alerts = connection.execute(_SQL["alerts"]).fetchall()
    now = round(elapsed_s, 1)
    return Seen(
        elapsed_s=elapsed_s,
        samples=counts[0],
        quarantined=counts[1],
        patients=patients,
        alerts=alerts,
        delivered=len(received),
        services=services,
        first_sample_s=before.first_sample_s or (now if counts[0] else None),
        first_alert_s=before.first_alert_s or (now if alerts else None),
        first_delivery_s=before.first_delivery_s or (now if received else None),
    )


class Screen:
    """Draws `Seen`. On a terminal it stays in place; in a pipe it prints one line every few seconds."""

    def __init__(self, seconds: float | None) -> None:
        self._console = Console()
        self._live: Live | None = None
        self._seconds = seconds
        self._console_url = ""
        self._logs = Path()
        self._printed_at = 0.0

    def say(self, what: str) -> None:
        """Tell one step of the start."""
        self._console.print(f"[dim]{what} …[/]")

    def begin(self, console_url: str, logs: Path) -> None:
        """Tell where to look."""
        self._console_url, self._logs = console_url, logs
        self._console.print(f"Console: [link={console_url}]{console_url}[/link]   logs: {logs}", highlight=False)

    def tell_gateway(self, url: str, line: str) -> None:
        """Tell where samples come in, and a line that sends one."""
        self._console.print(f"Gateway: {url}   send it something yourself:", highlight=False)
        self._console.print(line, highlight=False, markup=False, soft_wrap=True, style="dim")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, screen=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, seen: Seen) -> None:
        """Draw what is to be seen now."""
        if self._live is not None:
            self._live.update(self._page(seen))
        elif time.monotonic() - self._printed_at >= _PLAIN_EVERY_S:
            self._printed_at = time.monotonic()
            self._console.print(
                f"{seen.elapsed_s:5.0f} s  {seen.samples:,} samples stored, {seen.quarantined} quarantined, "
                f"{len(seen.alerts)} alerts, {seen.delivered} notifications delivered",
                highlight=False,
            )

    def _page(self, seen: Seen) -> Group:
        left = "" if self._seconds is None else f"   ends in {max(0.0, self._seconds - seen.elapsed_s):.0f} s"
        head = Text.assemble(
            (f"{seen.samples:,}", "bold"), " samples stored   ",
            (f"{seen.quarantined}", "bold"), " quarantined   ",
            (f"{seen.delivered}", "bold"), f" notifications delivered{left}",
        )  # fmt: skip
        troubled = {name: state for name, state in seen.services.items() if state != "running"}
        foot = Text(f"{self._console_url}   Ctrl-C stops everything", style="dim")
        if troubled:
            foot = Text(f"{troubled}; logs in {self._logs}", style="red")
        return Group(head, _patients(seen), _alerts(seen), foot)


def _patients(seen: Seen) -> Table:
    table = Table("patient", "heart rate", "SpO2", "breaths", "temperature", "age", title="Last values", expand=False)
    for patient, heart_rate, spo2, breaths, temperature, age_s in seen.patients:
        cells = [
            _number(heart_rate, "/min"),
            _number(spo2, "%"),
            _number(breaths, "/min"),
            _number(temperature, "°C", 1),
        ]
        table.add_row(patient, *cells, f"{age_s:.0f} s")
    return table


def _number(value: float | None, unit: str, digits: int = 0) -> str:
    return "-" if value is None else f"{value:.{digits}f} {unit}"


def _alerts(seen: Seen) -> Panel:
    lines = Text("none yet", style="dim")
    if seen.alerts:
        lines = Text("\n").join(
            Text.assemble((f"{priority:6}", _STYLES.get(priority, "")), f" {patient}  {state}  {sentence}")
            for patient, priority, state, sentence in seen.alerts
        )
    return Panel(lines, title="Alerts, newest first", title_align="left")
