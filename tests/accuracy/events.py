"""How true the event detectors are on simulated wearers: figures of the simulation, never of clinical performance.

Desaturations against the dips that the simulator made, fever, rising temperature, glucose and heart-rate surges against
its episodes, and what all of them find in people to whom nothing of the kind happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from alerts.event import State
from devices.simulator import BetaBlocker, Hypoglycaemia, Panic, SleepApnoea, Wearer, cohort, simulate, truth
from stream.detectors.desaturation import Desaturation
from stream.detectors.fever import Fever
from stream.detectors.finding import Finding
from stream.detectors.glucose import Glucose
from stream.detectors.observation import Observations
from stream.detectors.protocol import NOBODY, Detector, Person
from stream.detectors.surge import Surge
from stream.detectors.temperature_trend import TemperatureTrend
from stream.detectors.wrist_temperature import WristTemperature
from tests.accuracy.people import observations
from vitals.care_profile import CareProfile
from vitals.clock import US_PER_S
from vitals.quality import Context

START_US: Final = 1_750_000_000 * US_PER_S
HOUR_US: Final = 3_600 * US_PER_S
DAY_US: Final = 24 * HOUR_US
HEALTHY: Final = ("well", "athlete", "beta_blocker", "ectopy")
_LIMITED: Final = Person(CareProfile(version=1, rate_limiting_drug=True))


def observed(who: Wearer, start_us: int, end_us: int, cadences_s: Mapping[str, float]) -> Observations:
    """Return what a wearer's device tells of some channels, as settled detectors get it."""
    # The simulator tells in the order in which measurements end, then of metrics.
    return observations(simulate(replace(who, cadences_s=dict(cadences_s), beats=False), start_us, end_us))


