"""Limits with delay and hysteresis on one metric: what each sample means to a rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority
from stream.detectors.observation import Observations
from stream.detectors.sustain import Code, Timing
from vitals.quality import TRUSTWORTHY, Context

MAX_AGE_S: Final = 900.0
"""CLINICAL: a finding older than 15 minutes is retrospective, never paged as happening now."""


_NEVER: Final = Context(0)


class Side(StrEnum):
    """On which side of its limit a value is a finding."""

    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True, slots=True)
class LimitRule:
    """A value beyond `threshold` (strictly), held; it clears at or inside `clear`. Units are the catalogue's.

    Samples whose context has any of `suppressed_by` are not judged and end what is pending: a resting limit says
    nothing about exercise. `individualised` once a care profile has set the limits. Raises ValueError where the
    clearing limit lies beyond the limit.
    """

    name: str
    version: int
    metric: str
    side: Side
    threshold: float
    clear: float
    priority: Priority
    timing: Timing = field(default_factory=Timing)
    suppressed_by: Context = _NEVER
    max_age_s: float = MAX_AGE_S
    individualised: bool = False

    kind: ClassVar[Kind] = Kind.PHYSIOLOGICAL

    def __post_init__(self) -> None:
        inside = self.clear <= self.threshold if self.side is Side.ABOVE else self.clear >= self.threshold
        if not inside:
            raise ValueError(f"rule {self.name}: the clearing limit lies beyond the limit")

    def codes(self, seen: Observations) -> NDArray[np.int8]:
        """Return the meaning (`Code`) of each observation; int8 of the same length."""
        value = seen["value"]
        if self.side is Side.ABOVE:
            breach, calm = value > self.threshold, value <= self.clear
        else:
            breach, calm = value < self.threshold, value >= self.clear
        code = np.where(breach, Code.BREACH, np.where(calm, Code.CALM, Code.HOLD)).astype(np.int8)
        code[seen["quality"] < TRUSTWORTHY] = Code.SKIP
        code[(seen["context"] & int(self.suppressed_by | Context.NO_CONTACT)) != 0] = Code.BREAK
        code[seen["deleted"]] = Code.SKIP
        return code


@dataclass(frozen=True, slots=True)
class SignalRule:
    """A sensor that says it is off the body, or calls its own values worthless (quality 0), held.

    It tells about the measuring, whatever the values were; quality between 0 and `TRUSTWORTHY` neither raises nor
    clears it.
    """

    name: str
    version: int
    metric: str
    priority: Priority = Priority.LOW
    timing: Timing = field(default_factory=Timing)
    max_age_s: float = MAX_AGE_S
    individualised: bool = True  # it has no limit that could be a person's own

    kind: ClassVar[Kind] = Kind.TECHNICAL

    def codes(self, seen: Observations) -> NDArray[np.int8]:
        """Return the meaning (`Code`) of each observation; int8 of the same length."""
        lost: Any = ((seen["context"] & int(Context.NO_CONTACT)) != 0) | (seen["quality"] == 0)
        trusted = seen["quality"] >= TRUSTWORTHY
        code = np.where(lost, Code.BREACH, np.where(trusted, Code.CALM, Code.HOLD)).astype(np.int8)
        code[seen["deleted"]] = Code.SKIP
        return code


Rule = LimitRule | SignalRule
