"""The synthetic patient at the gate: it always passes, by its own device alone, and lends its ids to nobody."""

import numpy as np
import pytest

from vitals.batch import BatchHeader
from vitals.gate import CATEGORIES, DeviceRule, DeviceState, Gate, Permissions
from vitals.ids import DeviceId, PatientId
from vitals.quality import Reason
from vitals.synthetic import DEVICE, PATIENT

NONE = np.array([], np.int64)
AT, METRIC = np.array([10, 20]), np.array([1, 5], np.int16)
BY_ACCIDENT = Gate(
    {DEVICE: DeviceRule(DeviceState.SUSPENDED, permitted=np.array([16], np.int16))},
    strict=True,
    people={PATIENT: Permissions(NONE.astype(np.int8), NONE, NONE)},  # noted once, and withdrawn
    require_consent=True,
)


def told(gate: Gate, patient: str, device: str) -> list[Reason]:
    header = BatchHeader(PatientId(patient), DeviceId(device), "app", "gateway")
    return [reason for reason, which in gate.judge(header, AT, METRIC) if which.any()]


@pytest.mark.parametrize("gate", [Gate(strict=True, require_consent=True), BY_ACCIDENT])
def test_it_passes_without_consent_and_registration(gate: Gate) -> None:
    assert not gate.is_open
    assert told(gate, PATIENT, DEVICE) == []


@pytest.mark.parametrize("gate", [Gate(strict=True, require_consent=True), Gate(strict=True), BY_ACCIDENT])
def test_no_other_device_tells_of_it_and_its_device_of_nobody_else(gate: Gate) -> None:
    assert told(gate, PATIENT, "watch-1") == [Reason.OTHER_WEARER]
    assert Reason.OTHER_WEARER in told(gate, "p1", DEVICE)
    n = len(CATEGORIES)
    all_of_p1 = Permissions(np.arange(n, dtype=np.int8), np.zeros(n, np.int64), np.full(n, 99))
    consented = Gate({"d1": DeviceRule()}, strict=True, people={"p1": all_of_p1}, require_consent=True)
    assert told(consented, "p1", "d1") == []
    assert told(consented, "p1", DEVICE) == [Reason.OTHER_WEARER]


def test_its_exemption_is_nobody_else_s() -> None:
    gate = Gate(strict=True, require_consent=True)
    assert told(gate, "vigil-synthetic-2", "vigil-synthetic-2") == [Reason.NO_CONSENT, Reason.UNKNOWN_DEVICE]
