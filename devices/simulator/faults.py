"""What goes wrong in the field (FORMATS): each a frozen value, each with a count that is exact."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np

from devices.simulator.fault import Fault, Told, chosen, microseconds
from devices.simulator.noise import Ints, hashed
from vitals.batch import SampleColumns
from vitals.catalogue import BY_CODE
from vitals.quality import Context

ALWAYS: Final = (-(1 << 62), 1 << 62)
"""The start and end of a fault that never stops."""
_HEART, _RR, _SPO2, _STEPS = (BY_CODE[code].number for code in ("heart_rate", "rr_interval", "spo2", "steps"))


@dataclass(frozen=True, slots=True)
class Loss(Fault):
    """A share of the samples never arrives; with a share of 1 it is a gap (a strap that drops for two hours)."""

    kind: ClassVar[str] = "loss"
    share: float = 0.05
    metrics: tuple[str, ...] = ()

    def change(self, told: Told) -> tuple[Told, Counter[str]]:
        """Take them out."""
        lost = chosen(told, self.metrics) & (told.drawn() < self.share)
        return told.take(~lost), Counter(lost=int(lost.sum()))


@dataclass(frozen=True, slots=True)
class Duplicate(Fault):
    """A share of the samples is told again, `later_s` later, as it was; with `times` 8, nine times in all."""

    kind: ClassVar[str] = "duplicate"
    share: float = 0.05
    later_s: float = 20.0
    times: int = 1

    def change(self, told: Told) -> tuple[Told, Counter[str]]:
        """Put the copies behind their originals."""
        copies = np.where(told.drawn() < self.share, self.times, 0)
        index = np.repeat(np.arange(len(told.at_us)), 1 + copies)
        again = np.arange(len(index)) - np.repeat(np.cumsum(1 + copies) - 1 - copies, 1 + copies)
        out = told.take(index)
        received = out.samples.received_us + again * microseconds(self.later_s)
        return replace(out, samples=replace(out.samples, received_us=received)), Counter(duplicated=int(copies.sum()))


@dataclass(frozen=True, slots=True)
class Reorder(Fault):
    """A share of the samples is held up for up to `by_s`, and overtaken by younger ones."""

    kind: ClassVar[str] = "reorder"
    share: float = 0.1
    by_s: float = 30.0

    def change(self, told: Told) -> tuple[Told, Counter[str]]:
        """Let them be received later."""
        drawn = told.drawn()
        held = drawn < self.share
        wait = (0.1 + 0.9 * drawn / max(self.share, 1e-12)) * microseconds(self.by_s)
        received = told.samples.received_us + np.where(held, wait, 0.0).astype(np.int64)
        return replace(told, samples=replace(told.samples, received_us=received)), Counter(held_up=int(held.sum()))


@dataclass(frozen=True, slots=True)
class Drift(Fault):
    """The device's clock gains `ppm` microseconds a second (loses, if negative) from `start_us` on."""

    kind: ClassVar[str] = "drift"
    ppm: float = 200.0

    def change(self, told: Told) -> tuple[Told, Counter[str]]:
        """Move `start` by what the clock has gained; phone and server have clocks of their own."""
        gained = np.round((told.at_us - self.start_us) * (self.ppm * 1e-6)).astype(np.int64)
        samples = replace(told.samples, start_us=told.samples.start_us + gained)
        return replace(told, samples=samples), Counter(drifted=int((gained != 0).sum()))


@dataclass(frozen=True, slots=True)
class BackDate(Fault):
    """Values are dated `by_s` too early: eleven hours, where a phone took local time for UTC."""

    kind: ClassVar[str] = "back_date"
    by_s: float = 11 * 3_600.0
    metrics: tuple[str, ...] = ()

    def change(self, told: Told) -> tuple[Told, Counter[str]]:
        """Move `start` back; when it was written down and received stays as it was."""
        dated = chosen(told, self.metrics)
        start = told.samples.start_us - dated * microseconds(self.by_s)
        return replace(told, samples=replace(told.samples, start_us=start)), Counter(back_dated=int(dated.sum()))


@dataclass(frozen=True, slots=True)
class Burst(Fault):
    """Nothing arrives from `start_us` to `end_us`; then all of it at once, within `flush_s`, in order."""

    kind: ClassVar[str] = "burst"
    flush_s: float = 5.0

    def change(self, told: Told) -> tuple[Told, Counter[str]]:
        """Let it be received after the outage."""
        share = (told.at_us - self.start_us) / max(self.end_us - self.start_us, 1)
        flushed = self.end_us + np.round(share * microseconds(self.flush_s)).astype(np.int64)
        received = np.maximum(told.samples.received_us, flushed)
        return replace(told, samples=replace(told.samples, received_us=received)), Counter(burst=len(told.at_us))


