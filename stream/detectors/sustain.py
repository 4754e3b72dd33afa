"""From samples to episodes: a limit must be crossed for a while to raise, and left behind for a while to clear.

    quiet --breach--> pending --held delay_s--> raised --calm for clear_delay_s--> quiet

The machine sees no values, only what a rule makes of each sample (`Code`). It is sequential in event time and forgets
nothing between calls, so that cutting the samples elsewhere gives the same transitions. Work is done on runs of equal
meaning with numpy (`advance`); only a change of run costs Python. A few samples are faster one by one
(`stream.detectors.sustain_step`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitals.clock import US_PER_S

NEVER: Final = np.iinfo(np.int64).min
KEPT_READINGS: Final = 32


Reading = tuple[int, float, float]
"""Start (us), value and quality of one sample that took part."""


class Code(IntEnum):
    """What one sample means to one rule."""

    SKIP = 0  # says nothing: not trustworthy
    CALM = 1  # on the safe side of the clearing limit
    HOLD = 2  # between the clearing limit and the limit: neither raises nor clears
    BREACH = 3  # beyond the limit
    BREAK = 4  # the situation changed (contact lost, exercise): what was pending no longer is
    EXERTED = 5  # as `BREAK`, and what exercise leaves behind lasts for `recovery_s`


# Looking a member of an enumeration up costs more than comparing ten values.
SKIP, CALM, HOLD, BREACH, BREAK, EXERTED = (int(one) for one in Code)
_CALM, _HOLD, _BREACH = (np.int8(one) for one in (CALM, HOLD, BREACH))


def codes_of(breach: NDArray[np.bool_], calm: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Return what samples mean: beyond the limit, else on the safe side, else between; int8 of the same length."""
    code: NDArray[np.int8] = np.where(breach, _BREACH, np.where(calm, _CALM, _HOLD))
    return code


@dataclass(frozen=True, slots=True)
class Timing:
    """How long is long enough; seconds of event time.

    A breach raises when it has lasted `delay_s`, in at least `min_samples` samples, which are at least `min_share` of
    those that count; calm clears after `clear_delay_s` and `clear_samples`. A hole longer than `max_gap_s` begins anew:
    nobody knows what was in it. For `recovery_s` after the last `EXERTED` sample a breach is none: a delay may only
    begin after that. Raises ValueError where a number makes no sense.
    """

    delay_s: float = 60.0
    min_samples: int = 3
    clear_delay_s: float = 60.0
    clear_samples: int = 2
    max_gap_s: float = 600.0
    min_share: float = 0.8
    recovery_s: float = 0.0

    def __post_init__(self) -> None:
        if min(self.delay_s, self.clear_delay_s, self.recovery_s) < 0 or self.max_gap_s <= 0:
            raise ValueError("delays are not negative and a gap is longer than nothing")
        if min(self.min_samples, self.clear_samples) < 1 or not 0 <= self.min_share <= 1:
            raise ValueError("at least one sample decides, and a share is within 0 to 1")


@dataclass(frozen=True, slots=True)
class Window:
    """Samples in event time, each later than the one before. `start_us` int64, `code` int8, `value`, `quality`."""

    start_us: NDArray[np.int64]
    code: NDArray[np.int8]
    value: NDArray[np.float64]
    quality: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.start_us)

    def pick(self, which: NDArray[np.bool_]) -> Window:
        """Return the samples that the mask selects."""
        return Window(self.start_us[which], self.code[which], self.value[which], self.quality[which])

    def reading(self, index: int) -> Reading:
        """Return one sample as it is quoted."""
        return int(self.start_us[index]), float(self.value[index]), float(self.quality[index])


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of breach (while quiet) or calm (while raised): `hits` of `seen` samples, the newest kept."""

    since_us: int
    last_us: int
    seen: int = 0
    hits: int = 0
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True)
class Sustained:
    """Where one rule stands on one series, all samples up to `at_us` taken in.

    Quiet: nothing set. Pending: a `run`, not raised. Raised: `opened_us` and `raised_us`, and a `run` while it is
    calm but not yet for long enough. `recover_us`, where set, lies ahead: until then a breach is none.
    """

    at_us: int = NEVER
    opened_us: int | None = None
    raised_us: int | None = None
    run: Run | None = None
    recover_us: int | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is pending or raised, and nobody recovers."""
        return self.raised_us is None and self.run is None and self.recover_us is None


@dataclass(frozen=True, slots=True)
class Transition:
    """The rule raised (`opened_us` to `at_us`) or cleared (calm from `run.since_us` to `at_us`)."""

    cleared: bool
    opened_us: int
    raised_us: int
    at_us: int
    run: Run


def advance(state: Sustained, timing: Timing, window: Window) -> tuple[Sustained, Transition | None]:
    """Take in samples up to the first transition, or all of them; samples up to `state.at_us` must not be among them.

    Returns the new state and the transition; its `at_us` tells where to go on.
    """
    index, exerted = 0, window.code == EXERTED
    recover_us = state.recover_us
    if recover_us is not None or exerted.any():
        window = _rested(recover_us, timing, window, exerted)
    while index < len(window):
        state, index = _begin(state, window, index)
        if state.run is None:
            break
        state, index, done = _extend(state, timing, window, index)
        if done:
            state, told = complete(state, int(window.start_us[index]))
            return _recovering(state, recover_us, timing, window.start_us[: index + 1][exerted[: index + 1]]), told
    if len(window):
        state = Sustained(int(window.start_us[-1]), state.opened_us, state.raised_us, state.run, recover_us)
    return _recovering(state, recover_us, timing, window.start_us[exerted]), None


