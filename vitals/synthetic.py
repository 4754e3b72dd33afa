"""The synthetic patient, by whom Vigil watches itself: its samples pass the whole way every minute (`vigil heartbeat`).

The two ids are reserved. No person and no other device has them: tokens, bindings and the gate refuse that.
"""

from __future__ import annotations

from typing import Final

from vitals.ids import DeviceId, PatientId

PATIENT: Final = PatientId("vigil-synthetic")
DEVICE: Final = DeviceId("vigil-synthetic")
SOURCE_APP: Final = "vigil-heartbeat"

METRIC: Final = "heart_rate"
HIGH_BPM: Final = 240.0
CALM_BPM: Final = 60.0
"""What it tells in turn: watch has a limit between them (`stream.watch.synthetic_plan`)."""


def is_synthetic(patient_id: str, device_id: str) -> bool:
    """Tell whether it is the synthetic patient's own device that speaks."""
    return patient_id == PATIENT and device_id == DEVICE


def is_borrowed(patient_id: str, device_id: str) -> bool:
    """Tell whether one of the reserved ids stands without the other: somebody else uses it."""
    return (patient_id == PATIENT) != (device_id == DEVICE)
