"""How true HRV and the personal baseline are on simulated wearers: figures of the simulation, never of performance.

HRV against the beats as they were before artefacts were put in; nights and hours against changes that were made; and
what is found in people to whom nothing happens. The simulator's nights are all too alike, so `Nights` makes them
differ as a person's may: heart rate by an SD of 2.5 /min, RMSSD by 15 %, breathing by 0.5 /min from one to the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import State
from devices.simulator import AtrialFibrillation, Wearer, cohort, simulate, wearer
from devices.simulator.beats import rr_intervals
from devices.simulator.noise import normal
from devices.simulator.scenario import Effect, Scenario
from stream.detectors.below_baseline import OwnBaseline
from stream.detectors.finding import Finding
from stream.detectors.hrv import HrvPolicy, Variability, variability
from stream.detectors.observation import Observations
from stream.detectors.protocol import NOBODY, Person
from tests.accuracy.people import observations
from vitals.care_profile import CareProfile
from vitals.clock import US_PER_S

HOUR_US: Final = 3_600 * US_PER_S
DAY_US: Final = 24 * HOUR_US
WINDOW_US: Final = 300 * US_PER_S
START_US: Final = 1_750_000_000 * US_PER_S // DAY_US * DAY_US
CADENCES_S: Final = {"heart_rate": 60.0, "respiratory_rate": 60.0, "spo2": 300.0}
HEALTHY: Final = ("well", "athlete", "beta_blocker", "ectopy")
_LIMITED: Final = Person(CareProfile(version=1, rate_limiting_drug=True))
_POLICY: Final = HrvPolicy()
_DETECTOR: Final = OwnBaseline()


@dataclass(frozen=True, slots=True)
class Nights(Scenario):
    """Days that differ, and a change on top of them from `change_day` for `lasts_days`."""

    kind: ClassVar[str] = "nights"
    seed: int = 0
    heart_sd_bpm: float = 2.5
    variability_sd: float = 0.15
    breath_sd_per_min: float = 0.5
    change_day: float = 1e6
    lasts_days: float = 1e6
    rise_bpm: float = 0.0
    rise_bpm_a_day: float = 0.0
    breath_rise_per_min: float = 0.0
    variability_left: float = 1.0

    @property
    def end_us(self) -> int:
        """Never."""
        return self.start_us + 1_000 * DAY_US

    def effect(self, time_us: NDArray[np.int64]) -> Effect:
        """Return how the day that each moment belongs to (noon to noon) differs."""
        since = (time_us - self.start_us) / DAY_US - self.change_day
        on = (since >= 0) & (since < self.lasts_days)
        day = (time_us - DAY_US // 2) // DAY_US
        heart, breath, varied = (normal(self.seed, 900 + k, day) for k in range(3))
        return Effect(
            heart_rate_bpm=self.heart_sd_bpm * heart + on * (self.rise_bpm + self.rise_bpm_a_day * since),
            respiratory_rate=self.breath_sd_per_min * breath + on * self.breath_rise_per_min,
            variability=np.exp(self.variability_sd * varied) * np.where(on, self.variability_left, 1.0),
        )


def observed(who: Wearer, start_us: int, end_us: int) -> Observations:
    """Return what a wearer's device tells that the detector wants to see, as it gets it."""
    seen = observations(simulate(who, start_us, end_us))
    seen = seen[np.isin(seen["metric"], sorted(OwnBaseline.metrics))]
    ended_us = seen["start_us"] + seen["duration_ms"].astype(np.int64) * 1_000
    return seen[np.lexsort((seen["metric"], ended_us))]


