"""When whose state is written down. Pure; time is given.

Rounds follow each other. A round begins by noting how far the partition is seen and who has changed, writes those
down evenly spread over its period, and ends with the marker: every change by a record below the noted place is now in
the snapshots. Whoever raised or cleared something is written down soon, out of turn, so that hardly anything that was
told must be found again after a crash.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from stream.watch.state_record import Place

SOON_S: Final = 20.0
"""Out of turn so long after it was told of first: where many are told of at once the next alert goes before the last
one's state, and a rule that flaps does not fill the topic."""
_FILL: Final = 0.9  # of the period: the rest is for the acknowledgements


@dataclass(slots=True)
class Round:
    """What one round has still to write down, since when, and where the partition stood at its beginning."""

    place: Place
    taken_ms: int
    began_s: float
    waiting: deque[str]
    size: int


@dataclass(slots=True)
class Rounds:
    """The rounds of one partition; `period_s` from the beginning of one to that of the next."""

    period_s: float
    round: Round | None = None
    ended_s: float = -math.inf
    _soon: dict[str, float] = field(default_factory=dict)  # and from when on
    _written: set[str] = field(default_factory=set)  # since the round began: they stand before its marker already

    def is_due(self, now_s: float) -> bool:
        """Whether a round is to begin."""
        return self.round is None and now_s >= self.ended_s

    def begin(self, now_s: float, place: Place, taken_ms: int, changed: Iterable[str]) -> None:
        """Begin a round."""
        waiting = deque(changed)
        self.round = Round(place, taken_ms, now_s, waiting, len(waiting))
        self._written.clear()

    def hasten(self, patients: Iterable[str], from_s: float) -> None:
        """Note whose state is to be written down out of turn, and from when on."""
        for patient in patients:
            self._soon[patient] = min(from_s, self._soon.get(patient, from_s))

    def take(self, now_s: float, most: int) -> list[str]:
        """Return, and forget, whose turn it is: those in haste, then as many as are due by now; at most `most`."""
        now = [patient for patient, from_s in self._soon.items() if now_s >= from_s][:most]
        for patient in now:
            del self._soon[patient]
        self._written.update(now)
        if self.round is not None:
            waiting = self.round.waiting
            while waiting and len(now) < most and self.round.size - len(waiting) < self._due(self.round, now_s):
                patient = waiting.popleft()
                if patient not in self._written:
                    now.append(patient)
                    self._soon.pop(patient, None)
        return now

    def _due(self, current: Round, now_s: float) -> int:
        part = (now_s - current.began_s) / (self.period_s * _FILL)
        return min(current.size, math.ceil(current.size * part))

    def ended(self) -> Round | None:
        """Return the round whose marker is to be written, and end it; None where it is not complete."""
        ended = self.round
        if ended is None or ended.waiting:
            return None
        self.round = None
        self.ended_s = ended.began_s + self.period_s
        return ended
