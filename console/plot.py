"""Plots as SVG geometry: numbers in, path strings out. Pure; templates only set them into place.

A drawing is stretched to its place (preserveAspectRatio none, strokes not scaled), so a plot has a box of units and no
text: labels are HTML beside it, which stays readable on a phone. A line never crosses a gap.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

Point = tuple[float, float]
"""(seconds, value)."""

WIDTH: Final = 1_000.0
HEIGHT: Final = 100.0
_PAD: Final = 6.0
_NICE: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """From seconds and values to the box."""

    start: float
    end: float
    low: float
    high: float

    def x(self, at: float) -> float:
        """Return the place of a time; left is `start`."""
        return (at - self.start) / (self.end - self.start) * WIDTH

    def y(self, value: float) -> float:
        """Return the place of a value; up is more."""
        return HEIGHT - _PAD - (value - self.low) / (self.high - self.low) * (HEIGHT - 2 * _PAD)


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without data, in units of the box; `seconds` long."""

    x: float
    width: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Axis:
    """A vertical range of round numbers, `ticks` from bottom to top."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The ticks as text, from top to bottom, as one reads them."""
        return tuple(f"{tick:g}" for tick in reversed(self.ticks))


def runs(points: Sequence[Point], max_gap_s: float) -> list[list[Point]]:
    """Cut points (ordered by time) wherever two are further apart than `max_gap_s`."""
    found: list[list[Point]] = []
    for point in points:
        if found and point[0] - found[-1][-1][0] <= max_gap_s:
            found[-1].append(point)
        else:
            found.append([point])
    return found


def line(points: Sequence[Point], scale: Scale, max_gap_s: float) -> str:
    """Return the path of a line with its gaps left open; a lonely point becomes a dot (a stroke without length)."""
    return " ".join(_polyline(run, scale) for run in runs(points, max_gap_s))


def _polyline(run: Sequence[Point], scale: Scale) -> str:
    places = [f"{scale.x(at):.1f} {scale.y(value):.1f}" for at, value in run]
    return f"M{places[0]}h0.01" if len(places) == 1 else "M" + "L".join(places)


def dots(points: Iterable[Point], scale: Scale) -> str:
    """Return the path of single readings, never joined."""
    return " ".join(_polyline([point], scale) for point in points)


def bars(pairs: Iterable[tuple[float, float, float]], scale: Scale) -> str:
    """Return upright strokes of (seconds, low, high): a blood pressure is one reading with two numbers."""
    return " ".join(f"M{scale.x(at):.1f} {scale.y(low):.1f}V{scale.y(high):.1f}" for at, low, high in pairs)


def band(lows: Sequence[Point], highs: Sequence[Point], scale: Scale, max_gap_s: float) -> str:
    """Return the closed path between the lowest and the highest values, gaps left open."""
    parts = []
    for low, high in zip(runs(lows, max_gap_s), runs(highs, max_gap_s), strict=True):
        if len(low) > 1:
            parts.append(_polyline(high, scale) + "L" + _polyline(low[::-1], scale)[1:] + "Z")
    return " ".join(parts)


def gaps(points: Sequence[Point], scale: Scale, max_gap_s: float) -> list[Gap]:
    """Return the stretches of the range, its beginning and end included, in which no point stands."""
    edges = [scale.start, *(at for at, _ in points), scale.end]
    found = []
    for before, after in pairwise(edges):
        if after - before > max_gap_s:
            found.append(Gap(scale.x(before), scale.x(after) - scale.x(before), after - before))
    return found


def axis(values: Iterable[float], *, smallest: float) -> Axis:
    """Return a range of round numbers around `values`, at least `smallest` high, so that noise looks like noise."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    missing = max(smallest - (high - low), 0.0) / 2
    step = _nice((high - low + 2 * missing) / 3)
    bottom = math.floor((low - missing) / step) * step
    top = max(math.ceil((high + missing) / step), math.floor((low - missing) / step) + 1) * step
    count = round((top - bottom) / step)
    return Axis(bottom, top, tuple(bottom + step * tick for tick in range(count + 1)))


def _nice(rough: float) -> float:
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return next(nice * magnitude for nice in _NICE if nice * magnitude >= rough * 0.999)
