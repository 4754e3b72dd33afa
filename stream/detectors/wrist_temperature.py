"""Wrist temperature as a nightly deviation: a night warmer than the own nights before it, after five nights.

The skin of a wrist is no core temperature: bedding, room and cycle move it, and only its change against the own nights
says anything (CLINICAL; Smarr et al. 2020, Sci Rep 10:21640, doi:10.1038/s41598-020-78355-6 saw fever as such a
deviation). So a night is the mean while asleep, held against the median of the nights before; it counts when it is
0.8 Cel and three robust standard deviations warmer. A night that counts does not become usual, but after seven in a row
the own nights are learnt anew. A night from local noon to noon; where the zone is unknown, by UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.by_metric import Series
from stream.detectors.finding import Finding
from stream.detectors.no_longer import no_longer
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from stream.detectors.slots import Ints, trusted
from stream.detectors.sustain import NEVER
from vitals.batch import NO_ZONE
from vitals.catalogue import number_of
from vitals.clock import US_PER_S
from vitals.quality import Context

RULE: Final = "wrist_temperature_deviation"
_WRIST: Final = number_of("wrist_temperature")
_ASLEEP: Final = int(Context.ASLEEP)
_DAY_US: Final = 86_400 * US_PER_S
_MINUTE_US: Final = 60 * US_PER_S
_SUMMARY_MIN: Final = 180
"""A sample that covers so many minutes is a whole night's, told by a device that sums nights up itself."""
_JUDGED: Final = -1


@dataclass(frozen=True, slots=True)
class WristTemperaturePolicy:
    """`warmer_cel` and `min_z` robust standard deviations (`least_sd_cel` at least) above the median of `min_nights` to
    `kept_nights` own nights. A night needs `min_minutes` asleep with readings (one a minute counts)."""

    warmer_cel: float = 0.8
    min_z: float = 3.0
    least_sd_cel: float = 0.2
    min_nights: int = 5
    kept_nights: int = 30
    min_minutes: int = 60
    learns_anew_after: int = 7

    def __post_init__(self) -> None:
        if min(self.warmer_cel, self.min_z, self.least_sd_cel) <= 0:
            raise ValueError("warmer_cel, min_z and least_sd_cel are above 0")
        if not 5 <= self.min_nights <= self.kept_nights <= 90:
            raise ValueError("min_nights is at least 5 and at most kept_nights, which is at most 90")
        if self.min_minutes < 1 or self.learns_anew_after < 2:
            raise ValueError("min_minutes is at least 1, learns_anew_after at least 2")


@dataclass(frozen=True, slots=True)
class Night:
    """The night that goes on: its number, weighted readings (minutes; `_JUDGED`: done), their sum in thousandths."""

    number: int = NEVER
    minutes: int = 0
    total: int = 0
    first_us: int = 0
    last_us: int = 0


@dataclass(frozen=True, slots=True)
class WristTemperatureState:
    """This night, the own nights (thousandths of Cel), and since when nights have been warmer: none, or an episode."""

    night: Night
    usual: Ints
    opened_us: int | None = None
    raised_us: int = 0
    warm_nights: int = 0


