"""The whole watch on simulated people and real recordings: all detectors, the default policy, the production engine.

What a room's own figures (the modules beside) cannot say: what reaches a person when everything runs together.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from alerts.event import AlertEvent, Kind, Priority
from devices.simulator import ALL_CADENCES_S, FAULTS, Deterioration, Wearer, cohort, news2, physiology, wearer
from stream.policy_file.policies import built_in
from stream.watch.engine import Engine
from stream.watch.people import CrowdSnapshot
from stream.watch.replay import Told, replay
from tests.accuracy.people import told_by
from tests.stream.detectors.rhythm_helpers import ltafdb_74
from vigil.replay.run import read_file
from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.catalogue import number_of
from vitals.clock import US_PER_S, from_datetime
from vitals.ids import device_id, patient_id

HEALTHY: Final = ("well", "athlete", "beta_blocker", "ectopy")
START_US: Final = 1_780_272_000 * US_PER_S  # 2026-06-01 00:00 UTC, a Monday
HOUR_US: Final = 3_600 * US_PER_S
DAY_US: Final = 24 * HOUR_US
REALDATA: Final = Path(__file__).resolve().parents[3] / "shared" / "realdata"
_PROCESSES: Final = 2


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert that was raised, or rose: when (event time, us), and whether it would page."""

    rule: str
    kind: Kind
    priority: Priority
    at_us: int
    live: bool
    state: str


def watched(who: Wearer, start_us: int, end_us: int) -> list[Raised]:
    """Return what the watch says of what a wearer's devices tell."""
    return alerts(told_by(who, start_us, end_us))


def alerts(told: Sequence[Told]) -> list[Raised]:
    """Return what the watch raises on samples."""
    events = replay(Engine(CrowdSnapshot(built_in())), told)
    return [_raised(event) for event in events if event.state.value != "cleared"]


def _raised(event: AlertEvent) -> Raised:
    at_us = from_datetime(event.changed_at)
    return Raised(event.rule, event.kind, event.priority, at_us, not event.retrospective, event.state.value)


def healthy(patients: int = 100, days: int = 1) -> dict[str, Any]:
    """Return the burden of healthy people a patient-day, with exercise, athletes, beta blockers and ectopy."""
    found = _each(_one_healthy, [(number, patients, days) for number in range(patients)])
    total = patients * days
    tiers: dict[str, Counter[str]] = {"paging": Counter(), "digest": Counter(), "technical": Counter()}
    for raised in found:
        for one in raised:
            tiers[_tier(one)][one.rule] += one.live
    return {
        "patient_days": total,
        **{f"{tier}_a_patient_day": round(sum(counts.values()) / total, 4) for tier, counts in tiers.items()},
        "by_rule": {tier: dict(counts) for tier, counts in tiers.items()},
    }


def _tier(one: Raised) -> str:
    if one.priority is not Priority.LOW:
        return "paging"
    return "technical" if one.kind is Kind.TECHNICAL else "digest"


def _one_healthy(job: tuple[int, int, int]) -> list[Raised]:
    number, patients, days = job
    end_us = START_US + days * DAY_US
    people = cohort(patients, 71, START_US, end_us, scenarios=HEALTHY, cadences_s=ALL_CADENCES_S)
    return watched(people[number], START_US, end_us)


def faults(patients: int = 6, hours: int = 24) -> dict[str, Any]:
    """Return, by fault of a device or line, what is raised of healthy people: nothing physiological."""
    found: dict[str, Any] = {}
    jobs = [(fault, number, patients, hours) for fault in FAULTS for number in range(patients)]
    for (fault, *_), raised in zip(jobs, _each(_one_faulty, jobs), strict=True):
        told = found.setdefault(fault, {"physiological": Counter(), "technical": Counter()})
        for one in raised:
            told[one.kind.value][one.rule] += 1
    return {"patients_each": patients, "hours": hours, "by_fault": found}


def _one_faulty(job: tuple[str, int, int, int]) -> list[Raised]:
    fault, number, patients, hours = job
    end_us = START_US + hours * HOUR_US
    return watched(cohort(patients, 5, START_US, end_us, faults=[fault])[number], START_US, end_us)


