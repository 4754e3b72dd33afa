"""Beats as the rhythm detectors need them: RR intervals that a heart can have, and nowhere judged by their neighbours.

RR are filtered by range alone. Rules that drop an interval because it differs from the last one by a fifth (Malik and
others) delete atrial fibrillation itself. Whether beats are missing between two intervals is told by time: `start_us`
plus the interval should be the next `start_us`. Straps have no clock, and their beats are dated by when the radio
brought them, up to a second off; some sources date an interval by its end. So a hole is what is longer than either
neighbouring interval explains.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S
from vitals.quality import TRUSTWORTHY, Context

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


def trusted(seen: Observations) -> NDArray[np.bool_]:
    """Tell which samples were taken on the body and well: nothing else is judged."""
    well: NDArray[np.bool_] = (seen["quality"] >= TRUSTWORTHY) & ((seen["context"] & int(Context.NO_CONTACT)) == 0)
    return well


def beats(seen: Observations, low_ms: float, high_ms: float) -> Beats:
    """Return the trustworthy RR intervals of `seen` (RR only, by start) within the range, both ends included."""
    rr = seen["value"]
    kept = trusted(seen) & (rr >= low_ms) & (rr <= high_ms)
    rows = seen if kept.all() else seen[kept]
    told = np.empty(len(rows), BEAT)
    told["start_us"], told["rr_ms"], told["quality"] = rows["start_us"], rows["value"], rows["quality"]
    context = rows["context"]
    told["moving"] = (context & _MOVING) != 0
    told["asleep"] = (context & int(Context.ASLEEP)) != 0
    return told


def joined(older: Beats, newer: Beats) -> Beats:
    """Return both, one after the other."""
    both: Any = np.concatenate((older, newer)) if len(older) else newer
    return both  # type: ignore[no-any-return]


def last(both: Beats, count: int) -> Beats:
    """Return the newest beats as an array of its own."""
    return both[max(0, len(both) - count) :].copy()


def holes_ms(of: Beats) -> NDArray[np.float64]:
    """Return how much time lies unexplained before each beat but the first, in ms; shape (n - 1,), at least 0."""
    rr = of["rr_ms"]
    apart_ms = np.diff(of["start_us"]) / US_PER_MS
    missing: NDArray[np.float64] = np.maximum(apart_ms - np.maximum(rr[1:], rr[:-1]), 0.0)
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
