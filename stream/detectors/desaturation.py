"""Desaturation index: how many falls of saturation by 3 % and by 4 % there are in an hour (ODI3, ODI4).

It wants about one sample a second, averaged over 3 s or less, as the AASM manual asks of oximeters: longer averaging
and fewer samples lose short and shallow events (Vagedes et al. 2014, PLoS ONE 9:e87280). At 5 s most events are still
counted and the nadir is read too high; sparser than 12 s nothing is said. The figures are those of Levy et al. 2021
(npj Digit Med 4:1, doi:10.1038/s41746-020-00373-5), per hour of recording that could be analysed: trustworthy and
without motion. How much of it was known to be sleep is said with it. One deep, long desaturation is the limits' matter.
Oximeters can read high in darker skin: a low index excludes nothing and clears no other alert.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.desaturation_events import Fall, Recent, events_in
from stream.detectors.desaturation_tally import (
    EVENTS_3,
    EVENTS_4,
    SAMPLES,
    SLOT_US,
    Tallies,
    Tally,
    event_rows,
    time_rows,
)
from stream.detectors.finding import Finding
from stream.detectors.no_longer import no_longer
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from stream.detectors.slots import Ints, first_of_each, trusted
from stream.detectors.sustain import NEVER
from vitals.catalogue import number_of
from vitals.clock import US_PER_S
from vitals.quality import Context

RULE: Final = "desaturation_index"
_SPO2: Final = number_of("spo2")
_MOTION: Final = int(Context.MOTION_ACTIVE | Context.WORKOUT)
_ASLEEP: Final = int(Context.ASLEEP)
_HOUR_SLOTS: Final = 12


@dataclass(frozen=True, slots=True)
class DesaturationPolicy:
    """Raised from `odi4_per_h` over the last `window_h` with at least `min_analysable_h` of it analysable; over below
    `clears_per_h`, or when less than half of `min_analysable_h` can be analysed any more: then the recording has ended
    and with it the episode. A hole longer than `max_gap_s` breaks an event off."""

    odi4_per_h: float = 15.0
    clears_per_h: float = 10.0
    window_h: int = 2
    min_analysable_h: float = 1.0
    max_gap_s: float = 12.0

    def __post_init__(self) -> None:
        if not 0 < self.clears_per_h < self.odi4_per_h:
            raise ValueError("clears_per_h is above 0 and below odi4_per_h")
        if not 1 <= self.window_h <= 12:
            raise ValueError("window_h lies within 1 to 12")
        if not 0 < self.min_analysable_h <= self.window_h:
            raise ValueError("min_analysable_h is above 0 and at most window_h")
        if not 1 < self.max_gap_s <= 30:
            raise ValueError("max_gap_s is above 1 and at most 30")


@dataclass(frozen=True, slots=True)
class Open:
    """An episode: since when, what it came to up to its last desaturation, and what has been measured after that."""

    opened_us: int
    raised_us: int
    tally: Tally
    after: Tally


@dataclass(frozen=True, slots=True)
class DesaturationState:
    """The last two minutes, the fall that goes on, the last hours by five minutes, and the episode that is open.

    Samples of the five minutes that go on wait until these are whole (looked at together they cost a tenth): when each
    was taken, and its tenths of a per cent, negative in sleep.
    """

    recent: Recent
    tallies: Tallies
    waiting_us: Ints
    waiting: NDArray[np.int16]
    fall: Fall | None = None
    open: Open | None = None


@dataclass(frozen=True, slots=True)
class Desaturation:
    """The desaturation index of one origin; says nothing of children."""

    policy: DesaturationPolicy = field(default_factory=DesaturationPolicy)

    name: ClassVar[str] = "desaturation"
    metrics: ClassVar[frozenset[int]] = frozenset({_SPO2})
    max_bytes: ClassVar[int] = 16_000
    per_patient: ClassVar[bool] = False

    def fresh(self) -> DesaturationState:
        """Return the state of somebody never seen."""
        return DesaturationState(Recent.none(), Tallies.none(), np.empty(0, np.int64), np.empty(0, np.int16))

    def step(
        self, state: DesaturationState, seen: Observations, until_us: int, person: Person
    ) -> tuple[DesaturationState, list[Finding]]:
        """Take in `seen`, at most a sample a second; five minutes are judged when a sample after them has come."""
        if person.profile.is_child:
            return self.fresh(), _no_longer(state.open, until_us)
        readings = trusted(seen, _SPO2, without=_MOTION, longest_s=self.policy.max_gap_s)
        if readings is None:
            return state, []
        before_us = int(state.waiting_us[-1]) if len(state.waiting_us) else state.recent.last_us
        first = first_of_each(readings.end_us, US_PER_S, before_us)
        count = np.count_nonzero(first)
        if not count:
            return state, []
        if count < len(first):
            readings = readings.pick(first)
        value = np.rint(readings.value * 10).astype(np.int16)
        asleep = (readings.context & _ASLEEP) != 0
        if np.count_nonzero(asleep):
            np.negative(value, out=value, where=asleep)
        start, value = np.concatenate((state.waiting_us, readings.end_us)), np.concatenate((state.waiting, value))
        begun_us = int(start[0]) if state.recent.last_us == NEVER else state.recent.last_us
        if begun_us // SLOT_US == start[-1] // SLOT_US:
            return DesaturationState(state.recent, state.tallies, start, value, state.fall, state.open), []
        return self._take(state, start, np.abs(value).astype(np.int64), value < 0)

    def _take(
        self, state: DesaturationState, start: Ints, value: Ints, asleep: NDArray[np.bool_]
    ) -> tuple[DesaturationState, list[Finding]]:
        """Take in samples of more than one five minutes."""
        before_us, gap_us = state.recent.last_us, round(self.policy.max_gap_s * US_PER_S)
        recent, fall, events = events_in(state.recent, state.fall, start, value, gap_us)
        span_us = np.diff(start, prepend=start[0] if before_us == NEVER else before_us)
        span_us = np.where(span_us > gap_us, 0, span_us)
        tallies = _added(state.tallies, start, time_rows(span_us, value, asleep), event_rows(events))
        opened, found = self._judge(state.open, tallies, len(state.tallies))
        kept = tallies.within(int(tallies.number[-1]) - self._slots, int(tallies.number[-1]) + 1)
        return DesaturationState(recent, kept, start[:0], np.empty(0, np.int16), fall, opened), found

    @property
    def _slots(self) -> int:
        return self.policy.window_h * _HOUR_SLOTS

    def _judge(self, opened: Open | None, tallies: Tallies, before: int) -> tuple[Open | None, list[Finding]]:
        """Judge each five minutes that have become whole."""
        found = list[Finding]()
        if opened is None and tallies.sums[:, EVENTS_4].sum() < self.policy.odi4_per_h * self.policy.min_analysable_h:
            return None, found  # nearly always
        whole = tallies.number[max(0, before - 1) : -1].tolist()
        following = tallies.number[max(0, before - 1) + 1 :].tolist()
        for slot, later in zip(whole, following, strict=True):
            # In a hole nothing is measured, but the window moves on, until it is empty.
            for number in range(slot, min(later, slot + self._slots + 1)):
                if opened is None and number > slot:
                    break
                opened, finding = self._at(opened, tallies, number)
                found += [finding] if finding else []
        return opened, found

    def _at(self, opened: Open | None, tallies: Tallies, number: int) -> tuple[Open | None, Finding | None]:
        """Judge the window that ends with slot `number`."""
        window = tallies.within(number + 1 - self._slots, number + 1)
        recent = window.together()
        odi4, end_us = recent.per_h(EVENTS_4), (number + 1) * SLOT_US
        if opened is None:
            if recent.hours < self.policy.min_analysable_h or odi4 < self.policy.odi4_per_h:
                return None, None
            first = int(window.number[(window.sums[:, EVENTS_3] > 0).argmax()])
            tally = tallies.within(first, number + 1).together()
            opened = Open(first * SLOT_US, end_us, tally, Tally())
            return opened, self._finding(State.RAISED, opened, end_us)
        opened = _longer(opened, tallies.within(number, number + 1).together())
        ended = recent.hours < self.policy.min_analysable_h / 2
        if ended or odi4 < self.policy.clears_per_h:
            return None, self._finding(State.CLEARED, opened, end_us, ended=ended)
        return opened, None

    def _finding(self, state: State, opened: Open, end_us: int, *, ended: bool = False) -> Finding:
        tally = opened.tally
        what = (
            f"{tally.per_h(EVENTS_4):g} falls of oxygen saturation by 4 % or more in an hour of analysable recording "
            f"({tally.sums[EVENTS_4]} in {tally.hours:.1f} h, lowest {tally.lowest / 10:g} %)"
        )
        over = "the recording has ended" if ended else "they have become fewer"
        return Finding(
            RULE, 1, "spo2", Kind.PHYSIOLOGICAL, Priority.LOW, state,
            opened.opened_us, opened.raised_us, end_us, end_us, opened.opened_us,
            what if state is State.RAISED else f"{what}; {over}",
            tally.sums[SAMPLES], threshold=self.policy.odi4_per_h, figures=tally.figures(), unit="/h",
            max_age_s=12 * 3_600.0,
        )  # fmt: skip


def _no_longer(opened: Open | None, until_us: int) -> list[Finding]:
    if opened is None:
        return []
    what = "falls of oxygen saturation"
    return no_longer(RULE, "spo2", what, opened.opened_us, opened.raised_us, until_us, unit="/h")


def _longer(opened: Open, slot: Tally) -> Open:
    """Return the episode with five minutes more: what follows its last desaturation counts only once another comes."""
    after = opened.after.plus(slot)
    if slot.sums[EVENTS_3]:
        return replace(opened, tally=opened.tally.plus(after), after=Tally())
    return replace(opened, after=after)


def _added(tallies: Tallies, start: Ints, sums: Ints, events: tuple[Ints, Ints, Ints]) -> Tallies:
    """Return the tallies with what the samples say, and the events that ended at some of them."""
    ends, event_sums, worst = events
    at = np.searchsorted(start, ends)
    np.add.at(sums, at, event_sums)
    most = np.zeros((len(start), 2), np.int64)
    np.maximum.at(most, at, worst)
    return tallies.add(start, sums, most)
