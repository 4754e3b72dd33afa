"""Which settled detectors there are: the section of a policy file, its frozen policy, and what it makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from stream.detectors.battery import Battery, BatteryPolicy
from stream.detectors.below_baseline import OwnBaseline
from stream.detectors.below_baseline_policy import OwnBaselinePolicy
from stream.detectors.clock import Clock, ClockPolicy
from stream.detectors.desaturation import Desaturation, DesaturationPolicy
from stream.detectors.fever import Fever, FeverPolicy
from stream.detectors.gap import Gap, GapPolicy
from stream.detectors.glucose import Glucose, GlucosePolicy
from stream.detectors.jump import Jump, JumpPolicy
from stream.detectors.monitoring import Monitoring, MonitoringPolicy
from stream.detectors.news2 import News2, News2Policy
from stream.detectors.off_wrist import OffWrist, OffWristPolicy
from stream.detectors.protocol import Detector, Technical
from stream.detectors.rhythm_ectopy import Ectopy, EctopyPolicy
from stream.detectors.rhythm_irregular import IrregularRhythm
from stream.detectors.rhythm_pause import Pause, PausePolicy
from stream.detectors.rhythm_runs import FastRun, FastRunPolicy
from stream.detectors.rhythm_slow import SlowRhythm, SlowRhythmPolicy
from stream.detectors.rhythm_windows import IrregularRhythmPolicy
from stream.detectors.stuck import Stuck, StuckPolicy
from stream.detectors.surge import Surge, SurgePolicy
from stream.detectors.temperature_trend import TemperatureTrend, TemperatureTrendPolicy
from stream.detectors.unjudged import Unjudged, UnjudgedPolicy
from stream.detectors.wrist_temperature import WristTemperature, WristTemperaturePolicy


@dataclass(frozen=True, slots=True)
class Section:
    """`[detectors.NAME]` of a policy file: the fields of the frozen dataclass `policy` are its keys (seconds, units and
    bounds in their names and `__post_init__`), `make` builds the detector from it."""

    name: str
    policy: type[Any]
    make: Callable[[Any], Detector[Any] | Technical[Any]]
    technical: bool = False


SECTIONS: Final[tuple[Section, ...]] = (
    Section("off_wrist", OffWristPolicy, OffWrist, technical=True),
    Section("stuck", StuckPolicy, Stuck, technical=True),
    Section("jump", JumpPolicy, Jump, technical=True),
    Section("gap", GapPolicy, Gap, technical=True),
    Section("battery", BatteryPolicy, Battery, technical=True),
    Section("clock", ClockPolicy, Clock, technical=True),
    Section("monitoring", MonitoringPolicy, Monitoring, technical=True),
    Section("news2", News2Policy, News2),
    Section("desaturation", DesaturationPolicy, Desaturation),
    Section("fever", FeverPolicy, Fever),
    Section("temperature_trend", TemperatureTrendPolicy, TemperatureTrend),
    Section("wrist_temperature", WristTemperaturePolicy, WristTemperature),
    Section("glucose", GlucosePolicy, Glucose),
    Section("surge", SurgePolicy, Surge),
    Section("irregular_rhythm", IrregularRhythmPolicy, IrregularRhythm),
    Section("possible_pause", PausePolicy, Pause),
    Section("fast_run", FastRunPolicy, FastRun),
    Section("slow_rhythm", SlowRhythmPolicy, SlowRhythm),
    Section("ectopy_burden", EctopyPolicy, Ectopy),
    Section("own_baseline", OwnBaselinePolicy, OwnBaseline),
    Section("unjudged", UnjudgedPolicy, Unjudged),
)
