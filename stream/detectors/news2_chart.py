"""The chart of NEWS2: points for each observation, as published.

Royal College of Physicians, National Early Warning Score (NEWS) 2: standardising the assessment of acute-illness
severity in the NHS, London 2017. Not for people under 16, nor in pregnancy.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

PARAMETERS: Final = ("respiration", "SpO2", "oxygen", "BP", "consciousness", "pulse", "temperature")
"""The seven, in the words in which findings name them."""
RESPIRATION, SPO2, OXYGEN, PRESSURE, CONSCIOUSNESS, PULSE, TEMPERATURE = PARAMETERS

# The highest value of each band but the last, and the points of the bands.
_BANDS: Final = {
    RESPIRATION: ((8, 11, 20, 24), (3, 1, 0, 2, 3)),
    SPO2: ((91, 93, 95), (3, 2, 1, 0)),
    PRESSURE: ((90, 100, 110, 219), (3, 2, 1, 0, 3)),
    PULSE: ((40, 50, 90, 110, 130), (3, 1, 0, 1, 2, 3)),
    TEMPERATURE: ((35.0, 36.0, 38.0, 39.0), (3, 1, 0, 1, 2)),
}
_SPO2_2_AIR: Final = ((83, 85, 87), (3, 2, 1, 0))
_SPO2_2_OXYGEN: Final = ((83, 85, 87, 92, 94, 96), (3, 2, 1, 0, 1, 2, 3))
_ALERT: Final = 0.0
_NOT_ALERT_POINTS: Final = 3
_OXYGEN_POINTS: Final = 2


def points(parameter: str, value: float, *, spo2_scale: int = 1, on_oxygen: bool = False) -> int:
    """Return the points, 0 to 3, of one of `PARAMETERS`.

    `value` is in the catalogue's unit and is rounded as charts are kept: whole, temperature to a tenth. Oxygen is 1 or
    0, consciousness the catalogue's category. On scale 2 saturation above its target costs points only `on_oxygen`.
    """
    if parameter == OXYGEN:
        return _OXYGEN_POINTS if value else 0
    if parameter == CONSCIOUSNESS:
        return 0 if value == _ALERT else _NOT_ALERT_POINTS
    highest, scores = _BANDS[parameter]
    if parameter == SPO2 and spo2_scale == 2:
        highest, scores = _SPO2_2_OXYGEN if on_oxygen else _SPO2_2_AIR
    return scores[bisect_left(highest, round(value, 1) if parameter == TEMPERATURE else round(value))]
