"""What somebody is watched by: the limits, the settled detectors, and how patient the watch is with late samples."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from stream.detectors import track
from stream.detectors.policy import ADULT, WatchPolicy, for_profile
from stream.detectors.protocol import Detector, Technical
from stream.detectors.registry import SECTIONS
from stream.detectors.storm import Storm
from vitals.care_profile import CareProfile
from vitals.catalogue import BY_NUMBER
from vitals.clock import US_PER_S

METRICS: Final = max(BY_NUMBER) + 1
"""One more than the greatest metric number: the length of tables by metric."""
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Plan:
    """A policy ready to watch by; `label` and `version` go with every alert. Seconds of event time, except:

    `silence_s` (arrival): what waits is settled once its origin has told nothing for so long. An origin's stretches end
    on a grid of `settle_every_s` (each patient at a phase of their own), `lateness_s` behind the newest; more than
    `max_waiting` samples are settled sooner. Nothing older than `backfill_horizon_s` raises from the backfill lane.
    `bits` says what each physiological detector wants to see, one bit a metric number. Raises ValueError for two
    detectors of one name and for numbers that make no sense.
    """

    label: str
    version: str
    limits: WatchPolicy = ADULT
    technical: tuple[Technical[Any], ...] = ()
    detectors: tuple[Detector[Any], ...] = ()
    storm: Storm | None = None
    settle_every_s: float = 30.0
    lateness_s: float = 10.0
    silence_s: float = 30.0
    max_waiting: int = 512
    backfill_horizon_s: float = 7 * 86_400.0
    by_name: dict[str, Any] = field(init=False, repr=False, compare=False)
    watched: Flags = field(init=False, repr=False, compare=False)
    bits: tuple[int, ...] = field(init=False, repr=False, compare=False)
    shapes: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.settle_every_s <= 0 or min(self.lateness_s, self.silence_s, self.backfill_horizon_s) < 0:
            raise ValueError("settle_every_s is positive, the other times of a plan are not negative")
        if self.max_waiting < 2:
            raise ValueError("max_waiting is at least 2")
        every: tuple[Any, ...] = (*self.technical, *self.detectors, *(() if self.storm is None else (self.storm,)))
        by_name = {one.name: one for one in every}
        if len(by_name) < len(every):
            raise ValueError("two detectors of a plan have one name")
        watched = np.zeros(METRICS, np.bool_)
        watched[[number for one in every if one is not self.storm for number in one.metrics]] = True
        if self.tracks:
            watched[list(track.METRICS)] = True
        object.__setattr__(self, "by_name", by_name)
        object.__setattr__(self, "watched", watched)
        bits = tuple(sum(1 << number for number in one.metrics) for one in self.detectors)
        object.__setattr__(self, "bits", bits)
        object.__setattr__(self, "shapes", {one.name: shape_of(one.fresh()) for one in every})

    @property
    def tracks(self) -> bool:
        """Whether one device's motion and sleep are lent to others: not where limits are all there is."""
        return bool(self.technical or self.detectors)

    @property
    def policy(self) -> str:
        """How alerts call it."""
        return f"{self.label} {self.version}".strip()[:80]

    @property
    def grid_us(self) -> int:
        """`settle_every_s` in microseconds."""
        return round(self.settle_every_s * US_PER_S)

    @property
    def lateness_us(self) -> int:
        """`lateness_s` in microseconds."""
        return round(self.lateness_s * US_PER_S)

    @property
    def silence_us(self) -> int:
        """`silence_s` in microseconds."""
        return round(self.silence_s * US_PER_S)


def shape_of(state: Any) -> str:
    """Return what a fresh state is made of, in a few hex digits: states of one shape can stand in for each other."""
    return f"{crc32(repr(_outline(state)).encode()):08x}"


def _outline(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype.descr, value.shape
    if is_dataclass(value):
        return type(value).__name__, [(one.name, _outline(getattr(value, one.name))) for one in fields(value)]
    if isinstance(value, tuple):
        return [_outline(one) for one in value]
    return type(value).__name__


def default_plan(limits: WatchPolicy = ADULT) -> Plan:
    """Return the plan of a deployment without policies: every detector with its defaults, adult limits."""
    built = [(section, section.make(section.policy())) for section in SECTIONS]
    return Plan(
        label="default",
        version="1",
        limits=limits,
        technical=tuple(made for section, made in built if section.technical),  # type: ignore[misc]
        detectors=tuple(made for section, made in built if not section.technical),  # type: ignore[misc]
        storm=Storm(),
    )


class Fitted:
    """A plan's limits as care profiles change them: made once for all profiles that say the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], tuple[WatchPolicy, WatchPolicy]] = {}

    def limits(self, policy: WatchPolicy, profile: CareProfile) -> WatchPolicy:
        """Return `policy` for somebody with `profile`."""
        key = (id(policy), profile.model_dump_json())
        held = self._known.get(key)
        if held is None:  # it holds the policy, so that no other gets its id
            held = self._known[key] = (policy, for_profile(policy, profile))
        return held[1]
