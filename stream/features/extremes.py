"""Thins out scalars that come faster than their policy, and keeps what matters: each window's extremes as they were.

Of every series and window (a stretch of the clock, so that every worker cuts alike) the first, the last, the lowest
and the highest sample stay, with their own times and values; nothing is averaged. A desaturation of two seconds thus
stays exactly as deep and as long as it was measured (within a window's length). This is the min-max part of
M4 (Jugel et al. 2014, "M4: a visualization-oriented time series aggregation", PVLDB 7(10):797-808).

Deviation from M4: windows are those of the clock, not of a screen, and a window is reduced again whenever more of it
arrives. That is allowed because the reduction is idempotent and associative: what is kept of a part contains what is
kept of the whole.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream.features.memory import pack, unpack

Samples: TypeAlias = NDArray[np.void]
"""A structured array with at least `series` (int64), `time` (int64, microseconds UTC) and `value` (float64, finite).

Whatever else its dtype has travels along untouched. Samples that must not stand in for one another (an artefact of
quality 0 and a trustworthy value) are two series to this stage.
"""

_KIND: Final = "extremes/1"


def reduce(samples: Samples, pending: Samples | None, window_us: int) -> tuple[Samples, Samples]:
    """Return (samples that stay for good, samples of windows that may still grow), sorted by series and time.

    `pending` is what the last call gave back, None at first; it holds at most four samples a series. A window is closed
    by a sample of its series in a later one. A sample that comes after its window was closed stays as it is.
    """
    rows = samples if pending is None else np.concatenate((pending, samples))
    rows = rows[np.lexsort((rows["value"], rows["time"], rows["series"]))]
    window = rows["time"] // window_us
    kept = rows[_extremes(rows, window)]
    return _split(kept, window_us)


def close(pending: Samples, window_us: int, before_us: int) -> tuple[Samples, Samples]:
    """Return (what stays of windows that ended by `before_us`, the rest): for series that fell silent."""
    over = (pending["time"] // window_us + 1) * window_us <= before_us
    return pending[over], pending[~over]


def _extremes(rows: Samples, window: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the positions of each (series, window)'s first, last, lowest and highest; of equals the earliest."""
    if not len(rows):
        return np.empty(0, np.intp)
    starts = _starts(rows["series"], window)
    ends = np.append(starts[1:], len(rows)) - 1
    group = np.repeat(np.arange(len(starts)), ends - starts + 1)
    by_value = np.lexsort((rows["time"], rows["value"], group))
    by_fall = np.lexsort((rows["time"], -rows["value"], group))
    return np.unique(np.concatenate((starts, ends, by_value[starts], by_fall[starts])))


def _starts(*keys: NDArray[Any]) -> NDArray[np.intp]:
    changes = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return np.flatnonzero(np.append(np.True_, changes))


def _split(kept: Samples, window_us: int) -> tuple[Samples, Samples]:
    """Part the newest window of every series from those before it; `kept` is sorted by series and time."""
    if not len(kept):
        return kept, kept
    starts = _starts(kept["series"])
    newest = np.maximum.reduceat(kept["time"], starts) // window_us
    counts = np.diff(np.append(starts, len(kept)))
    is_open = kept["time"] // window_us == np.repeat(newest, counts)
    return kept[~is_open], kept[is_open]


def to_bytes(pending: Samples) -> bytes:
    """Return the open windows as bytes."""
    return pack(_KIND, **{f"f_{name}": pending[name] for name in pending.dtype.names or ()})


def from_bytes(data: bytes) -> Samples:
    """Return the open windows that `to_bytes` wrote. Raises `UnreadableState`."""
    fields = {name.removeprefix("f_"): column for name, column in unpack(_KIND, data).items()}
    pending = np.empty(
        len(next(iter(fields.values()))), [(name, one.dtype, one.shape[1:]) for name, one in fields.items()]
    )
    for name, column in fields.items():
        pending[name] = column
    return pending
