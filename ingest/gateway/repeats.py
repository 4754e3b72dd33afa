"""Which samples of one request say again what an earlier one said. Pure.

A sample's identity within a request is (metric, start, duration): patient, device and source application are the same
for all. Told again with another `written` it is another version, and which one stands the recorder decides.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitals.batch import SampleColumns
from vitals.catalogue import BY_NUMBER

Positions = NDArray[np.intp]

_METRICS: Final = max(BY_NUMBER) + 1


def repeats(columns: SampleColumns, among: Positions) -> tuple[Positions, Positions]:
    """Return the positions (of `among`, all of which are valid samples) that are exact copies, and that are conflicts.

    Of samples with one identity and one `written` the first stands. A later one that says the same under the same
    sample id is a copy, one with another content a conflict; the same content under another id is told further.
    """
    start_us = columns.start_us[among]
    none = np.empty(0, np.intp)
    if len(among) < 2 or bool((start_us[1:] > start_us[:-1]).all()):
        return none, none
    key = start_us * _METRICS + columns.metric[among]
    ordered = np.sort(key)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return none, none
    here = np.isin(key, twice)
    return _among_twins(columns, among[here], key[here])


def _among_twins(columns: SampleColumns, among: Positions, key: NDArray[np.int64]) -> tuple[Positions, Positions]:
    duration, written = columns.duration_ms[among], columns.written_us[among]
    order = np.lexsort((written, duration, key))  # stable: the earlier in the request comes first
    at, key, duration, written = among[order], key[order], duration[order], written[order]
    new = np.ones(len(at), np.bool_)
    new[1:] = (key[1:] != key[:-1]) | (duration[1:] != duration[:-1]) | (written[1:] != written[:-1])
    first = at[np.flatnonzero(new)[np.cumsum(new) - 1]]
    alike = _same_content(columns, first, at)
    same_id = (columns.sample_id[first] == columns.sample_id[at]).all(axis=1)
    return np.sort(at[~new & alike & same_id]), np.sort(at[~new & ~alike])


def _same_content(columns: SampleColumns, a: Positions, b: Positions) -> NDArray[np.bool_]:
    """What content is: `timeseries.versions.same_content`; two deletions say the same."""
    gone_a, gone_b = columns.deleted[a], columns.deleted[b]
    told = (columns.value, columns.quality, columns.context, columns.zone_offset_min)
    alike = np.logical_and.reduce([column[a] == column[b] for column in told])
    same: NDArray[np.bool_] = (gone_a & gone_b) | (~gone_a & ~gone_b & alike)
    return same
