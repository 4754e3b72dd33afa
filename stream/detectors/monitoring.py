"""Suppression has an end: a vital sign of which nothing trustworthy came for a while is "not monitored".

CLINICAL: after N minutes (15) of untrustworthy data, or none though some were expected, it raises with the last
trustworthy values. It sees what the other technical detectors left (theirs has quality 0), of all origins of the
patient: a strap in a drawer is no loss while the watch goes on. Three vital signs are watched: pulse (heart rate, pulse
rate or beat intervals), oxygen saturation, breathing. Without pulse the others are not told as well: one alert then
speaks for all. Each has its own cadence (`stream.detectors.cadence`): what is uploaded every hour is not missed after
a quarter of one. While charging (planned) it waits longer. A trustworthy sample later than the last one ends it; what
was uploaded late does not.

What never could be trusted is missed, too (`stream.detectors.doubt`): if a vital sign comes, from its first sample on
or after a few good ones, and for the same quarter of an hour none counts, each is told for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors import cadence as speech
from stream.detectors.by_metric import Stretch, by_metric
from stream.detectors.cadence import Cadence, allowance_s, deadline_us, learn
from stream.detectors.doubt import NONE, Doubt, go_on, lasted
from stream.detectors.finding import Figures, Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Judged, Person
from stream.detectors.sustain import NEVER
from vitals.catalogue import BY_CODE, BY_NUMBER
from vitals.clock import US_PER_S, to_datetime
from vitals.quality import TRUSTWORTHY, Context

RULE: Final = "not_monitored"
VERSION: Final = 2
FAMILIES: Final = (
    ("heart_rate", ("heart_rate", "pulse_rate", "rr_interval")),
    ("spo2", ("spo2",)),
    ("respiratory_rate", ("respiratory_rate",)),
)
"""A vital sign's word, which is the alert's metric, and the metrics that tell it."""
_WORDS: Final = ("pulse", "oxygen saturation", "respiratory rate")
_NUMBERS: Final = frozenset(BY_CODE[code].number for _, codes in FAMILIES for code in codes)
_FAMILY_NUMBERS: Final = tuple(tuple(BY_CODE[code].number for code in codes) for _, codes in FAMILIES)
_FAMILY_OF: Final = np.full(max(BY_NUMBER) + 1, -1, np.int8)
for _family, _which in enumerate(_FAMILY_NUMBERS):
    _FAMILY_OF[list(_which)] = _family
_CHARGING: Final = int(Context.CHARGING)
_NO_CONTACT: Final = int(Context.NO_CONTACT)
_NONE: Final = np.empty(0, np.int64)
_NOWHERE: Final = np.empty(0, np.intp)
_LATER: Final = np.iinfo(np.int64).max
_MAX_AGE_S: Final = 43_200.0  # that nobody looks is news for as long as it lasts
_AFTER_US: Final = 120 * US_PER_S  # the pulse went on for longer than this: another's silence is its own


@dataclass(frozen=True, slots=True)
class MonitoringPolicy:
    """Seconds. A vital sign is missed after `after_s`, or after what its own cadence allows if that is longer, at most
    `most_s`; after `planned_s` while charging. It is expected after `min_gaps` arrivals over `min_known_s`.
    Raises ValueError."""

    after_s: float = 900.0
    most_s: float = 86_400.0
    planned_s: float = 4 * 3_600.0
    min_gaps: int = 16
    min_known_s: float = 1_800.0
    priority: Priority = Priority.MEDIUM

    def __post_init__(self) -> None:
        if not 60 <= self.after_s <= self.most_s:
            raise ValueError("after_s is at least 60 and not above most_s")
        if self.planned_s < 0 or self.min_known_s < 0:
            raise ValueError("planned_s and min_known_s are not negative")
        if not 1 <= self.min_gaps <= speech.KEPT_GAPS:
            raise ValueError(f"min_gaps is 1 to {speech.KEPT_GAPS}")


@dataclass(frozen=True, slots=True)
class Vital:
    """One vital sign: how its trustworthy samples come, the last of them, the open episode, when the pulse was first
    heard well after that last one, and what came since then that cannot be trusted (but while charging)."""

    cadence: Cadence = field(default_factory=Cadence)
    metric: int = 0
    value: float = 0.0
    opened_us: int | None = None
    pulse_us: int | None = None
    doubt: Doubt = NONE


@dataclass(frozen=True, slots=True)
class MonitoringState:
    """One `Vital` a family; `charging_us` when a sample last said so."""

    vitals: tuple[Vital, ...] = ()
    charging_us: int = NEVER


@dataclass(frozen=True, slots=True)
class _Stretch:
    """One origin's stretch: when each of `seen` ended (`at_us`, the last at `newest_us`) and was received; `good` by
    family the places of those to be trusted, `bad` of those not to be (but while charging)."""

    seen: Observations
    at_us: NDArray[np.int64]
    newest_us: int
    received_us: NDArray[np.int64]
    second: NDArray[np.int64]
    good: tuple[NDArray[np.intp], ...]
    bad: tuple[NDArray[np.intp], ...]
    charging: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Monitoring:
    """The technical detector of nothing trustworthy, one a patient."""

    policy: MonitoringPolicy = field(default_factory=MonitoringPolicy)
    name: ClassVar[str] = "monitoring"
    metrics: ClassVar[frozenset[int]] = _NUMBERS
    max_bytes: ClassVar[int] = 3_072
    per_patient: ClassVar[bool] = True

    def fresh(self) -> MonitoringState:
        """Return the state of a patient never seen."""
        return MonitoringState(tuple(Vital() for _ in FAMILIES))

    def step(self, state: MonitoringState, seen: Observations, until_us: int, person: Person) -> Judged:  # noqa: ARG002
        """Take in one origin's stretch: what can be trusted ends a silence, whatever else comes shows its length."""
        part = _stretch(seen)
        vitals, findings = [], []
        for family in range(len(FAMILIES)):
            vital, told = self._vital(state, family, part)
            vitals.append(vital)
            findings += told
            # Whether a pulse is expected is judged by what this stretch taught, too.
            state = MonitoringState((vital, *state.vitals[1:]), state.charging_us) if family == 0 else state
        charging_us = max(state.charging_us, int(part.charging.max())) if len(part.charging) else state.charging_us
        findings.sort(key=lambda one: one.changed_us)
        return Judged(MonitoringState(tuple(vitals), charging_us), findings, by_metric(seen).none)

    def distrusted(self, state: MonitoringState) -> frozenset[int]:  # noqa: ARG002
        """Return nothing: it only tells what others distrust."""
        return frozenset()

    def overdue(
        self,
        state: MonitoringState,
        now_us: int,
        person: Person,  # noqa: ARG002
    ) -> tuple[MonitoringState, list[Finding]]:
        """Raise for each vital sign of which nothing came in time, as seen from when its samples usually arrive."""
        findings = []
        vitals = list(state.vitals)
        for family, vital in enumerate(state.vitals):
            cadence = vital.cadence
            # Most are heard: this is all that it costs.
            if vital.opened_us is not None or now_us - cadence.arrival_us < self.policy.after_s * US_PER_S:
                continue
            opened_us = self._deadline_us(vital, state.charging_us)
            late_us = max(cadence.arrival_us - cadence.end_us, 0)
            if opened_us is None or now_us < opened_us + late_us:
                continue
            if self._own_us(state, family, vital, _NONE) <= now_us:
                vitals[family] = replace(vital, opened_us=opened_us)
                findings.append(_raised(self.policy.priority, state.vitals, family, opened_us, opened_us))
        return (replace(state, vitals=tuple(vitals)), findings) if findings else (state, [])

    def _vital(self, state: MonitoringState, family: int, part: _Stretch) -> tuple[Vital, list[Finding]]:
        vital, good = state.vitals[family], part.good[family]
        last_us, newest_us = vital.cadence.end_us, part.newest_us
        if not len(good) and not len(part.bad[family]) and (last_us == NEVER or newest_us - last_us < _AFTER_US):
            return vital, []
        findings: list[Finding] = []
        done = 0
        for hole in self._holes(vital, part, good, doubted=len(part.bad[family]) > 0):
            # Each silence is judged by what was known before it, however the stretch was cut.
            if hole > done:
                vital, told = self._hear(family, vital, part, good[done:hole])
                findings += told
            done = hole
            vital, told = self._miss(state, family, vital, part, part.at_us[good[hole]] if hole < len(good) else None)
            findings += told
        if done < len(good):
            vital, told = self._hear(family, vital, part, good[done:])
            findings += told
        if family and vital.pulse_us is None and newest_us - _AFTER_US > vital.cadence.end_us:
            since_us = _first_after(part.at_us[part.good[0]], vital.cadence.end_us + _AFTER_US)
            vital = vital if since_us == _LATER else replace(vital, pulse_us=since_us)
        if len(part.bad[family]):
            vital = replace(vital, doubt=_doubt(vital, family, part, newest_us))
        return vital, findings

    def _holes(self, vital: Vital, part: _Stretch, good: NDArray[np.intp], *, doubted: bool) -> list[int]:
        """Return before which trustworthy samples (by place; their number: after the last) silence may be too long."""
        last_us, after_us, at_us = vital.cadence.end_us, self.policy.after_s * US_PER_S, part.at_us
        if last_us == NEVER and doubted:
            last_us = int(at_us[0]) if vital.doubt.since_us == NEVER else vital.doubt.since_us
        if last_us != NEVER and part.newest_us - last_us < after_us:
            return []
        told = at_us[good]
        ends = np.append(told, at_us[-1])
        begins = np.append(ends[0] if last_us == NEVER else last_us, told)
        holes: list[int] = np.flatnonzero(ends - begins >= after_us).tolist()
        return holes

    def _hear(self, family: int, vital: Vital, part: _Stretch, which: NDArray[np.intp]) -> tuple[Vital, list[Finding]]:
        """Learn from trustworthy samples; those later than the last one end an episode and are the last from now on."""
        findings = []
        cadence, last = learn(vital.cadence, part.at_us, part.received_us, part.second, which), which[-1]
        if part.at_us[last] < cadence.end_us:
            return replace(vital, cadence=cadence), []  # of another device, and late: all that is known is newer
        if vital.opened_us is not None:
            later = part.at_us[which] > vital.cadence.end_us
            if not later.any():
                return replace(vital, cadence=cadence), []
            at_us = int(part.at_us[which[int(later.argmax())]])
            findings.append(_cleared(self.policy.priority, family, vital.opened_us, at_us))
        return Vital(cadence, int(part.seen["metric"][last]), float(part.seen["value"][last])), findings

    def _miss(
        self, state: MonitoringState, family: int, vital: Vital, part: _Stretch, upto_us: int | None
    ) -> tuple[Vital, list[Finding]]:
        """Raise if something of the patient was heard after the deadline, and before `upto_us`."""
        charged = np.append(part.charging, state.charging_us)
        planned_us = self._deadline_us(vital, NEVER)
        if vital.opened_us is not None:
            return vital, []
        if planned_us is None:
            return self._mistrust(state, family, vital, part, upto_us)
        opened_us = self._deadline_us(vital, int(charged[charged <= planned_us].max(initial=NEVER))) or planned_us
        needed_us = max(opened_us, self._own_us(state, family, vital, part.at_us[part.good[0]]))
        late = part.at_us[(part.at_us >= needed_us) & (True if upto_us is None else part.at_us < upto_us)]
        if not len(late):
            return vital, []
        at_us = int(late.min())
        return self._tell(state, family, vital, part, opened_us, at_us)

    def _mistrust(
        self, state: MonitoringState, family: int, vital: Vital, part: _Stretch, upto_us: int | None
    ) -> tuple[Vital, list[Finding]]:
        """Raise for a vital sign that is not expected yet, if what came of it could not be trusted for long enough."""
        bad_us = part.at_us[_bad_since(vital, family, part, upto_us)]
        place = lasted(vital.doubt, bad_us, self.policy.after_s)
        if place is None:
            return vital, []
        opened_us = int(bad_us[place])
        return self._tell(state, family, vital, part, opened_us, opened_us)

    def _tell(
        self, state: MonitoringState, family: int, vital: Vital, part: _Stretch, opened_us: int, at_us: int
    ) -> tuple[Vital, list[Finding]]:
        vitals = tuple(_as_of(one, part, number, at_us) for number, one in enumerate(state.vitals))
        known = replace(vital, doubt=_doubt(vital, family, part, at_us))
        vitals = (*vitals[:family], known, *vitals[family + 1 :])
        return replace(vital, opened_us=opened_us), [_raised(self.policy.priority, vitals, family, opened_us, at_us)]

    def _deadline_us(self, vital: Vital, charged_us: int) -> int | None:
        """Return when a vital sign is missed, last charging at `charged_us`; None where it is not expected."""
        policy, cadence = self.policy, vital.cadence
        if not cadence.expected(policy.min_gaps, policy.min_known_s):
            return None
        allowed_s = allowance_s(cadence.gaps_s, policy.after_s, policy.most_s)
        due_us = deadline_us(cadence, cadence.end_us, allowed_s)
        if charged_us > cadence.end_us:
            due_us = max(due_us, cadence.end_us + round(policy.planned_s * US_PER_S))
        return due_us

    def _own_us(self, state: MonitoringState, family: int, vital: Vital, pulse: NDArray[np.int64]) -> int:
        """Return from when on a vital sign's silence is its own, the pulse having gone on for a while: `NEVER` always,
        `_LATER` not yet. `pulse` are the pulse's moments of this stretch."""
        expected = state.vitals[0].cadence.expected(self.policy.min_gaps, self.policy.min_known_s)
        if family == 0 or not expected:
            return NEVER
        since_us = vital.pulse_us
        if since_us is None:
            since_us = _first_after(pulse, vital.cadence.end_us + _AFTER_US)
        return since_us if since_us == _LATER else since_us + _AFTER_US


