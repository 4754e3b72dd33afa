"""What a fault is: a pure transformation of what a device told, that says how many samples it changed and how.

A fault chooses by hashing the sample, never by its place in the batch: a year at once or second by second, the same
samples are lost. Faults follow one another in their order; each counts what it did to what the one before left.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from devices.simulator.noise import Floats, Ints, uniform
from vitals.batch import SampleColumns
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S

_MOST_METRICS: Final = 64


@dataclass(frozen=True, slots=True)
class Told:
    """Samples on their way, in order of `at_us`: the true moment (us) at which each measurement ended.

    `device` says which of the wearer's devices told it: 0 the first, k the one after the k-th firmware change; `seed`
    is what chance draws from.
    """

    at_us: Ints
    samples: SampleColumns
    device: NDArray[np.int8]
    seed: int = 0

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """Return what `index` (positions or a mask) selects."""
        return replace(self, at_us=self.at_us[index], samples=self.samples.take(index), device=self.device[index])

    def drawn(self) -> Floats:
        """Return a random number in [0, 1) for each sample, which follows from the sample alone."""
        return uniform(self.seed, 0, self.at_us * _MOST_METRICS + self.samples.metric)


@dataclass(frozen=True, slots=True)
class Fault:
    """The base of all faults: acts on what was measured within [start_us, end_us)."""

    kind: ClassVar[str] = "nothing"
    start_us: int
    end_us: int

    def apply(self, told: Told) -> tuple[Told, Counter[str]]:
        """Return what is told after all, and how many samples were what (a word a count)."""
        first, last = np.searchsorted(told.at_us, (self.start_us, self.end_us)).tolist()
        if first == last:
            return told, Counter()
        if (first, last) == (0, len(told.at_us)):
            return self.change(told)
        changed, count = self.change(told.take(np.arange(first, last)))
        before, after = told.take(np.arange(first)), told.take(np.arange(last, len(told.at_us)))
        return joined([before, changed, after]), count

    def change(self, told: Told) -> tuple[Told, Counter[str]]:
        """Do it to samples that all lie within its time."""
        raise NotImplementedError


def joined(parts: list[Told]) -> Told:
    """Join stretches one after the other. `parts` must not be empty."""
    return replace(
        parts[0],
        at_us=np.concatenate([part.at_us for part in parts]),
        samples=SampleColumns.concat([part.samples for part in parts]),
        device=np.concatenate([part.device for part in parts]),
    )


def chosen(told: Told, metrics: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which samples are of these metrics; of every one, where none is named."""
    if not metrics:
        return np.ones(len(told.at_us), np.bool_)
    return np.isin(told.samples.metric, [BY_CODE[code].number for code in metrics])


def microseconds(seconds: float) -> int:
    """Return seconds in us."""
    return round(seconds * US_PER_S)
