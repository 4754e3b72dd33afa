"""Off the body: a sensor that says so (no contact, not worn), or calls all its values worthless (quality 0), held.

One alert a device and application, however many metrics it tells: at one moment any value that can be trusted speaks
against it. A watch on a table that looks well is `stream.detectors.stuck`'s. Samples while charging say nothing: that
is planned. What an unworn device tells is distrusted until it is worn again. "Not worn", said once and never taken
back, lapses when vital signs of good quality keep coming for a quarter of an hour after it: a word that was lost on the
way must not silence the limits for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.by_metric import by_metric
from stream.detectors.cadence import ends_us
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Judged, Person
from stream.detectors.sustain import NEVER, Code, Run, Sustained, Timing, Transition, Window, codes_of, follow
from vitals.catalogue import BY_CODE, BY_NUMBER, METRICS, RetentionClass
from vitals.clock import US_PER_S
from vitals.quality import TRUSTWORTHY, Context

RULE: Final = "signal_lost"
VERSION: Final = 3
METRIC: Final = "wear_state"
_WEAR: Final = BY_CODE[METRIC].number
_EVER: Final = int(np.iinfo(np.int64).max)
_NO_CONTACT, _WORTHLESS, _NOT_WORN = 1, 2, 3
_REASONS: Final = ("unknown", "no contact", "quality 0", "not worn")
_WORN_METRICS: Final = frozenset(one.number for one in METRICS if one.retention is RetentionClass.VITAL)
_VITAL: Final = np.isin(np.arange(max(BY_NUMBER) + 1), list(_WORN_METRICS))


_TIMING: Final = Timing(delay_s=60, min_samples=3, clear_delay_s=60, clear_samples=3, max_gap_s=1_800)


@dataclass(frozen=True, slots=True)
class OffWristPolicy:
    """How long a sensor must be off to tell, and on again to clear. "Not worn" lapses after `lapse_s` of good values,
    none farther than `lapse_gap_s` from the next. Raises ValueError."""

    timing: Timing = _TIMING
    priority: Priority = Priority.LOW
    lapse_s: float = 900.0
    lapse_gap_s: float = 600.0

    def __post_init__(self) -> None:
        if not 60 <= self.lapse_gap_s <= self.lapse_s:
            raise ValueError("lapse_gap_s is at least 60 and not above lapse_s")


@dataclass(frozen=True, slots=True)
class Good:
    """Good values that came although the device says that it is not worn: the ends (us UTC) of the first and of the
    newest of them in a row, 0 without any."""

    since_us: int = 0
    newest_us: int = 0


_NONE_GOOD: Final = Good()


@dataclass(frozen=True, slots=True)
class OffWristState:
    """Where the rule stands, since when the device says that it is not worn, whether its last sample was charging, what
    speaks against it, and when that was believed last (us UTC; 0 where nothing is open, or the device said more)."""

    held: Sustained = field(default_factory=Sustained)
    unworn_us: int | None = None
    charging: bool = False
    good: Good = _NONE_GOOD
    lapsed_us: int = 0


@dataclass(frozen=True, slots=True)
class OffWrist:
    """The technical detector of a sensor that is off its wearer."""

    policy: OffWristPolicy = field(default_factory=OffWristPolicy)
    name: ClassVar[str] = "off_wrist"
    metrics: ClassVar[frozenset[int]] = _WORN_METRICS | {_WEAR}
    max_bytes: ClassVar[int] = 2_048
    per_patient: ClassVar[bool] = False

    def fresh(self) -> OffWristState:
        """Return the state of an origin never seen."""
        return OffWristState()

    def step(self, state: OffWristState, seen: Observations, until_us: int, person: Person) -> Judged:  # noqa: ARG002
        """Take in what tells of contact, one meaning a moment."""
        stretch = by_metric(seen)
        if stretch.all_well and stretch.of(_WEAR) is None and _is_fresh(state):  # nearly always
            return Judged(state, [], stretch.none)
        wear = seen["metric"] == _WEAR
        off = (seen["context"] & int(Context.NO_CONTACT)) != 0
        lost = off | (seen["quality"] == 0)
        if _is_fresh(state) and not (lost | wear).any():
            return Judged(state, [], off)
        unworn, unworn_us = _unworn(state.unworn_us, seen, wear)
        lapses, good = self._lapse(state.good, seen, wear, unworn, lost)
        if lapses and not unworn[-1]:
            unworn_us = None
        which = _VITAL[seen["metric"]] | wear
        window = _window(seen[which], off[which], unworn[which])
        held, told = follow(state.held, self.policy.timing, window)
        # At rest the newest moment is no news: then a quiet stretch costs nothing.
        held = Sustained() if held.is_quiet else held
        charging = bool(seen["context"][-1] & int(Context.CHARGING))
        said_us = ends_us(seen[wear]).tolist()
        findings = [self._finding(one, lapsed=_believed_us(state, lapses, said_us, one.at_us) > 0) for one in told]
        lapsed_us = 0 if held.is_quiet else _believed_us(state, lapses, said_us, _EVER)
        return Judged(OffWristState(held, unworn_us, charging, good, lapsed_us), findings, off | unworn)

    def distrusted(self, state: OffWristState) -> frozenset[int]:
        """Return every vital sign while the device says that it is not worn."""
        return _WORN_METRICS if state.unworn_us is not None else frozenset()

    def overdue(
        self,
        state: OffWristState,
        now_us: int,
        person: Person,  # noqa: ARG002
    ) -> tuple[OffWristState, list[Finding]]:
        """Raise what a device said before it fell silent: that it is not worn."""
        since_us, delay_us = state.unworn_us, round(self.policy.timing.delay_s * US_PER_S)
        if since_us is None or state.charging or state.held.raised_us is not None or now_us < since_us + delay_us:
            return state, []
        opened_us = state.held.run.since_us if state.held.run is not None else since_us
        at_us = max(opened_us + delay_us, state.held.at_us)
        told = Transition(False, opened_us, at_us, at_us, Run(opened_us, at_us))
        held = Sustained(max(at_us, state.held.at_us), opened_us, at_us)
        return replace(state, held=held), [self._finding(told)]

    def _lapse(
        self,
        good: Good,
        seen: Observations,
        wear: NDArray[np.bool_],
        unworn: NDArray[np.bool_],
        lost: NDArray[np.bool_],
    ) -> tuple[list[int], Good]:
        """Take `unworn` back, in place, from where good values came for long enough; return those moments (us UTC),
        and what speaks against the last word."""
        if not unworn.any():
            return [], _NONE_GOOD
        end = ends_us(seen)
        vital = _VITAL[seen["metric"]]
        fine, poor = vital & ~lost & (seen["quality"] >= TRUSTWORTHY), vital & lost
        said = np.flatnonzero(wear)
        first, last = np.append(0, said), np.append(said, len(seen))
        long_enough = (end[last - 1] - end[first]) >= self.policy.lapse_s * US_PER_S
        long_enough[[0, -1]] = True  # they go on in another stretch
        lapses: list[int] = []
        for number in np.flatnonzero(long_enough & (last > first) & unworn[last - 1]).tolist():
            part = slice(int(first[number]), int(last[number]))
            place, good = self._row(good if number == 0 else _NONE_GOOD, end[part], fine[part], poor[part])
            if place is not None:
                unworn[part.start + place : part.stop] = False
                lapses.append(int(end[part.start + place]))
        return lapses, good if unworn[-1] else _NONE_GOOD

    def _row(
        self, good: Good, end_us: NDArray[np.int64], fine: NDArray[np.bool_], poor: NDArray[np.bool_]
    ) -> tuple[int | None, Good]:
        """Return where good values have come in a row for long enough (None: nowhere), and the row that goes on."""
        at = np.flatnonzero(fine)
        if not len(at):
            return None, _NONE_GOOD if poor.any() else good
        end, worse = end_us[at], np.cumsum(poor)
        broken = np.diff(end, prepend=good.newest_us) > self.policy.lapse_gap_s * US_PER_S
        broken |= np.diff(worse[at], prepend=0) > 0
        since = np.maximum.accumulate(np.where(broken, end, good.since_us))
        lapsed = np.flatnonzero(end - since >= self.policy.lapse_s * US_PER_S)
        if len(lapsed):
            return int(at[lapsed[0]]), _NONE_GOOD
        return None, _NONE_GOOD if worse[-1] > worse[at[-1]] else Good(int(since[-1]), int(end[-1]))

    def _finding(self, told: Transition, *, lapsed: bool = False) -> Finding:
        lasted_s = (told.at_us - told.opened_us) / US_PER_S
        reason = _REASONS[int(told.run.readings[-1][1])] if told.run.readings else _REASONS[_NOT_WORN]
        state = State.CLEARED if told.cleared else State.RAISED
        says = f"the sensor told nothing that counts for {lasted_s:.0f} s ({reason})"
        if told.cleared:
            says, reason = f"the sensor measures again, after {lasted_s:.0f} s", "measures again"
        if told.cleared and lapsed:
            reason = "good values although not worn"
            says = f"the sensor said that it is not worn, but good values came for {self.policy.lapse_s / 60:.0f} min"
        return Finding(
            RULE, VERSION, METRIC, Kind.TECHNICAL, self.policy.priority, state, told.opened_us,
            told.raised_us, told.at_us, told.run.last_us, told.run.since_us, says, told.run.seen,
            figures={"reason": reason, "lasted_s": round(lasted_s, 1)}, individualised=True,
        )  # fmt: skip


def _believed_us(state: OffWristState, lapses: list[int], said_us: list[int], upto_us: int) -> int:
    """Return when good values were believed against the device's last word before a moment; 0: they were not."""
    believed_us = max((at_us for at_us in lapses if at_us <= upto_us), default=state.lapsed_us)
    return 0 if any(believed_us < at_us <= upto_us for at_us in said_us) else believed_us


