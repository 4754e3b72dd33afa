"""Beats as the rhythm detectors need them: RR intervals that a heart can have, and nowhere judged by their neighbours.

RR are filtered by range alone. Rules that drop an interval because it differs from the last one by a fifth (Malik and
others) delete atrial fibrillation itself. Whether beats are missing between two intervals is told by time: `start_us`
plus the interval should be the next `start_us`. Straps have no clock, and their beats are dated by when the radio
brought them, up to a second off; some sources date an interval by its end. So a hole is what is longer than either
neighbouring interval explains.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.detectors.by_metric import Series, Stretch, by_metric
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S
from vitals.quality import Context

RR_INTERVAL: Final = BY_CODE["rr_interval"].number
US_PER_MS: Final = 1_000
MS_PER_MIN: Final = 60_000.0

Beats = NDArray[np.void]
"""Rows of `BEAT`: the interval's start (us) and length (ms), and whether its wearer moved or slept."""

BEAT: Final = np.dtype(
    [
        ("start_us", np.int64),
        ("rr_ms", np.float64),
        ("quality", np.float32),
        ("moving", np.bool_),
        ("asleep", np.bool_),
    ]
)
NO_BEATS: Final[Beats] = np.empty(0, BEAT)
NO_BEATS.flags.writeable = False

_MOVING: Final = int(Context.MOTION_ACTIVE | Context.WORKOUT)
_ASLEEP: Final = int(Context.ASLEEP)


class Heard(NamedTuple):
    """The RR intervals of a stretch that a rule looks at, and what a glance shows: nearly always that is enough.

    `told`: how many there were at all; `rr_ms`: those of `beats`, contiguous; of these the shortest and the longest (0
    without any), and the longest hole between two of them.
    """

    told: int
    beats: Beats
    rr_ms: NDArray[np.float64]
    shortest_ms: float
    longest_ms: float
    hole_ms: float

    def hole_after(self, tail: Beats) -> float:
        """Return the longest hole (ms), that between the newest beat of `tail` and the first of these among them."""
        if not len(tail) or not len(self.beats):
            return self.hole_ms
        before, first = tail[-1].item(), self.beats[0].item()
        hole_ms: float = (first[0] - before[0]) / US_PER_MS - max(first[1], before[1])
        return max(self.hole_ms, hole_ms)


def heard(seen: Observations, low_ms: float, high_ms: float) -> Heard:
    """Return the trustworthy RR intervals within the range, both ends included; once for all rules of one range."""
    global _newest  # noqa: PLW0603 - a memory of one stretch, as `by_metric` is
    stretch = by_metric(seen)
    known = _newest
    if known is None or known[0] is not stretch:
        known = _newest = (stretch, {})
    found = known[1].get((low_ms, high_ms))
    if found is None:
        found = known[1][low_ms, high_ms] = _heard(stretch, low_ms, high_ms, known[1].values())
    return found


def beats(seen: Observations, low_ms: float, high_ms: float) -> Beats:
    """Return the trustworthy RR intervals within the range, both ends included."""
    return heard(seen, low_ms, high_ms).beats


_newest: tuple[Stretch, dict[tuple[float, float], Heard]] | None = None


def _heard(stretch: Stretch, low_ms: float, high_ms: float, known: Iterable[Heard]) -> Heard:
    for one in known:  # another range may leave the same
        if one.told == len(one.beats) and low_ms <= one.shortest_ms and one.longest_ms <= high_ms:
            return one
    told, series = stretch.of(RR_INTERVAL), stretch.trusted(RR_INTERVAL)
    count = 0 if told is None else len(told.value)
    if series is not None:
        shortest, longest = stretch.extremes(RR_INTERVAL)
        if series is not told or not (low_ms <= shortest and longest <= high_ms):
            rr = series.value
            series = series.pick((rr >= low_ms) & (rr <= high_ms))
            shortest, longest = float(series.value.min(initial=np.inf)), float(series.value.max(initial=-np.inf))
    if series is None or not len(series.value):
        return Heard(count, NO_BEATS, NO_BEATS["rr_ms"], 0.0, 0.0, 0.0)
    hole_ms = np.maximum.reduce(_holes_ms(series.start_us, series.value), initial=0.0)
    return Heard(count, _beats(series, stretch.context), series.value, shortest, longest, float(hole_ms))


def _beats(series: Series, agreed: int) -> Beats:
    """Return the samples as beats; `agreed` is the context of all of them, or -1."""
    told = np.empty(len(series.value), BEAT)
    told["start_us"], told["rr_ms"], told["quality"] = series.start_us, series.value, series.quality
    if agreed >= 0:
        told["moving"], told["asleep"] = agreed & _MOVING != 0, agreed & _ASLEEP != 0
    else:
        told["moving"], told["asleep"] = (series.context & _MOVING) != 0, (series.context & _ASLEEP) != 0
    return told


_ROW: Final = np.dtype((np.void, BEAT.itemsize))
# As in `stream.detectors.observation`: plain bytes are copied ten times as fast as fields.


def joined(older: Beats, newer: Beats) -> Beats:
    """Return both, one after the other."""
    if not len(older):
        return newer
    both: Beats = np.concatenate((older.view(_ROW), newer.view(_ROW))).view(BEAT)
    return both


def last(older: Beats, newer: Beats, count: int) -> Beats:
    """Return the newest `count` beats of both as an array of its own."""
    keep = count - len(newer)
    if keep > 0 and len(older):
        return joined(older[-keep:], newer)
    tail: Beats = newer[-count:].view(_ROW).copy().view(BEAT)
    return tail


def holes_ms(of: Beats) -> NDArray[np.float64]:
    """Return how much time lies unexplained before each beat but the first, in ms; shape (n - 1,), at least 0."""
    return _holes_ms(of["start_us"], of["rr_ms"])


def _holes_ms(start_us: NDArray[np.int64], rr_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    apart_ms = (start_us[1:] - start_us[:-1]) / US_PER_MS
    missing: NDArray[np.float64] = np.maximum(apart_ms - np.maximum(rr_ms[1:], rr_ms[:-1]), 0.0)
    return missing


def lost_before(of: Beats) -> NDArray[np.bool_]:
    """Tell of each beat whether one is missing before it, as far as half an interval shows; of the first it is not."""
    lost = np.zeros(len(of), np.bool_)
    lost[1:] = holes_ms(of) > 0.5 * of["rr_ms"][1:]
    return lost


def quoted(of: Beats, count: int = 32) -> tuple[tuple[int, float, float], ...]:
    """Return the newest intervals as an alert quotes them."""
    newest = of[-count:]
    columns = (newest["start_us"].tolist(), newest["rr_ms"].tolist(), newest["quality"].tolist())
    return tuple(zip(*columns, strict=True))


def per_minute(rr_ms: float) -> float:
    """Return the rate of an interval."""
    return MS_PER_MIN / rr_ms


def for_adults(person: Person) -> bool:
    """Tell whether adult rules about the heart's own rhythm apply: not to children, nor to a pacemaker's rhythm."""
    return not (person.profile.is_child or person.profile.pacemaker)


def seconds(us: int) -> float:
    """Return microseconds as seconds."""
    return us / US_PER_S
