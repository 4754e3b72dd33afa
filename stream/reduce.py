"""Thins out scalars that come faster than their policy: which accepted samples are not stored. Pure, vectorised.

A function of one record alone, so that a record that comes again, whatever batch it is in, is reduced to the same
samples and meets their identities. Of every metric and window of the event clock the first, last, lowest and highest
sample stay (`stream.features.extremes`). Samples that must not stand in for one another (trustworthy, of low quality,
an artefact of quality 0) are kept apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.features.extremes import MOST, extremes
from stream.validate import flags
from vitals.batch import SampleColumns
from vitals.catalogue import BY_NUMBER, METRICS, Kind, Metric
from vitals.quality import Flag

DEFAULT_WINDOW_MS: Final = 1_000
_NEVER: Final = int(Flag.NO_CONTACT | Flag.CLOCK_AHEAD | Flag.TOMBSTONE)


def _is_continuous(metric: Metric) -> bool:
    """Tell whether samples of a metric are readings of one continuous quantity, so that extremes stand for the rest.

    Such a quantity has a largest believable rate of change. An RR interval, a blood pressure or a weight has none:
    each is a measurement of its own. Totals, categories and waveforms are no instantaneous values.
    """
    return metric.kind is Kind.INSTANTANEOUS and metric.max_rate_per_s is not None


_DEFAULT: Final = MappingProxyType({m.number: DEFAULT_WINDOW_MS for m in METRICS if _is_continuous(m)})


@dataclass(frozen=True)
class ReductionPolicy:
    """How long a window is, in ms, by metric number; a metric with 0 or none is never reduced.

    A window keeps up to four samples, so with the default of one second whatever comes at 4 Hz or slower is untouched.
    Raises ValueError for a number that the catalogue lacks or a negative window.
    """

    window_ms: Mapping[int, int] = field(default_factory=lambda: _DEFAULT)
    window_us: NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make the look-up array `window_us` (by metric number; 1, a window of its own instant, where never)."""
        table = np.ones(max(BY_NUMBER) + 1, np.int64)
        for number, window_ms in self.window_ms.items():
            if number not in BY_NUMBER or window_ms < 0:
                raise ValueError(f"metric {number} with a window of {window_ms} ms is no reduction policy")
            table[number] = max(window_ms * 1_000, 1)
        table.flags.writeable = False
        object.__setattr__(self, "window_us", table)


DEFAULT_REDUCTION: Final = ReductionPolicy()


def left_out(
    policy: ReductionPolicy, counts: NDArray[np.int64], columns: SampleColumns, accepted: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Return the ascending positions of accepted samples that are not stored.

    `columns` holds the samples of many records, `counts` says how many each has. Never left out: deletions, samples
    over a duration, without contact to the body or ahead of the clock, and identities that their record tells more
    than once (versions of one sample, or a sample and its deletion: which one stands is not for this stage to decide).
    """
    record = np.repeat(np.arange(len(counts)), counts)
    window = columns.start_us // policy.window_us[columns.metric]
    crowd = _crowded(record, columns.metric, window)
    at = crowd[accepted[crowd] & (columns.duration_ms[crowd] == 0) & (policy.window_us[columns.metric[crowd]] > 1)]
    if len(at) <= MOST:
        return np.empty(0, np.intp)
    series = record[at] * len(policy.window_us) + columns.metric[at]
    dropped: NDArray[np.intp] = at[_superfluous(columns.take(at), series, window[at])]
    return dropped


def _superfluous(columns: SampleColumns, series: NDArray[np.int64], window: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the positions of samples that others of their series (record and metric) and window stand for."""
    marks = flags(columns)
    may = np.flatnonzero((marks & _NEVER == 0) & ~_repeated(series, columns.start_us))
    doubt = (columns.quality == 0).astype(np.int64) + (marks & int(Flag.LOW_QUALITY) != 0)
    stays = extremes((series * 3 + doubt)[may], window[may], columns.start_us[may], columns.value[may])
    return may[~stays]


# Fibonacci hashing: 2**64 divided by the golden ratio (Knuth, The Art of Computer Programming, volume 3, section 6.4).
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


def _crowded(record: NDArray[np.intp], metric: NDArray[np.int16], window: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the positions of all samples of windows with more than `MOST`, and by chance a few others.

    Counts hashes instead of sorting windows: at the usual 1 Hz this is all that reduction costs.
    """
    bits = max(len(record) - 1, 1).bit_length() + 2  # four buckets a sample: hardly ever five in one by chance
    # What overflows here, or is numbered higher, shares a bucket with others: that costs time and changes nothing.
    key = (window.astype(np.uint64) << np.uint64(22)) + (metric.astype(np.uint64) << np.uint64(16))
    key += record.astype(np.uint64)
    bucket = ((key * _GOLDEN) >> np.uint64(64 - bits)).astype(np.intp)
    full = np.bincount(bucket) > MOST
    return np.flatnonzero(full[bucket]) if full.any() else np.empty(0, np.intp)


def _repeated(series: NDArray[np.int64], time: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which samples share series and time with another one."""
    order = np.lexsort((time, series))
    same = (np.diff(series[order]) == 0) & (np.diff(time[order]) == 0)
    repeated = np.empty(len(order), np.bool_)
    repeated[order] = np.append(same, np.False_) | np.append(np.False_, same)
    return repeated
