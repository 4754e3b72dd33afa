"""Technical detectors under test: what they find and distrust, which no cut may change, and how large they grow."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alerts.event import State
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.packing import pack, unpack
from stream.detectors.protocol import NOBODY, Person, Technical
from tests.stream.detectors.running import T0, S


class Outcome(NamedTuple):
    state: Any
    findings: list[Finding]
    distrust: NDArray[np.bool_]


def judge(
    detector: Technical[Any],
    seen: Observations,
    *,
    cuts: Iterable[int] = (),
    person: Person = NOBODY,
    state: Any = None,
    repack: bool = False,
) -> Outcome:
    """Give `seen` to the detector, cut before these positions."""
    state = detector.fresh() if state is None else state
    findings: list[Finding] = []
    masks = [np.zeros(0, np.bool_)]
    for part in np.split(seen, sorted({cut for cut in cuts if 0 < cut < len(seen)})):
        before = part.copy()
        judged = detector.step(state, part, int(part["start_us"][-1]), person)
        assert (part == before).all(), "a detector changed what it was given"
        assert judged.distrust.shape == part.shape
        state, findings = judged.state, findings + judged.findings
        masks.append(judged.distrust)
        if repack:
            state = unpack(type(state), pack(state))
    return Outcome(state, findings, np.concatenate(masks))


def assert_cuts_do_not_matter(
    detector: Technical[Any], seen: Observations, cuts: Iterable[int], *, person: Person = NOBODY
) -> Outcome:
    whole = judge(detector, seen, person=person)
    cut = judge(detector, seen, person=person, cuts=cuts, repack=True)
    assert cut.findings == whole.findings
    assert (cut.distrust == whole.distrust).all()
    return whole


def changes(findings: list[Finding]) -> list[tuple[str, State, float]]:
    """Return metric, state and when (s after T0) of each finding."""
    return [(one.metric, one.state, (one.changed_us - T0) / S) for one in findings]


def size(state: Any) -> int:
    """Return the bytes of a state in the snapshot's form."""
    return len(json.dumps(pack(state)))


def hostile(seed: int, count: int = 10_000) -> Observations:
    """Return samples of every kind of trouble: one microsecond apart or hours, random values, qualities, contexts."""
    from stream.detectors.observation import OBSERVATION
    from vitals.catalogue import HIGH, LOW, METRICS, Kind

    rng = np.random.default_rng(seed)
    metrics = np.array([one.number for one in METRICS if one.kind is not Kind.WAVEFORM])
    seen = np.zeros(count, OBSERVATION)
    step = rng.choice([1, 1_000_000, 3_600_000_000], count, p=[0.6, 0.399, 0.001])
    seen["start_us"] = T0 + np.cumsum(step)
    seen["received_us"] = seen["start_us"] + rng.integers(-300, 7_200, count) * S
    seen["written_us"] = seen["received_us"]
    seen["metric"] = rng.choice(metrics, count)
    low, high = LOW[seen["metric"]], HIGH[seen["metric"]]
    seen["value"] = np.where(rng.random(count) < 0.5, low, low + (high - low) * rng.random(count))
    seen["quality"] = rng.choice([0.0, 0.3, 1.0], count, p=[0.2, 0.1, 0.7])
    seen["context"] = rng.choice([0, 2, 32, 128, 255], count, p=[0.6, 0.1, 0.1, 0.1, 0.1])
    return seen
