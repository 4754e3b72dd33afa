"""How early simulated deterioration is raised, and how often simulated healthy people are: limits and NEWS2 together.

`python -m tests.accuracy.deterioration` prints one JSON object, in two or three minutes. Figures of simulated people
are no clinical performance.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from alerts.event import Priority, State
from devices.simulator.faults import ALWAYS, Loss
from devices.simulator.recipes import cohort
from devices.simulator.scenarios import Deterioration
from devices.simulator.simulate import tell
from devices.simulator.truth import passed
from devices.simulator.wearer import ALL_CADENCES_S, CADENCES_S, Wearer, wearer
from stream.detectors.limits import LimitRule
from stream.detectors.news2 import News2
from stream.detectors.observation import Observations, observe
from stream.detectors.policy import ADULT, WatchPolicy, for_profile
from stream.detectors.protocol import Person
from stream.detectors.sustain import Code, Sustained, Window, follow
from vitals.batch import SampleColumns
from vitals.care_profile import UNKNOWN, CareProfile
from vitals.catalogue import number_of
from vitals.clock import US_PER_S

DAY_US: Final = 86_400 * US_PER_S
START_US: Final = 1_767_268_800 * US_PER_S  # a noon
WRIST_S: Final[Mapping[str, float]] = {
    code: CADENCES_S[code] for code in ("heart_rate", "spo2", "respiratory_rate", "steps")
}
HEALTHY: Final = ("well", "athlete", "beta_blocker", "ectopy")
SEVERITIES_S: Final = (600.0, 1_800.0, 3_600.0, 3 * 3_600.0, 6 * 3_600.0)
"""From well to the worst within so many seconds."""


@dataclass(frozen=True, slots=True)
class Raised:
    """One alert: what was raised, and when it could be known (us of event time)."""

    rule: str
    priority: Priority
    at_us: int
    opened_us: int


def seen_of(columns: SampleColumns) -> Observations:
    """Return what detectors see of samples: by the end of measurement, then metric; doubles taken out."""
    every = np.ones(ADULT.watched.shape, np.bool_)
    seen = observe(columns, every, ADULT.suspicious)
    seen = seen[np.unique(np.stack((seen["metric"].astype(np.int64), seen["start_us"])), axis=1, return_index=True)[1]]
    end = seen["start_us"] + seen["duration_ms"].astype(np.int64) * 1_000
    result: Any = seen[np.lexsort((seen["metric"], end))]
    return result  # type: ignore[no-any-return]


def limits(policy: WatchPolicy, seen: Observations) -> list[Raised]:
    """Return what the policy's limits raise on a patient's whole series."""
    found = []
    for rule in policy.rules:
        if isinstance(rule, LimitRule):
            part = seen[seen["metric"] == number_of(rule.metric)]
            code = rule.codes(part)
            window = Window(part["start_us"], code, part["value"], part["quality"]).pick(code != Code.SKIP)
            told = follow(Sustained(), rule.timing, window)[1]
            found += [Raised(rule.name, rule.priority, one.at_us, one.opened_us) for one in told if not one.cleared]
    return found


def scored(seen: Observations, person: Person) -> list[Raised]:
    """Return what NEWS2 and the trend raise; its settled stretches come up to 25 s later than told here."""
    detector = News2()
    of = np.isin(seen["metric"], list(detector.metrics))
    _, told = detector.step(detector.fresh(), seen[of], int(seen["start_us"][-1]), person)
    return [Raised(one.rule, one.priority, one.changed_us, one.opened_us) for one in told if one.state is State.RAISED]


def raised(who: Wearer, start_us: int, end_us: int, profile: CareProfile = UNKNOWN, **noise: float) -> list[Raised]:
    """Return everything raised on one wearer, in order of time."""
    columns = SampleColumns.concat([one.samples for one in tell(who, start_us, end_us).stretches])
    seen = _noisy(seen_of(columns), who.seed, **noise)
    found = limits(for_profile(ADULT, profile), seen) + scored(seen, Person(profile=profile))
    return sorted(found, key=lambda one: one.at_us)


def _noisy(seen: Observations, seed: int, odd_spo2: float = 0.0, odd_heart: float = 0.0) -> Observations:
    """Let a share of the saturations read 84 to 89, and of the heart rates half or double, as wrists do, one by one."""
    random = np.random.default_rng(seed)
    drawn = random.random(len(seen))
    spo2 = (seen["metric"] == number_of("spo2")) & (drawn < odd_spo2)
    seen["value"][spo2] = random.integers(84, 90, int(spo2.sum()))
    heart = (seen["metric"] == number_of("heart_rate")) & (drawn < odd_heart)
    seen["value"][heart] *= random.choice([0.5, 2.0], int(heart.sum()))
    return seen


def healthy(patients: int, days: int = 1, scenarios: Sequence[str] = HEALTHY, seed: int = 71) -> dict[str, Any]:
    """Return alerts a healthy patient-day by rule. Nobody has a care profile, all wear all devices.

    2 % of saturations and 0.5 % of heart rates are odd, 5 % of all samples lost.
    """
    end_us = START_US + days * DAY_US
    people = cohort(
        patients, seed, START_US, end_us, scenarios=scenarios, faults=("loss",), cadences_s=ALL_CADENCES_S, beats=False
    )
    rules: Counter[str] = Counter()
    paging: Counter[str] = Counter()
    for number, who in enumerate(people):
        name = scenarios[number % len(scenarios)]
        for one in raised(who, START_US, end_us, odd_spo2=0.02, odd_heart=0.005):
            rules[one.rule] += 1
            paging[name] += one.priority.rank >= Priority.MEDIUM.rank
    count = patients * days
    return {
        "patient_days": count,
        "paging_per_patient_day": round(sum(paging.values()) / count, 4),
        "by_rule_per_patient_day": {rule: round(n / count, 4) for rule, n in sorted(rules.items())},
        "paging_by_scenario": dict(paging),
    }


def _falling_ill(number: int, rise_s: float, cadences_s: Mapping[str, float], loss: float) -> Wearer:
    # At any hour of the day or night, after at least six hours of being well.
    start_us = START_US + (6 * 3_600 + 3_001 * number % 64_800) * US_PER_S // 5_000_000 * 5_000_000
    script = Deterioration(start_us, rise_s, 3_600.0, 3_600.0)
    faults = (Loss(*ALWAYS, share=loss),) if loss else ()
    return wearer(9_000 + number, scenarios=(script,), faults=faults, cadences_s=cadences_s, beats=False)


def leads(patients: int, rise_s: float, cadences_s: Mapping[str, float], loss: float = 0.05) -> dict[str, Any]:
    """Return how many deteriorations were raised before the true, full NEWS2 reached 7, and by how much (min)."""
    lead_min: list[float] = []
    first: Counter[str] = Counter()
    missed = 0
    for number in range(patients):
        who = _falling_ill(number, rise_s, cadences_s, loss)
        script = who.scenarios[0]
        assert isinstance(script, Deterioration)
        at_us = passed(who, script).get("news2_7_us")
        found = [one for one in raised(who, START_US, script.relief_us) if one.at_us >= script.start_us]
        if at_us is None or not found:
            missed += at_us is not None
            continue
        lead_min.append((at_us - found[0].at_us) / (60 * US_PER_S))
        first[found[0].rule] += 1
    lead = np.array(lead_min)
    return {
        "rise_min": rise_s / 60,
        "patients": patients,
        "missed": missed,
        "raised_before_share": round(float((lead > 0).mean()), 3) if len(lead) else 0.0,
        "median_lead_min": round(float(np.median(lead)), 1) if len(lead) else None,
        "least_lead_min": round(float(lead.min()), 1) if len(lead) else None,
        "first_raised": dict(first),
    }


def figures(patients: int = 20, healthy_patients: int = 100) -> dict[str, Any]:
    """Return all of it."""
    sets = {"all": ALL_CADENCES_S, "wrist": WRIST_S}
    return {
        "healthy": healthy(healthy_patients),
        "leads": {name: [leads(patients, rise_s, held) for rise_s in SEVERITIES_S] for name, held in sets.items()},
    }


if __name__ == "__main__":
    print(json.dumps(figures(), indent=1))
