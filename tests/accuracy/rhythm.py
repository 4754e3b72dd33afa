"""How true the rhythm detectors are: on simulated wearers, on rhythms made up beat by beat, and on the recordings.

Figures of a simulation, never of clinical performance. Three parts:

- `windows`: of each stretch of 30 s in which a window was judged, whether it was called irregular (most of the judged
  windows that have their middle in it) against whether the simulator's wearer fibrillated. Stretches within a minute of
  the beginning or end of an episode hold both and are left out. Wearers have ectopy of several shares, athletes' and
  apnoeic hearts, panic, exercise, drugs, illness; some have fibrillation, slow and fast, on top. 5 % of samples are
  lost, and one interval in 2,000 is a glitch.
- `alerts`: what is told of the same wearers: episodes found, after how long, and false ones a patient-day.
- `made_up`: the share of windows called irregular in rhythms that the simulator has not, and `recordings`.

Thresholds come from the papers that the detectors name, and from seeds below `HELD_OUT`; figures are of seeds above.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Priority, State
from devices.simulator import ALWAYS, AtrialFibrillation, Ectopy, Glitch, Loss, Wearer, cohort
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import NOBODY, Detector
from stream.detectors.rhythm_beats import beats
from stream.detectors.rhythm_ectopy import Ectopy as EctopyBurden
from stream.detectors.rhythm_irregular import RULE, IrregularRhythm
from stream.detectors.rhythm_pause import Pause
from stream.detectors.rhythm_runs import FastRun
from stream.detectors.rhythm_slow import SlowRhythm
from stream.detectors.rhythm_windows import IrregularRhythmPolicy, Judged, counts, ends, judge
from tests.accuracy.people import observations, told_by
from tests.stream.detectors.rhythm_helpers import REALDATA, annotated, ltafdb_74, samples
from tests.stream.detectors.rhythms import IRREGULAR, REGULAR
from vitals.clock import US_PER_S

START_US: Final = 1_750_000_000 * US_PER_S
HOUR_US: Final = 3_600 * US_PER_S
DAY_US: Final = 24 * HOUR_US
STRETCH_US: Final = 30 * US_PER_S
MIXED_US: Final = 60 * US_PER_S
HELD_OUT: Final = 500
POLICY: Final = IrregularRhythmPolicy()
DETECTORS: Final[tuple[Detector[Any], ...]] = (IrregularRhythm(), Pause(), FastRun(), SlowRhythm(), EctopyBurden())

HEALTHY: Final = ("well", "athlete", "apnoea", "panic", "beta_blocker", "ectopy", "deterioration", "fever")
ECTOPY: Final = (0.05, 0.10, 0.20)
FIBRILLATION: Final[Mapping[str, AtrialFibrillation]] = {
    "af": AtrialFibrillation(0, 3_600.0, 30.0, 0.24),
    "af_slow": AtrialFibrillation(0, 3_600.0, -5.0, 0.20),
    "af_fast": AtrialFibrillation(0, 3_600.0, 65.0, 0.20),
    "af_calmed": AtrialFibrillation(0, 3_600.0, 10.0, 0.16),
    "af_short": AtrialFibrillation(0, 180.0, 30.0, 0.24),
}


@dataclass(frozen=True, slots=True)
class Case:
    """Somebody simulated: what they are called in the table, and when they fibrillate (us)."""

    name: str
    who: Wearer
    episodes: tuple[tuple[int, int], ...] = ()


def cases(seeds: Iterable[int]) -> list[Case]:
    """Return, for each seed, one wearer of every kind."""
    made: list[Case] = []
    for seed in seeds:
        for person in cohort(len(HEALTHY), seed, START_US, START_US + DAY_US, scenarios=HEALTHY, cadences_s={}):
            made.append(Case(HEALTHY[len(made) % _KINDS], person))
        people = iter(cohort(_KINDS - len(HEALTHY), seed + 7, START_US, START_US + DAY_US, cadences_s={}))
        for share in ECTOPY:
            who = next(people)
            early = Ectopy(START_US, 86_400.0, share)
            made.append(Case(f"ectopy_{share:.0%}", replace(who, scenarios=(early,))))
        for name, how in FIBRILLATION.items():
            who = next(people)
            begins = [START_US + hour * HOUR_US for hour in (2, 8, 14, 20)]
            scenarios = (Ectopy(START_US, 86_400.0, 0.03), *(replace(how, start_us=at) for at in begins))
            spans = tuple((at, at + round(how.duration_s * US_PER_S)) for at in begins)
            made.append(Case(name, replace(who, scenarios=scenarios), spans))
    faults = (Loss(*ALWAYS, share=0.05), Glitch(*ALWAYS))
    return [replace(case, who=replace(case.who, faults=faults)) for case in made]


_KINDS: Final = len(HEALTHY) + len(ECTOPY) + len(FIBRILLATION)


def observed(who: Wearer, hours: float = 24.0) -> Observations:
    """Return the wearer's RR intervals as a settled detector gets them."""
    told = told_by(who, START_US, START_US + round(hours * HOUR_US))
    every: Any = np.concatenate([observations(columns) for _, columns in told])
    return every[np.argsort(every["start_us"], kind="stable")]  # type: ignore[no-any-return]


