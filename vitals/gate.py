"""Who may tell what about whom: consents, registered devices, what each is permitted, who wore it when. Pure.

A `Gate` is a snapshot of registry and consents; whoever lets samples in (the recorder, the gateway) asks it about each
batch. It judges by what stands today, so what the registry refuses is quarantined with its reason and passes once the
registry says so. What no consent covers is only counted.
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
from vitals.catalogue import BY_NUMBER, RetentionClass
from vitals.quality import Reason
from vitals.synthetic import PATIENT, is_borrowed, is_synthetic


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


CATEGORIES: Final = tuple(RetentionClass)
"""What a person consents to: the catalogue's classes. `Permissions.category` is an index into it."""


def _classes() -> NDArray[np.int8]:
    table = np.full(max(BY_NUMBER) + 1, -1, np.int8)  # -1: a metric that the catalogue lacks has no class
    for number, metric in BY_NUMBER.items():
        table[number] = CATEGORIES.index(metric.retention)
    table.flags.writeable = False
    return table


CATEGORY_OF: Final = _classes()
"""Indexed by metric number: the index of its class in `CATEGORIES`, -1 for a metric that the catalogue lacks."""


@dataclass(frozen=True, eq=False, slots=True)
class Permissions:
    """What one person lets Vigil store: spans of event time, each of one class, that may overlap.

    `category` (n,) int8 indexes `CATEGORIES`; `from_us` and `to_us` (n,) are microseconds UTC, [from, to). Only what
    stands is among them: a consent that was withdrawn gives none.
    """

    category: NDArray[np.int8]
    from_us: NDArray[np.int64]
    to_us: NDArray[np.int64]
    _only: tuple[NDArray[np.int64], NDArray[np.int64]] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Where no class has two spans, which is usual, lay them out by class; the last place is for no class."""
        if len(set(self.category.tolist())) < len(self.category):
            object.__setattr__(self, "_only", None)
            return
        low, high = np.ones(len(CATEGORIES) + 1, np.int64), np.zeros(len(CATEGORIES) + 1, np.int64)  # covers nothing
        low[self.category], high[self.category] = self.from_us, self.to_us
        low[-1], high[-1] = low[:-1].max(), high[:-1].min()
        object.__setattr__(self, "_only", (low, high))

    def covers(self, start_us: NDArray[np.int64], metric: NDArray[np.int16]) -> NDArray[np.bool_]:
        """Return which samples are let in: a span of their class holds their start.

        A metric that the catalogue lacks may be of any class: only where all are covered is it let in.
        """
        category = CATEGORY_OF[metric]
        if self._only is not None:
            low, high = self._only
            only: NDArray[np.bool_] = (start_us >= low[category]) & (start_us < high[category])
            return only
        within = (start_us[:, None] >= self.from_us) & (start_us[:, None] < self.to_us)
        found: NDArray[np.bool_] = (within & (category[:, None] == self.category)).any(axis=1)
        nameless = np.flatnonzero(category < 0)
        if len(nameless):
            found[nameless] = np.all([within[nameless][:, self.category == one].any(axis=1) for one in _ALL], axis=0)
        return found

    @property
    def covers_every_class(self) -> bool:
        """Whether each class has a span: what nobody can read may then be kept."""
        return len(np.unique(self.category)) == len(CATEGORIES)


_ALL: Final = range(len(CATEGORIES))


@dataclass(frozen=True, eq=False, slots=True)
class Gate:
    """The registry and the consents as they stand. `strict`: a device that is not registered may tell nothing.

    What an export tells comes from the person's own files, under pseudonyms that nobody can register beforehand: there
    an unknown device is no stranger, but a suspended one stays suspended.

    `people` are those of whom any consent was ever noted; they are judged by what stands. Of others everything is let
    in, with `require_consent` nothing.

    The synthetic patient (`vitals.synthetic`) is nobody and always passes, by its own device only; that device tells of
    nobody else.
    """

    devices: Mapping[str, DeviceRule] = field(default_factory=dict)
    strict: bool = False
    people: Mapping[str, Permissions] = field(default_factory=dict)
    require_consent: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it lets everything through."""
        return not (self.strict or self.devices or self.people or self.require_consent)

    def without_consent(
        self, patient_id: str, start_us: NDArray[np.int64], metric: NDArray[np.int16]
    ) -> NDArray[np.bool_] | None:
        """Return which samples no consent covers, None where none is missing."""
        if patient_id == PATIENT:
            return None
        one = self.people.get(patient_id)
        if one is None:
            return np.ones(len(start_us), np.bool_) if self.require_consent else None
        missing = ~one.covers(start_us, metric)
        return missing if missing.any() else None

    def may_keep_unread(self, patient_id: str | None) -> bool:
        """Tell whether a record that cannot be read may be kept: it might hold any class at any time."""
        one = self.people.get(patient_id or "")
        return not self.require_consent if one is None else one.covers_every_class

    def whole(self, header: BatchHeader) -> Reason | None:
        """Return why the registry lets in nothing of a device, None where its samples are to be looked at."""
        if is_synthetic(header.patient_id, header.device_id):
            return None
        if is_borrowed(header.patient_id, header.device_id):
            return Reason.OTHER_WEARER
        rule = self.devices.get(header.device_id)
        if rule is None:
            return Reason.UNKNOWN_DEVICE if self.strict and not is_export(header.adapter) else None
        return _OF_STATE.get(rule.state)

    def judge(
        self, header: BatchHeader, start_us: NDArray[np.int64], metric: NDArray[np.int16]
    ) -> list[tuple[Reason, NDArray[np.bool_]]]:
        """Return reasons and the samples that each refuses; a sample has the first reason that has it.

        `NO_CONSENT` comes before all others: what it has is to be found nowhere.
        """
        missing = self.without_consent(header.patient_id, start_us, metric)
        found = [] if missing is None else [(Reason.NO_CONSENT, missing)]
        return found + self._of_device(header, start_us, metric)

    def _of_device(
        self, header: BatchHeader, start_us: NDArray[np.int64], metric: NDArray[np.int16]
    ) -> list[tuple[Reason, NDArray[np.bool_]]]:
        reason = self.whole(header)
        if reason is not None:
            return [(reason, np.ones(len(start_us), np.bool_))]
        rule = self.devices.get(header.device_id)
        if rule is None or is_synthetic(header.patient_id, header.device_id):
            return []
        found = []
        if rule.permitted is not None:
            found.append((Reason.NOT_PERMITTED, ~np.isin(metric, rule.permitted)))
        if rule.bindings:
            found.append((Reason.OTHER_WEARER, ~worn_by(rule.bindings, header.patient_id, start_us)))
        return found


_OF_STATE: Final = {
    DeviceState.SUSPENDED: Reason.DEVICE_SUSPENDED,
    DeviceState.RETIRED: Reason.DEVICE_RETIRED,
}

OPEN: Final = Gate()
"""The gate of an empty registry that is not strict."""


def worn_by(bindings: tuple[Binding, ...], patient_id: str, start_us: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell at which of these times (us UTC) the patient wore the device."""
    worn = np.zeros(len(start_us), np.bool_)
    for one in bindings:
        if one.patient_id == patient_id:
            worn |= (start_us >= one.from_us) & (start_us < one.to_us)
    return worn
