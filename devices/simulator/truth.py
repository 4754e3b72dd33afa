"""What was simulated, stated: true values on demand, episodes, nights, and what each fault did to how many samples.

Detection is scored against this, so nothing in it is read off the samples: episodes come from the scenarios, their
figures from the true values, counts from the faults themselves.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Any, Final

import numpy as np

from devices.simulator.fault import Fault
from devices.simulator.news2 import news2
from devices.simulator.noise import Ints
from devices.simulator.physiology import FALLING, KNOT_US, LIMITS, Physiology, physiology
from devices.simulator.scenario import Episode
from devices.simulator.scenarios import Deterioration
from devices.simulator.simulate import tell
from devices.simulator.sleep import Night, nights
from devices.simulator.wearer import Wearer
from vitals.catalogue import SLEEP_STAGES
from vitals.clock import US_PER_S, to_datetime

_DAY_US: Final = 86_400 * US_PER_S
_MOST_MOMENTS: Final = 20_000
"""Extremes of an episode are looked for at so many moments at most; of one of up to 27 hours that is every knot."""
_EXTREMES: Final = {
    "deterioration": ("heart_rate_max", "respiratory_rate_max", "spo2_min", "body_temperature_max", "bp_systolic_min"),
    "atrial_fibrillation": ("heart_rate_max",),
    "fever": ("body_temperature_max", "heart_rate_max"),
    "panic_attack": ("heart_rate_max",),
    "hypoglycaemia": ("glucose_min",),
}


@dataclass(frozen=True, slots=True)
class FaultTold:
    """One fault: from when to when (us), its figures, and how many samples it changed, by what it did to them."""

    kind: str
    start_us: int
    end_us: int
    parameters: Mapping[str, Any]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth of one wearer between two moments (us UTC). Episodes and nights may reach beyond them."""

    who: Wearer
    start_us: int
    end_us: int
    episodes: tuple[Episode, ...]
    nights: tuple[Night, ...]
    faults: tuple[FaultTold, ...]

    def at(self, time_us: Ints) -> Physiology:
        """Return the true values at any moments, beyond the two as well."""
        return physiology(self.who, time_us)

    def of(self, kind: str) -> tuple[Episode, ...]:
        """Return the episodes of one kind, in order."""
        return tuple(one for one in self.episodes if one.kind == kind)

    def json_lines(self) -> Iterator[str]:
        """Yield it as JSON objects, a line each: the wearer first, then episodes, nights and faults."""
        for one in (_wearer_line(self), *self._episodes(), *map(_night_line, self.nights), *map(_line, self.faults)):
            kind = one.pop("type")
            yield json.dumps({"type": kind, "patient_id": self.who.patient_id, **one})

    def _episodes(self) -> Iterator[dict[str, Any]]:
        for one in self.episodes:
            yield {"type": "episode", "kind": one.kind, **_times(one.start_us, one.end_us), **one.parameters}


def truth(who: Wearer, start_us: int, end_us: int, counts: Iterable[Sequence[Counter[str]]] | None = None) -> Truth:
    """Return the truth of [start_us, end_us).

    `counts` are those of the `Telling`s that make up this stretch; without them everything is simulated once more, a
    day at a time, to count.
    """
    if counts is None:
        counts = (tell(who, at, min(at + _DAY_US, end_us)).counts for at in range(start_us, end_us, _DAY_US))
    episodes = [one for scenario in who.scenarios for one in scenario.episodes(who, start_us, end_us)]
    scripts = {one.start_us: one for one in who.scenarios if isinstance(one, Deterioration)}
    dips = [one for one in episodes if one.kind == "desaturation"]
    others = [_with_figures(who, one, scripts) for one in episodes if one.kind != "desaturation"]
    told = tuple(sorted([*others, *_with_nadirs(who, dips)], key=lambda one: one.start_us))
    return Truth(who, start_us, end_us, told, tuple(nights(who, start_us, end_us)), _faults(who.faults, counts))


def _faults(faults: Sequence[Fault], counts: Iterable[Sequence[Counter[str]]]) -> tuple[FaultTold, ...]:
    none: list[Counter[str]] = [Counter() for _ in faults]
    totals = reduce(lambda sums, piece: [a + b for a, b in zip(sums, piece, strict=True)], counts, none)
    return tuple(
        FaultTold(one.kind, one.start_us, one.end_us, _parameters(one), dict(total))
        for one, total in zip(faults, totals, strict=True)
    )


def _parameters(fault: Fault) -> dict[str, Any]:
    return {one.name: getattr(fault, one.name) for one in fields(fault) if one.name not in {"start_us", "end_us"}}


