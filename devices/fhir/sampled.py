"""valueSampledData: a signal as a waveform, or a trend as samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.fhir.resources import SampledData

_MAX_CHUNK: Final = 60_000
"""Values a chunk: one record of the waveform topic holds twice as many."""
_BREAKS: Final = frozenset({"E", "U", "L"})
"""Error, below and above the sensor's range: no value."""
_MAX_VALUES: Final = 10_000_000


class BadSeries(ValueError):
    """The data are no numbers."""


Run = tuple[int, NDArray[np.float64]]
"""Place of the first value, and the values of an unbroken run, as they stand in the data."""


def runs(series: SampledData) -> Iterator[Run]:
    """Yield the unbroken runs of a series, each of whole samples of all dimensions. Raises `BadSeries`."""
    words = series.data.split(maxsplit=_MAX_VALUES)
    if len(words) > _MAX_VALUES:
        raise BadSeries
    known = np.array([word not in _BREAKS for word in words], np.bool_)
    whole = len(words) // series.dimensions * series.dimensions
    # A sample of several axes is there only if all of them are.
    present: NDArray[np.bool_] = np.all(known[:whole].reshape(-1, series.dimensions), axis=1)
    for first, last in _stretches(present):
        taken = words[first * series.dimensions : last * series.dimensions]
        yield first, _floats(taken)


def _floats(words: list[str]) -> NDArray[np.float64]:
    try:
        values = np.array([float(word) for word in words], np.float64)
    except ValueError:
        raise BadSeries from None
    if not np.isfinite(values).all():
        raise BadSeries
    return values


def _stretches(present: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], present, [False])).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def counts(values: NDArray[np.float64], factor: float, origin: float) -> tuple[NDArray[np.int32], float]:
    """Return (int32 counts, scale) of physical values `values * factor + origin`; exact where they are whole numbers.

    Raises `BadSeries` where they overflow.
    """
    base = origin / factor if factor else np.nan
    shifted = values + base
    rounded = np.rint(shifted)
    if not np.isfinite(base) or not np.allclose(shifted, rounded, rtol=0, atol=1e-9):
        physical = values * factor + origin
        factor = float(np.abs(physical).max()) / (1 << 30) or 1.0
        rounded = np.rint(physical / factor)
    if not np.isfinite(rounded).all() or np.abs(rounded).max() > np.iinfo(np.int32).max:
        raise BadSeries
    return rounded.astype(np.int32), factor


def parts(values: NDArray[np.int32], dimensions: int) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Yield (place of the first sample, values of shape (dimensions, n)) in pieces that fit a record."""
    table = values.reshape(-1, dimensions)
    step = _MAX_CHUNK // dimensions
    for first in range(0, len(table), step):
        yield first, np.ascontiguousarray(table[first : first + step].T)
