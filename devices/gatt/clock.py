"""Device time to UTC: wall clocks that may be unset, fast or in another zone, and counters that wrap and drift.

A GATT date-time is a wall clock without a zone. `DeviceClock` is what the caller knows of it; `place` decides:

- an offset was measured (Current Time 0x2A2B read, or `ClockTrack`): the time is corrected by it;
- else the zone is known and the time is believable: the wall clock is taken at its word;
- else a live value is placed at its arrival, and a stored one is refused: a wrong time is worse than none.

`ClockTrack` estimates offset and drift of a clock that is seen with every notification. `ticks_between` and
`wraps_between` count on counters that wrap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from vitals.clock import US_PER_S, from_datetime

US_PER_MIN: Final = 60 * US_PER_S
US_PER_DAY: Final = 86_400 * US_PER_S
AHEAD_US: Final = 2 * US_PER_MIN
"""So far ahead of arrival a clock may be and still be believed; its values are placed at arrival, never after."""
LIVE_US: Final = US_PER_DAY
"""So old a live value may say it is: a cuff sends yesterday's reading when it meets its bridge again."""
STORED_US: Final = 400 * US_PER_DAY
"""So old a stored record may say it is; before that its clock had never been set (1970, 2000, 2019-01-01)."""
STEP_US: Final = 5 * US_PER_S
_QUARTER_US: Final = 15 * US_PER_MIN
_ZONES_US: Final = 14 * 60 * US_PER_MIN + _QUARTER_US // 2


@dataclass(frozen=True, slots=True)
class DeviceTime:
    """Date Time 0x2A08: a wall clock of unknown zone. Year, month and day are 0 where the device does not know."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int

    @property
    def wall_us(self) -> int | None:
        """Microseconds since 1970 on the device's wall clock; None where it is unknown or no date at all."""
        try:
            wall = datetime(self.year, self.month, self.day, self.hour, self.minute, self.second, tzinfo=UTC)
        except ValueError:
            return None
        return from_datetime(wall)

    def __str__(self) -> str:
        """Return it as ISO 8601 writes it, unknown parts as zeros."""
        date = f"{self.year:04}-{self.month:02}-{self.day:02}"
        return f"{date}T{self.hour:02}:{self.minute:02}:{self.second:02}"


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """What is known of a device's clock.

    `offset_us` is the device's wall clock minus UTC as it was measured, its zone included; `zone_offset_min` the zone
    it is kept in, for devices whose offset nobody measured; `session_start_us` when a CGM's session began, UTC;
    `stored` that what comes was asked from the device's memory.
    """

    zone_offset_min: int | None = None
    offset_us: int | None = None
    session_start_us: int | None = None
    stored: bool = False


UNKNOWN_CLOCK: Final = DeviceClock()


def place(wall_us: int | None, received_us: int, clock: DeviceClock, *, stored: bool = False) -> int | None:
    """Return when a value was measured, microseconds UTC; None where it is stored and its time cannot be told."""
    stored = stored or clock.stored
    measured_us = placed_by_clock(wall_us, clock)
    if measured_us is not None:
        age_us = received_us - measured_us
        if -AHEAD_US <= age_us <= (STORED_US if stored else LIVE_US):
            return min(measured_us, received_us)
    return None if stored else received_us


def placed_by_clock(wall_us: int | None, clock: DeviceClock) -> int | None:
    """Return a wall clock's time in UTC by what is known of the clock; None where neither offset nor zone is."""
    if wall_us is None:
        return None
    if clock.offset_us is not None:
        return wall_us - clock.offset_us
    return None if clock.zone_offset_min is None else wall_us - clock.zone_offset_min * US_PER_MIN


def clock_offset_s(wall_us: int, received_us: int, clock: DeviceClock) -> float:
    """Return how far the device's clock is ahead of arrival, in seconds.

    Where its zone is not known, whole quarters of an hour up to 14 hours are taken for the zone: what is left is told.
    """
    off_us = wall_us - received_us
    if clock.zone_offset_min is not None:
        off_us -= clock.zone_offset_min * US_PER_MIN
    elif abs(off_us) <= _ZONES_US:
        off_us -= round(off_us / _QUARTER_US) * _QUARTER_US
    return off_us / US_PER_S


def steadied(known_us: int | None, read_us: int) -> int:
    """Return the offset to correct a wall clock by: the one that is known while the one just read is near it.

    A record that is asked for again must come to the same time, or it is stored twice; reading a clock takes a while,
    and it shows whole seconds. So offsets are multiples of `STEP_US`, and a reading within one changes nothing.
    """
    if known_us is not None and abs(read_us - known_us) <= STEP_US:
        return known_us
    return round(read_us / STEP_US) * STEP_US


def ticks_between(before: int, now: int, bits: int) -> int:
    """Return how far a counter of `bits` went, at most once round."""
    return (now - before) % (1 << bits)


def wraps_between(before: int, now: int, bits: int, expected: int) -> int:
    """Return how far a counter of `bits` went, as often round as comes nearest to the `expected` ticks."""
    once = ticks_between(before, now, bits)
    return once + max(round((expected - once) / (1 << bits)), 0) * (1 << bits)


