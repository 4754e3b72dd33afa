"""Rhythms as samples, and the recordings as intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy.io import loadmat

from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.features.ecg_beats import ecg_beats, ecg_plan
from tests.stream.detectors.rhythms import Rr
from tests.stream.detectors.running import T0, S, told
from tests.stream.features.recordings import read_atr

REALDATA: Final = Path(__file__).parents[4] / "shared" / "realdata"


def recording(name: str) -> Path:
    """The path of a recording; the test skips where it is not there."""
    path = REALDATA / name
    if not path.exists():
        pytest.skip(f"{name} is not here: the recordings are no part of the project")
    return path


def samples(rr_ms: Rr, *, start_s: float = 0.0, **how: ArrayLike) -> Observations:
    """Intervals one after the other, each dated by the beat it begins with."""
    begins = start_s + np.concatenate(([0.0], np.cumsum(rr_ms)[:-1])) / 1_000
    return told("rr_interval", begins, rr_ms, **how)  # type: ignore[arg-type]


def by_radio(rr_ms: Rr) -> Observations:
    """Intervals as a strap's frames bring them, once a second: dated backwards from the frame."""
    frame_s = np.ceil(np.cumsum(rr_ms) / 1_000)
    last_of = np.searchsorted(frame_s, frame_s, side="right") - 1
    total = np.cumsum(rr_ms) / 1_000
    starts = frame_s - (total[last_of] - total) - rr_ms / 1_000
    seen = told("rr_interval", starts, rr_ms)
    order: Any = np.argsort(seen["start_us"], kind="stable")
    return seen[order]  # type: ignore[no-any-return]


def ltafdb_74(lead: int) -> Observations:
    """Five minutes of fibrillation (ltafdb/74), by our own beat detection: dated from the recording's start."""
    file: dict[str, Any] = loadmat(recording("af/TestAFdata.mat"))
    beats = ecg_beats(ecg_plan(128.0), None, file["signal"][:, lead].astype(np.float64))[1]
    known = ~np.isnan(beats.rr_ms)
    return told("rr_interval", beats.at[known] / 128.0 - beats.rr_ms[known] / 1_000, beats.rr_ms[known])


def annotated(name: str, rate_hz: float) -> Observations:
    """Every interval between a record's annotated beats that the catalogue admits."""
    beats = read_atr(recording(name))
    rr = np.diff(beats) / rate_hz * 1_000
    known = (rr >= 200) & (rr <= 4_000)
    return told("rr_interval", beats[:-1][known] / rate_hz, rr[known])


def at_s(us: int) -> float:
    """Seconds after `T0`."""
    return (us - T0) / S


def short(found: list[Finding]) -> list[tuple[str, str, str]]:
    """Rule, state and priority of each finding."""
    return [(one.rule, one.state.value, one.priority.value) for one in found]
