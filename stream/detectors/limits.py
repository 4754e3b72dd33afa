"""Limits with delay and hysteresis on one metric: what each sample means to a rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority
from stream.detectors.observation import Observations
from stream.detectors.sustain import BREACH, BREAK, CALM, EXERTED, HOLD, SKIP, Timing, codes_of
from vitals.quality import TRUSTWORTHY, Context

MAX_AGE_S: Final = 900.0
"""CLINICAL: a finding older than 15 minutes is retrospective, never paged as happening now."""


_NEVER: Final = Context(0)
_NO_CONTACT: Final = int(Context.NO_CONTACT)
_ASLEEP: Final = int(Context.ASLEEP)


class Side(StrEnum):
    """On which side of its limit a value is a finding."""

    ABOVE = "above"
    BELOW = "below"


_ABOVE: Final = Side.ABOVE


@dataclass(frozen=True, slots=True)
class LimitRule:
    """A value beyond `threshold` (strictly), held; it clears at or inside `clear`. Units are the catalogue's.

    While the context says ASLEEP, `asleep_threshold` and `asleep_clear` take their place, where they are set (both or
    neither). Samples whose context has any of `suppressed_by` are not judged, unless calm, and end what is pending: a
    resting limit says nothing about exercise, nor for `timing.recovery_s` about what it leaves behind.
    `individualised` once a care profile has set the limits. Raises ValueError where a clearing limit lies beyond its
    limit, and for half a pair.
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
    asleep_threshold: float | None = None
    asleep_clear: float | None = None

    kind: ClassVar[Kind] = Kind.PHYSIOLOGICAL

    def __post_init__(self) -> None:
        if (self.asleep_threshold is None) != (self.asleep_clear is None):
            raise ValueError(f"rule {self.name}: asleep_threshold and asleep_clear belong together")
        for limit, clear in (self.waking, self.sleeping):
            if not (clear <= limit if self.side is _ABOVE else clear >= limit):
                raise ValueError(f"rule {self.name}: the clearing limit lies beyond the limit")

    @property
    def waking(self) -> tuple[float, float]:
        """The limit and the clearing limit of who is awake, or of whom nobody knows it."""
        return self.threshold, self.clear

    @property
    def sleeping(self) -> tuple[float, float]:
        """The limit and the clearing limit of who is asleep."""
        if self.asleep_threshold is None or self.asleep_clear is None:
            return self.waking
        return self.asleep_threshold, self.asleep_clear

    @property
    def suspicious_beyond(self) -> float:
        """From where on a sample may matter to this rule: the stricter of its limits.

        Where exercise has an aftermath it is the clearing limit: what is high in exercise must be known, so that the
        same a minute later is not taken for something else.
        """
        pairs = (self.waking, self.sleeping)
        limits = [clear if self.suppressed_by and self.timing.recovery_s else limit for limit, clear in pairs]
        return min(limits) if self.side is _ABOVE else max(limits)

    def limit_beyond(self, value: float) -> float:
        """Return the limit that a finding at `value` is told against: one that the value is beyond, if any is."""
        limits = (self.threshold, self.sleeping[0])
        beyond = [one for one in limits if (value > one if self.side is _ABOVE else value < one)]
        return beyond[0] if beyond else self.threshold

    def codes(self, seen: Observations) -> NDArray[np.int8]:
        """Return the meaning (`Code`) of each observation; int8 of the same length."""
        value, context, (limit, clear) = seen["value"], seen["context"], self._limits(seen["context"])
        breach, calm = (value > limit, value <= clear) if self.side is _ABOVE else (value < limit, value >= clear)
        code = codes_of(breach, calm)
        lost = (context & _NO_CONTACT) != 0
        exerted = ((context & int(self.suppressed_by)) != 0) & ~calm
        code[seen["quality"] < TRUSTWORTHY] = SKIP
        code[exerted] = EXERTED if self.timing.recovery_s else BREAK
        code[lost] = BREAK
        code[seen["deleted"]] = SKIP
        return code

    def code(self, value: float, quality: float, context: int, *, deleted: bool) -> int:
        """Return the meaning of one observation: the same as `codes` of it alone."""
        if deleted or context & _NO_CONTACT:
            return SKIP if deleted else BREAK
        limit, clear = self.sleeping if context & _ASLEEP else (self.threshold, self.clear)
        above = self.side is _ABOVE
        calm = value <= clear if above else value >= clear
        if not calm and context & int(self.suppressed_by):
            return EXERTED if self.timing.recovery_s else BREAK
        if calm or quality < TRUSTWORTHY:
            return CALM if quality >= TRUSTWORTHY else SKIP
        return BREACH if (value > limit if above else value < limit) else HOLD

    def _limits(self, context: Any) -> tuple[Any, Any]:
        if self.asleep_threshold is None:
            return self.threshold, self.clear
        asleep = (context & _ASLEEP) != 0
        limit, clear = self.sleeping
        return np.where(asleep, limit, self.threshold), np.where(asleep, clear, self.clear)


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
        lost: Any = ((seen["context"] & _NO_CONTACT) != 0) | (seen["quality"] == 0)
        trusted = seen["quality"] >= TRUSTWORTHY
        code = codes_of(lost, trusted)
        code[seen["deleted"]] = SKIP
        return code

    def code(self, value: float, quality: float, context: int, *, deleted: bool) -> int:  # noqa: ARG002
        """Return the meaning of one observation: the same as `codes` of it alone."""
        if deleted:
            return SKIP
        if context & _NO_CONTACT or quality == 0:
            return BREACH
        return CALM if quality >= TRUSTWORTHY else HOLD


Rule = LimitRule | SignalRule
