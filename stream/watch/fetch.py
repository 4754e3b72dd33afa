"""A whole decoded fetch as observations: validity, what is watched at all and what is suspicious, once for all records.

Different people have different limits: each record names a row of the tables that hold what its plan watches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stream.detectors.observation import OBSERVATION, Observations
from stream.detectors.policy import WatchPolicy
from stream.validate import refused
from stream.watch.plan import METRICS, Flags, Plan
from vitals.batch import BatchHeader, SampleColumns
from vitals.catalogue import NEEDS_DURATION
from vitals.gate import Gate
from vitals.quality import Context
from vitals.validity import FUTURE_TOLERANCE_US, reasons

_NO_CONTACT = int(Context.NO_CONTACT)
NOT_WATCHED = 0
"""The table of records that nobody wants to see."""


class Tables:
    """By number: which metrics are watched, which by limits, and the values between which none of these cares."""

    def __init__(self) -> None:
        self.watched = np.zeros((1, METRICS), np.bool_)
        self.judged = np.zeros((1, METRICS), np.bool_)
        self.bounds = np.zeros((1, 2, METRICS))
        self.limits: list[WatchPolicy | None] = [None]
        self._known: dict[tuple[int, int], tuple[int, Plan]] = {}

    def number_of(self, plan: Plan, limits: WatchPolicy) -> int:
        """Return the number of a plan with these limits."""
        held = self._known.get((id(plan), id(limits)))
        if held is not None:
            return held[0]
        number = len(self.limits)
        self._known[id(plan), id(limits)] = number, plan  # holding both keeps their ids their own
        self.limits.append(limits)
        self.watched = np.concatenate((self.watched, [plan.watched | limits.watched]))
        self.judged = np.concatenate((self.judged, [limits.watched]))
        self.bounds = np.concatenate((self.bounds, [limits.suspicious]))
        return number


@dataclass(frozen=True, slots=True)
class Fetch:
    """The watched, valid samples of records, one after the other: record i has `rows[edges[i]:edges[i + 1]]`.

    A list entry a record: `alarms` whether limits must look, `newest_us` and `oldest_us` the latest and the earliest
    end of a measurement, `heard_us` when the last was received (anything where a record has no rows).
    """

    rows: Observations
    edges: list[int]
    alarms: list[bool]
    newest_us: list[int]
    oldest_us: list[int]
    heard_us: list[int]


def accepted(
    gate: Gate, headers: Sequence[BatchHeader | None], counts: NDArray[np.int64], columns: SampleColumns
) -> tuple[Flags, list[BatchHeader | None]]:
    """Return which samples count, as the recorder has it, and the headers of the records that have any."""
    well: Flags = refused(gate, headers, counts, columns, reasons(columns)) == 0
    if well.all():
        return well, list(headers)
    some = _with_any(_edges(counts), well)
    return well, [header if any_ else None for header, any_ in zip(headers, some, strict=True)]


def observed(
    counts: NDArray[np.int64], columns: SampleColumns, well: Flags, tables: Tables, numbers: Sequence[int]
) -> Fetch:
    """Return a fetch of the samples that are `well`; `counts` (samples) and `numbers` (of `tables`) have one entry a
    record.

    A measurement that was not over when it was received blinds nobody until it is: an interval is left out (whoever
    sends one that still grows sends it again), of an instant only its start counts.
    """
    one, metric = numbers[0], columns.metric
    table: int | NDArray[np.intp] = one
    if any(number != one for number in numbers):
        table = np.repeat(np.asarray(numbers, np.intp), counts)
    keep = tables.watched[table, metric] & well
    unfinished = _unfinished(columns)
    if unfinished is not None:
        keep &= ~(unfinished & (NEEDS_DURATION[metric] > 0))
        columns = replace(columns, duration_ms=np.where(unfinished, 0, columns.duration_ms))
    edges = _edges(counts)
    if keep.all():
        picked: slice | NDArray[np.intp] = slice(None)
    else:
        picked = np.flatnonzero(keep)
        edges = np.searchsorted(picked, edges)
        table = table if isinstance(table, int) else table[picked]
    rows, suspicious = _rows(columns, picked, tables, table)
    end = rows["start_us"] + rows["duration_ms"].astype(np.int64) * 1_000
    return Fetch(rows, edges.tolist(), *_by_record(edges, suspicious, end, rows["received_us"]))


def _unfinished(columns: SampleColumns) -> Flags | None:
    """Tell which measurements end later than a device's clock may be ahead; None where none does."""
    if not columns.duration_ms.any():
        return None
    end = columns.start_us + columns.duration_ms.astype(np.int64) * 1_000
    beyond: Flags = (columns.duration_ms > 0) & (end - FUTURE_TOLERANCE_US > columns.received_us)
    return beyond if beyond.any() else None


def _rows(
    columns: SampleColumns, picked: slice | NDArray[np.intp], tables: Tables, table: int | NDArray[np.intp]
) -> tuple[Observations, Flags]:
    metric = columns.metric[picked]
    rows = np.empty(len(metric), OBSERVATION)
    rows["start_us"], rows["metric"] = columns.start_us[picked], metric
    rows["written_us"], rows["received_us"] = columns.written_us[picked], columns.received_us[picked]
    value, quality, context = columns.value[picked], columns.quality[picked], columns.context[picked]
    rows["value"], rows["quality"], rows["context"] = value, quality, context
    rows["duration_ms"], rows["zone_offset_min"] = columns.duration_ms[picked], columns.zone_offset_min[picked]
    rows["deleted"] = columns.deleted[picked]
    alarm = (value < tables.bounds[table, 0, metric]) | (value > tables.bounds[table, 1, metric])
    alarm |= ((quality == 0) | ((context & _NO_CONTACT) != 0)) & tables.judged[table, metric]
    rows["alarm"] = alarm
    return rows, alarm


def _by_record(
    edges: NDArray[np.int64], alarm: Flags, end: NDArray[np.int64], received: NDArray[np.int64]
) -> tuple[list[bool], list[int], list[int], list[int]]:
    told = np.flatnonzero(edges[1:] > edges[:-1])
    newest, oldest, last = np.zeros((3, len(edges) - 1), np.int64)
    if len(told):
        newest[told] = np.maximum.reduceat(end, edges[told])
        oldest[told] = np.minimum.reduceat(end, edges[told])
        last[told] = np.maximum.reduceat(received, edges[told])
    return _with_any(edges, alarm), newest.tolist(), oldest.tolist(), last.tolist()


def _edges(counts: NDArray[np.int64] | Flags) -> NDArray[np.int64]:
    """Return where each of so many things begins, and where the last ends."""
    edges = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=edges[1:])
    return edges


def _with_any(edges: NDArray[np.int64], flags: Flags) -> list[bool]:
    """Tell of each record whether any of its samples has its flag up."""
    so_far = _edges(flags)
    some: list[bool] = (so_far[edges[1:]] > so_far[edges[:-1]]).tolist()
    return some
