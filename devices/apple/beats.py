"""The beats inside an HRV record (`InstantaneousBeatsPerMinute`) as RR intervals.

`time` is a time of day as the phone's locale writes it (`20:14:07.68`, `08:34:05,10`, `6:14:48.94 PM`, with U+202F
before AM or PM), without a date and sometimes in another zone than startDate: only differences count, anchored so that
the first interval begins at startDate. `bpm` is the rate of the interval that ends at `time` (in real exports 60 / bpm
equals the distance to the beat before, within the 0.01 s of `time`). So each entry gives its own interval, and a gap in
the list, where HealthKit dropped beats, never becomes one long interval.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

_TIME: Final = re.compile(r"(\d{1,2}):(\d\d):(\d\d)(?:[.,](\d{1,6}))?\s*(AM|PM)?", re.IGNORECASE | re.ASCII)
_DAY_US: Final = 86_400_000_000
_SLACK_US: Final = 60_000_000
"""How far a beat may stand beyond its record's end before its time must be a misreading."""

Beat = tuple[str | None, str | None]
"""The attributes bpm and time as they stand in the file."""


def rr_intervals(beats: Iterable[Beat], start_us: int, end_us: int) -> tuple[list[tuple[int, float]], int]:
    """Return ([(start in us, RR in ms)], how many beats could not be read) for the beats of one HRV record."""
    intervals: list[tuple[int, float]] = []
    unread, anchor_us = 0, None
    for bpm, time in beats:
        rr_ms, of_day_us = _rr_ms(bpm), _time_of_day_us(time)
        if rr_ms is None or of_day_us is None:
            unread += 1
            continue
        began_us = of_day_us - round(rr_ms * 1_000)
        anchor_us = began_us if anchor_us is None else anchor_us
        at_us = start_us + (began_us - anchor_us) % _DAY_US  # modulo a day: a record may cross midnight
        if at_us > end_us + _SLACK_US:
            unread += 1
            continue
        intervals.append((at_us, rr_ms))
    return intervals, unread


def _rr_ms(bpm: str | None) -> float | None:
    try:
        rate = float(bpm or "")
    except ValueError:
        return None
    return round(60_000 / rate, 3) if math.isfinite(rate) and rate > 0 else None


def _time_of_day_us(text: str | None) -> int | None:
    # re.ASCII leaves U+202F and U+00A0 out of \s.
    match = _TIME.fullmatch((text or "").replace("\u202f", " ").replace("\u00a0", " ").strip())
    if match is None:
        return None
    hour, minute, second = (int(part) for part in match.group(1, 2, 3))
    if match[5]:
        hour = hour % 12 + (12 if match[5].upper() == "PM" else 0)
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + int((match[4] or "").ljust(6, "0"))
