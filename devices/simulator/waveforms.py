"""Waveforms of a wearer: ECG, pulse wave (PPG) and acceleration, as chunks that a strap or watch would send.

A chunk belongs to the piece of time in which it ends; chunks begin at whole multiples of their length, so cutting time
elsewhere changes none of them. The signals follow from the same beats, breaths and motion as the samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from devices.simulator.beats import MINUTE_US, beats_around, span
from devices.simulator.ecg import ecg_mv, ppg_counts
from devices.simulator.noise import Floats, Ints, normal, smooth
from devices.simulator.physiology import Course, course
from devices.simulator.simulate import LATENCY_US
from devices.simulator.wearer import Wearer
from vitals.clock import US_PER_S
from vitals.waveform import WaveformChunk

RATES_HZ: Final = {"ecg": 250, "ppg": 64, "acceleration": 50}
_SCALES: Final = {"ecg": 0.001, "ppg": 1.0, "acceleration": 0.001}
_POSTURE, _TILT, _AXIS = 56, 57, 53
_STEP_HZ: Final = 110.0 / 60.0


def waveforms(
    who: Wearer, metric: str, start_us: int, end_us: int, *, rate_hz: int | None = None, chunk_s: int = 1
) -> list[WaveformChunk]:
    """Return the chunks of one signal (`ecg`, `ppg`, `acceleration`) that end within [start_us, end_us).

    Raises ValueError for a signal that is not simulated.
    """
    if metric not in RATES_HZ:
        raise ValueError(f"the simulator has no waveform {metric}; it has {', '.join(RATES_HZ)}")
    rate, length_us = rate_hz or RATES_HZ[metric], chunk_s * US_PER_S
    ends = np.arange(-(-start_us // length_us), -(-end_us // length_us), dtype=np.int64) * length_us
    if len(ends) == 0:
        return []
    first = (int(ends[0]) - length_us) // US_PER_S * rate
    number = np.arange(first, int(ends[-1]) // US_PER_S * rate, dtype=np.int64)
    signal = _SIGNALS[metric](who, number, rate)
    counts = np.round(signal / _SCALES[metric]).astype(np.int32)
    size = rate * chunk_s
    return [
        WaveformChunk(
            metric, end - length_us, float(rate), counts[:, at * size : (at + 1) * size], _SCALES[metric],
            end, end + LATENCY_US, zone_offset_min=who.zone_offset_min,
        )
        for at, end in enumerate(ends.tolist())
    ]  # fmt: skip


def _known(who: Wearer, number: Ints, rate: int) -> tuple[Ints, Course]:
    time_us = np.round(number * (US_PER_S / rate)).astype(np.int64)
    minutes = span(int(time_us[0]), int(time_us[-1]) + 1)
    return time_us, course(who, minutes[0] * MINUTE_US, minutes[1] * MINUTE_US)


def _ecg(who: Wearer, number: Ints, rate: int) -> Floats:
    time_us, truth = _known(who, number, rate)
    beats = beats_around(who, int(time_us[0]), int(time_us[-1]) + 1, truth)
    return ecg_mv(who, number, rate, beats, truth).reshape(1, -1)


def _ppg(who: Wearer, number: Ints, rate: int) -> Floats:
    time_us, truth = _known(who, number, rate)
    beats = beats_around(who, int(time_us[0]), int(time_us[-1]) + 1, truth)
    return ppg_counts(who, number, rate, beats, truth).reshape(1, -1)


def _acceleration(who: Wearer, number: Ints, rate: int) -> Floats:
    """Return gravity by posture, the swing of steps where the wearer moves, and noise; shape (3, n), in g."""
    time_us, truth = _known(who, number, rate)
    knot, share = truth.place(time_us)
    moving = truth.value("moving", knot, share)
    lean = 0.8 * smooth(who.seed, _POSTURE, time_us, 600 * US_PER_S)
    tilt = 0.8 * smooth(who.seed, _TILT, time_us, 600 * US_PER_S)
    turn = 2.0 * np.pi * ((number * _STEP_HZ / rate) % 1.0)
    swing = 0.1 + 0.9 * moving
    swing *= moving > 0
    vertical = 1.0 + 0.35 * swing * np.sin(turn) + 0.1 * swing * np.sin(2.0 * turn)
    forward = 0.2 * swing * np.sin(turn / 2.0)
    axes = (
        vertical * np.sin(lean) + forward,
        vertical * np.cos(lean) * np.sin(tilt),
        vertical * np.cos(lean) * np.cos(tilt),
    )
    return np.stack([axis + 0.006 * normal(who.seed, _AXIS + k, number) for k, axis in enumerate(axes)])


_SIGNALS: Final[dict[str, Callable[[Wearer, Ints, int], Floats]]] = {
    "ecg": _ecg,
    "ppg": _ppg,
    "acceleration": _acceleration,
}
