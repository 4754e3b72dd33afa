"""Who may tell what: the gate, one rule at a time."""

import numpy as np
import pytest

from vitals.batch import BatchHeader
from vitals.gate import Binding, DeviceRule, DeviceState, Gate
from vitals.ids import DeviceId, PatientId
from vitals.quality import Reason

START = np.array([0, 10, 20, 30])
METRIC = np.array([1, 1, 5, 1], np.int16)


def header(device: str = "d1", patient: str = "p1", adapter: str = "ble") -> BatchHeader:
    return BatchHeader(PatientId(patient), DeviceId(device), "app", adapter)


def told(gate: Gate, of: BatchHeader) -> list[Reason | None]:
    verdict: list[Reason | None] = [None] * len(START)
    for reason, which in gate.judge(of, START, METRIC):
        verdict = [old or (reason if bad else None) for old, bad in zip(verdict, which.tolist(), strict=True)]
    return verdict


def test_an_empty_registry_lets_everybody_in_unless_it_is_strict() -> None:
    assert Gate().is_open
    assert told(Gate(), header()) == [None] * 4
    assert told(Gate(strict=True), header()) == [Reason.UNKNOWN_DEVICE] * 4
    assert told(Gate(strict=True), header(adapter="apple-export")) == [None] * 4


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (DeviceState.ACTIVE, None),
        (DeviceState.SUSPENDED, Reason.DEVICE_SUSPENDED),
        (DeviceState.RETIRED, Reason.DEVICE_RETIRED),
    ],
)
@pytest.mark.parametrize("adapter", ["ble", "apple-export"])
def test_the_state_of_a_device_decides_for_all_it_tells(state: DeviceState, reason: Reason, adapter: str) -> None:
    gate = Gate({"d1": DeviceRule(state)}, strict=True)
    assert not gate.is_open
    assert told(gate, header(adapter=adapter)) == [reason] * 4


def test_only_permitted_metrics_pass() -> None:
    gate = Gate({"d1": DeviceRule(permitted=np.array([5], np.int16))})
    assert told(gate, header()) == [Reason.NOT_PERMITTED, Reason.NOT_PERMITTED, None, Reason.NOT_PERMITTED]


def test_a_device_tells_of_its_wearer_while_bound() -> None:
    bindings = (Binding("p1", 0, 20), Binding("p2", 20, 30), Binding("p1", 30, 1 << 62))
    gate = Gate({"d1": DeviceRule(bindings=bindings)})
    other = Reason.OTHER_WEARER
    assert told(gate, header()) == [None, None, other, None]
    assert told(gate, header(patient="p2")) == [other, other, None, other]
    assert told(gate, header(patient="p3")) == [other] * 4
    assert told(gate, header(device="d2", patient="p3")) == [None] * 4
