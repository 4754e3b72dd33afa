"""Edge: one clinician's review list: what stands on it, who looked at it and when. Nobody else's list is told."""

from __future__ import annotations

import re
from typing import Any, Final

import psycopg

from timeseries.queries import load
from timeseries.review_model import Listed, LookedAt, ReviewUnavailable
from vitals.ids import InvalidId, is_opaque

_SQL: Final = load("reviews")
_PART: Final = re.compile(r"[0-9a-f]{8,32}")
_NONE: Final = "no such review stands on your list, and nothing was changed"


class ReviewList:
    """The list of one clinician over one connection; each call is one transaction. Raises psycopg's errors."""

    def __init__(self, connection: psycopg.Connection[Any], who: str) -> None:
        """`who` is the clinician's opaque id. Raises `InvalidId`."""
        if not is_opaque(who):
            raise InvalidId("who looks at the list")
        self._connection = connection
        self._who = who

    def listed(self, *, everything: bool = False) -> list[Listed]:
        """Return what lasts, newest first; with `everything` also what ended."""
        values = {"who": self._who, "everything": everything}
        return [Listed(*row) for row in self._connection.execute(_SQL["listed"], values)]

    def looks(self) -> list[LookedAt]:
        """Return how far the days of each person under a plan with this clinician were looked at."""
        return [LookedAt(*row) for row in self._connection.execute(_SQL["looks"], {"who": self._who})]

    def seen(self, review: str) -> tuple[str, bool]:
        """Note that this clinician looked at a review, by the first 8 characters of its id or more.

        Return (its id, whether nobody had before). Raises `ReviewUnavailable`, the same for one that does not exist and
        for one on somebody else's list.
        """
        if not _PART.fullmatch(review):
            raise ReviewUnavailable("a review is told by 8 to 32 hex digits, as `vigil review list` shows them")
        with self._connection.transaction():
            found = self._connection.execute(_SQL["find"], {"review": review, "who": self._who}).fetchall()
            if len(found) != 1:
                raise ReviewUnavailable(_NONE if not found else "several reviews begin like that: give more of the id")
            values = {"review": found[0][0], "who": self._who}
            return found[0][0], self._connection.execute(_SQL["seen"], values).rowcount == 1
