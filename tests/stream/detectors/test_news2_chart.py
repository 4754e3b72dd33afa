"""The chart as published, band by band, on both scales; and the simulator's own, which was written apart from it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.simulator.news2 import news2
from devices.simulator.physiology import FIELDS, Physiology
from stream.detectors.news2_chart import (
    CONSCIOUSNESS,
    OXYGEN,
    PARAMETERS,
    PRESSURE,
    PULSE,
    RESPIRATION,
    SPO2,
    TEMPERATURE,
    points,
)

# (lowest and highest value of a band, points), NEWS2 chart 1, Royal College of Physicians 2017.
_CHART: dict[str, list[tuple[float, float, int]]] = {
    RESPIRATION: [(2, 8, 3), (9, 11, 1), (12, 20, 0), (21, 24, 2), (25, 90, 3)],
    SPO2: [(40, 91, 3), (92, 93, 2), (94, 95, 1), (96, 100, 0)],
    PRESSURE: [(40, 90, 3), (91, 100, 2), (101, 110, 1), (111, 219, 0), (220, 300, 3)],
    PULSE: [(20, 40, 3), (41, 50, 1), (51, 90, 0), (91, 110, 1), (111, 130, 2), (131, 300, 3)],
    TEMPERATURE: [(25.0, 35.0, 3), (35.1, 36.0, 1), (36.1, 38.0, 0), (38.1, 39.0, 1), (39.1, 45.0, 2)],
    OXYGEN: [(0, 0, 0), (1, 1, 2)],
    CONSCIOUSNESS: [(0, 0, 0), (1, 4, 3)],
}
_SCALE_2_ON_OXYGEN = [(40, 83, 3), (84, 85, 2), (86, 87, 1), (88, 92, 0), (93, 94, 1), (95, 96, 2), (97, 100, 3)]
_SCALE_2_ON_AIR = [*_SCALE_2_ON_OXYGEN[:3], (88, 100, 0)]


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_every_value_of_every_band_has_its_points(parameter: str) -> None:
    step = 0.1 if parameter == TEMPERATURE else 1
    for low, high, score in _CHART[parameter]:
        for value in np.arange(low, high + step / 2, step):
            assert points(parameter, float(value)) == score, (parameter, value)


@pytest.mark.parametrize(("on_oxygen", "chart"), [(True, _SCALE_2_ON_OXYGEN), (False, _SCALE_2_ON_AIR)])
def test_scale_2_has_a_target_and_punishes_too_much_only_on_oxygen(
    on_oxygen: bool, chart: list[tuple[int, int, int]]
) -> None:
    for low, high, score in chart:
        for value in range(low, high + 1):
            assert points(SPO2, value, spo2_scale=2, on_oxygen=on_oxygen) == score, value
    assert points(PULSE, 135, spo2_scale=2, on_oxygen=on_oxygen) == 3


@settings(deadline=None)
@given(
    respiratory_rate=st.floats(2, 60),
    spo2=st.floats(50, 100),
    bp_systolic=st.floats(40, 260),
    heart_rate=st.floats(30, 210),
    body_temperature=st.floats(30, 42),
)
def test_it_agrees_with_the_simulators_own(**vitals: float) -> None:
    true = Physiology(**{name: np.array([vitals.get(name, 0.0)]) for name in FIELDS})
    names = {
        RESPIRATION: "respiratory_rate", SPO2: "spo2", PRESSURE: "bp_systolic", PULSE: "heart_rate",
        TEMPERATURE: "body_temperature",
    }  # fmt: skip
    assert sum(points(one, vitals[name]) for one, name in names.items()) == news2(true)[0]
