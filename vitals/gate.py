"""Who may tell what about whom: registered devices, what each is permitted, who wore it when. Pure.

A `Gate` is a snapshot of the registry; whoever lets samples in (the recorder, the gateway) asks it about each batch. It
judges by what stands today, so what it refuses is quarantined with its reason and passes once the registry says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitals.adapters import is_export
from vitals.batch import BatchHeader
from vitals.quality import Reason


class DeviceState(StrEnum):
    """What becomes of a device's samples."""

    ACTIVE = "active"
    SUSPENDED = "suspended"  # for now: a doubt, a repair
    RETIRED = "retired"  # for good


@dataclass(frozen=True, slots=True)
class Binding:
    """A stretch of a device's time, [from_us, to_us) in microseconds UTC, in which one patient wore it."""

    patient_id: str
    from_us: int
    to_us: int


@dataclass(frozen=True, eq=False, slots=True)
class DeviceRule:
    """What one device may tell. `permitted` lists metric numbers, None: all; without `bindings` anybody may wear it."""

    state: DeviceState = DeviceState.ACTIVE
    permitted: NDArray[np.int16] | None = None
    bindings: tuple[Binding, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Gate:
    """The registry as it stands. `strict`: a device that is not in it may tell nothing.

    What an export tells comes from the person's own files, under pseudonyms that nobody can register beforehand: there
    an unknown device is no stranger, but a suspended one stays suspended.
    """

    devices: Mapping[str, DeviceRule] = field(default_factory=dict)
    strict: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it lets everything through."""
        return not self.strict and not self.devices

    def whole(self, header: BatchHeader) -> Reason | None:
        """Return why nothing of a device is let in, None where its samples are to be looked at."""
        rule = self.devices.get(header.device_id)
        if rule is None:
            return Reason.UNKNOWN_DEVICE if self.strict and not is_export(header.adapter) else None
        return _OF_STATE.get(rule.state)

    def judge(
        self, header: BatchHeader, start_us: NDArray[np.int64], metric: NDArray[np.int16]
    ) -> list[tuple[Reason, NDArray[np.bool_]]]:
        """Return reasons and the samples that each refuses; a sample has the first reason that has it."""
        n = len(start_us)
        reason = self.whole(header)
        if reason is not None:
            return [(reason, np.ones(n, np.bool_))]
        rule = self.devices.get(header.device_id)
        if rule is None:
            return []
        found = []
        if rule.permitted is not None:
            found.append((Reason.NOT_PERMITTED, ~np.isin(metric, rule.permitted)))
        if rule.bindings:
            found.append((Reason.OTHER_WEARER, ~_worn_by(rule.bindings, header.patient_id, start_us)))
        return found


_OF_STATE: Final = {
    DeviceState.SUSPENDED: Reason.DEVICE_SUSPENDED,
    DeviceState.RETIRED: Reason.DEVICE_RETIRED,
}

OPEN: Final = Gate()
"""The gate of an empty registry that is not strict."""


def _worn_by(bindings: tuple[Binding, ...], patient_id: str, start_us: NDArray[np.int64]) -> NDArray[np.bool_]:
    worn = np.zeros(len(start_us), np.bool_)
    for one in bindings:
        if one.patient_id == patient_id:
            worn |= (start_us >= one.from_us) & (start_us < one.to_us)
    return worn