def _is_fresh(state: OffWristState) -> bool:
    held = state.held
    return not state.charging and state.unworn_us is None and held.is_quiet and held.at_us == NEVER


def _unworn(since_us: int | None, seen: Observations, wear: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int | None]:
    """Return at which samples the device says that it is not worn, and since when it does after them.

    A state without a duration holds until the next one; one with a duration is of the past, and ends with itself.
    """
    told = np.flatnonzero(wear)
    if not len(told):
        return np.full(len(seen), since_us is not None), since_us
    said = seen["value"][told] == 0
    holds = said & (seen["duration_ms"][told] == 0)
    before = np.searchsorted(told, np.arange(len(seen)), side="right") - 1
    unworn = np.where(before >= 0, holds[before], since_us is not None)
    unworn[told] = said
    if not holds[-1]:
        return unworn, None
    worn = np.flatnonzero(~holds)
    first = told[worn[-1] + 1] if len(worn) else told[0]
    began_us = int(seen["start_us"][first])
    return unworn, began_us if len(worn) or since_us is None else since_us


def _window(seen: Observations, off: NDArray[np.bool_], unworn: NDArray[np.bool_]) -> Window:
    """Return what each moment means; the window's value says why it is lost (`_REASONS`)."""
    if not len(seen):
        return Window(np.empty(0, np.int64), np.empty(0, np.int8), np.empty(0), np.empty(0, np.float32))
    quality = seen["quality"]
    reason = np.where(unworn, _NOT_WORN, np.where(off, _NO_CONTACT, np.where(quality == 0, _WORTHLESS, 0)))
    code = codes_of(reason > 0, quality >= TRUSTWORTHY)
    end = ends_us(seen)
    first = np.flatnonzero(np.diff(end, prepend=end[0] - 1))
    charging = np.logical_or.reduceat((seen["context"] & int(Context.CHARGING)) != 0, first)
    # Of one moment the least alarming meaning counts: CALM < HOLD < BREACH.
    code = np.where(charging, Code.BREAK, np.minimum.reduceat(code, first)).astype(np.int8)
    return Window(end[first], code, np.maximum.reduceat(reason, first).astype(np.float64), quality[first])
