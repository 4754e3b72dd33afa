"""What may befall a wearer. Figures are of adults; where one is taken from a paper, the class names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from devices.simulator.noise import Floats, Ints
from devices.simulator.scenario import Effect, NightShift, Scenario, after, course, within

NORMAL_C: Final = 36.7
_DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Deterioration(Scenario):
    """Sepsis-like: the wearer gets worse for `rise_s`, stays so for `hold_s` and recovers over `recover_s`.

    Where it leads stands in `physiology.WORST`: all vitals of NEWS2 at once, whatever the wearer's constitution.
    """

    kind: ClassVar[str] = "deterioration"
    rise_s: float = 600.0
    hold_s: float = 1_800.0
    recover_s: float = 1_800.0

    @property
    def worst_us(self) -> int:
        """When the vitals have reached their worst."""
        return after(self.start_us, self.rise_s)

    @property
    def relief_us(self) -> int:
        """When they begin to recover."""
        return after(self.worst_us, self.hold_s)

    @property
    def end_us(self) -> int:
        """When all is as before."""
        return after(self.relief_us, self.recover_s)

    def effect(self, time_us: Ints) -> Effect:
        """Return how far each moment is into it."""
        ill = course(time_us, self.start_us, self.rise_s, self.hold_s, self.recover_s)
        return Effect(ill=ill, activity=1.0 - ill)


@dataclass(frozen=True, slots=True)
class AtrialFibrillation(Scenario):
    """RR intervals without a pattern, faster by `faster_bpm`; the ECG has no P waves.

    `irregularity` is the coefficient of variation of RR, which Tateno and Glass (2001) found about constant in it. It
    begins and ends at a whole five seconds (a knot of the truth), give or take a beat.
    """

    kind: ClassVar[str] = "atrial_fibrillation"
    duration_s: float = 1_800.0
    faster_bpm: float = 30.0
    irregularity: float = 0.24

    @property
    def end_us(self) -> int:
        """When sinus rhythm is back."""
        return after(self.start_us, self.duration_s)

    def effect(self, time_us: Ints) -> Effect:
        """Return fibrillation within, sinus rhythm outside."""
        on = within(time_us, self.start_us, self.end_us)
        return Effect(fibrillation=on, irregularity=self.irregularity * on, heart_rate_bpm=self.faster_bpm * on)


@dataclass(frozen=True, slots=True)
class Ectopy(Scenario):
    """Early beats, each with a full compensatory pause after it; `burden` is their share of all beats."""

    kind: ClassVar[str] = "ectopy"
    duration_s: float = _DAY_S
    burden: float = 0.02

    @property
    def end_us(self) -> int:
        """When it is over."""
        return after(self.start_us, self.duration_s)

    def effect(self, time_us: Ints) -> Effect:
        """Return the burden within."""
        return Effect(ectopy=self.burden * within(time_us, self.start_us, self.end_us))


@dataclass(frozen=True, slots=True)
class Fever(Scenario):
    """Temperature goes to `peak_c`; heart rate follows by 8 /min a degree (Liebermeister's rule), breathing by 2."""

    kind: ClassVar[str] = "fever"
    peak_c: float = 39.2
    rise_s: float = 4 * 3_600.0
    hold_s: float = 20 * 3_600.0
    recover_s: float = 8 * 3_600.0

    @property
    def end_us(self) -> int:
        """When it is gone."""
        return after(self.start_us, self.rise_s, self.hold_s, self.recover_s)

    def effect(self, time_us: Ints) -> Effect:
        """Return the fever's course and what goes along with it."""
        far = course(time_us, self.start_us, self.rise_s, self.hold_s, self.recover_s)
        warmer = far * max(self.peak_c - NORMAL_C, 0.0)
        return Effect(
            fever=far,
            fever_c=np.where(far > 0, self.peak_c, 0.0),
            heart_rate_bpm=8.0 * warmer,
            respiratory_rate=2.0 * warmer,
            variability=np.exp(-0.15 * warmer),
            activity=1.0 - 0.7 * far,
        )


@dataclass(frozen=True, slots=True)
class Panic(Scenario):
    """The heart surges by `surge_bpm` within `rise_s` and breathing quickens, without motion."""

    kind: ClassVar[str] = "panic_attack"
    surge_bpm: float = 45.0
    rise_s: float = 90.0
    hold_s: float = 480.0
    recover_s: float = 900.0

    @property
    def end_us(self) -> int:
        """When the heart is calm again."""
        return after(self.start_us, self.rise_s, self.hold_s, self.recover_s)

    def effect(self, time_us: Ints) -> Effect:
        """Return the surge; who has one sits still."""
        far = course(time_us, self.start_us, self.rise_s, self.hold_s, self.recover_s)
        return Effect(
            surge_bpm=self.surge_bpm * far, respiratory_rate=8.0 * far, systolic=20.0 * far, activity=1.0 * (far == 0)
        )


@dataclass(frozen=True, slots=True)
class Withdrawal(Scenario):
    """Over weeks the wearer does less and sleeps later, longer and less soundly; it lasts, then lifts over a week."""

    kind: ClassVar[str] = "withdrawal"
    onset_days: float = 14.0
    hold_days: float = 28.0
    activity_left: float = 0.35
    later_h: float = 2.0
    longer_h: float = 0.75

    @property
    def end_us(self) -> int:
        """When it has lifted."""
        return after(self.start_us, (self.onset_days + self.hold_days + 7.0) * _DAY_S)

    def effect(self, time_us: Ints) -> Effect:
        """Return how much less the wearer moves; heart rate variability falls by up to a tenth."""
        far = self._far(time_us)
        return Effect(activity=1.0 - (1.0 - self.activity_left) * far, variability=1.0 - 0.1 * far)

    def night(self, noon_us: Ints) -> NightShift:
        """Return how much later and longer the night is."""
        far = self._far(noon_us)
        return NightShift(self.later_h * far, (self.later_h + self.longer_h) * far, 0.06 * far)

    def _far(self, time_us: Ints) -> Floats:
        return course(time_us, self.start_us, self.onset_days * _DAY_S, self.hold_days * _DAY_S, 7.0 * _DAY_S)


@dataclass(frozen=True, slots=True)
class BetaBlocker(Scenario):
    """From `start_us` for `duration_s` the heart is slower by `slower_bpm` and its surges keep `surge_left`."""

    kind: ClassVar[str] = "beta_blocker"
    duration_s: float = 30 * _DAY_S
    slower_bpm: float = 9.0
    surge_left: float = 0.55
    onset_s: float = 2 * 3_600.0

    @property
    def end_us(self) -> int:
        """When the last of it has worn off."""
        return after(self.start_us, self.duration_s)

    def effect(self, time_us: Ints) -> Effect:
        """Return the drug's effect, which comes and goes over `onset_s`."""
        hold_s = max(self.duration_s - 2 * self.onset_s, 0.0)
        far = course(time_us, self.start_us, self.onset_s, hold_s, self.onset_s)
        return Effect(heart_rate_bpm=-self.slower_bpm * far, surge=1.0 - (1.0 - self.surge_left) * far)


@dataclass(frozen=True, slots=True)
class Hypoglycaemia(Scenario):
    """Glucose falls to `nadir_mg_dl`, stays and recovers; below 70 mg/dL the heart quickens (adrenaline)."""

    kind: ClassVar[str] = "hypoglycaemia"
    nadir_mg_dl: float = 50.0
    fall_s: float = 2_400.0
    hold_s: float = 1_500.0
    recover_s: float = 1_800.0

    @property
    def end_us(self) -> int:
        """When glucose is what it was."""
        return after(self.start_us, self.fall_s, self.hold_s, self.recover_s)

    def effect(self, time_us: Ints) -> Effect:
        """Return how far glucose is on its way down, and the surge that answers."""
        far = course(time_us, self.start_us, self.fall_s, self.hold_s, self.recover_s)
        return Effect(
            low_glucose=far,
            glucose=np.where(far > 0, self.nadir_mg_dl, 0.0),
            surge_bpm=12.0 * np.clip(2 * far - 1, 0, 1),
        )
