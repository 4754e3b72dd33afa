"""A patient's memory as bytes and back: what a keyed, compacted topic holds (JSON, versioned).

Numbers and arrays travel as `stream.detectors.packing` has them. What one detector's new version cannot read costs
that detector its memory, not the patient.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from pydantic_core import to_json

from stream.detectors.observation import NOTHING, OBSERVATION, Observations
from stream.detectors.packing import Unpackable, pack, unpack
from stream.detectors.sustain import NEVER, Sustained
from stream.detectors.track import Track
from stream.watch.book import Episode
from stream.watch.memory import Origin, OriginKey, Patient, Series
from stream.watch.plan import METRICS, Plan
from vitals.errors import VigilError

VERSION: Final = 3


class UnreadableSnapshot(VigilError):
    """A snapshot of the watch is damaged or of another version: begin from the log instead."""


def pack_patient(patient: Patient) -> bytes:
    """Return a patient's memory as UTF-8 JSON; the profile's version stands in it for those who look at snapshots."""
    shapes = patient.plan.shapes
    held = {
        "version": VERSION,
        "policy": patient.plan.policy,
        "profile": max((one.person.profile.version for one in patient.origins.values()), default=0),
        "seen_us": patient.seen_us,
        "withdrawn": patient.withdrawn,
        "track": pack(patient.track),
        "states": _states_out(patient.states, shapes),
        "origins": [_origin_out(one, shapes) for one in patient.origins.values()],
        "book": {told: asdict(episode) for told, episode in patient.book.episodes.items()},
    }
    return to_json(held)  # four times as fast as the standard library


def unpack_patient(data: bytes, into: Patient, new_origin: Callable[[Patient, OriginKey], Origin]) -> Patient:
    """Fill a fresh patient with what `data` holds and return it. Raises `UnreadableSnapshot`."""
    try:
        held = json.loads(data)
        if held["version"] != VERSION:
            raise UnreadableSnapshot("a snapshot of the watch was written by another version")
        into.seen_us, into.withdrawn = int(held["seen_us"]), bool(held["withdrawn"])
        into.track = _track_in(held["track"])
        into.book.episodes = {told: unpack(Episode, one) for told, one in held["book"].items()}
        lost: set[str] = set()
        into.states = _states_in(held["states"], into.plan, lost)
        into.origins = OrderedDict()
        for one in held["origins"]:
            key = (str(one["device"]), str(one["app"]))
            into.origins[key] = _origin_in(one, new_origin(into, key), into.plan, lost)
        into.book.orphan(lost | (into.book.sources() - set(into.plan.by_name)))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, Unpackable) as error:
        raise UnreadableSnapshot("a snapshot of the watch is damaged") from error
    return into


def _states_out(states: Mapping[str, Any], shapes: Mapping[str, str]) -> dict[str, Any]:
    return {name: [shapes.get(name, ""), pack(state)] for name, state in states.items()}


def _states_in(held: Mapping[str, Any], plan: Plan, lost: set[str]) -> dict[str, Any]:
    states = {}
    for name, (shape, packed) in held.items():
        detector = plan.by_name.get(name)
        if detector is None or plan.shapes[name] != shape:
            lost.add(name)
            continue
        try:
            states[name] = unpack(type(detector.fresh()), packed)
        except Unpackable:
            lost.add(name)
    return states


def _track_in(held: Any) -> Track:
    try:
        return unpack(Track, held)
    except Unpackable:
        return Track()


def _origin_out(origin: Origin, shapes: Mapping[str, str]) -> dict[str, Any]:
    known = np.flatnonzero(origin.done_us != NEVER)
    return {
        "device": origin.key[0],
        "app": origin.key[1],
        "at": [origin.newest_us, origin.until_us, origin.due_us, origin.heard_us],
        "done": [known.tolist(), *(one[known].tolist() for one in (origin.done_us, origin.begun_us, origin.sound_us))],
        "waiting": pack(origin.inbox.rows()),
        "awake": {str(number): _series_out(one) for number, one in origin.awake.items()},
        "bases": {str(number): base_us for number, base_us in origin.bases.items()},
        "states": _states_out(origin.states, shapes),
    }


def _origin_in(held: Mapping[str, Any], origin: Origin, plan: Plan, lost: set[str]) -> Origin:
    origin.newest_us, origin.until_us, origin.due_us, origin.heard_us = (int(at) for at in held["at"])
    numbers, done, begun, sound = held["done"]
    if numbers and not 0 <= min(numbers) <= max(numbers) < METRICS:
        raise ValueError("a metric that there is not")
    origin.done_us[numbers], origin.begun_us[numbers], origin.sound_us[numbers] = done, begun, sound
    waiting = _rows_in(held["waiting"])
    if len(waiting):
        origin.inbox.put(waiting)
    origin.awake = {int(number): _series_in(one) for number, one in held["awake"].items()}
    origin.bases = {int(number): int(base_us) for number, base_us in held["bases"].items()}
    origin.states = _states_in(held["states"], plan, lost)
    return origin


def _rows_in(held: Any) -> Observations:
    rows: Any = unpack(np.ndarray, held)
    # Rows of another layout are few and recent: the log has them.
    return rows if rows.dtype == OBSERVATION else NOTHING


def _series_out(series: Series) -> dict[str, Any]:
    return {
        "base_us": series.base_us,
        "recent": pack(series.recent),
        "active": {name: pack(state) for name, state in series.active.items()},
        "retrospective": sorted(series.retrospective),
    }


def _series_in(held: Mapping[str, Any]) -> Series:
    recent = _rows_in(held["recent"])
    return Series(
        base_us=int(held["base_us"]),
        recent=recent,
        alarming=bool(recent["alarm"].any()),
        active={name: unpack(Sustained, state) for name, state in held["active"].items()},
        retrospective={str(name) for name in held["retrospective"]},
    )
