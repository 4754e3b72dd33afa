"""What simulated people's devices tell, as detectors and as the engine get it."""

from __future__ import annotations

import numpy as np

from devices.simulator import Wearer, tell
from stream.detectors.observation import OBSERVATION, Observations
from stream.watch.replay import Told
from vitals.batch import BatchHeader, SampleColumns


def observations(columns: SampleColumns) -> Observations:
    """Return samples as rows, in their order; none is called alarming."""
    seen = np.zeros(len(columns), OBSERVATION)
    for name in OBSERVATION.names or ():
        if name != "alarm":
            seen[name] = getattr(columns, name)
    return seen


def told_by(who: Wearer, start_us: int, end_us: int) -> list[Told]:
    """Return what a wearer's devices tell, faults included."""
    return [
        (BatchHeader(who.patient_id, one.device_id, "app", "simulator"), one.samples)
        for one in tell(who, start_us, end_us).stretches
    ]
