"""What a wearer's device tells: the true values at each channel's cadence, with noise and rounding as devices have.

A sample belongs to the piece of time in which its measurement ends: making [a, b) and [b, c) gives the same samples as
making [a, c). That is how a live wearer, second by second, and a year of history are one series.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.simulator.beats import MINUTE_US, span
from devices.simulator.channels import Due, beats_of, due, read, sleep_of, windows_from
from devices.simulator.fault import Told
from devices.simulator.faults import FirmwareChange, apply_all, whole
from devices.simulator.noise import Floats, Ints
from devices.simulator.physiology import Course, course
from devices.simulator.wearer import Wearer
from vitals.batch import SampleColumns, sample_columns
from vitals.catalogue import BY_CODE
from vitals.ids import DeviceId, device_id
from vitals.quality import Context

FIRST_FIRMWARE: Final = "1.0"
LATENCY_US: Final = 300_000
_RR_INTERVAL: Final = BY_CODE["rr_interval"]
_SPO2: Final = BY_CODE["spo2"].number
_SLEEP: Final = ("sleep_stage", "in_bed")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples that one device told while it ran one firmware; in order of the true end of their measurement."""

    device_id: DeviceId
    firmware: str
    samples: SampleColumns


@dataclass(frozen=True, slots=True)
class Telling:
    """What arrives of a piece of a wearer's time, and what each of their faults did to it, in their order."""

    stretches: tuple[Stretch, ...]
    counts: tuple[Counter[str], ...]

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return sum(len(one.samples) for one in self.stretches)


def simulate(who: Wearer, start_us: int, end_us: int, *, latency_us: int = LATENCY_US) -> SampleColumns:
    """Return all samples whose measurement ends within [start_us, end_us), in that order (then by metric).

    Written at that end, received `latency_us` later; `zone_offset_min` is the wearer's. This is what a device without
    faults tells, and `tell` what arrives of it. Raises ValueError for a channel that is not simulated.
    """
    return _measured(who, start_us, end_us, latency_us)[1]


def tell(who: Wearer, start_us: int, end_us: int, *, latency_us: int = LATENCY_US) -> Telling:
    """Return what arrives of what is measured within [start_us, end_us), after all of the wearer's faults.

    A sample stays in the piece in which it was measured, however late it arrives: that says `received_us`. So pieces,
    joined, are the whole, and their counts add up to the whole's.
    """
    told, counts = apply_all(who.faults, whole(*_measured(who, start_us, end_us, latency_us)), who.seed)
    return Telling(tuple(_stretches(who, told)), counts)


def devices_of(who: Wearer) -> list[tuple[DeviceId, str]]:
    """Return (id, firmware) of each device in the order in which firmware changes bring them."""
    found = [(who.device_id, FIRST_FIRMWARE)]
    for one in who.faults:
        if isinstance(one, FirmwareChange):
            found.append((device_id(found[-1][0] + one.suffix), one.firmware))
    return found


def _stretches(who: Wearer, told: Told) -> list[Stretch]:
    known = devices_of(who)
    if len(known) == 1:
        return [Stretch(known[0][0], known[0][1], told.samples)] if len(told.at_us) else []
    return [
        Stretch(known[number][0], known[number][1], told.take(told.device == number).samples)
        for number in np.unique(told.device).tolist()
    ]


def _measured(who: Wearer, start_us: int, end_us: int, latency_us: int) -> tuple[Ints, SampleColumns]:
    """Return (when each measurement ends, the samples)."""
    dues = [due(who, code, cadence_s, start_us, end_us) for code, cadence_s in who.cadences_s.items()]
    dues = [one for one in dues if one.metric.code not in _SLEEP]
    truth = _truth_for(who, dues, start_us, end_us)
    beats = beats_of(who, dues, start_us, end_us, truth)
    parts = [(one, read(who, one, truth, beats)) for one in dues]
    parts += [sleep_of(who, code, start_us, end_us) for code in _SLEEP if code in who.cadences_s]
    if who.beats:
        ends, ticks = (column[beats[0] >= start_us] for column in beats)
        begins = ends - np.round(ticks * (1e6 / 1_024)).astype(np.int64)
        parts.append((Due(_RR_INTERVAL, ends, begins, ends), ticks.astype(np.float64) * (1_000 / 1_024)))
    parts.sort(key=lambda part: part[0].metric.number)
    return _columns(who, parts, truth, latency_us)


def _truth_for(who: Wearer, dues: list[Due], start_us: int, end_us: int) -> Course:
    begins = [int(one.begins[0]) for one in dues if len(one.begins)]
    first = min([start_us, *begins])
    if who.beats or windows_from(dues, start_us) < start_us:
        minutes = span(windows_from(dues, start_us), max(end_us, start_us + 1))
        return course(who, min(first, minutes[0] * MINUTE_US), max(end_us, minutes[1] * MINUTE_US))
    return course(who, first, end_us)


def _columns(
    who: Wearer, parts: list[tuple[Due, Floats]], truth: Course, latency_us: int
) -> tuple[Ints, SampleColumns]:
    ends = np.concatenate([part.ends for part, _ in parts])
    order = np.argsort(ends, kind="stable")  # the parts stand in order of their metric: so do samples of one moment
    ends = ends[order]
    begins = np.concatenate([part.begins for part, _ in parts])[order]
    metric = np.repeat(
        np.array([part.metric.number for part, _ in parts], np.int16), [len(part.ends) for part, _ in parts]
    )[order]
    knot, _ = truth.place(ends)
    # An RR interval's length is its value; the catalogue gives the sample itself none.
    duration_ms = np.where(metric == _RR_INTERVAL.number, 0, (ends - begins) // 1_000)
    quality = np.ones(len(ends), np.float32)
    spo2 = np.flatnonzero(metric == _SPO2)
    quality[spo2] -= np.float32(0.4) * truth.at_knots.moving[knot[spo2]].astype(np.float32)
    return ends, sample_columns(
        begins,
        metric,
        np.concatenate([values for _, values in parts])[order],
        received_us=ends + latency_us,
        written_us=ends,
        duration_ms=duration_ms,
        zone_offset_min=who.zone_offset_min,
        quality=quality,
        context=_context(truth)[knot],
    )


def _context(truth: Course) -> NDArray[np.int16]:
    """Return the context at each knot."""
    active = np.where(truth.at_knots.moving > 0.2, int(Context.MOTION_ACTIVE), int(Context.MOTION_SEDENTARY))
    asleep = np.where(truth.at_knots.asleep > 0.5, int(Context.ASLEEP), 0)
    return (active | asleep).astype(np.int16)
