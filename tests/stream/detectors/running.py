"""Observations as tests want them, and what every settled detector must keep: how its samples were cut is no matter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stream.detectors.finding import Finding
from stream.detectors.observation import OBSERVATION, Observations
from stream.detectors.packing import pack, unpack
from stream.detectors.protocol import NOBODY, Detector, Person
from vitals.catalogue import number_of

S = 1_000_000
T0 = 1_750_000_000 * S
"""2025-06-15 15:06:40 UTC."""


def told(
    metric: str,
    at_s: ArrayLike,
    value: ArrayLike,
    *,
    quality: ArrayLike = 1.0,
    context: ArrayLike = 0,
    duration_ms: ArrayLike = 0,
    zone_offset_min: int = 0,
) -> Observations:
    """Return samples of one metric, `at_s` seconds after `T0`."""
    at = np.asarray(at_s, np.float64)
    seen = np.zeros(at.shape, OBSERVATION)
    seen["start_us"] = T0 + np.round(at * S).astype(np.int64)
    seen["written_us"] = seen["received_us"] = seen["start_us"]
    seen["metric"], seen["value"], seen["quality"] = number_of(metric), value, quality
    seen["context"], seen["duration_ms"], seen["zone_offset_min"] = context, duration_ms, zone_offset_min
    return seen


def together(*parts: Observations) -> Observations:
    """Return samples of several metrics as a detector gets them: by the end of measurement, then metric."""
    both: Any = np.concatenate(parts)
    return both[np.lexsort((both["metric"], both["start_us"] + both["duration_ms"].astype(np.int64) * 1_000))]  # type: ignore[no-any-return]


def run(
    detector: Detector[Any],
    seen: Observations,
    *,
    person: Person = NOBODY,
    cuts: Iterable[int] = (),
    state: Any = None,
    repack: bool = False,
) -> tuple[Any, list[Finding]]:
    """Give `seen` to the detector, cut before these positions; `repack`: its state goes through the snapshot's form."""
    state = detector.fresh() if state is None else state
    found: list[Finding] = []
    for part in np.split(seen, sorted({cut for cut in cuts if 0 < cut < len(seen)})):
        if not len(part):
            continue
        before = part.copy()
        state, findings = detector.step(state, part, int(part["start_us"][-1]), person)
        assert (part == before).all(), "a detector changed what it was given"
        found += findings
        if repack:
            state = unpack(type(state), pack(state))
    return state, found


def assert_cuts_do_not_matter(
    make: Callable[[], Detector[Any]], seen: Observations, cuts: Sequence[int], *, person: Person = NOBODY
) -> list[Finding]:
    """Raise AssertionError where cutting at `cuts` finds anything else than the whole does; return the findings."""
    whole = run(make(), seen, person=person)[1]
    cut = run(make(), seen, person=person, cuts=cuts, repack=True)[1]
    assert cut == whole
    return whole