def _first_after(moments: NDArray[np.int64], after_us: int) -> int:
    return int(moments[moments > after_us].min(initial=_LATER))


def _stretch(seen: Observations) -> _Stretch:
    stretch = by_metric(seen)
    at_us = stretch.ends_us
    good = tuple(_good(stretch, numbers) for numbers in _FAMILY_NUMBERS)
    charging = at_us[(seen["context"] & _CHARGING) != 0] if stretch.any_context & _CHARGING else at_us[:0]
    return _Stretch(seen, at_us, int(at_us[-1]), *stretch.received, good, _bad(seen, stretch), charging)


def _good(stretch: Stretch, numbers: tuple[int, ...]) -> NDArray[np.intp]:
    """Return the places of what can be trusted of these metrics, in order."""
    places = [one.place for number in numbers if (one := stretch.trusted(number)) is not None]
    if len(places) < 2:
        return places[0] if places else _NOWHERE
    which = np.zeros(len(stretch.seen), np.bool_)
    for place in places:
        which[place] = True
    return which.nonzero()[0]


def _bad(seen: Observations, stretch: Stretch) -> tuple[NDArray[np.intp], ...]:
    """Return by family the places of what cannot be trusted, but while charging."""
    if stretch.all_well:
        return (_NOWHERE,) * len(FAMILIES)
    context = seen["context"]
    doubted = (seen["quality"] < TRUSTWORTHY) | ((context & _NO_CONTACT) != 0)
    family = np.where(doubted & ((context & _CHARGING) == 0), _FAMILY_OF[seen["metric"]], -1)
    return tuple((family == one).nonzero()[0] for one in range(len(FAMILIES)))


