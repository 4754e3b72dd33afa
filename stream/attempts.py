"""How often the same write is tried before it is cut in halves, or given up. Pure.

A database that is away or full is waited for, for ever: no record is to blame for that. One that answers and breaks off
at a batch (`StoreStrained`: a statement that takes too long, an internal error, no memory, a deadlock) may do better at
the next attempt, or with less at once, or never because of one record. Each such error comes from a server that has
just taken a new connection, so several in a row say that it is the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from timeseries.model import StoreRefused, StoreStrained, StoreUnavailable

TRIES: Final = 4
"""Strained attempts in a row after which a batch is cut in halves, and a single record quarantined."""
GIVEN_UP_MOST: Final = 10
"""Records given up in a row, none stored in between, after which it is taken to be the database after all: wait."""


def tries_for(records: int, *, halved: bool, given_up: int) -> int | None:
    """Return how many strained attempts in a row these records get, None for any number.

    What is left of a batch that was halved already is halved again at once, so that a bad record is found soon.
    """
    if records == 1:
        return None if given_up >= GIVEN_UP_MOST else TRIES
    return 1 if halved else TRIES


@dataclass(slots=True)
class Attempts:
    """The failed attempts at one call; `tries` as `tries_for` returns it."""

    tries: int | None = None
    failed: int = 0
    strained: int = 0

    @property
    def waits(self) -> int:
        """Which of the growing waits comes next: a bad spell of seconds is over before a record is blamed for it."""
        return self.failed + 3 * max(0, self.strained - 1)

    def is_last(self, error: StoreRefused | StoreUnavailable) -> bool:
        """Count a failure; tell whether the same is not tried again."""
        self.failed += 1
        self.strained = self.strained + 1 if isinstance(error, StoreStrained) else 0
        return isinstance(error, StoreRefused) or self.strained == self.tries
