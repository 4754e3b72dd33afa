"""All-day monitoring in FIT files: short timestamps that wrap, and totals that count since midnight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from devices.documents import number
from devices.fit import tables
from vitals.catalogue import BY_CODE

_STEPS: Final = BY_CODE["steps"].number
_DISTANCE: Final = BY_CODE["distance"].number
_ENERGY: Final = BY_CODE["active_energy"].number
_MAX_SPAN_S: Final = 86_400
_WORDS: Final = frozenset({"generic", "running", "cycling", "fitness_equipment", "swimming", "walking", "sedentary"})

Counted = tuple[str, int, int, float]
"""Source application, metric, from when (seconds, FIT), how much since."""


class Monitoring:
    """Remembers the last full timestamp and the last totals of each activity."""

    def __init__(self) -> None:
        self._last_s: int | None = None
        self._midnight_s: int | None = None
        self._totals: dict[tuple[str, int], tuple[int, float]] = {}

    def info(self, fields: dict[str, Any]) -> None:
        """Take a monitoring_info: if it stands at local midnight, totals count from there."""
        utc, local = fields.get("timestamp"), fields.get("local_timestamp")
        if not isinstance(utc, int) or utc < tables.ABSOLUTE_FROM:
            return
        self._last_s = utc
        # 1989-12-31 began at midnight, so whole days since are midnights.
        self._midnight_s = utc if isinstance(local, int) and local % 86_400 == 0 else None

    def time(self, fields: dict[str, Any]) -> int | None:
        """Return when a monitoring message was (seconds, FIT): timestamp_16 is the low half of the last full one."""
        full, short = fields.get("timestamp"), fields.get("timestamp_16")
        if isinstance(full, int) and full >= tables.ABSOLUTE_FROM:
            self._last_s = full
        elif self._last_s is None:
            return None
        elif isinstance(short, int):
            self._last_s += (short - (self._last_s & 0xFFFF)) & 0xFFFF
        else:
            return None
        return self._last_s

    def counted(self, fields: dict[str, Any], at_s: int) -> Iterator[Counted]:
        """Yield what was added to each total since it was last told.

        Where nothing was told before and the file does not begin at midnight, a total is only where counting begins.
        """
        told = fields.get("activity_type")
        activity = told if isinstance(told, str) and told in _WORDS else "generic"
        for metric, total in _totals(fields, activity):
            before = self._totals.get((activity, metric))
            if before is None and self._midnight_s is not None:
                before = self._midnight_s, 0.0
            self._totals[activity, metric] = at_s, total
            if before is None or not 0 < at_s - before[0] <= _MAX_SPAN_S:
                continue
            more = total - before[1]
            # A total that fell began again, at midnight or after a reset; since when, the file does not say.
            if more > 0:
                yield f"fit-{activity}", metric, before[0], round(more, 2)


def _totals(fields: dict[str, Any], activity: str) -> Iterator[tuple[int, float]]:
    steps = number(fields.get("steps"))
    cycles = number(fields.get("cycles"))
    if steps is None and cycles is not None and activity in tables.STEPPING:
        steps = cycles * 2  # the profile's own name for it needs activity_type as a field of its own
    for metric, total in (
        (_STEPS, steps),
        (_DISTANCE, number(fields.get("distance"))),
        (_ENERGY, number(fields.get("active_calories"))),
    ):
        if total is not None and total >= 0:
            yield metric, total
