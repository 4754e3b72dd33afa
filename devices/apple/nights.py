"""Sleep records become sessions: a night is what one source tells as in bed or asleep with less than an hour between.

HealthKit states stages, never nights, so these sessions are derived (`CONFIDENCE`).
"""

from __future__ import annotations

from typing import Final

from devices.apple.origin import Origin, Origins

GAP_US: Final = 3_600_000_000
CONFIDENCE: Final = 0.8
_METRICS: Final = ("sleep_stage", "in_bed")


def add_sleep(origins: Origins, origin: Origin, start_us: int, end_us: int) -> None:
    """Add a stretch of sleep, or of lying in bed, to the night that its origin is telling, or begin another."""
    night = origin.night
    if night is not None and start_us <= night[1] + GAP_US and end_us >= night[0] - GAP_US:
        origin.night = (min(start_us, night[0]), max(end_us, night[1]))
        return
    close_night(origins, origin)
    origin.night = (start_us, end_us)


def close_night(origins: Origins, origin: Origin) -> None:
    """Make a session of the night that an origin is telling, if there is one."""
    night, origin.night = origin.night, None
    if night is not None and night[1] > night[0]:
        origins.add_session(origin, "sleep", *night, _METRICS, confidence=CONFIDENCE)