def since_last_us(last_us: int | None, now_us: int) -> int | None:
    """Return the time since the last sample, at least 0; None where there was none."""
    return None if last_us is None else max(now_us - last_us, 0)


@dataclass(frozen=True, slots=True)
class ClockEstimate:
    """A device's clock minus UTC at the last reading, how fast that grows, and on how many readings this rests."""

    offset_us: int
    drift_ppm: float
    readings: int


@dataclass(frozen=True, slots=True)
class ClockTrack:
    """Readings of a clock against arrivals; add with `seen`, which returns a new track.

    Transport only ever delays, so a clock is never further behind than its best reading says: of every `BUCKET_US` the
    reading with the least delay is kept, and the estimate is the upper quartile of those, on the line through them
    (Theil and Sen's, which a quarter of wild readings does not move). A reading far from the estimate is set aside;
    when several agree, the clock was set, and the track begins anew: ahead of the estimate after three, seconds
    apart, for no delay does that; behind it only after a minute, for a burst after an outage does as well.
    """

    offsets_us: tuple[int, ...] = ()
    received_us: tuple[int, ...] = ()
    suspects: tuple[tuple[int, int], ...] = ()

    def seen(self, device_us: int, received_us: int) -> ClockTrack:
        """Return the track after one more reading: what the device's clock said when its notification arrived."""
        offset_us, now = device_us - received_us, self.estimate()
        if now is None or abs(offset_us - now.offset_us) <= JUMP_US:
            return replace(self._with(offset_us, received_us), suspects=())
        ahead = offset_us > now.offset_us
        suspects = self._suspected(offset_us, received_us, now.offset_us, ahead=ahead)
        if _agree(suspects, ahead=ahead):
            return ClockTrack((max(offset for offset, _ in suspects),), (received_us,))
        return replace(self, suspects=suspects)

    def _suspected(
        self, offset_us: int, received_us: int, estimated_us: int, *, ahead: bool
    ) -> tuple[tuple[int, int], ...]:
        """Return the suspects with this one: all on one side of the estimate, and seconds apart from each other."""
        suspects = self.suspects
        if suspects and (suspects[-1][0] > estimated_us) != ahead:
            suspects = ()
        if suspects and received_us - suspects[-1][1] < _APART_US:
            return suspects
        return (*suspects, (offset_us, received_us))[-_SUSPECTS:]

    def _with(self, offset_us: int, received_us: int) -> ClockTrack:
        if self.received_us and received_us // BUCKET_US == self.received_us[-1] // BUCKET_US:
            if offset_us <= self.offsets_us[-1]:
                return self
            kept = ClockTrack(self.offsets_us[:-1], self.received_us[:-1])
        else:
            kept = self
        return ClockTrack((*kept.offsets_us, offset_us)[-_BUCKETS:], (*kept.received_us, received_us)[-_BUCKETS:])

    def estimate(self) -> ClockEstimate | None:
        """Return the estimate; None before the first reading. Drift is 0 until `DRIFT_AFTER_US` were seen."""
        if not self.offsets_us:
            return None
        offsets, at = np.array(self.offsets_us, np.float64), np.array(self.received_us, np.float64)
        offsets_from, at_from = self.offsets_us[-1], at[-1]
        slope = _slope(offsets - offsets_from, at - at_from) if at[-1] - at[0] >= DRIFT_AFTER_US else 0.0
        residual = np.quantile((offsets - offsets_from) - slope * (at - at_from), 0.75, method="higher")
        return ClockEstimate(offsets_from + round(float(residual)), slope * 1e6, len(offsets))


BUCKET_US: Final = 30 * US_PER_S
JUMP_US: Final = 2 * US_PER_S
"""No drift within a track comes to as much: a reading further off is a delay, a wild one, or a clock that was set."""
DRIFT_AFTER_US: Final = 5 * US_PER_MIN
SLEW_US: Final = 5_000
_BUCKETS: Final = 64
_SUSPECTS: Final = 16
_APART_US: Final = 5 * US_PER_S


def slewed(applied_us: int | None, estimated_us: int) -> int:
    """Return the offset to apply next: nearer to the estimate by at most `SLEW_US`, at once where the clock was set.

    Consecutive frames of a waveform so stay consecutive while an estimate settles.
    """
    if applied_us is None or abs(estimated_us - applied_us) > JUMP_US:
        return estimated_us
    return applied_us + min(max(estimated_us - applied_us, -SLEW_US), SLEW_US)


def _slope(
    offsets: np.ndarray[tuple[int], np.dtype[np.float64]], at: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> float:
    first, second = np.triu_indices(len(at), 1)
    return float(np.median((offsets[second] - offsets[first]) / (at[second] - at[first])))


def _agree(suspects: tuple[tuple[int, int], ...], *, ahead: bool) -> bool:
    recent = suspects[-3:] if ahead else suspects
    offsets = [offset for offset, _ in recent]
    if len(recent) < 3 or max(offsets) - min(offsets) > JUMP_US:
        return False
    return ahead or recent[-1][1] - recent[0][1] >= US_PER_MIN
