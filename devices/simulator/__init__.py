"""Simulated wearers: seeded, vectorised, the same however the time axis is cut. Their figures are no clinical claim."""

from devices.simulator.apnoea import SleepApnoea
from devices.simulator.fault import Fault
from devices.simulator.faults import (
    ALWAYS,
    BackDate,
    Burst,
    Drift,
    Duplicate,
    FirmwareChange,
    Glitch,
    Loss,
    OffWrist,
    Reorder,
    ZoneChange,
)
from devices.simulator.news2 import news2
from devices.simulator.physiology import LIMITS, WORST, Physiology, physiology
from devices.simulator.recipes import FAULTS, SCENARIOS, NoSuchRecipe, cohort
from devices.simulator.scenario import Episode, Scenario
from devices.simulator.scenarios import (
    AtrialFibrillation,
    BetaBlocker,
    Deterioration,
    Ectopy,
    Fever,
    Hypoglycaemia,
    Panic,
    Withdrawal,
)
from devices.simulator.simulate import Stretch, Telling, simulate, tell
from devices.simulator.strap import heart_rate_frames
from devices.simulator.truth import FaultTold, Truth, truth
from devices.simulator.waveforms import RATES_HZ, waveforms
from devices.simulator.wearer import ALL_CADENCES_S, CADENCES_S, Wearer, wearer

__all__ = [
    "ALL_CADENCES_S",
    "ALWAYS",
    "CADENCES_S",
    "FAULTS",
    "LIMITS",
    "RATES_HZ",
    "SCENARIOS",
    "WORST",
    "AtrialFibrillation",
    "BackDate",
    "BetaBlocker",
    "Burst",
    "Deterioration",
    "Drift",
    "Duplicate",
    "Ectopy",
    "Episode",
    "Fault",
    "FaultTold",
    "Fever",
    "FirmwareChange",
    "Glitch",
    "Hypoglycaemia",
    "Loss",
    "NoSuchRecipe",
    "OffWrist",
    "Panic",
    "Physiology",
    "Reorder",
    "Scenario",
    "SleepApnoea",
    "Stretch",
    "Telling",
    "Truth",
    "Wearer",
    "Withdrawal",
    "ZoneChange",
    "cohort",
    "heart_rate_frames",
    "news2",
    "physiology",
    "simulate",
    "tell",
    "truth",
    "waveforms",
    "wearer",
]
