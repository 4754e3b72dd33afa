"""Watch's state as bytes and back, patient by patient: what a keyed, compacted topic can hold (JSON, versioned)."""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from stream.detectors.observation import OBSERVATION
from stream.detectors.sustain import Run, Sustained
from stream.watch_state import Origins, Series, WatchState
from vitals.errors import VigilError

VERSION: Final = 1
_LAYOUT: Final = str(OBSERVATION.descr)


class UnreadableSnapshot(VigilError):
    """A snapshot of watch's state is damaged or of another version: begin from the log instead."""


def snapshot(state: WatchState) -> bytes:
    """Return the whole state as UTF-8 JSON."""
    return _dump({patient: _origins_out(origins) for patient, origins in state.patients.items()})


def snapshot_patient(state: WatchState, patient_id: str) -> bytes:
    """Return one patient's state as UTF-8 JSON; an unknown patient's is empty."""
    return _dump({patient_id: _origins_out(state.patients.get(patient_id, OrderedDict()))})


def restore(data: bytes, into: WatchState | None = None) -> WatchState:
    """Return the state that `data` holds; `into`, where given, takes its patients over. Raises `UnreadableSnapshot`."""
    state = WatchState() if into is None else into
    try:
        held = json.loads(data)
        if held["version"] != VERSION or held["layout"] != _LAYOUT:
            raise UnreadableSnapshot("a snapshot of the watch was written by another version")
        patients = {patient: _origins_in(origins) for patient, origins in held["patients"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableSnapshot("a snapshot of the watch is damaged") from error
    state.patients.update(patients)
    return state


def _dump(patients: dict[str, Any]) -> bytes:
    held = {"version": VERSION, "layout": _LAYOUT, "patients": patients}
    return json.dumps(held, separators=(",", ":")).encode()


def _origins_out(origins: Origins) -> list[Any]:
    return [[*key, {str(number): _series_out(one) for number, one in held.items()}] for key, held in origins.items()]


def _origins_in(origins: list[Any]) -> Origins:
    return OrderedDict(
        ((device, app), {int(number): _series_in(one) for number, one in held.items()}) for device, app, held in origins
    )


def _series_out(series: Series) -> dict[str, Any]:
    return {
        "base_us": series.base_us,
        "recent": base64.b64encode(series.recent.tobytes()).decode(),
        "active": {name: asdict(state) for name, state in series.active.items()},
        "retrospective": sorted(series.retrospective),
    }


def _series_in(held: dict[str, Any]) -> Series:
    recent = np.frombuffer(base64.b64decode(held["recent"], validate=True), OBSERVATION).copy()
    return Series(
        base_us=int(held["base_us"]),
        recent=recent,
        alarming=bool(recent["alarm"].any()),
        active={name: _sustained_in(state) for name, state in held["active"].items()},
        retrospective=set(held["retrospective"]),
    )


def _sustained_in(held: dict[str, Any]) -> Sustained:
    run = held["run"]
    if run is not None:
        run = Run(**{**run, "readings": tuple((at, value, grade) for at, value, grade in run["readings"])})
    return Sustained(held["at_us"], held["opened_us"], held["raised_us"], run)