def found_by(detector: Detector[Any], seen: Observations, person: Person = NOBODY) -> list[Finding]:
    """Return what a detector finds in its metrics of `seen`, which come six hours at a time."""
    seen = seen[np.isin(seen["metric"], sorted(detector.metrics))]
    state, found = detector.fresh(), list[Finding]()
    begins = np.flatnonzero(np.diff(seen["start_us"] // (6 * HOUR_US), prepend=-1))
    for part in np.split(seen, begins[1:]):
        state, told = detector.step(state, part, int(part["start_us"][-1]), person)
        found += told
    return found


def raised(found: Sequence[Finding]) -> list[Finding]:
    """Return the findings that raise."""
    return [one for one in found if one.state is State.RAISED]


def desaturations(patients: int = 12, cadences_s: Sequence[float] = (1.0, 2.0, 5.0, 10.0)) -> dict[str, Any]:
    """Return, by cadence, counted 4 % desaturations an hour asleep against the simulator's, for 5 to 30 events an hour.

    The simulator's dips are 4 to 10 points deep by its noiseless truth; `raised` is the share of nights with an alert.
    """
    figures: dict[str, Any] = {}
    for cadence_s in cadences_s:
        rows = []
        for number, one in enumerate(cohort(patients, 31, START_US, START_US + DAY_US)):
            per_h = (5.0, 10.0, 20.0, 30.0)[number % 4]
            rows.append(_night(replace(one, scenarios=(SleepApnoea(START_US, 86_400.0, per_h),)), cadence_s, per_h))
        errors = np.array([(row["odi4_per_h"] - row["true_per_h"]) / row["true_per_h"] for row in rows])
        heavy = [row for row in rows if row["per_h"] >= 20]
        light = [row for row in rows if row["per_h"] <= 5]
        figures[f"{cadence_s:g}_s"] = {
            "nights": len(rows),
            "odi4_error_share_mean": round(float(errors.mean()), 3),
            "odi4_error_share_worst": round(float(np.abs(errors).max()), 3),
            "nadir_error_pct_mean": round(float(np.mean([row["nadir_error"] for row in rows])), 2),
            "raised_of_20_and_more": f"{sum(row['raised'] for row in heavy)} of {len(heavy)}",
            "raised_of_5": f"{sum(row['raised'] for row in light)} of {len(light)}",
        }
    return figures


def _night(who: Wearer, cadence_s: float, per_h: float) -> dict[str, Any]:
    known = truth(who, START_US, START_US + DAY_US, counts=())
    night = known.nights[0] if len(known.nights) == 1 else known.nights[1]
    start_us, end_us = int(night.edges_us[0]), min(int(night.edges_us[-1]), START_US + DAY_US)
    dips = [one for one in known.of("desaturation") if start_us <= one.start_us < end_us]
    seen = observed(who, start_us, end_us, {"spo2": cadence_s})
    counted, nadir = counted_events(seen)
    hours = (end_us - start_us) / HOUR_US
    return {
        "per_h": per_h,
        "true_per_h": len(dips) / hours,
        "odi4_per_h": counted / hours,
        "nadir_error": nadir - min((one.parameters["spo2_min"] for one in dips), default=nadir),
        "raised": bool(
            raised(found_by(Desaturation(), observed(who, START_US, START_US + DAY_US, {"spo2": cadence_s})))
        ),
    }


def counted_events(seen: Observations) -> tuple[int, float]:
    """Return how many 4 % desaturations are counted in `seen`, and the lowest nadir in per cent."""
    from stream.detectors.desaturation_events import Recent, events_in

    value = np.rint(seen["value"] * 10).astype(np.int64)
    _, _, events = events_in(Recent.none(), None, seen["start_us"], value, 12 * US_PER_S)
    deep = [one for one in events if one.depth >= 40]
    return len(deep), min((one.nadir for one in deep), default=1_000) / 10


def surges(patients: int = 24) -> dict[str, Any]:
    """Return recall and lead of surges: one attack a day, awake, with and without a beta blocker."""
    figures: dict[str, Any] = {}
    drug = (BetaBlocker(START_US - DAY_US),)
    for name, person, scenarios in (
        ("plain", NOBODY, ()),
        ("beta_blocker", NOBODY, drug),
        ("beta_blocker_known", _LIMITED, drug),
    ):
        delays, missed, still = [], 0, 0
        for number, one in enumerate(cohort(patients, 47, START_US, START_US + DAY_US)):
            panic = Panic(START_US + HOUR_US * (2 + number % 5))  # afternoon and evening: the rule leaves sleep alone
            who = replace(one, scenarios=(*scenarios, panic))
            seen = observed(who, START_US, START_US + DAY_US, {"heart_rate": 1.0})
            hits = [
                one
                for one in raised(found_by(Surge(), seen, person))
                if panic.start_us <= one.raised_us <= panic.end_us
            ]
            delays += [(hits[0].raised_us - panic.start_us) / US_PER_S] if hits else []
            missed += not hits
            before = (seen["start_us"] >= panic.start_us - 600 * US_PER_S) & (seen["start_us"] < panic.start_us)
            still += not (seen["context"][before] & int(Context.MOTION_ACTIVE)).any()
        figures[name] = {
            "attacks": patients,
            "still_for_10_min_before": still,
            "found": patients - missed,
            "median_delay_s": float(np.median(delays)) if delays else None,
        }
    return figures


def lows(patients: int = 12) -> dict[str, Any]:
    """Return how often a fall to 50 mg/dL is found low and very low, and how long after the level was crossed."""
    found: dict[str, list[float]] = {"glucose_low": [], "glucose_very_low": []}
    for who in cohort(patients, 53, START_US, START_US + DAY_US, scenarios=("hypoglycaemia",)):
        seen = observed(who, START_US, START_US + DAY_US, {"glucose": 300.0})
        low = next(one for one in who.scenarios if isinstance(one, Hypoglycaemia))
        for one in raised(found_by(Glucose(), seen)):
            if one.rule in found and low.start_us <= one.raised_us <= low.end_us:
                found[one.rule].append((one.raised_us - one.opened_us) / 60e6)
    return {
        rule: {"of": patients, "found": len(delays), "median_delay_min": float(np.median(delays)) if delays else None}
        for rule, delays in found.items()
    }


def warm(patients: int = 8) -> dict[str, Any]:
    """Return in how many fevers of 39.2 Cel each temperature rule raises, and after how many hours."""
    days = 3
    rules = Counter[str]()
    delays: dict[str, list[float]] = {}
    for who in cohort(patients, 61, START_US, START_US + days * DAY_US, scenarios=("fever",)):
        seen = observed(who, START_US, START_US + days * DAY_US, {"body_temperature": 60.0})
        began = who.scenarios[0].start_us
        for rule in {
            one.rule: one for one in raised([*found_by(Fever(), seen), *found_by(TemperatureTrend(), seen)])
        }.values():
            rules[rule.rule] += 1
            delays.setdefault(rule.rule, []).append((rule.raised_us - began) / HOUR_US)
    return {
        rule: {"of": patients, "found": rules[rule], "median_delay_h": round(float(np.median(delays[rule])), 1)}
        for rule in sorted(rules)
    }


def false_findings(patients: int = 40, days: int = 2) -> dict[str, Any]:
    """Return what is found in people to whom nothing happens, a patient-day, and by rule."""
    rules = Counter[str]()
    paging = 0
    cadences = {"heart_rate": 1.0, "spo2": 1.0, "body_temperature": 60.0, "wrist_temperature": 60.0, "glucose": 300.0}
    for who in cohort(patients, 71, START_US, START_US + days * DAY_US, scenarios=HEALTHY):
        seen = observed(who, START_US, START_US + days * DAY_US, cadences)
        for detector in (Desaturation(), Fever(), TemperatureTrend(), WristTemperature(), Glucose(), Surge()):
            for one in raised(found_by(detector, seen)):
                rules[one.rule] += 1
                paging += one.priority.rank > 0
    patient_days = patients * days
    return {
        "patient_days": patient_days,
        "paging_per_patient_day": round(paging / patient_days, 4),
        "digest_per_patient_day": round((rules.total() - paging) / patient_days, 4),
        "by_rule": dict(rules),
    }


def figures() -> dict[str, Any]:
    """Return all of it; about two minutes."""
    return {
        "desaturation": desaturations(),
        "surge": surges(),
        "glucose": lows(),
        "temperature": warm(),
        "healthy": false_findings(),
    }
