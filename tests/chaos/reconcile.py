"""Holds the tables against the sender's ledger: in numbers, and identity by identity."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from tests.chaos.plan import Expected
from timeseries.rows import COLUMNS, Rows, from_copy
from vitals.quality import Flag

_COUNTS = """
SELECT (SELECT count(*) FROM samples WHERE flags & 128 = 0), (SELECT count(*) FROM samples WHERE flags & 128 <> 0),
       (SELECT count(*) FROM sample_revisions), (SELECT count(*) FROM quarantine),
       (SELECT coalesce(sum(samples), 0)::bigint FROM duplicates WHERE reason <> 'redelivered'),
       (SELECT coalesce(sum(samples), 0)::bigint FROM reduced),
       (SELECT coalesce(sum(samples), 0)::bigint FROM not_consented)
"""


def reconcile(url: str, ledger: Expected) -> dict[str, object]:
    """Return the figures; `ok`: the sum is exact, every identity holds its winner, and nothing else is there."""
    with psycopg.connect(url, autocommit=True) as connection:
        counts = connection.execute(_COUNTS).fetchone()
        assert counts is not None
        patients = {
            int(key): int(name[1:]) for key, name in connection.execute("SELECT patient_key, patient_id FROM patients")
        }
        statement = f"COPY (SELECT {', '.join(COLUMNS)} FROM samples) TO STDOUT (FORMAT BINARY)"
        with connection.cursor().copy(statement) as copy:
            rows = from_copy(b"".join(bytes(part) for part in copy))
    current, tombstones, revisions, quarantined, duplicates, reduced, not_consented = (int(count) for count in counts)
    accounted = current + tombstones + revisions + quarantined + duplicates + reduced + not_consented
    wrong = _wrong(rows, patients, ledger.winners)
    return {
        "ok": (accounted, reduced, wrong) == (ledger.sent, ledger.reduced, 0)
        and quarantined >= ledger.quarantined_at_least,
        "sent": ledger.sent,
        "accounted": accounted,
        "current": current,
        "tombstones": tombstones,
        "revisions": revisions,
        "quarantined": quarantined,
        "duplicates": duplicates,
        "reduced": reduced,
        "not_consented": not_consented,
        "reduced_expected": ledger.reduced,
        "identities": len(ledger.winners),
        "identities_wrong": wrong,
    }


def _wrong(rows: Rows, patients: dict[int, int], winners: NDArray[Any]) -> int:
    """Return how many identities are missing, too many, or hold another version than the winner."""
    names = np.array([patients.get(key, -1) for key in range(max(patients, default=0) + 1)])
    stored = np.zeros(len(rows), winners.dtype)
    stored["patient"], stored["metric"] = names[rows["patient_key"]], rows["metric_key"]
    stored["ms"], stored["written"] = rows["time"] // 1_000, rows["written_at"] // 1_000_000
    stored["value"], stored["deleted"] = rows["value"], rows["flags"] & int(Flag.TOMBSTONE) != 0
    stored["valid"] = True
    have, want = np.sort(stored, order=_ORDER), np.sort(winners, order=_ORDER)
    if len(have) == len(want):
        return int((have != want).sum())
    return len(set(have.tolist()) ^ set(want.tolist()))


_ORDER = ["patient", "metric", "ms", "written", "value", "deleted", "valid"]