@dataclass(frozen=True, slots=True)
class WristTemperature:
    """Nightly deviations of one origin; never a fever; says nothing of children."""

    policy: WristTemperaturePolicy = field(default_factory=WristTemperaturePolicy)

    name: ClassVar[str] = "wrist_temperature"
    metrics: ClassVar[frozenset[int]] = frozenset({_WRIST})
    max_bytes: ClassVar[int] = 1_600
    per_patient: ClassVar[bool] = False

    def fresh(self) -> WristTemperatureState:
        """Return the state of somebody never seen."""
        return WristTemperatureState(Night(), np.empty(0, np.int64))

    def step(
        self, state: WristTemperatureState, seen: Observations, until_us: int, person: Person
    ) -> tuple[WristTemperatureState, list[Finding]]:
        """Take in `seen`; a night is judged when the next begins, or when a device has summed it up. Raises nothing."""
        if person.profile.is_child:
            what = "wrist temperature above the own nights"
            return self.fresh(), no_longer(RULE, "wrist_temperature", what, state.opened_us, state.raised_us, until_us)
        readings = trusted(seen, _WRIST)
        if readings is None:
            return state, []
        nights = _night_of(readings, seen["zone_offset_min"][readings.place])
        if len(nights) > 1:
            np.maximum.accumulate(nights, out=nights)
        if int(nights[-1]) <= state.night.number:  # nearly always: the night that goes on
            return self._more(state, readings)
        nights = np.maximum(nights, state.night.number)
        found: list[Finding] = []
        for number in np.unique(nights).tolist():
            if number > state.night.number:
                state, told = self._judge(state)
                found += told
                state = replace(state, night=Night(number))
            state, told = self._more(state, readings.pick(nights == number))
            found += told
        return state, found

    def _more(self, state: WristTemperatureState, readings: Series) -> tuple[WristTemperatureState, list[Finding]]:
        """Take in samples of the night that goes on."""
        if state.night.minutes == _JUDGED:
            return state, []
        if not np.count_nonzero(readings.duration_ms) and not np.count_nonzero(readings.context & _ASLEEP):
            return state, []  # nearly always by day
        minutes = np.maximum(readings.duration_ms // 60_000, 1).astype(np.int64)
        whole = np.flatnonzero(minutes >= _SUMMARY_MIN)
        if len(whole):
            readings, minutes = readings.pick(slice(whole[0] + 1)), minutes[: whole[0] + 1]
        counts = ((readings.context & _ASLEEP) != 0) | (minutes >= _SUMMARY_MIN)
        if not np.count_nonzero(counts):
            return state, []
        state = replace(state, night=_longer(state.night, readings.pick(counts), minutes[counts]))
        return self._judge(state) if len(whole) else (state, [])

    def _judge(self, state: WristTemperatureState) -> tuple[WristTemperatureState, list[Finding]]:
        """Judge the night that has ended; at once it is over."""
        night, policy = state.night, self.policy
        if night.minutes < policy.min_minutes:
            return state, []
        state = replace(state, night=replace(night, minutes=_JUDGED))
        value = night.total // night.minutes
        if len(state.usual) < policy.min_nights:
            return replace(state, usual=np.append(state.usual, value)), []
        usual = float(np.median(state.usual)) / 1_000
        spread = 1.4826 * float(np.median(np.abs(state.usual / 1_000 - usual)))
        deviation = value / 1_000 - usual
        warm = deviation >= max(policy.warmer_cel, policy.min_z * max(spread, policy.least_sd_cel))
        figures: dict[str, float | str] = {
            "deviation_cel": round(deviation, 2), "usual_cel": round(usual, 2), "night_cel": round(value / 1_000, 2),
            "own_nights": float(len(state.usual)), "warm_nights": float(state.warm_nights + warm),
        }  # fmt: skip
        return self._warm(state, night, figures) if warm else self._usual(state, night, value, figures)

    def _warm(
        self, state: WristTemperatureState, night: Night, figures: dict[str, float | str]
    ) -> tuple[WristTemperatureState, list[Finding]]:
        state = replace(state, warm_nights=state.warm_nights + 1)
        if state.opened_us is None:
            state = replace(state, opened_us=night.first_us, raised_us=night.last_us)
            says = f"wrist temperature {figures['deviation_cel']:+g} °C against the own nights; not a body temperature"
            return state, [_finding(State.RAISED, state, night, says, figures)]
        if state.warm_nights < self.policy.learns_anew_after:
            return state, []
        says = f"wrist temperature above the own nights for {state.warm_nights} nights, which are learnt anew"
        found = [_finding(State.CLEARED, state, night, says, figures)]
        return replace(state, usual=state.usual[:0], opened_us=None, warm_nights=0), found

    def _usual(
        self, state: WristTemperatureState, night: Night, value: int, figures: dict[str, float | str]
    ) -> tuple[WristTemperatureState, list[Finding]]:
        found: list[Finding] = []
        if state.opened_us is not None:
            says = f"wrist temperature near the own nights again, {figures['deviation_cel']:+g} °C"
            found = [_finding(State.CLEARED, state, night, says, figures)]
        usual = np.append(state.usual, value)[-self.policy.kept_nights :]
        return replace(state, usual=usual, opened_us=None, warm_nights=0), found


def _night_of(readings: Series, zone_min: NDArray[np.int16]) -> Ints:
    """Return the number of the night of each sample: from one local noon to the next."""
    zone = np.where(zone_min == NO_ZONE, 0, zone_min).astype(np.int64)
    night: Ints = (readings.end_us + zone * _MINUTE_US - _DAY_US // 2) // _DAY_US
    return night


def _longer(night: Night, readings: Series, minutes: Ints) -> Night:
    total = int((np.rint(readings.value * 1_000).astype(np.int64) * minutes).sum())
    first_us = night.first_us if night.minutes else int(readings.start_us[0])
    last_us = max(night.last_us, int(readings.end_us[-1]))
    return Night(night.number, night.minutes + int(minutes.sum()), night.total + total, first_us, last_us)


def _finding(
    state: State, episode: WristTemperatureState, night: Night, says: str, figures: dict[str, float | str]
) -> Finding:
    opened_us = night.first_us if episode.opened_us is None else episode.opened_us
    return Finding(
        RULE, 1, "wrist_temperature", Kind.PHYSIOLOGICAL, Priority.LOW, state,
        opened_us, episode.raised_us, night.last_us, night.last_us, night.first_us, says,
        night.minutes, figures=figures, individualised=False, max_age_s=2 * 86_400.0,
    )  # fmt: skip