def judged(seen: Observations) -> Judged:
    """Return what the detector's own windows say."""
    whole = beats(seen, POLICY.low_ms, POLICY.high_ms)
    return judge(POLICY, whole, ends(POLICY, counts(POLICY, whole, 0, 0), 0))


def stretches(of: Judged) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the stretches of 30 s in which windows were judged (us), and whether most were irregular."""
    middle = (of.at_us + of.from_us) // 2 // STRETCH_US
    number, where = np.unique(middle, return_inverse=True)
    share = np.bincount(where, of.irregular) / np.maximum(np.bincount(where), 1)
    return number * STRETCH_US, share > 0.5


def truth_of(case: Case, at_us: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return whether the wearer fibrillated in each stretch, and whether that is clear."""
    fibrillates, clear = np.zeros(len(at_us), np.bool_), np.ones(len(at_us), np.bool_)
    for start_us, end_us in case.episodes:
        fibrillates |= (at_us >= start_us) & (at_us + STRETCH_US <= end_us)
        for edge_us in (start_us, end_us):
            clear &= np.abs(at_us + STRETCH_US // 2 - edge_us) > MIXED_US
    return fibrillates, clear


def found_by(detector: Detector[Any], seen: Observations) -> list[Finding]:
    """Return what a detector finds; the samples come some thousands at a time."""
    state, found = detector.fresh(), list[Finding]()
    for at in range(0, len(seen), 5_000):
        part = seen[at : at + 5_000]
        state, told = detector.step(state, part, int(part["start_us"][-1]), NOBODY)
        found += told
    return found


def simulated(seeds: Iterable[int], hours: float = 24.0) -> dict[str, Any]:
    """Return the figures of windows and of alerts on simulated wearers."""
    people = cases(seeds)
    right: dict[str, Counter[tuple[bool, bool]]] = {}
    told: dict[str, Counter[str]] = {}
    delays: list[float] = []
    episodes = found = false = false_pages = 0
    for case in people:
        seen = observed(case.who, hours)
        at_us, called = stretches(judged(seen))
        fibrillates, clear = truth_of(case, at_us)
        pairs = zip(fibrillates[clear].tolist(), called[clear].tolist(), strict=True)
        right.setdefault(case.name, Counter()).update(pairs)
        tally = told.setdefault(case.name, Counter())
        for detector in DETECTORS:
            findings = found_by(detector, seen)
            tally.update(_word(one) for one in findings if one.state is not State.CLEARED)
            if detector.name != RULE:
                continue
            raised = [one for one in findings if one.state is State.RAISED]
            pages = [one for one in findings if one.state is State.ESCALATED]
            hits = [_hit(one, case) for one in raised]
            false += hits.count(None)
            false_pages += sum(_hit(one, case) is None for one in pages)
            episodes += sum(end <= START_US + hours * HOUR_US for _, end in case.episodes)
            first = {hit: one for hit, one in reversed(list(zip(hits, raised, strict=True))) if hit is not None}
            found += len(first)
            delays += [(one.changed_us - case.episodes[hit][0]) / US_PER_S for hit, one in first.items()]
    days = len(people) * hours / 24
    sinus_days = days - sum(end - start for case in people for start, end in case.episodes) / DAY_US
    return {
        "windows": _windows(right),
        "alerts": {
            "patient_days": round(days, 1),
            "episodes": episodes,
            "episodes_found": found,
            "seconds_to_record_median": round(float(np.median(delays)), 1) if delays else None,
            "seconds_to_record_worst": round(max(delays), 1) if delays else None,
            "false_af_alerts_per_patient_day": round(false / sinus_days, 4),
            "false_af_pages_per_patient_day": round(false_pages / sinus_days, 4),
            "ppv_of_alerts": round(found / max(found + false, 1), 4),
            "findings_per_patient_day": _per_day(told, people, hours),
        },
    }


def _word(one: Finding) -> str:
    return f"{one.rule}_{'recorded' if one.priority is Priority.LOW else 'paged'}"


def _hit(one: Finding, case: Case) -> int | None:
    """Return which episode an alert tells of: the one that it overlaps, give or take the length of a window."""
    for number, (start_us, end_us) in enumerate(case.episodes):
        if one.opened_us <= end_us and one.changed_us >= start_us:
            return number
    return None


def _windows(right: Mapping[str, Counter[tuple[bool, bool]]]) -> dict[str, Any]:
    total: Counter[tuple[bool, bool]] = sum(right.values(), Counter())
    positive, negative = total[True, True] + total[True, False], total[False, False] + total[False, True]
    return {
        "unit": "stretch of 30 s in which the rhythm was judged",
        "fibrillating": positive,
        "other": negative,
        "sensitivity": round(total[True, True] / max(positive, 1), 5),
        "specificity": round(total[False, False] / max(negative, 1), 5),
        "ppv": round(total[True, True] / max(total[True, True] + total[False, True], 1), 5),
        "sensitivity_by_kind": {
            name: round(one[True, True] / (one[True, True] + one[True, False]), 5)
            for name, one in right.items()
            if one[True, True] + one[True, False]
        },
        "specificity_by_kind": {
            name: round(one[False, False] / (one[False, False] + one[False, True]), 5) for name, one in right.items()
        },
    }


def _per_day(told: Mapping[str, Counter[str]], people: Sequence[Case], hours: float) -> dict[str, Any]:
    number = Counter(case.name for case in people)
    return {
        name: {word: round(count / (number[name] * hours / 24), 3) for word, count in sorted(tally.items())}
        for name, tally in told.items()
    }


def made_up(seeds: Iterable[int], beats_each: int = 1_500) -> dict[str, Any]:
    """Return, for rhythms made up beat by beat, the share of stretches called irregular."""
    seeds = list(seeds)
    shares: dict[str, Any] = {"fibrillation": {}, "other": {}}
    counted = {True: [0, 0], False: [0, 0]}
    for truth, group, kinds in ((True, "fibrillation", IRREGULAR), (False, "other", REGULAR)):
        for name, make in kinds.items():
            called = [stretches(judged(samples(_of(make(_rng(name, seed), beats_each)))))[1] for seed in seeds]
            flat = np.concatenate(called)
            shares[group][name] = round(float(flat.mean()), 4)
            counted[truth][0] += int(flat.sum())
            counted[truth][1] += len(flat)
    (hits, fibrillating), (false, other) = counted[True], counted[False]
    return {
        "unit": "stretch of 30 s in which the rhythm was judged",
        "sensitivity": round(hits / fibrillating, 5),
        "specificity": round(1 - false / other, 5),
        "ppv": round(hits / max(hits + false, 1), 5),
        "called_irregular": shares,
    }


def _rng(name: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, *name.encode()])


