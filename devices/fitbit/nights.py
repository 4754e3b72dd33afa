"""A night's stages: Fitbit tells long ones and, apart, short wakes that lie within them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

from vitals.clock import US_PER_S

# Fitbit's older "classic" nights know asleep, restless and awake, and count restless as awake.
_STAGES: Final = {"wake": 2.0, "light": 3.0, "deep": 4.0, "rem": 5.0, "asleep": 1.0, "restless": 2.0, "awake": 2.0}
_MAX_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one stage."""

    start_us: int
    end_us: int
    stage: float

    @classmethod
    def of(cls, start_us: int, level: object, seconds: float | None) -> Self | None:
        """Return the span that a record tells, None if it tells none."""
        stage = _STAGES.get(level) if isinstance(level, str) else None
        if stage is None or seconds is None or not 0 < seconds <= _MAX_SECONDS:
            return None
        return cls(start_us, start_us + round(seconds * US_PER_S), stage)

    @property
    def duration_ms(self) -> int:
        """How long it is."""
        return (self.end_us - self.start_us) // 1_000


def stages(long: Iterable[Span], short: Iterable[Span]) -> Iterator[Span]:
    """Yield the night without overlaps: the short wakes, and the long stages around them."""
    wakes = sorted(short, key=lambda one: one.start_us)
    at = 0  # wakes before it end before every span that is still to come
    for span in sorted(long, key=lambda one: one.start_us):
        while at < len(wakes) and wakes[at].end_us <= span.start_us:
            at += 1
        rest = span
        for wake in wakes[at:]:
            if wake.start_us >= span.end_us:
                break
            if wake.start_us > rest.start_us:
                yield replace(rest, end_us=wake.start_us)
            rest = replace(rest, start_us=max(rest.start_us, wake.end_us))
        if rest.start_us < rest.end_us:
            yield rest
    yield from wakes
