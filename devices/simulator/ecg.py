"""The ECG and the pulse wave that go with given beats: sums of Gaussians, after McSharry et al. (2003).

Their model runs round a circle once a beat; here the angles of P, Q, R, S and T are the seconds they are at 60 /min,
and all but R move with the square root of the interval before, as their model does by its rate. Heights are those of
lead II in an adult. In fibrillation there is no P wave but a fine wave of 6 Hz; an early (ventricular) beat has no P
wave, a wide QRS and an inverted T.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.simulator.beats import Beats
from devices.simulator.noise import Floats, Ints, normal, smooth
from devices.simulator.physiology import Course
from devices.simulator.wearer import Wearer
from vitals.clock import US_PER_S

_NOISE, _MUSCLE, _FINE, _DRIFT = 50, 51, 52, 58
# (height in mV, seconds after R, standard deviation in s): at 60 /min
_P: Final = (0.14, -0.170, 0.024)
_QRS: Final = ((-0.10, -0.032, 0.010), (1.05, 0.0, 0.011), (-0.22, 0.030, 0.010))
_T: Final = (0.30, 0.270, 0.052)
_REACH: Final = 4.0
"""Beyond so many standard deviations a wave is below a microvolt."""


def ecg_mv(who: Wearer, number: Ints, rate_hz: int, beats: Beats, truth: Course) -> Floats:
    """Return the ECG at samples `number` (0 is 1970), in mV; `beats` reach beyond them on both sides."""
    at_s, root = beats.at_us[1:] / US_PER_S, _root_of_interval(beats)
    early, fibrillating = beats.early[1:], beats.fibrillation[1:]
    line = np.zeros(len(number))
    _add(line, number, rate_hz, at_s, _P, root, np.where(early | fibrillating, 0.0, 1.0))
    for wave in _QRS:
        _add(line, number, rate_hz, at_s, wave, np.where(early, 2.4, 1.0), np.where(early, 1.25, 1.0))
    _add(line, number, rate_hz, at_s, _T, root, np.where(early, -1.2, 1.0))
    time_us = np.round(number * (US_PER_S / rate_hz)).astype(np.int64)
    knot, share = truth.place(time_us)
    fine = 0.05 * np.sin(2.0 * np.pi * ((number * 6.0 / rate_hz) % 1.0 + smooth(who.seed, _FINE, time_us, US_PER_S)))
    line += fine * truth.value("fibrillation", knot, share)
    line += 0.06 * smooth(who.seed, _DRIFT, time_us, 3 * US_PER_S)
    muscle = 0.08 * truth.value("moving", knot, share) * smooth(who.seed, _MUSCLE, time_us, US_PER_S // 40)
    return line + muscle + 0.008 * normal(who.seed, _NOISE, number)


def ppg_counts(who: Wearer, number: Ints, rate_hz: int, beats: Beats, truth: Course) -> Floats:
    """Return the pulse wave in counts of a converter: a systolic and a dicrotic wave after every beat.

    A pulse is the smaller the shorter the heart filled; it arrives a quarter of a second after its beat.
    """
    at_s, root = beats.at_us[1:] / US_PER_S, _root_of_interval(beats)
    filled = np.clip(root**2, 0.3, 1.2)
    line = np.zeros(len(number))
    _add(line, number, rate_hz, at_s + 0.25, (1.0, 0.12, 0.075), np.ones_like(root), filled)
    _add(line, number, rate_hz, at_s + 0.25, (0.38, 0.36, 0.085), root, filled)
    time_us = np.round(number * (US_PER_S / rate_hz)).astype(np.int64)
    moving = truth.value("moving", *truth.place(time_us))
    drift = 0.1 * smooth(who.seed, _DRIFT + 1, time_us, 4 * US_PER_S)
    shaken = 1.2 * moving * smooth(who.seed, _MUSCLE + 8, time_us, US_PER_S // 3)
    return 100_000.0 + 2_000.0 * (line + drift + shaken + 0.01 * normal(who.seed, _NOISE + 12, number))


def _root_of_interval(beats: Beats) -> Floats:
    root: Floats = np.sqrt(np.clip(np.diff(beats.at_us) / US_PER_S, 0.25, 1.6))
    return root


def _add(
    line: Floats, number: Ints, rate_hz: int, at_s: Floats, wave: tuple[float, float, float], wide: Floats, high: Floats
) -> None:
    """Add one wave of every beat to `line`; `wide` stretches its distance from R and its width, `high` its height."""
    height, offset_s, sd_s = wave
    reach = int(np.ceil(_REACH * sd_s * float(wide.max(initial=1.0)) * rate_hz)) + 1
    peak = (at_s + offset_s * wide) * rate_hz
    samples = np.round(peak).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    distance = (samples - peak[:, None]) / (sd_s * rate_hz * wide[:, None])
    values = (height * high)[:, None] * np.exp(-0.5 * distance**2)
    place = samples - number[0]
    inside: NDArray[np.bool_] = (place >= 0) & (place < len(line)) & (np.abs(distance) <= _REACH)
    line += np.bincount(place[inside], weights=values[inside], minlength=len(line))
