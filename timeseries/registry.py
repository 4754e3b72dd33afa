"""Edge: the device registry: register, bind to a wearer for a time, change, suspend, retire; who did it and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from timeseries.queries import load
from vitals.catalogue import BY_CODE
from vitals.errors import VigilError
from vitals.gate import DeviceState
from vitals.ids import InvalidId, device_id, is_opaque, patient_id
from vitals.synthetic import PATIENT as SYNTHETIC

_SQL: Final = load("registry")


class RegistryRefused(VigilError):
    """The registry does not do what was asked, and says why; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Description:
    """What is told of a device; None leaves a part as it is. `permitted` are metric codes."""

    device_type: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    firmware: str | None = None
    intended_use: str | None = None
    permitted: tuple[str, ...] | None = None
    permit_all: bool = False
    connection: Mapping[str, Any] = field(default_factory=dict)
    streams: Mapping[str, Any] = field(default_factory=dict)
    accuracy: Mapping[str, Any] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """Return the parts that say something, for the events."""
        names = ("device_type", "manufacturer", "model", "firmware", "intended_use", "permitted")
        found = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        found |= {
            name: dict(getattr(self, name)) for name in ("connection", "streams", "accuracy") if getattr(self, name)
        }
        return found | ({"permitted": "all"} if self.permit_all else {})

    def values(self) -> dict[str, Any]:
        """Return the parameters of the queries. Raises `RegistryRefused` for a metric that the catalogue lacks."""
        for code in (*(self.permitted or ()), *self.streams, *self.accuracy):
            if code not in BY_CODE:
                raise RegistryRefused(f"no metric {code!r} in the catalogue (see data.metrics)")
        return {
            "device_type": self.device_type, "manufacturer": self.manufacturer, "model": self.model,
            "firmware": self.firmware, "intended_use": self.intended_use, "permit_all": self.permit_all,
            "permitted": None if self.permitted is None else [BY_CODE[code].number for code in self.permitted],
            "connection": Jsonb(dict(self.connection)), "streams": Jsonb(dict(self.streams)),
            "accuracy": Jsonb(dict(self.accuracy)),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Device:
    """A registered device as it is now; times are aware, whatever nobody told is None."""

    device_id: str
    state: str
    device_type: str
    manufacturer: str | None
    model: str | None
    firmware: str | None
    intended_use: str
    permitted_metrics: list[str] | None
    connection: dict[str, Any]
    streams: dict[str, Any]
    accuracy: dict[str, Any]
    registered_at: datetime
    changed_at: datetime
    patient_id: str | None
    bound_since: datetime | None
    last_seen_at: datetime | None
    last_measured_at: datetime | None
    battery_pct: float | None
    battery_at: datetime | None
    clock_offset_s: float | None


class Registry:
    """The registry over one connection, a context manager; each call is one transaction. Raises psycopg's errors."""

    def __init__(self, connection: psycopg.Connection[Any], who: str) -> None:
        """Work as `who`, an opaque id. Raises `InvalidId`."""
        if not is_opaque(who):
            raise InvalidId("who does this")
        self._connection = connection
        self._who = who

    def register(self, device: str, description: Description) -> None:
        """Register a device, active. Raises `RegistryRefused` if it is registered already, `InvalidId`."""
        if description.device_type is None:
            raise RegistryRefused("say what it is: a device type, such as chest_strap")
        values = {"device": device_id(device)} | description.values()
        values["intended_use"] = values["intended_use"] or "wellness"
        with self._connection.transaction():
            self._connection.execute(_SQL["add_device"], values)
            row = self._connection.execute(_SQL["register"], values).fetchone()
            if row is None:
                raise RegistryRefused(f"{device} is registered already: change it with `vigil device change`")
            self._note(row[0], "registered", None, description.told())

    def change(self, device: str, description: Description) -> None:
        """Change what is known of a device. Raises `RegistryRefused`."""
        with self._changing(device) as (key, _):
            self._connection.execute(_SQL["change"], {"key": key} | description.values())
            self._note(key, "changed", None, description.told())

    def bind(self, device: str, patient: str, start: datetime, end: datetime | None = None) -> None:
        """Note who wears a device, from when (to when). Raises `RegistryRefused` where another wears it then."""
        values = {"patient": patient_id(patient), "from": start, "to": end, "who": self._who}
        if SYNTHETIC in {patient, device}:
            raise RegistryRefused(f"{SYNTHETIC} is the synthetic patient and its device: nobody wears or is that")
        with self._changing(device) as (key, state):
            if state == DeviceState.RETIRED:
                raise RegistryRefused(f"{device} is retired: nobody wears it any more")
            self._connection.execute(_SQL["add_patient"], values)
            self._connection.execute(_SQL["bind"], values | {"key": key})
            told = {"patient": patient, "from": start.isoformat(), "to": end and end.isoformat()}
            self._note(key, "bound", None, told)

    def release(self, device: str, at: datetime | None = None) -> None:
        """End the binding that lasts. Raises `RegistryRefused` if nobody wears the device."""
        moment = at or datetime.now(UTC)
        with self._changing(device) as (key, _):
            if not self._connection.execute(_SQL["release"], {"key": key, "at": moment}).rowcount:
                raise RegistryRefused(f"nobody is bound to {device} without an end before that time")
            self._note(key, "released", None, {"at": moment.isoformat()})

    def set_state(self, device: str, state: DeviceState, why: str) -> None:
        """Suspend, resume or retire a device. Raises `RegistryRefused`: retired is for good; a reason is asked for."""
        if not why.strip():
            raise RegistryRefused("say why: the number of the matter, never a name")
        with self._changing(device) as (key, before):
            if before in {DeviceState.RETIRED, state}:
                raise RegistryRefused(f"{device} is {before}" + (", for good" if before == DeviceState.RETIRED else ""))
            self._connection.execute(_SQL["set_state"], {"key": key, "state": state.value})
            self._note(key, _DONE[state], why.strip(), {})

    def devices(self, device: str | None = None, state: str | None = None) -> list[Device]:
        """Return registered devices (one; those in a state)."""
        return [Device(*row) for row in self._connection.execute(_SQL["devices"], {"device": device, "state": state})]

    def history(self, device: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Return (bindings: patient, from, to, by) and (events: at, what, who, why, detail), oldest first."""
        values = {"device": device}
        bindings = self._connection.execute(_SQL["bindings"], values).fetchall()
        return bindings, self._connection.execute(_SQL["events"], values).fetchall()

    @contextmanager
    def _changing(self, device: str) -> Iterator[tuple[int, str]]:
        try:
            with self._connection.transaction():
                row = self._connection.execute(_SQL["device_key"], {"device": device}).fetchone()
                if row is None:
                    raise RegistryRefused(f"{device} is not registered: `vigil device register` does that")
                yield row
        except psycopg.errors.ExclusionViolation:
            raise RegistryRefused(f"somebody else wears {device} in that time: release it first") from None
        except psycopg.errors.CheckViolation:
            raise RegistryRefused("a binding ends after it begins") from None

    def _note(self, key: int, what: str, why: str | None, detail: Mapping[str, Any]) -> None:
        values = {"key": key, "what": what, "who": self._who, "why": why, "detail": Jsonb(dict(detail))}
        self._connection.execute(_SQL["note"], values)


_DONE: Final = {
    DeviceState.SUSPENDED: "suspended", DeviceState.ACTIVE: "resumed", DeviceState.RETIRED: "retired"
}  # fmt: skip