def follow(state: Sustained, timing: Timing, window: Window) -> tuple[Sustained, list[Transition]]:
    """Take in all of `window`, samples up to `state.at_us` left aside; return the new state and every transition."""
    told: list[Transition] = []
    while True:
        window = window.pick(window.start_us > state.at_us)
        state, transition = advance(state, timing, window)
        if transition is None:
            return state, told
        told.append(transition)


def _rested(recover_us: int | None, timing: Timing, window: Window, exerted: NDArray[np.bool_]) -> Window:
    """Let what is a breach only until somebody has recovered be a break; calm stays calm."""
    until = np.where(exerted, window.start_us + recovery_us(timing), NEVER if recover_us is None else recover_us)
    recovering = window.start_us <= np.maximum.accumulate(until)
    code = np.where(recovering & (window.code != CALM), BREAK, window.code).astype(np.int8)
    return Window(window.start_us, code, window.value, window.quality)


def recovery_us(timing: Timing) -> int:
    """Return how long what exercise leaves behind lasts, us."""
    return round(timing.recovery_s * US_PER_S)


def _recovering(state: Sustained, recover_us: int | None, timing: Timing, exerted_us: NDArray[np.int64]) -> Sustained:
    """Set until when somebody recovers who was at `recover_us` and exerted themselves at these moments."""
    if len(exerted_us):
        recover_us = max(int(exerted_us[-1]) + recovery_us(timing), NEVER if recover_us is None else recover_us)
    ahead = recover_us is not None and recover_us > state.at_us
    return Sustained(state.at_us, state.opened_us, state.raised_us, state.run, recover_us if ahead else None)


def _running(state: Sustained, run: Run | None) -> Sustained:
    return Sustained(state.at_us, state.opened_us, state.raised_us, run, state.recover_us)


def _begin(state: Sustained, window: Window, index: int) -> tuple[Sustained, int]:
    """Open a run at the first sample that can begin one, unless one goes on already."""
    if state.run is not None:
        return state, index
    wanted = BREACH if state.raised_us is None else CALM
    found = window.code[index:] == wanted
    if not found.any():
        return state, index
    index += int(found.argmax())
    start = int(window.start_us[index])
    return _running(state, Run(start, start)), index


def _extend(state: Sustained, timing: Timing, window: Window, index: int) -> tuple[Sustained, int, bool]:
    """Lengthen the run from `index`. Returns the state, the next index, and whether the sample there completes it."""
    run = state.run
    assert run is not None  # noqa: S101 - `_begin` has opened one
    raising = state.raised_us is None
    start, code = window.start_us[index:], window.code[index:]
    hit = code == (BREACH if raising else CALM)
    member = hit | (code == HOLD) if raising else hit
    member &= np.diff(start, prepend=run.last_us) <= timing.max_gap_s * US_PER_S
    length = len(member) if member.all() else int(member.argmin())
    enough = _enough(run, timing, raising, start[:length], hit[:length])
    if enough.any():
        length = int(enough.argmax()) + 1
        longer = _longer(run, window, index, length, int(hit[:length].sum()))
        return _running(state, longer), index + length - 1, True
    if length < len(member):
        return _running(state, None), index + length, False
    longer = _longer(run, window, index, length, int(hit.sum()))
    return _running(state, longer), index + length, False


def _enough(
    run: Run, timing: Timing, raising: bool, start: NDArray[np.int64], hit: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Tell for each sample whether the run is long enough with it."""
    delay_s, samples, share = needed(timing, raising)
    hits = run.hits + np.cumsum(hit)
    seen = run.seen + np.arange(1, len(hit) + 1)
    lasted = start - run.since_us >= delay_s * US_PER_S
    result: NDArray[np.bool_] = hit & lasted & (hits >= samples) & (hits >= share * seen)
    return result


def needed(timing: Timing, raising: bool) -> tuple[float, int, float]:
    """Return for how long, in how many samples and in which share of them a run must last."""
    if raising:
        return timing.delay_s, timing.min_samples, timing.min_share
    return timing.clear_delay_s, timing.clear_samples, 0.0


def _longer(run: Run, window: Window, index: int, length: int, hits: int) -> Run:
    if length == 0:
        return run
    newest = slice(max(index, index + length - KEPT_READINGS), index + length)
    columns = (window.start_us[newest].tolist(), window.value[newest].tolist(), window.quality[newest].tolist())
    readings = (*run.readings, *zip(*columns, strict=True))[-KEPT_READINGS:]
    return Run(run.since_us, int(window.start_us[index + length - 1]), run.seen + length, run.hits + hits, readings)


def complete(state: Sustained, at_us: int) -> tuple[Sustained, Transition]:
    """Return the state after its run, long enough at `at_us`, has raised or cleared, and that transition."""
    run = state.run
    assert run is not None  # noqa: S101 - only a run completes
    if state.raised_us is None or state.opened_us is None:
        told = Transition(False, run.since_us, at_us, at_us, run)
        return Sustained(at_us, run.since_us, at_us, None, state.recover_us), told
    return Sustained(at_us, recover_us=state.recover_us), Transition(True, state.opened_us, state.raised_us, at_us, run)
