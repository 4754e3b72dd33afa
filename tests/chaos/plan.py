"""What the senders will send, decided beforehand from a seed, and what must be in the tables at the end.

Times are whole seconds, so a sample's identity is (patient, metric, second). Versions of an identity differ in their
written time, except for the few conflicts, which differ in their value only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vitals.batch import SampleColumns, sample_columns
from vitals.catalogue import BY_CODE

METRICS: Final = np.array([BY_CODE[code].number for code in ("heart_rate", "spo2", "respiratory_rate")], np.int16)
SENT: Final = np.dtype(
    [("patient", "i4"), ("metric", "i2"), ("second", "i8"), ("written", "i8"), ("value", "f8"), ("deleted", "?"),
     ("valid", "?")]
)  # fmt: skip
_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Batch:
    """One record to send. `samples` None: bytes that no decoder can read."""

    patient: int
    backfill: bool
    samples: NDArray[Any] | None


@dataclass(frozen=True, slots=True)
class Mix:
    """How much of what: shares of samples, and for `resent` and `garbage` of records."""

    corrected: float = 0.02
    deleted: float = 0.005
    conflicting: float = 0.001
    invalid: float = 0.005
    late: float = 0.05
    resent: float = 0.03
    garbage: float = 0.002
    backfilled: float = 0.1


def make(samples: int, patients: int, seed: int, start_s: int, mix: Mix | None = None) -> list[Batch]:
    """Return about `samples` samples of `patients` as records, in the order in which they are sent."""
    mix = mix or Mix()
    draw = np.random.default_rng(seed)
    each = max(
        _BATCH, round(samples / patients / (1 + mix.corrected + mix.deleted + mix.conflicting) / (1 + mix.resent))
    )
    queues = [list(_of_patient(patient, each, draw, start_s, mix)) for patient in range(patients)]
    return list(_interleaved(queues, draw))


def _of_patient(patient: int, samples: int, draw: np.random.Generator, start_s: int, mix: Mix) -> Iterator[Batch]:
    first = np.zeros(samples, SENT)
    position = np.arange(samples)
    first["patient"], first["valid"] = patient, True
    first["metric"] = METRICS[position % len(METRICS)]
    first["second"] = start_s + position // len(METRICS)
    first["value"] = draw.uniform(60, 85, samples).round(1)  # valid for each metric, also when corrected
    first["written"] = first["second"] + 1
    late = draw.random(samples) < mix.late
    first["second"][late] -= 86_400 * 3
    bad = draw.random(samples) < mix.invalid
    first["value"][bad], first["valid"][bad] = draw.choice([np.nan, 5_000.0, -1.0], bad.sum()), False

    corrected = first[(draw.random(samples) < mix.corrected) & ~bad]
    corrected["written"] += draw.integers(1, 100, len(corrected))
    corrected["value"] += 1
    deleted = first[(draw.random(samples) < mix.deleted) & ~bad]
    deleted["written"] += draw.integers(100, 200, len(deleted))
    deleted["deleted"] = True
    conflicting = first[(draw.random(samples) < mix.conflicting) & ~bad]
    conflicting["value"] += draw.choice([-2, 2], len(conflicting))

    told = np.concatenate([first, corrected, deleted, conflicting])
    # A stretch of a day may be told in any order: what corrects may overtake what it corrects.
    told = told[np.argsort(told["written"] + draw.integers(-300, 300, len(told)), kind="stable")]
    for at in range(0, len(told), _BATCH):
        batch = Batch(patient, bool(draw.random() < mix.backfilled), told[at : at + _BATCH])
        yield batch
        if draw.random() < mix.resent:
            yield Batch(patient, bool(draw.random() < mix.backfilled), batch.samples)
        if draw.random() < mix.garbage:
            yield Batch(patient, backfill=False, samples=None)


def _interleaved(queues: list[list[Batch]], draw: np.random.Generator) -> Iterator[Batch]:
    """One record of every patient in turn, the patients in another order each time."""
    for turn in range(max(len(queue) for queue in queues)):
        for patient in draw.permutation(len(queues)):
            if turn < len(queues[patient]):
                yield queues[patient][turn]


def columns_of(samples: NDArray[Any]) -> SampleColumns:
    """Return the samples as the devices would tell them."""
    written_us = samples["written"] * 1_000_000
    return sample_columns(
        samples["second"] * 1_000_000,
        samples["metric"],
        samples["value"],
        written_us=written_us,
        received_us=written_us + 1_000_000,
        deleted=samples["deleted"],
    )


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be so at the end. `winners`: the version of each identity that stands."""

    sent: int
    quarantined_at_least: int
    winners: NDArray[Any]


def expected(batches: list[Batch]) -> Expected:
    """Return what the tables must hold when every one of `batches` was acknowledged."""
    garbage = sum(batch.samples is None for batch in batches)
    told = np.concatenate([batch.samples for batch in batches if batch.samples is not None])
    valid = told[told["valid"]]
    valid["value"][valid["deleted"]] = 0.0
    order = np.lexsort((valid["value"], valid["deleted"], valid["written"], *_identity(valid)))
    ranked = valid[order]
    last = np.ones(len(ranked), np.bool_)
    last[:-1] = np.logical_or.reduce([key[1:] != key[:-1] for key in _identity(ranked)])
    return Expected(len(told) + garbage, garbage + int((~told["valid"]).sum()), ranked[last])


def _identity(samples: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    return samples["second"], samples["metric"], samples["patient"]