def deterioration(patients: int = 30) -> dict[str, Any]:
    """Return how long before the simulator's full NEWS2 reaches 7 the watch pages, in minutes, and how many it missed.

    A third of the patients each get ill over two, four and six hours; all channels, 5 % of samples lost.
    """
    found = _each(_one_ill, list(range(patients)))
    reached = [lead for lead in found if lead is not None]
    leads = [lead for lead in reached if lead != float("-inf")]
    return {
        "patients": patients,
        "reached_7": len(reached),
        "paged_before": sum(lead > 0 for lead in leads),
        "missed": len(reached) - len(leads),
        "median_lead_min": round(median(leads), 1) if leads else None,
        "shortest_lead_min": round(min(leads), 1) if leads else None,
    }


def _one_ill(number: int) -> float | None:
    """Return the lead in minutes; None where the score never reached 7, minus infinity where nothing was said."""
    rise_s = (2, 4, 6)[number % 3] * 3_600.0
    ill = Deterioration(START_US + 3 * HOUR_US, rise_s, 2 * 3_600.0, 3_600.0)
    who = wearer(9_000 + number, patient=f"ill-{number}", device=f"ill-{number}", cadences_s=ALL_CADENCES_S)
    who = replace(who, scenarios=(ill,), faults=(FAULTS["loss"].make(_stage()),))
    end_us = START_US + 12 * HOUR_US
    grid = np.arange(START_US, end_us, 60 * US_PER_S)
    high = np.flatnonzero(news2(physiology(who, grid)) >= 7)
    if not len(high):
        return None
    paged = [
        one.at_us
        for one in watched(who, START_US, end_us)
        if one.kind is Kind.PHYSIOLOGICAL and one.priority is not Priority.LOW and one.at_us >= ill.start_us
    ]
    return (int(grid[high[0]]) - min(paged)) / (60 * US_PER_S) if paged else float("-inf")


def _stage() -> Any:
    from devices.simulator.recipes import Stage

    return Stage(START_US, 12 * 3_600.0, 0.5)


def recordings() -> dict[str, Any]:
    """Return what the watch says of real recordings; empty where they are absent."""
    if not REALDATA.is_dir():
        return {"skipped": "the recordings are not beside the repository"}
    found: dict[str, Any] = {}
    for name, path in (("mitdb100", "mitdb100/100.atr"), ("nsr001", "af/nsr001.ecg")):
        read = read_file(REALDATA / path)
        found[name] = _of_recording([(_HEADER, read.columns)]) | {"hours": round(read.hours, 2)}
    found["ltafdb74"] = _of_recording([(_HEADER, _atrial_fibrillation())])
    return found


_HEADER: Final = BatchHeader(patient_id("recording"), device_id("recorder"), "file", "replay")


def _of_recording(told: Sequence[Told]) -> dict[str, Any]:
    raised = alerts(told)
    start_us = min(int(columns.start_us.min()) for _, columns in told)
    return {
        "paging": dict(Counter(one.rule for one in raised if one.priority is not Priority.LOW)),
        "digest": dict(Counter(one.rule for one in raised if one.priority is Priority.LOW)),
        "first_after_s": {
            one.rule: round((one.at_us - start_us) / US_PER_S, 1) for one in sorted(raised, key=lambda one: -one.at_us)
        },
    }


def _atrial_fibrillation() -> SampleColumns:
    beats = ltafdb_74(0)
    metric = np.full(len(beats), number_of("rr_interval"), np.int16)
    end_us = beats["start_us"] + np.round(beats["value"] * 1_000).astype(np.int64)
    return sample_columns(beats["start_us"], metric, beats["value"], received_us=end_us)


def _each(function: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[Any]:
    with ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as pool:
        yield from pool.map(function, jobs)


def figures(patients: int = 100) -> dict[str, Any]:
    """Return all of it."""
    begun = time.monotonic()
    return {
        "healthy": healthy(patients),
        "faults": faults(),
        "deterioration": deterioration(),
        "recordings": recordings(),
        "seconds": round(time.monotonic() - begun),
    }
