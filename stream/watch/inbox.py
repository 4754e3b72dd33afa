"""The samples of an origin that wait until nothing can precede them any more: appended as they come, sorted once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.detectors.observation import NOTHING, OBSERVATION, Observations, pick

_METRIC_BITS: Final = 8


class Stretch(NamedTuple):
    """Samples that are settled now, by the end of their measurement, then metric; `ignored` came twice or too late."""

    rows: Observations
    ignored: int
    received_us: int = 0  # when the last of all that were taken out came


@dataclass(slots=True)
class Inbox:
    """Rows in the order of their arrival, in chunks of bytes: as arrays they would cost a hundred times as much."""

    chunks: list[bytes] = field(default_factory=list)
    count: int = 0

    def put(self, rows: Observations) -> None:
        """Append rows."""
        self.chunks.append(rows.tobytes())
        self.count += len(rows)

    def rows(self) -> Observations:
        """Return what waits, as it came, not to be written to."""
        if len(self.chunks) > 1:
            self.chunks = [b"".join(self.chunks)]
        return np.frombuffer(self.chunks[0], OBSERVATION) if self.chunks else NOTHING

    def take(
        self, until_us: int, done_us: NDArray[np.int64], begun_us: NDArray[np.int64], most_left: int | None = None
    ) -> Stretch:
        """Take out what ended by `until_us`, and the earliest of the rest until at most `most_left` wait.

        `done_us` (by metric, the end of the last sample that was settled) and `begun_us` (its start) say what came too
        late, and move on.
        """
        if not self.count:
            return Stretch(NOTHING, 0)
        before = self.count
        rows, end = in_order(self.rows())
        cut = int(np.searchsorted(end, until_us, side="right"))
        if most_left is not None:
            cut = max(cut, len(rows) - most_left)
        self.chunks, self.count = ([rows[cut:].tobytes()], len(rows) - cut) if cut < len(rows) else ([], 0)
        rows, end = rows[:cut], end[:cut]
        received_us = int(np.maximum.reduce(rows["received_us"])) if cut else 0
        metric = rows["metric"]
        fresh = end > done_us[metric]
        if np.count_nonzero(fresh) < len(fresh):
            rows, end = pick(rows, fresh), end[fresh]
            metric = rows["metric"]
        ignored = before - self.count - len(rows)
        # Where a metric stands several times the last one counts, and that is the latest.
        done_us[metric], begun_us[metric] = end, rows["start_us"]
        if np.count_nonzero(rows["deleted"]):
            rows = pick(rows, ~rows["deleted"])
        return Stretch(rows, ignored, received_us)


def ends(rows: Observations) -> NDArray[np.int64]:
    """Return when each measurement ended, us UTC."""
    result: NDArray[np.int64] = rows["start_us"] + rows["duration_ms"].astype(np.int64) * 1_000
    return result


def in_order(rows: Observations) -> tuple[Observations, NDArray[np.int64]]:
    """Return rows by end, then metric, and their ends; of several with one metric and start the last written, then
    received, counts, as received when the first copy of it was."""
    end = ends(rows)
    place = (end << _METRIC_BITS) + rows["metric"]
    rises = _rises(place)
    if not rises:
        order = np.argsort(place, kind="stable")
        rows, end, place = rows.take(order), end[order], place[order]
        rises = _rises(place)
    if rises and not _repeated(rows):
        return rows, end
    rows = _newest(rows)
    end = ends(rows)
    order = np.lexsort((rows["metric"], end))
    return rows.take(order), end[order]


def _rises(place: NDArray[np.int64]) -> bool:
    return bool(np.count_nonzero(place[1:] > place[:-1]) == max(len(place) - 1, 0))


def _repeated(rows: Observations) -> bool:
    """Tell whether two rows of different lengths begin together: their ends alone do not show it."""
    long = np.flatnonzero(rows["duration_ms"])
    if len(long) < 2:
        return False
    place = np.sort((rows["start_us"][long] << _METRIC_BITS) + rows["metric"][long])
    return bool((place[1:] == place[:-1]).any())


def _newest(rows: Observations) -> Observations:
    keys = ("value", "deleted", "received_us", "written_us", "start_us", "metric")
    rows = rows.take(np.lexsort(tuple(rows[key] for key in keys)))
    last, begins = np.ones((2, len(rows)), np.bool_)
    metric, start, written = rows["metric"], rows["start_us"], rows["written_us"]
    last[:-1] = (metric[1:] != metric[:-1]) | (start[1:] != start[:-1])
    # A copy was received when the first of its like was: nobody shall think that the line held it up.
    begins[1:] = last[:-1] | (written[1:] != written[:-1])
    rows["received_us"] = rows["received_us"][begins][np.cumsum(begins) - 1]
    return pick(rows, last)
