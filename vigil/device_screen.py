"""What `vigil device` prints: a table of devices, one device in full, JSON lines for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import typer
from rich.table import Table

from timeseries.registry import Device
from vigil.quarantine_screen import console


def as_lines(devices: Sequence[Device]) -> None:
    """Print one JSON object a line."""
    for one in devices:
        typer.echo(json.dumps(asdict(one), default=lambda moment: moment.isoformat()))


def show_devices(devices: Sequence[Device]) -> None:
    """Print a table."""
    out = console()
    if not devices:
        out.print("no device is registered: `vigil device register` does that")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("device", "state", "type", "model", "firmware", "use", "worn by", "last heard", "battery", "clock"):
        table.add_column(name, justify="right" if name in {"battery", "clock"} else "left", no_wrap=True)
    for one in devices:
        table.add_row(
            one.device_id, one.state, one.device_type, one.model or "", one.firmware or "", one.intended_use,
            one.patient_id or "", _ago(one.last_seen_at), *_vital_signs(one),
        )  # fmt: skip
    out.print(table)


def show_device(one: Device, bindings: Sequence[tuple[Any, ...]], events: Sequence[tuple[Any, ...]]) -> None:
    """Print one device in full."""
    out = console()
    battery, clock = _vital_signs(one)
    facts = {
        "state": one.state, "type": one.device_type, "manufacturer": one.manufacturer, "model": one.model,
        "firmware": one.firmware, "intended use": one.intended_use,
        "may tell": "everything" if one.permitted_metrics is None else ", ".join(one.permitted_metrics),
        "connection": _json(one.connection), "streams": _json(one.streams), "accuracy": _json(one.accuracy),
        "last heard": _ago(one.last_seen_at), "battery": battery, "clock": clock,
    }  # fmt: skip
    table = Table(one.device_id, "", box=None, pad_edge=False, header_style="bold")
    for name, value in facts.items():
        if value:
            table.add_row(name, str(value))
    out.print(table)
    if bindings:
        worn = Table("worn by", "from", "to", "said", box=None, pad_edge=False, header_style="bold")
        for patient, start, end, by in bindings:
            worn.add_row(patient, _at(start), _at(end) if end else "", by)
        out.print()
        out.print(worn)
    done = Table("when", "what", "who", "why", "", box=None, pad_edge=False, header_style="bold")
    for at, what, who, why, detail in events:
        done.add_row(_at(at), what, who, why or "", _json(detail))
    out.print()
    out.print(done)


def _vital_signs(one: Device) -> tuple[str, str]:
    battery = "" if one.battery_pct is None else f"{one.battery_pct:.0f} %"
    return battery, "" if one.clock_offset_s is None else f"{one.clock_offset_s:+.1f} s"


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value) if value else ""


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _ago(moment: datetime | None) -> str:
    if moment is None:
        return "never"
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for size, word in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word} ago"
    return "just now"
