"""Which sleep is believed, and which night or day it belongs to.

An *episode* is sleep whose stretches lie less than an hour apart (the rule by which van Hees et al. 2018, Sci Rep
8:12975, join sleep into one window). Of an episode that several origins tell one is believed, never a mixture:
candidates are those that tell at least four fifths as much as the one that tells most; one that tells stages goes
before one that only says "asleep", then more goes before less, then the older origin.

A night belongs to its wake day: the night of a day is the episode with most sleep whose middle lies between noon of
the day before and noon, by the wearer's clock on waking, if it has three hours of sleep or its middle lies between
21:00 and 9:00. Further episodes with a middle between 21:00 and 9:00 belong to such a night too. Every other episode
is a nap of the day on which it ends. Nothing here says what is good sleep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from timeseries.daily.groups import Floats, Ints, best, number
from timeseries.daily.intervals import once, once_by_rank, union
from timeseries.daily.pieces import Told
from timeseries.daily.zones import DAY_US, HOUR_US, local_day
from vitals.catalogue import BY_CODE

SLEEP_STAGE: Final = BY_CODE["sleep_stage"].number
UNSPECIFIED, AWAKE, CORE, DEEP, REM = range(1, 6)
"""As `vitals.catalogue.SLEEP_STAGES` has them."""
NOON_US: Final = -12 * HOUR_US
"""Days from noon to noon, as `zones.local_day` takes them: the one that ends at noon of day D has number D."""
EPISODE_GAP_US: Final = HOUR_US
LONGEST_EPISODE_US: Final = DAY_US
"""What is told as one sleep of more than a day is cut at noon."""
_MAIN_US: Final = 3 * HOUR_US
_NIGHT_US: Final = (9 * HOUR_US, 21 * HOUR_US)
"""21:00 to 9:00, counted from noon."""
_CANDIDATE: Final = 0.8


@dataclass(frozen=True, slots=True)
class Stretches:
    """Believed stretches; `counted_us` is what of each no other told before, `episode` indexes `Episodes`."""

    told: Told
    counted_us: Floats
    episode: Ints

    @property
    def asleep(self) -> NDArray[np.bool_]:
        """Tell which stretches are sleep."""
        found: NDArray[np.bool_] = (self.told.value != AWAKE) & (self.counted_us > 0)
        return found

    def take(self, rows: NDArray[np.intp]) -> Stretches:
        """Return these rows."""
        return Stretches(self.told.take(rows), self.counted_us[rows], self.episode[rows])


@dataclass(frozen=True, slots=True)
class Episodes:
    """One entry an episode: from falling asleep to waking up.

    `night` is the day whose night it is part of, where `is_night`; otherwise it is a nap of the day `nap`.
    """

    patient: Ints
    origin: Ints
    start: Ints
    end: Ints
    asleep_us: Floats
    offset_us: Ints
    is_night: NDArray[np.bool_]
    night: Ints
    nap: Ints


def sleep(told: Told) -> tuple[Stretches, Episodes]:
    """Return what is believed of stage samples (whole, not cut at midnight) of many patients."""
    stretches = _counted(*_believed(told.take(np.flatnonzero(told.metric == SLEEP_STAGE))))
    rows = np.flatnonzero(stretches.asleep)
    _, dense = np.unique(stretches.episode[rows], return_inverse=True)
    # What was told as awake only is no sleep: such an episode is left out with its stretches.
    known = np.isin(stretches.episode, stretches.episode[rows])
    stretches = stretches.take(np.flatnonzero(known))
    _, episode = np.unique(stretches.episode, return_inverse=True)
    stretches = Stretches(stretches.told, stretches.counted_us, episode)
    return stretches, _placed(stretches.take(np.flatnonzero(stretches.asleep)), len(np.unique(dense)))


def _believed(told: Told) -> tuple[Told, Ints]:
    """Return (the stretches of the origin that is believed in each episode, the number of that episode)."""
    if not len(told):
        return told, np.zeros(0, np.int64)
    runs, label = union(told.patient, told.start, told.end, EPISODE_GAP_US)
    too_long = (runs.end - runs.start > LONGEST_EPISODE_US)[label]
    window = np.zeros(len(told), np.int64)
    if too_long.any():
        index, told, window = told.cut(NOON_US)
        label, window = label[index], np.where(too_long[index], window, 0)
    episode, _ = number(label, window)
    series, row = number(episode, told.origin)
    of = episode[row]
    tells = np.bincount(series, weights=once(series, told.start, told.end), minlength=len(row))
    stages = np.bincount(series, weights=told.value >= CORE, minlength=len(row)) > 0
    most = np.zeros(int(episode.max()) + 1)
    np.maximum.at(most, of, tells)
    chosen = best(of, len(most), tells >= _CANDIDATE * most[of], stages, tells, -told.origin[row])
    kept = np.flatnonzero(told.origin == told.origin[row[chosen]][episode])
    return told.take(kept), episode[kept]


def _counted(told: Told, episode: Ints) -> Stretches:
    """Count every moment once: a stage goes before a mere "asleep", then what began first."""
    share = once_by_rank(episode, (told.value == UNSPECIFIED).astype(np.int64), told.start, told.end)
    return Stretches(told, share * (told.end - told.start), episode)


def _placed(asleep: Stretches, count: int) -> Episodes:
    """Return the episodes of sleeping stretches, each with its night or nap."""
    told, episode = asleep.told, asleep.episode
    first, last = best(episode, count, -told.start), best(episode, count, told.end)
    start, end, offset = told.start[first], told.end[last], told.offset_us[last]
    asleep_us = np.bincount(episode, weights=asleep.counted_us, minlength=count).astype(np.float64)
    patient, middle = told.patient[first], (start + end) // 2
    night = local_day(middle, offset, NOON_US)
    since_noon = (middle + offset - NOON_US) % DAY_US
    by_night = (since_noon >= _NIGHT_US[0]) & (since_noon < _NIGHT_US[1])
    group, row = number(patient, night)
    main = best(group, len(row), by_night | (asleep_us >= _MAIN_US), asleep_us, end)[group]
    is_night = by_night & by_night[main]
    is_night |= (np.arange(count) == main) & (asleep_us >= _MAIN_US)
    return Episodes(
        patient, told.origin[first], start, end, asleep_us, offset, is_night, night, local_day(end - 1, offset)
    )
