"""Whether a partition is caught up: everything that stood in its log two seconds ago is seen. Pure; time is given.

Asked about once a second. The highwater is that of the consumer's last fetch, and is worth something only while fetches
are answered: a broker that is away has no newer record for anybody.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

WITHIN_S: Final = 2.0


@dataclass(slots=True)
class Lag:
    """What is known of one partition since `since_s` (monotonic seconds), when it was taken over."""

    since_s: float
    caught_up: bool = False
    behind_since_s: float | None = None
    _ends: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.behind_since_s = self.since_s

    def look(self, now_s: float, position: int, highwater: int | None, answered_s: float | None) -> bool:
        """Return whether it is caught up now. `answered_s` is when the broker last answered a fetch."""
        while self._ends and now_s - self._ends[0][0] > WITHIN_S:
            self._ends.popleft()
        if highwater is not None:
            self._ends.append((now_s, highwater))
        alive = answered_s is not None and now_s - answered_s <= WITHIN_S
        self.caught_up = alive and any(position >= end for _, end in self._ends)
        if self.caught_up:
            self.behind_since_s = None
        elif self.behind_since_s is None:
            self.behind_since_s = now_s
        return self.caught_up

    def behind_s(self, now_s: float) -> float:
        """Return for how long it has not been caught up, 0 where it is."""
        return 0.0 if self.behind_since_s is None else now_s - self.behind_since_s
