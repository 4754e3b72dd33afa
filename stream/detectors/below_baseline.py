"""Somebody against their own baseline: HRV below it, heart rate or breathing above it, by night and by hour of day.

Neither names a disorder, and both are for the digest: low priority. A night is held against one's own nights
(`below_baseline_nights`), five minutes at rest against that hour of the day (`baseline`). The frozen reference finds
what has become worse so slowly that the forgetting one calls it usual. Plews et al., "Training adaptation and heart
rate variability in elite endurance athletes", Sports Med 43:773, 2013, compare so: with one's own HRV, in logarithms,
several days together. The figures of the policy are ours.

Nothing an open episode covers is learned, and what became its raising is taken out again. A break (a drug that slows
the heart, pacemaker, AF or pregnancy set in the care profile; a medication told after weeks of none; `begin_anew`,
which is for what samples do not tell, such as firmware) forgets all and ends what is open. Variability is not looked
at with a pacemaker or known AF. In pregnancy, which changes all of this for months, only the last weeks count.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from stream.detectors import baseline, below_baseline_nights, below_baseline_slots
from stream.detectors.baseline import Baseline
from stream.detectors.below_baseline_judge import (
    Verdict,
    ended,
    finding,
    follow_one,
    hour_references,
    night_references,
    verdict,
)
from stream.detectors.below_baseline_nights import Night, Nights
from stream.detectors.below_baseline_policy import OwnBaselinePolicy, OwnRule, hour_rules, night_rules
from stream.detectors.below_baseline_slots import (
    COLUMNS,
    DAY_US,
    HEART_RATE,
    HOUR_US,
    RESPIRATORY_RATE,
    RMSSD,
    RMSSD_TOLD,
    RR,
    SDNN_TOLD,
    SLOT_US,
    SPO2,
    TOLD,
    Part,
    Row,
    Slot,
)
from stream.detectors.by_metric import Series, by_metric
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from stream.detectors.sustain import NEVER, Code, Sustained
from vitals.batch import NO_ZONE
from vitals.care_profile import CareProfile
from vitals.catalogue import BY_NUMBER, number_of
from vitals.clock import US_PER_S
from vitals.quality import TRUSTWORTHY

HOURLY: Final = (HEART_RATE, RESPIRATORY_RATE, SPO2, RMSSD)
"""Columns that have a baseline by the hour, in the order of its metrics."""
_LEAST_SD: Final = (1.5, 0.5, 0.5, 3.0)
_MEDICATION: Final = number_of("medication_event")
_TAKEN: Final = 1
_NO_HOUR: Final = -(1 << 40)
_LONG_AGO: Final = -(1 << 60)
_PENDING_US: Final = 4 * DAY_US
_UNSEEN: Final = -1
_METRICS: Final = frozenset({*(number_of(code) for code in TOLD), RR, _MEDICATION})
_NUMBERS: Final = tuple(sorted(_METRICS))
_WANTED: Final = np.isin(np.arange(max(BY_NUMBER) + 1), list(_METRICS))


@dataclass(frozen=True, slots=True)
class Own:
    """What is known of one origin; `hour` counts hours of the wearer's clock, `rows` are those of it, shape (n, 7)."""

    slot: Slot
    moved_us: int
    hour: int
    rows: NDArray[np.float32]
    hourly: Baseline
    night: Night
    nights: Nights
    by_night: tuple[Sustained, ...]
    by_hour: tuple[Sustained, ...]
    profile: int
    medication_us: int


