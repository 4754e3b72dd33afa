"""What the senders will send, decided beforehand from a seed, and what must be in the tables at the end.

A sample's identity is (patient, metric, millisecond). Versions of an identity differ in their written time, except for
the few conflicts, which differ in their value only. Times are whole seconds but in the fast records: 25 oxygen
saturations a second, of which the recorder stores each second's first, last, lowest and highest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vitals.batch import SampleColumns, sample_columns
from vitals.catalogue import BY_CODE

METRICS: Final = np.array([BY_CODE[code].number for code in ("heart_rate", "spo2", "respiratory_rate")], np.int16)
SENT: Final = np.dtype(
    [("patient", "i4"), ("metric", "i2"), ("ms", "i8"), ("written", "i8"), ("value", "f8"), ("deleted", "?"),
     ("valid", "?")]
)  # fmt: skip
_BATCH: Final = 100
_SPO2: Final = BY_CODE["spo2"].number
_FAST_S: Final = 43_200
"""Fast records tell of the day's second half; the others do not come so far."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One record to send. `samples` None: bytes that no decoder can read."""

    patient: int
    backfill: bool
    samples: NDArray[Any] | None


@dataclass(frozen=True, slots=True)
class Mix:
    """How much of what: shares of samples, and for `resent`, `garbage` and `fast` of records."""

    corrected: float = 0.02
    deleted: float = 0.005
    conflicting: float = 0.001
    invalid: float = 0.005
    late: float = 0.05
    resent: float = 0.03
    garbage: float = 0.002
    backfilled: float = 0.1
    fast: float = 0.02


def make(samples: int, patients: int, seed: int, start_s: int, mix: Mix | None = None) -> list[Batch]:
    """Return about `samples` samples of `patients` as records, in the order in which they are sent."""
    mix = mix or Mix()
    draw = np.random.default_rng(seed)
    versions = 1 + mix.corrected + mix.deleted + mix.conflicting
    each = max(_BATCH, round(samples / patients / versions / (1 + mix.resent) / (1 + mix.fast)))
    queues = [list(_of_patient(patient, each, draw, start_s, mix)) for patient in range(patients)]
    return list(_interleaved(queues, draw))


def _of_patient(patient: int, samples: int, draw: np.random.Generator, start_s: int, mix: Mix) -> Iterator[Batch]:
    first = np.zeros(samples, SENT)
    position = np.arange(samples)
    first["patient"], first["valid"] = patient, True
    first["metric"] = METRICS[position % len(METRICS)]
    first["ms"] = (start_s + position // len(METRICS)) * 1_000
    first["value"] = draw.uniform(60, 85, samples).round(1)  # valid for each metric, also when corrected
    first["written"] = first["ms"] // 1_000 + 1
    late = draw.random(samples) < mix.late
    first["ms"][late] -= 86_400_000 * 3
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
    for number, at in enumerate(range(0, len(told), _BATCH)):
        yield from _records(patient, told[at : at + _BATCH], draw, mix)
        if draw.random() < mix.fast:
            yield from _records(patient, _fast(patient, start_s + _FAST_S + 10 * number, draw), draw, mix)


def _records(patient: int, samples: NDArray[Any], draw: np.random.Generator, mix: Mix) -> Iterator[Batch]:
    yield Batch(patient, bool(draw.random() < mix.backfilled), samples)
    if draw.random() < mix.resent:
        yield Batch(patient, bool(draw.random() < mix.backfilled), samples)
    if draw.random() < mix.garbage:
        yield Batch(patient, backfill=False, samples=None)


def _fast(patient: int, start_s: int, draw: np.random.Generator) -> NDArray[Any]:
    """Return four seconds at 25 Hz with a desaturation of two; some samples impossible, two told in two versions."""
    told = np.zeros(100, SENT)
    told["patient"], told["metric"], told["valid"] = patient, _SPO2, True
    told["ms"] = start_s * 1_000 + 40 * np.arange(100)
    told["value"] = draw.uniform(94, 98, 100).round(1)
    dip = draw.integers(0, 50)
    told["value"][dip : dip + 50] = draw.uniform(70, 75, 50).round(1)
    told["written"] = start_s + 5
    again = told[draw.choice(100, 2, replace=False)]
    again["written"] += 1
    again["value"][0] += 1
    again["deleted"][1] = True
    bad = (draw.random(100) < 0.02) & ~np.isin(told["ms"], again["ms"])
    told["value"][bad], told["valid"][bad] = 5_000.0, False
    return np.concatenate([told, again])


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
        samples["ms"] * 1_000,
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
    reduced: int
    winners: NDArray[Any]


def expected(batches: list[Batch]) -> Expected:
    """Return what the tables must hold when every one of `batches` was acknowledged."""
    garbage = sum(batch.samples is None for batch in batches)
    records = [batch.samples for batch in batches if batch.samples is not None]
    told, stored = np.concatenate(records), np.concatenate([stored_of(record) for record in records])
    valid = told[told["valid"] & stored]
    valid["value"][valid["deleted"]] = 0.0
    order = np.lexsort((valid["value"], valid["deleted"], valid["written"], *_identity(valid)))
    ranked = valid[order]
    last = np.ones(len(ranked), np.bool_)
    last[:-1] = np.logical_or.reduce([key[1:] != key[:-1] for key in _identity(ranked)])
    return Expected(len(told) + garbage, garbage + int((~told["valid"]).sum()), int((~stored).sum()), ranked[last])


def stored_of(record: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which samples of a record are not reduced, told in plain Python; those that are not valid stay, too.

    Of five or more of a metric within a second stay the first, the last, the lowest and the highest. Deletions and what
    the record tells in several versions take no part.
    """
    stays = np.ones(len(record), np.bool_)
    if not (record["ms"] % 1_000).any():
        return stays
    identities = Counter((one["metric"], one["ms"]) for one in record if one["valid"])
    seconds: dict[tuple[int, int], list[int]] = {}
    for at, one in enumerate(record):
        if one["valid"] and not one["deleted"] and identities[one["metric"], one["ms"]] == 1:
            seconds.setdefault((int(one["metric"]), int(one["ms"]) // 1_000), []).append(at)
    for second in seconds.values():
        if len(second) > 4:
            times = sorted((int(record["ms"][at]), at) for at in second)
            lowest = min((float(record["value"][at]), time, at) for time, at in times)
            highest = min((-float(record["value"][at]), time, at) for time, at in times)
            stays[second] = False
            stays[[times[0][1], times[-1][1], lowest[2], highest[2]]] = True
    return stays


def _identity(samples: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    return samples["ms"], samples["metric"], samples["patient"]
