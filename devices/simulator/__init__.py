"""Simulated wearers: seeded, vectorised, the same however the time axis is cut. Their figures are no clinical claim."""

from devices.simulator.physiology import LIMITS, Physiology, Truth, physiology, truth
from devices.simulator.simulate import simulate
from devices.simulator.strap import heart_rate_frames
from devices.simulator.wearer import CADENCES_S, Deterioration, Wearer, wearer

__all__ = [
    "CADENCES_S",
    "LIMITS",
    "Deterioration",
    "Physiology",
    "Truth",
    "Wearer",
    "heart_rate_frames",
    "physiology",
    "simulate",
    "truth",
    "wearer",
]