def followed(who: Wearer, days: int, hours: float = 24.0, person: Person = NOBODY) -> list[Finding]:
    """Return what is found over so many days, each of `hours`; less than a day of them in deep night."""
    state, found = _DETECTOR.fresh(), list[Finding]()
    for day in range(days):
        start_us = START_US + day * DAY_US + (0 if hours >= 24 else 3 * HOUR_US // 2)
        seen = observed(who, start_us, start_us + round(hours * HOUR_US))
        if len(seen):
            state, told = _DETECTOR.step(state, seen, int(seen["start_us"][-1]), person)
            found += told
    return found


def raised(found: Sequence[Finding]) -> list[Finding]:
    """Return the findings that raise."""
    return [one for one in found if one.state is State.RAISED]


def _windows(count: int, who: Wearer) -> Iterator[NDArray[np.float64]]:
    """Yield the times of all beats (ms) of so many windows, three hours apart."""
    for number in range(count):
        start_us = START_US + number * 3 * HOUR_US
        yield (rr_intervals(who, start_us, start_us + WINDOW_US)[0] - start_us) / 1_000


def _of(beats: NDArray[np.float64]) -> Variability:
    return variability(beats[:-1], np.diff(beats), _POLICY)


def _spoiled(kind: str, beats: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    found, count = beats.copy(), max(1, len(beats) // 50)
    at = rng.choice(np.arange(5, len(beats) - 5, 6), count, replace=False)
    if kind == "missed":
        return np.delete(found, at)
    if kind == "extra":
        return np.sort(np.append(found, found[at] + rng.uniform(0.25, 0.75, count) * (found[at + 1] - found[at])))
    found[at] -= rng.uniform(0.2, 0.4, count) * (found[at] - found[at - 1])
    return found


def artefacts(patients: int = 20, windows: int = 8) -> dict[str, Any]:
    """Return by how much RMSSD of five minutes is off with 2 % of beats spoiled, corrected and not."""
    rng, figures = np.random.default_rng(11), dict[str, Any]()
    for kind in ("missed", "extra", "ectopic"):
        errors, uncorrected, void = [], [], 0
        for seed in range(patients):
            for beats in _windows(windows, wearer(seed)):
                true = float(np.sqrt(np.mean(np.diff(beats, 2) ** 2)))
                bad = _spoiled(kind, beats, rng)
                found = _of(bad)
                void += found.void is not None
                errors += [] if found.void is not None else [found.rmssd_ms / true - 1]
                uncorrected.append(float(np.sqrt(np.mean(np.diff(bad, 2) ** 2))) / true - 1)
        figures[kind] = {
            "windows": patients * windows, "void": void, "error_share_median": round(float(np.median(errors)), 3),
            "error_share_p95": round(float(np.quantile(np.abs(errors), 0.95)), 3),
            "uncorrected_error_share_median": round(float(np.median(uncorrected)), 2),
        }  # fmt: skip
    return figures


def void(patients: int = 20, windows: int = 8) -> dict[str, Any]:
    """Return the share of windows of five minutes that are void: in AF (they should be), and in sinus rhythm."""
    fibrillating = (AtrialFibrillation(START_US - DAY_US, 60 * 86_400.0),)
    people = {
        "af": [replace(wearer(seed), scenarios=fibrillating) for seed in range(patients)],
        **{name: cohort(patients, 5, START_US, START_US + DAY_US, scenarios=(name,)) for name in HEALTHY},
    }
    figures: dict[str, Any] = {}
    for name, crowd in people.items():
        found = [_of(beats).void is not None for who in crowd for beats in _windows(windows, who)]
        figures[name] = round(float(np.mean(found)), 3)
    return figures


def false_findings(patients: int = 8, days: int = 42, night_patients: int = 24) -> dict[str, Any]:
    """Return what is found in healthy people: whole days of rates, and nights (75 min) of beats and rates."""
    figures: dict[str, Any] = {}
    for name, crowd, hours in (
        ("whole_days", _healthy(patients, days, CADENCES_S, beats=False), 24.0),
        ("nights_with_beats", _healthy(night_patients, days, {**CADENCES_S, "heart_rate": 30.0}, beats=True), 1.25),
    ):
        rules, healthy_days = Counter[str](), 0
        for number, who in enumerate(crowd):
            drug = HEALTHY[number % len(HEALTHY)] == "beta_blocker"
            rules.update(one.rule for one in raised(followed(who, days, hours, _LIMITED if drug else NOBODY)))
            healthy_days += days
        figures[name] = {
            "patient_days": healthy_days, "per_patient_day": round(rules.total() / healthy_days, 4),
            "rules": dict(rules),
        }  # fmt: skip
    return figures


def _healthy(patients: int, days: int, cadences_s: Mapping[str, float], *, beats: bool) -> list[Wearer]:
    people = cohort(
        patients, 23, START_US, START_US + days * DAY_US, scenarios=HEALTHY, cadences_s=cadences_s, beats=beats
    )
    return [replace(who, scenarios=(*who.scenarios, Nights(START_US, seed=who.seed))) for who in people]


CHANGES: Final[Mapping[str, tuple[str, Nights]]] = {
    "heart_rate_8_bpm_up_for_7_nights": (
        "night_heart_rate_above_baseline", Nights(START_US, change_day=21.0, lasts_days=7.0, rise_bpm=8.0)
    ),
    "heart_rate_half_a_beat_a_day_for_40_days": (
        "night_heart_rate_above_baseline", Nights(START_US, change_day=21.0, lasts_days=40.0, rise_bpm_a_day=0.5)
    ),
    "breathing_3_per_min_up_for_7_nights": (
        "night_respiratory_rate_above_baseline",
        Nights(START_US, change_day=21.0, lasts_days=7.0, breath_rise_per_min=3.0),
    ),
    "rmssd_40_percent_down_for_7_nights": (
        "hrv_below_baseline", Nights(START_US, change_day=21.0, lasts_days=7.0, variability_left=0.6)
    ),
    "rmssd_30_percent_down_for_7_nights": (
        "hrv_below_baseline", Nights(START_US, change_day=21.0, lasts_days=7.0, variability_left=0.7)
    ),
}  # fmt: skip


def changes(patients: int = 10) -> dict[str, Any]:
    """Return in how many wearers each change after three weeks is found while it lasts, and how many days it took."""
    figures: dict[str, Any] = {}
    for name, (rule, change) in CHANGES.items():
        delays = []
        for seed in range(500, 500 + patients):
            cadences = {**CADENCES_S, "heart_rate": 30.0}
            who = wearer(seed, scenarios=(replace(change, seed=seed),), cadences_s=cadences, beats="rmssd" in name)
            began_us = START_US + round(change.change_day * DAY_US)
            until_us = began_us + round(change.lasts_days * DAY_US)
            hits = [
                one
                for one in raised(followed(who, round(change.change_day + change.lasts_days), 1.25))
                if one.rule == rule and began_us <= one.raised_us <= until_us
            ]
            delays += [(hits[0].raised_us - began_us) / DAY_US] if hits else []
        figures[name] = {
            "of": patients, "found": len(delays),
            "median_days": round(float(np.median(delays)), 1) if delays else None,
        }  # fmt: skip
    return figures


def figures() -> dict[str, Any]:
    """Return all of it; about two minutes."""
    return {"artefacts": artefacts(), "void": void(), "false": false_findings(), "changes": changes()}
