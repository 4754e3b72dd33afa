"""Edge: keeps the raw samples around each alert, before the raw tier lets them go.

An alert's `evidence` is what its rule looked at; this is what a reviewer years later wants to see beside it: every
series of the patient from 15 minutes before it opened to 5 minutes after it was raised, as it stood then. The database
makes the snapshot; nothing of it passes through here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import psycopg

from timeseries.queries import load

_SQL: Final = load("evidence")
BEFORE: Final = timedelta(minutes=15)
AFTER: Final = timedelta(minutes=5)
PER_SERIES: Final = 6_000
"""Samples of one series in a snapshot: 20 minutes of four a second, the most that reduction leaves, and some."""
IN_ALL: Final = 20_000
"""Samples of all series in a snapshot: about a megabyte in the database, before it compresses that."""


def take_evidence(url: str, *, prepare_threshold: int | None = 5, page: int = 100) -> int:
    """Take a snapshot for each alert that has none and whose window is stored; return how many. One transaction each.

    Safe to interrupt, to repeat and to run from several places. Raises psycopg's errors.
    """
    done = 0
    with psycopg.connect(
        url, autocommit=True, prepare_threshold=prepare_threshold, options="-c timezone=UTC"
    ) as connection:
        while True:
            values = {"before": BEFORE, "after": AFTER, "limit": page}
            due = connection.execute(_SQL["without_evidence"], values).fetchall()
            for alert, patient, start, end in due:
                window = {"alert": alert, "patient": patient, "from": start, "to": end, "opened": start + BEFORE}
                bounds = {"per_series": PER_SERIES, "in_all": IN_ALL}
                done += connection.execute(_SQL["take_evidence"], window | bounds).rowcount
            if len(due) < page:
                return done