def _of(rr: NDArray[np.float64]) -> NDArray[np.float64]:
    return rr[(rr >= 200) & (rr <= 4_000)]


def recordings() -> dict[str, Any]:
    """Return what is found in the real recordings; empty where they are not here."""
    if not REALDATA.exists():
        return {}
    told = {
        "ltafdb_74_lead_1": ltafdb_74(0),
        "ltafdb_74_lead_2": ltafdb_74(1),
        "mitdb_100": annotated("mitdb100/100.atr", 360.0),
        "nsr001": annotated("af/nsr001.ecg", 128.0),
    }
    return {name: _recording(seen) for name, seen in told.items()}


def _recording(seen: Observations) -> dict[str, Any]:
    found = [one for detector in DETECTORS for one in found_by(detector, seen) if one.state is not State.CLEARED]
    called = stretches(judged(seen))[1]
    first = [one for one in found if one.rule == RULE]
    return {
        "hours": round(float(seen["value"].sum()) / 3.6e6, 2),
        "stretches": len(called),
        "called_irregular": int(called.sum()),
        "recorded_after_s": round((first[0].changed_us - int(seen["start_us"][0])) / US_PER_S, 1) if first else None,
        "low": dict(Counter(one.rule for one in found if one.priority is Priority.LOW)),
        "paging": dict(Counter(one.rule for one in found if one.priority is not Priority.LOW)),
    }


def figures(seeds: Sequence[int] = tuple(range(HELD_OUT, HELD_OUT + 8))) -> dict[str, Any]:
    """Return all of it."""
    return {**simulated(seeds), "made_up": made_up(seeds), "recordings": recordings()}


if __name__ == "__main__":
    chosen = range(*map(int, sys.argv[1:3])) if len(sys.argv) > 2 else range(HELD_OUT, HELD_OUT + 8)
    print(json.dumps(figures(tuple(chosen)), indent=1))