def _with_figures(who: Wearer, episode: Episode, scripts: Mapping[int, Deterioration]) -> Episode:
    """Add to an episode what the true values did in it."""
    step_us = KNOT_US * max(1, -(-(episode.end_us - episode.start_us) // (KNOT_US * _MOST_MOMENTS)))
    moments = np.arange(-(-episode.start_us // KNOT_US) * KNOT_US, episode.end_us, step_us, dtype=np.int64)
    figures = dict(episode.parameters)
    if episode.kind in _EXTREMES and len(moments):
        true = physiology(who, moments)
        for name in _EXTREMES[episode.kind]:
            values = getattr(true, name[:-4])
            figures[name] = round(float(values.max() if name.endswith("_max") else values.min()), 2)
    if episode.kind == Deterioration.kind:
        figures |= passed(who, scripts[episode.start_us])
    return replace(episode, parameters=figures)


def _with_nadirs(who: Wearer, dips: list[Episode]) -> list[Episode]:
    """Add to desaturations, which are many, how low they went; all at once."""
    if not dips:
        return []
    nadirs = np.array([round(one.parameters["nadir_us"]) for one in dips], np.int64)
    held = np.add.outer(nadirs, np.array([0, KNOT_US, 2 * KNOT_US]))  # saturation is at its lowest for ten seconds
    lowest = physiology(who, held.ravel()).spo2.reshape(held.shape).min(axis=1).round(2).tolist()
    return [
        replace(one, parameters={**one.parameters, "depth": round(one.parameters["depth"], 2), "spo2_min": low})
        for one, low in zip(dips, lowest, strict=True)
    ]


def passed(who: Wearer, script: Deterioration) -> dict[str, int]:
    """Return when a deterioration passed what, to the second.

    `<metric>_passed_us` is the first second from which the true value stays beyond `LIMITS[metric]` until it recovers;
    `news2_5_us` and `news2_7_us` are the first at which the full score is that high.
    """
    seconds = np.arange(script.start_us, script.relief_us, US_PER_S, dtype=np.int64)
    if len(seconds) == 0:
        return {}
    true = physiology(who, seconds)
    found = {"worst_us": script.worst_us, "relief_us": script.relief_us}
    for code, limit in LIMITS.items():
        value = getattr(true, code)
        inside = np.flatnonzero(value >= limit if code in FALLING else value <= limit)
        first = 0 if len(inside) == 0 else int(inside[-1]) + 1
        if first < len(seconds):
            found[f"{code}_passed_us"] = int(seconds[first])
    score = news2(true)
    for points in (5, 7):
        reached = np.flatnonzero(score >= points)
        if len(reached):
            found[f"news2_{points}_us"] = int(seconds[reached[0]])
    return found


def _wearer_line(told: Truth) -> dict[str, Any]:
    who = told.who
    names = (
        "seed", "device_id", "zone_offset_min", "resting_heart_rate", "spo2", "respiratory_rate", "temperature",
        "rmssd_ms", "systolic", "glucose", "bed_h", "wake_h", "liveliness",
    )  # fmt: skip
    values = ((name, getattr(who, name)) for name in names)
    constitution = {name: round(value, 3) if isinstance(value, float) else value for name, value in values}
    return {"type": "wearer", **_times(told.start_us, told.end_us), **constitution}


def _night_line(night: Night) -> dict[str, Any]:
    lasts_min = np.diff(night.edges_us) / (60 * US_PER_S)
    kinds = np.unique(night.stages).tolist()
    minutes = {f"{SLEEP_STAGES[kind]}_min": float(lasts_min[night.stages == kind].sum()) for kind in kinds}
    asleep = {"asleep_us": int(night.edges_us[0]), "awake_us": int(night.edges_us[-1])}
    return {"type": "night", **_times(night.bed_us, night.up_us), **asleep, **minutes}


def _line(fault: FaultTold) -> dict[str, Any]:
    times = _times(fault.start_us, fault.end_us)
    return {"type": "fault", "kind": fault.kind, **times, **fault.parameters, "counts": dict(fault.counts)}


def _times(start_us: int, end_us: int) -> dict[str, Any]:
    """Return both moments as microseconds and, where the calendar has them, in words; a fault may have no end."""
    told: dict[str, Any] = {"start_us": start_us, "end_us": end_us}
    for name, time_us in (("start", start_us), ("end", end_us)):
        try:
            told[name] = to_datetime(time_us).isoformat()
        except OverflowError:
            told[name] = None
    return told
