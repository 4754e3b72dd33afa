"""A small world of detectors and files."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from stream.detectors.registry import Section
from stream.detectors.sustain import Timing


@dataclass(frozen=True, slots=True)
class TiredPolicy:
    """Looks for somebody who is tired."""

    window_s: float = 300.0
    bands_per_min: tuple[float, ...] = (4.0, 8.0)
    pair: tuple[int, float] = (1, 0.5)
    ceiling_per_min: float | None = None
    timing: Timing = field(default_factory=lambda: Timing(delay_s=30))

    def __post_init__(self) -> None:
        if self.window_s < 10:
            raise ValueError("window_s is at least 10")


@dataclass(frozen=True, slots=True)
class Tired:
    policy: TiredPolicy
    name: ClassVar[str] = "tired"
    metrics: ClassVar[frozenset[int]] = frozenset({1})
    max_bytes: ClassVar[int] = 8
    per_patient: ClassVar[bool] = False

    def fresh(self) -> Any:
        return ()

    def step(self, state: Any, seen: Any, until_us: int, person: Any) -> Any:
        return state, []


SECTIONS = (Section("tired", TiredPolicy, Tired),)

HEAD = 'version = 3\nlabel = "ward 4"\n'
