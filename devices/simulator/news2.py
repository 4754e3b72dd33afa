"""The National Early Warning Score of the truth: what a full set of observations would score at each moment.

Royal College of Physicians, NEWS2 (2017), SpO2 scale 1, on air, alert. It is the yardstick that detection is scored
against; what Vigil itself says of a patient stands elsewhere and never assumes what nobody observed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.simulator.physiology import Physiology

# (field, decimals, lowest value of each band but the first, points of the bands)
_BANDS: Final = (
    ("respiratory_rate", 0, (9, 12, 21, 25), (3, 1, 0, 2, 3)),
    ("spo2", 0, (92, 94, 96), (3, 2, 1, 0)),
    ("bp_systolic", 0, (91, 101, 111, 220), (3, 2, 1, 0, 3)),
    ("heart_rate", 0, (41, 51, 91, 111, 131), (3, 1, 0, 1, 2, 3)),
    ("body_temperature", 1, (35.1, 36.1, 38.1, 39.1), (3, 1, 0, 1, 2)),
)


def news2(true: Physiology) -> NDArray[np.int64]:
    """Return the score at each moment, 0 to 14 here: consciousness and oxygen add nothing."""
    total = np.zeros(len(true.heart_rate), np.int64)
    for name, decimals, edges, points in _BANDS:
        observed = np.round(getattr(true, name), decimals)
        total += np.array(points)[np.searchsorted(np.array(edges) - 1e-9, observed, side="right")]
    return total