def _bad_since(vital: Vital, family: int, part: _Stretch, upto_us: int | None) -> NDArray[np.intp]:
    """Return the places of what cannot be trusted after the last trustworthy sample, and before `upto_us`."""
    bad = part.bad[family]
    at_us = part.at_us[bad]
    return bad[(at_us > vital.cadence.end_us) & (True if upto_us is None else at_us < upto_us)]


def _doubt(vital: Vital, family: int, part: _Stretch, until_us: int) -> Doubt:
    which = _bad_since(vital, family, part, until_us + 1)
    return go_on(vital.doubt, part.at_us[which], part.seen["metric"][which], part.seen["value"][which])


def _as_of(vital: Vital, part: _Stretch, family: int, at_us: int) -> Vital:
    """Return a vital sign with its last trustworthy value up to a moment; only that is brought up to date."""
    good = part.good[family]
    good = good[part.at_us[good] <= at_us]
    if not len(good):
        return vital
    last = part.seen[good[-1]]
    cadence = replace(vital.cadence, end_us=int(part.at_us[good[-1]]))
    return replace(vital, cadence=cadence, metric=int(last["metric"]), value=float(last["value"]))


def _raised(priority: Priority, vitals: tuple[Vital, ...], family: int, opened_us: int, at_us: int) -> Finding:
    figures: dict[str, float | str] = {}
    for vital in vitals:
        if vital.metric:
            metric = BY_NUMBER[vital.metric]
            figures[f"last_{metric.code}"] = vital.value
            figures[f"last_{metric.code}_at"] = f"{to_datetime(vital.cadence.end_us):%Y-%m-%dT%H:%M:%SZ}"
    doubt, last_us = vitals[family].doubt, vitals[family].cadence.end_us
    if last_us == NEVER:
        last_us, figures["trustworthy"] = doubt.since_us, "never"
    says = f"{_WORDS[family]} not monitored: nothing trustworthy for {(opened_us - last_us) / 60 / US_PER_S:.0f} min"
    if doubt.same_s:
        metric = BY_NUMBER[doubt.metric]
        figures[f"doubted_{metric.code}"], figures[f"doubted_{metric.code}_s"] = doubt.value, round(doubt.same_s)
        kept = f"{metric.code.replace('_', ' ')} exactly {doubt.value:g} {metric.unit}"
        says += f"; {kept} for {doubt.same_s / 60:.0f} min, which is not believed"
    return _finding(priority, State.RAISED, family, opened_us, opened_us, max(at_us, opened_us), says, last_us, figures)


def _cleared(priority: Priority, family: int, opened_us: int, at_us: int) -> Finding:
    says = f"{_WORDS[family]} monitored again"
    at_us = max(at_us, opened_us)
    return _finding(priority, State.CLEARED, family, opened_us, at_us, at_us, says, opened_us, {})


def _finding(
    priority: Priority, state: State, family: int, opened_us: int, changed_us: int, measured_us: int, says: str,
    window_us: int, figures: Figures,
) -> Finding:  # fmt: skip
    return Finding(
        RULE, VERSION, FAMILIES[family][0], Kind.TECHNICAL, priority, state, opened_us, opened_us, changed_us,
        measured_us, window_us, says, figures=figures, individualised=True, max_age_s=_MAX_AGE_S,
    )  # fmt: skip