@dataclass(frozen=True, slots=True)
class OffWrist(Fault):
    """A watch on a table: it goes on telling heart rate `flat_bpm`, no beats and no steps, and nothing else.

    A watch that is `honest` says that it has no contact, and gives what it tells quality 0; one that is not looks well.
    """

    kind: ClassVar[str] = "off_wrist"
    flat_bpm: float = 63.0
    honest: bool = False

    def change(self, told: Told) -> tuple[Told, Counter[str]]:
        """Flatten the heart rate, zero the steps, take out the rest."""
        kept = told.take(np.isin(told.samples.metric, (_HEART, _STEPS)))
        samples, heart = kept.samples, kept.samples.metric == _HEART
        samples = replace(samples, value=np.where(heart, self.flat_bpm, 0.0))
        if self.honest:
            off = np.int16(int(Context.NO_CONTACT))
            samples = replace(samples, quality=np.zeros(len(samples), np.float32), context=samples.context | off)
        flat = int(heart.sum())
        count = Counter(flat=flat, zeroed=len(samples) - flat, lost=len(told.at_us) - len(samples))
        return replace(kept, samples=samples), count


@dataclass(frozen=True, slots=True)
class Glitch(Fault):
    """Now and then, one in `every`, an RR interval is 255 ms, and SpO2 is exactly 60.0 with quality 0."""

    kind: ClassVar[str] = "glitch"
    every: int = 2_000

    def change(self, told: Told) -> tuple[Told, Counter[str]]:
        """Put the wrong values in place of the right ones."""
        samples = told.samples
        hit = told.drawn() * self.every < 1.0
        rr, spo2 = hit & (samples.metric == _RR), hit & (samples.metric == _SPO2)
        value = np.where(rr, 255.0, np.where(spo2, 60.0, samples.value))
        quality = np.where(spo2, np.float32(0.0), samples.quality).astype(np.float32)
        count = Counter(rr_255_ms=int(rr.sum()), spo2_60=int(spo2.sum()))
        return replace(told, samples=replace(samples, value=value, quality=quality)), count


@dataclass(frozen=True, slots=True)
class FirmwareChange(Fault):
    """From `start_us` on the device runs `firmware` and rounds heart rate to `heart_rate_step`.

    With a `suffix` its id has that behind it from then on: it is another device. Without, its id stays.
    """

    kind: ClassVar[str] = "firmware_change"
    firmware: str = "2.0"
    heart_rate_step: float = 5.0
    suffix: str = ""

    def change(self, told: Told) -> tuple[Told, Counter[str]]:
        """Round, and say that another device tells."""
        samples, heart = told.samples, told.samples.metric == _HEART
        step = self.heart_rate_step
        value = np.where(heart, np.round(samples.value / step) * step, samples.value)
        count = Counter(after_change=len(told.at_us), rounded=int((value != samples.value).sum()))
        return replace(told, samples=replace(samples, value=value), device=told.device + np.int8(1)), count


@dataclass(frozen=True, slots=True)
class ZoneChange(Fault):
    """From `start_us` on the wearer's zone offset is another: a flight. Their body keeps to its old day."""

    kind: ClassVar[str] = "zone_change"
    zone_offset_min: int = 540

    def change(self, told: Told) -> tuple[Told, Counter[str]]:
        """Put the new offset in place of the old one."""
        zone = np.full(len(told.at_us), self.zone_offset_min, np.int16)
        return replace(told, samples=replace(told.samples, zone_offset_min=zone)), Counter(in_zone=len(zone))


def apply_all(faults: tuple[Fault, ...], told: Told, seed: int) -> tuple[Told, tuple[Counter[str], ...]]:
    """Return what is told after all faults, in their order, and what each of them did."""
    counts = []
    for number, one in enumerate(faults):
        own = int(hashed(seed, 90 + number, np.zeros(1, np.int64))[0])
        told, count = one.apply(replace(told, seed=own))
        counts.append(count)
    return told, tuple(counts)


def whole(at_us: Ints, samples: SampleColumns) -> Told:
    """Return samples as a faultless device tells them."""
    return Told(at_us, samples, np.zeros(len(at_us), np.int8))