@dataclass(frozen=True)
class OwnBaseline:
    """See the module; the state is `Own`."""

    policy: OwnBaselinePolicy = field(default_factory=OwnBaselinePolicy)

    name: ClassVar[str] = "own_baseline"
    metrics: ClassVar[frozenset[int]] = _METRICS
    max_bytes: ClassVar[int] = 12_000
    per_patient: ClassVar[bool] = False

    @cached_property
    def night_rules(self) -> tuple[OwnRule, ...]:
        """The rules on nights, in the order of `Own.by_night`."""
        return night_rules(self.policy)

    @cached_property
    def hour_rules(self) -> tuple[OwnRule, ...]:
        """The rules on five minutes, in the order of `Own.by_hour`."""
        return hour_rules(self.policy)

    def fresh(self) -> Own:
        """Return the state of somebody never seen."""
        return Own(
            below_baseline_slots.empty(), _LONG_AGO, _NO_HOUR, np.zeros((0, COLUMNS), np.float32),
            baseline.fresh(_LEAST_SD), below_baseline_nights.no_night(), below_baseline_nights.no_nights(),
            (Sustained(),) * len(self.night_rules), (Sustained(),) * len(self.hour_rules), _UNSEEN, NEVER,
        )  # fmt: skip

    def remembering(self, numbers: NDArray[np.int64], values: NDArray[np.float64]) -> Own:
        """Return the state of somebody whose nights are stored: for a replay, or a first start.

        `numbers` are wake days since 1970, ascending, shape (n,); `values` by column of a slot's row, shape (n, 7), NaN
        where not known. The first `reference_nights` of them become the reference.
        """
        nights = below_baseline_nights.rebuilt(numbers, values, self.policy.reference_nights)
        return replace(self.fresh(), nights=nights)

    def begin_anew(self, state: Own, at_us: int) -> tuple[Own, list[Finding]]:
        """Return the state that has learned nothing, and the ends of what was open: for a break at `at_us`."""
        open_ones = (*zip(self.night_rules, state.by_night, strict=True),
                     *zip(self.hour_rules, state.by_hour, strict=True))  # fmt: skip
        told = [one for rule, held in open_ones if (one := ended(rule, held, at_us)) is not None]
        kept = replace(
            self.fresh(), slot=state.slot, moved_us=state.moved_us, profile=state.profile,
            medication_us=state.medication_us,
        )  # fmt: skip
        return kept, told

    def step(self, state: Own, seen: Observations, until_us: int, person: Person) -> tuple[Own, list[Finding]]:
        """Take in `seen` (see `Detector`)."""
        if person.profile.is_child:
            return self.fresh(), self.begin_anew(state, until_us)[1]
        findings: list[Finding] = []
        now = _breaks(person.profile)
        stretch = by_metric(seen)
        if now == state.profile and until_us < (state.slot.number + 1) * SLOT_US and stretch.of(_MEDICATION) is None:
            glanced = below_baseline_slots.glance(
                state.slot, stretch, state.moved_us, self.policy.after_motion_s, _NUMBERS
            )
            if glanced is not None:  # nearly always
                return _with_slot(state, *glanced), findings
        part = below_baseline_slots.part_of(seen, _WANTED)
        if part is None:
            return state, findings
        if now != state.profile:
            if state.profile != _UNSEEN:
                state, findings = self.begin_anew(state, int(part.samples.start_us[0]))
            state = replace(state, profile=now)
        end_us = part.samples.end_us
        resting, moved_us = below_baseline_slots.at_rest(part, state.moved_us, self.policy.after_motion_s)
        for first, last in below_baseline_slots.by_slot(end_us):
            one, rest = part, resting
            if last - first < len(end_us):
                one, rest = part.pick(slice(first, last)), None if resting is None else resting[first:last]
            state, told = self._fill(state, int(end_us[first]) // SLOT_US, one, rest, person)
            findings += told
        state = _with_slot(state, state.slot, moved_us)
        if until_us >= (state.slot.number + 1) * SLOT_US and below_baseline_slots.is_open(state.slot):
            state, told = self._close(state, person)
            findings += told
        return state, findings

    def _fill(
        self, state: Own, number: int, part: Part, resting: NDArray[np.bool_] | None, person: Person
    ) -> tuple[Own, list[Finding]]:
        told: list[Finding] = []
        if state.slot.number < number:
            if below_baseline_slots.is_open(state.slot):
                state, told = self._close(state, person)
            state = replace(state, slot=below_baseline_slots.empty(number))
        taken = part.metric == _MEDICATION
        if taken.any():
            state, anew = self._medicated(state, part.samples.pick(taken))
            told += anew
        return _with_slot(state, below_baseline_slots.fill(state.slot, part, resting), state.moved_us), told

    def _medicated(self, state: Own, events: Series) -> tuple[Own, list[Finding]]:
        """Take medication told after weeks of none for another medication than before."""
        start = events.start_us[(events.value == _TAKEN) & (events.quality >= TRUSTWORTHY)]
        if not len(start):
            return state, []
        # The first ever told says when somebody began to tell, not when they began to take.
        since = np.diff(start, prepend=start[0] if state.medication_us == NEVER else state.medication_us)
        told: list[Finding] = []
        for at_us in start[since >= self.policy.medication_anew_days * 86_400 * US_PER_S].tolist():
            state, told = self.begin_anew(state, at_us)
        return replace(state, medication_us=int(start[-1])), told

    def _close(self, state: Own, person: Person) -> tuple[Own, list[Finding]]:
        """Close the open slot: hold it against its hour, and the night that it ends against other nights."""
        void = person.profile.pacemaker or person.profile.known_af
        row = below_baseline_slots.closed(state.slot, None if void else self.policy.hrv)
        state = replace(state, slot=below_baseline_slots.empty())
        told: list[Finding] = []
        if below_baseline_nights.is_over(state.night, row):
            state, told = self._end_night(state, person, _clock(row))
        if np.isnan(row.values).all():
            return state, told
        state = self._into_hour(state, row)
        state, by_hour = self._judge_hour(state, row)
        return replace(state, night=below_baseline_nights.add(state.night, row)), told + by_hour

    def _into_hour(self, state: Own, row: Row) -> Own:
        hour = row.local_us // HOUR_US
        if hour != state.hour:
            state = self._learn_hour(state, row.start_us)
            state = replace(state, hour=hour, rows=state.rows[:0])
        return replace(state, rows=np.concatenate((state.rows, row.values[None].astype(np.float32)))[-12:])

    def _learn_hour(self, state: Own, at_us: int) -> Own:
        if not len(state.rows) or _anything_open(state, at_us):
            return state
        day, hour = divmod(state.hour, 24)
        hourly = state.hourly
        for metric, column in enumerate(HOURLY):
            hourly = baseline.learn(hourly, self.policy.hourly, metric, hour, day, state.rows[:, column])
        return replace(state, hourly=hourly)

    def _judge_hour(self, state: Own, row: Row) -> tuple[Own, list[Finding]]:
        by_hour, findings, end_us = list(state.by_hour), [], row.start_us + SLOT_US
        for at, rule in enumerate(self.hour_rules):
            value = float(row.values[rule.column])
            known = hour_references(state.hourly, self.policy, HOURLY.index(rule.column), row.hour)
            judged = verdict(rule, value, known, beyond_all=True)
            if judged is None or (judged.code != Code.BREACH and by_hour[at].is_quiet):
                continue
            by_hour[at], told = follow_one(by_hour[at], rule, judged, end_us)
            if told is not None:
                lasted = f"{(told.at_us - told.run.since_us) // (60 * US_PER_S)} min"
                findings.append(finding(rule, told, judged, lasted, _clock(row)))
        return replace(state, by_hour=tuple(by_hour)), findings

    def _end_night(self, state: Own, person: Person, clock: str) -> tuple[Own, list[Finding]]:
        night, values = state.night, below_baseline_nights.figure(state.night)[0]
        findings: list[Finding] = []
        by_night = list(state.by_night)
        nights = state.nights
        for at, rule in enumerate(self.night_rules):
            judged = self._judge_night(nights, rule, values, person, quiet=by_night[at].is_quiet)
            if judged is None:
                continue
            by_night[at], told = follow_one(by_night[at], rule, judged, night.last_us)
            if told is None:
                continue
            findings.append(finding(rule, told, judged, f"{told.run.hits} nights", clock))
            if not told.cleared:
                since = night.number - (night.last_us - told.opened_us + DAY_US // 2) // DAY_US
                nights = below_baseline_nights.without(nights, since)
        state = replace(state, by_night=tuple(by_night), nights=nights, night=below_baseline_nights.no_night())
        if any(one.raised_us is not None for one in (*state.by_night, *state.by_hour)) or np.isnan(values).all():
            return state, findings
        learned = below_baseline_nights.learned(nights, night.number, values, self.policy.reference_nights)
        return replace(state, nights=learned), findings

    def _judge_night(
        self, nights: Nights, rule: OwnRule, values: NDArray[np.float64], person: Person, *, quiet: bool
    ) -> Verdict | None:
        if rule.column in (RMSSD_TOLD, SDNN_TOLD) and quiet and not np.isnan(values[RMSSD]):
            return None  # our own, of the same heart, says it already
        if rule.column >= RMSSD_TOLD and (person.profile.pacemaker or person.profile.known_af):
            return None
        known = night_references(nights, self.policy, rule, frozen=not person.profile.pregnant)
        return verdict(rule, float(values[rule.column]), known, beyond_all=False)


def _with_slot(state: Own, slot: Slot, moved_us: int) -> Own:
    # Every step comes here: dataclasses.replace would be a good part of its time.
    return Own(
        slot, moved_us, state.hour, state.rows, state.hourly, state.night, state.nights, state.by_night, state.by_hour,
        state.profile, state.medication_us,
    )  # fmt: skip


def _anything_open(state: Own, at_us: int) -> bool:
    """Tell whether an episode is open or pending: what it covers is not learned."""
    return any(
        one.raised_us is not None or (one.run is not None and at_us - one.run.last_us <= _PENDING_US)
        for one in (*state.by_night, *state.by_hour)
    )


def _breaks(profile: CareProfile) -> int:
    """Return what of a profile changes a body's usual, as a number."""
    return profile.rate_limiting_drug | profile.pregnant << 1 | profile.pacemaker << 2 | profile.known_af << 3


def _clock(row: Row) -> str:
    return "UTC, zone unknown" if row.zone_min == NO_ZONE else "wearer's"
