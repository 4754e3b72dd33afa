"""How fast one credential may send (token buckets), and how much at once. Pure; time is a parameter, memory is bounded.

A credential is known here by its holder, so that a rotation gives nobody a second share.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass

from ingest.gateway.policy import RatePolicy


@dataclass(slots=True)
class Bucket:
    """Holds up to `burst`, gains `per_s`. A clock that goes back gains nothing."""

    per_s: float
    burst: float
    level: float
    at_s: float

    def take(self, amount: float, now_s: float) -> float:
        """Take `amount` and return 0, or take nothing and return the seconds until it can be had.

        More than the burst is never had at once: it is let through when the bucket is full, and leaves a debt.
        """
        self.level = min(self.burst, self.level + max(0.0, now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        wanted = min(amount, self.burst)
        if self.level < wanted - 1e-9:
            return (wanted - self.level) / self.per_s
        self.level -= amount
        return 0.0


class Rates:
    """The buckets of all credentials that sent lately; the one that was quiet for longest is forgotten first."""

    def __init__(self, policy: RatePolicy) -> None:
        self._policy = policy
        self._of: OrderedDict[str, tuple[Bucket, Bucket]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._of)

    def request(self, holder: str, now_s: float) -> float:
        """Count a request; return 0, or the seconds to wait where it is one too many."""
        return self._buckets(holder, now_s)[0].take(1.0, now_s)

    def samples(self, holder: str, count: int, now_s: float) -> float:
        """Count samples; return 0, or the seconds to wait where they are too many (then none are counted)."""
        return self._buckets(holder, now_s)[1].take(float(count), now_s)

    def _buckets(self, holder: str, now_s: float) -> tuple[Bucket, Bucket]:
        found = self._of.get(holder)
        if found is None:
            policy = self._policy
            found = self._of[holder] = (
                Bucket(policy.requests_per_s, policy.requests_burst, policy.requests_burst, now_s),
                Bucket(policy.samples_per_s, policy.samples_burst, policy.samples_burst, now_s),
            )
            if len(self._of) > policy.credentials:
                self._of.popitem(last=False)
        else:
            self._of.move_to_end(holder)
        return found


class UnderWay:
    """How many requests of each credential are under way: one sender, slow or broken, does not take every place."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._of)

    def begin(self, holder: str) -> bool:
        """Count a request; return False, and count none, where it is one too many."""
        if self._of[holder] >= self._most:
            return False
        self._of[holder] += 1
        return True

    def end(self, holder: str) -> None:
        """Count a request that is over."""
        self._of[holder] -= 1
        if self._of[holder] <= 0:
            del self._of[holder]
