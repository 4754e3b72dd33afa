"""Which of an ECG's candidate peaks are beats: Hamilton's decision rules, as a pure step from peak to peak.

Paper: Hamilton 2002, "Open source ECG analysis", Computers in Cardiology 29:101-104, building on Pan & Tompkins 1985,
"A real-time QRS detection algorithm", IEEE Trans Biomed Eng 32(3):230-236, and Hamilton & Tompkins 1986.
A candidate arrives already as the largest peak within 200 ms to either side (rule 1, which is the refractory time).
  - Within 360 ms of the last beat it must rise at least half as steeply as that beat did, or it is a T wave.
  - Above the threshold it is a beat, else noise. The threshold lies between the medians of the last eight peaks of
    each kind, at 0.3125 of the way.
  - Search-back: when one and a half RR intervals have passed without a beat, the largest peak of the interval that is
    above half the threshold and at least 360 ms after the last beat becomes one.

Deviations, and why. Medians instead of means: one artefact does not move them. The thresholds are learned from the
first two seconds that have peaks, and those two seconds are judged afterwards, so that no beat is lost to learning;
they are learned again after four seconds without a beat, because a loose electrode can lower the amplitude for good.
A peak below `FLOOR_MV` is none: what remains of a flat line is not a heart (AAMI EC13 wants 0.15 mV QRS ignored).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final, NamedTuple

REFRACTORY_S: Final = 0.200
T_WAVE_S: Final = 0.360
LEARNING_S: Final = 2.0
LOST_S: Final = 4.0
THRESHOLD: Final = 0.3125
SEARCH_BACK: Final = 1.5
FLOOR_MV: Final = 0.02
_REMEMBERED: Final = 8
_OTHER_SIDE: Final = 1.5  # how much larger the other lobe must be for a beat to be timed by it


class Peak(NamedTuple):
    """A candidate. `at`: sample of the energy's peak; the rest describes the wave that made it.

    `up_at` and `down_at` are the (fractional) samples of its highest and lowest point, `up` and `down` their heights
    in mV of the filtered signal (both positive), `slope` its steepest change a sample.
    """

    at: int
    height: float
    up_at: float
    up: float
    down_at: float
    down: float
    slope: float


@dataclass(frozen=True, slots=True)
class RuleState:
    """Memory between peaks; samples count from the last reset. `sign` is the lobe by which beats are timed."""

    learning: bool = True
    searched: bool = False  # a beat is overdue; until it comes, half the threshold is enough
    last_at: int | None = None
    last_slope: float = 0.0
    sign: int = 0
    beats: tuple[float, ...] = ()
    noise: tuple[float, ...] = ()
    intervals: tuple[int, ...] = ()
    waiting: tuple[Peak, ...] = ()  # while learning: all peaks; afterwards: those since the last beat that were none

    @property
    def threshold(self) -> float:
        """The height that parts beats from noise."""
        quiet = median(self.noise) if self.noise else 0.0
        return quiet + THRESHOLD * (median(self.beats) - quiet)


@dataclass(slots=True)
class Judge:
    """Applies the rules at one sampling rate. `state` is replaced as peaks come; `found` gathers beats' samples."""

    rate_hz: float
    state: RuleState = field(default_factory=RuleState)
    found: list[float] = field(default_factory=list)

    def hear(self, peaks: Iterable[Peak], known_until: int) -> list[float]:
        """Judge further peaks, in order, and what their absence up to `known_until` means; return beats, in order."""
        self.found = []
        for peak in peaks:
            if max(peak.up, peak.down) >= FLOOR_MV:
                self._pass_time(peak.at)
                self._judge(peak)
        self._pass_time(known_until)
        return self.found

    def _judge(self, peak: Peak) -> None:
        state = self.state
        if state.learning:
            self.state = replace(state, waiting=(*state.waiting, peak))
        elif peak.height > state.threshold / (1 + state.searched) and not self._is_t_wave(peak):
            self._accept(peak)
        else:
            noise = (*state.noise, peak.height)[-_REMEMBERED:]
            self.state = replace(state, noise=noise, waiting=(*state.waiting, peak))

    def _is_t_wave(self, peak: Peak) -> bool:
        last = self.state.last_at
        return last is not None and peak.at - last < T_WAVE_S * self.rate_hz and peak.slope < self.state.last_slope / 2

    def _accept(self, peak: Peak) -> None:
        state = self.state
        sign = _side(peak, state.sign)
        intervals = state.intervals
        if state.last_at is not None:
            intervals = (*intervals, peak.at - state.last_at)[-_REMEMBERED:]
        self.state = replace(
            state,
            searched=False,
            last_at=peak.at,
            last_slope=peak.slope,
            sign=sign,
            beats=(*state.beats, peak.height)[-_REMEMBERED:],
            intervals=intervals,
            waiting=tuple(one for one in state.waiting if one.at > peak.at),
        )
        self.found.append(peak.up_at if sign > 0 else peak.down_at)

    def _pass_time(self, until: int) -> None:
        """Do what falls due by `until`, in the order in which it does."""
        while (due := self._due()) is not None and due <= until:
            if self.state.learning:
                self._learn()
            elif self.state.searched:
                self.state = replace(self.state, learning=True, waiting=())
            else:
                self._search_back(due)

    def _due(self) -> int | None:
        """Return when silence means something next: learning is over, a beat is missing, the signal is lost."""
        state = self.state
        if state.learning:
            return state.waiting[0].at + round(LEARNING_S * self.rate_hz) if state.waiting else None
        if state.last_at is None:
            return None
        if state.searched:
            return state.last_at + round(LOST_S * self.rate_hz)
        usual = median(state.intervals) if state.intervals else self.rate_hz
        return state.last_at + round(min(SEARCH_BACK * usual, LOST_S * self.rate_hz))

    def _learn(self) -> None:
        """Take the mean of the two seconds' highest peaks for a beat's height, then judge what was heard."""
        heard = self.state.waiting
        middle = heard[0].at + LEARNING_S / 2 * self.rate_hz
        halves = ([one.height for one in heard if one.at < middle], [one.height for one in heard if one.at >= middle])
        highest = [max(half) for half in halves if half]
        level = sum(highest) / len(highest)
        self.state = replace(
            self.state, learning=False, searched=False, last_at=None, beats=(level,), noise=(), waiting=()
        )
        for peak in heard:
            self._pass_time(peak.at)
            self._judge(peak)

    def _search_back(self, due: int) -> None:
        state = self.state
        earliest = (state.last_at or 0) + T_WAVE_S * self.rate_hz
        among = [one for one in state.waiting if earliest <= one.at <= due and one.height > state.threshold / 2]
        self.state = replace(state, searched=True)
        if among:
            self._accept(max(among, key=lambda one: one.height))


def _side(peak: Peak, sign: int) -> int:
    """Return by which lobe to time a beat: the one by which the beats before it were, unless it is clearly smaller."""
    if sign == 0:
        return 1 if peak.up >= peak.down else -1
    this, other = (peak.up, peak.down) if sign > 0 else (peak.down, peak.up)
    return -sign if other > _OTHER_SIDE * this else sign
