"""Edge: one person's data leave the database and the archive, for good; refused while a legal hold stands.

Table by table, a transaction each, samples first and what is made of them after: broken off anywhere, the same call
goes on. The opaque id stays in `patients`, so that what comes later is not taken for a new person, and `erasures` says
that it was done, by whom and why. Kafka's topics forget by their own retention (30 days at most), backups by theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from timeseries.archive_erase import UnderHold, erase_patient
from timeseries.archive_table import checked_person, patient_key_of, turn
from timeseries.consent import ConsentRefused, Consents, Stored
from timeseries.lifecycle_archive import LifecycleArchive
from timeseries.queries import load
from timeseries.rollup import is_continuous
from vitals.errors import VigilError

_SQL: Final = load("erasure")

_IDS: Final = ("deletions_told", "sample_ids")
"""Before the samples: a deletion that is still open would tell what is gone once more, as a tombstone."""
MEASURED: Final = ("samples", "sample_revisions", "waveforms", "latest", "feature_state")
_LIVE: Final = ("vitals_1m", "vitals_15m", "vitals_1h")
_MADE: Final = (
    "vitals_1m_history", "vitals_15m_history", "vitals_1h_history", "dirty_ranges", "late_hours", "vitals_1d",
    "daily_summary", "trends", "dirty_days", "zones_told", "annotations", "alert_evidence", "care_profiles",
    "device_bindings", "reviews", "review_looks",
)  # fmt: skip
_TOLD: Final = ("notifications", "alerts", "reader_scopes")


class NoArchive(VigilError):
    """The archive has samples of the patient, and the settings name none."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What went, by table, and whether more of the person has come meanwhile."""

    rows: dict[str, int]
    still_coming: bool


def erase(
    url: str,
    archive: LifecycleArchive | None,
    patient: str,
    who: str,
    why: str,
    *,
    prepare_threshold: int | None = 5,
    done: Callable[[str, int], None] = lambda _table, _rows: None,
) -> Erasure:
    """Erase all that is stored of a patient (opaque id). Stop the devices first, or it comes again.

    Their tokens are revoked and their consents withdrawn before anything goes: what is on its way is counted then and
    not stored. Raises `UnknownPatient`, `UnderHold`, `NoArchive`, `NoReason`,
    `InvalidId`, `ArchiveBusy`, `ArchiveDamaged`, and psycopg's errors.
    """
    checked_person(who, why)
    with connected(url, prepare_threshold) as connection:
        key = patient_key_of(connection, patient)
        refuse(connection, archive, key)
        work = Work(connection, {"patient": key, "id": patient, "who": who, "why": why, "classes": None}, done)
        with turn(connection):
            work.begin()
            _lock_out(work)
            _say_no(work)
            for table in (*_IDS, *MEASURED, *live_rollups(connection), *_MADE):
                work.step(table, _SQL["delete_of_patient"].format(table=table))
            _told(work)
        if archive is not None:
            erased = erase_patient(connection, archive.storage, patient, who, why)
            work.count("archive", erased.rows)
            work.count("restored_samples", erased.restored)
        connection.execute(_SQL["finish"], {"erasure": work.erasure_id})
        left = connection.execute(_SQL["is_left"], {"patient": key}).fetchone()
    return Erasure(work.rows, left == (True,))


def connected(url: str, prepare_threshold: int | None) -> psycopg.Connection[Any]:
    """Return a connection that may wait for a lock, and delete from the columnstore."""
    options = "-c timezone=UTC -c lock_timeout=60000 -c timescaledb.max_tuples_decompressed_per_dml_transaction=0"
    return psycopg.connect(
        url, autocommit=True, prepare_threshold=prepare_threshold, options=options, application_name="vigil erase"
    )


def refuse(connection: Any, archive: LifecycleArchive | None, key: int) -> None:
    """Raise `UnderHold`, or `NoArchive` where the archive has samples of the patient and none is given."""
    if connection.execute(_SQL["is_held"], {"patient": key}).fetchone() == (True,):
        raise UnderHold("a legal hold stands on the patient: nothing is erased until it is lifted (vigil hold list)")
    archived = "SELECT EXISTS (SELECT FROM archive_leaves WHERE patient_key = %s AND erased_at IS NULL)"
    if archive is None and connection.execute(archived, (key,)).fetchone() == (True,):
        raise NoArchive("the archive has samples of the patient: set VIGIL_ARCHIVE_URI, and say the same again")


class Work:
    """One erasure: each step is a transaction that sees no hold, and is counted in the same."""

    def __init__(self, connection: Any, values: dict[str, Any], done: Callable[[str, int], None]) -> None:
        self.connection = connection
        self.values = values
        self.rows: dict[str, int] = {}
        self.erasure_id = 0
        self._done = done

    def begin(self) -> None:
        """Go on with an erasure that was broken off, or note a new one."""
        found = self.connection.execute(_SQL["unfinished"], self.values).fetchone()
        if found is None:
            (self.erasure_id,) = self.connection.execute(_SQL["begin"], self.values).fetchone()
        else:
            self.erasure_id, self.rows = found

    def step(self, table: str, statement: str, *, alone: bool = False) -> None:
        """Run a deletion, unless the database lacks the table. Raises `UnderHold` if a hold was placed meanwhile.

        `alone`: whoever is writing the table ends first, so that nothing comes that was begun before the erasure.
        """
        if self.connection.execute(_SQL["exists"], {"table": table}).fetchone() == (False,):
            return
        with self.connection.transaction():
            self.connection.execute(_SQL["lock_holds"])
            if self.connection.execute(_SQL["is_held"], self.values).fetchone() == (True,):
                raise UnderHold("a legal hold was placed meanwhile: what is left stays until it is lifted")
            if alone:
                self.connection.execute(_SQL["lock_writers"].format(table=table))
            rows = self.connection.execute(statement, self.values).rowcount
            self.count(table, rows)
        self._done(table, max(rows, 0))

    def count(self, table: str, rows: int) -> None:
        """Note how many rows went."""
        if rows > 0:
            self.rows[table] = self.rows.get(table, 0) + rows
            values = {"erasure": self.erasure_id, "rows": Jsonb(self.rows)}
            self.connection.execute(_SQL["note"], values)


def live_rollups(connection: Any) -> list[str]:
    """Return the tables of the live rollups. A refresh makes nothing there again: the samples went before."""
    if not is_continuous(connection):
        return list(_LIVE)
    return [name for (name,) in connection.execute(_SQL["live_rollups"], {})]


def _lock_out(work: Work) -> None:
    """Revoke the tokens that speak for the person alone: a phone must not bring back what goes."""
    work.step("access_tokens", _SQL["revoke_tokens"])
    work.step("sync_anchors", _SQL["forget_anchors"])


def _say_no(work: Work) -> None:
    """Let nothing of the person be stored any more, whatever is still in Kafka, a spool or an upload that waits."""
    number = f"erasure-{work.erasure_id}"
    with suppress(ConsentRefused):  # they said no before
        Consents(work.connection, work.values["who"]).withdraw(
            work.values["id"], document=number, stored=Stored.ERASE, owed=False
        )


def _told(work: Work) -> None:
    """What the ledger writes from now on it holds against the erasure (view erased_people)."""
    work.step("delivery_attempts", _SQL["delete_attempts"], alone=True)
    for table in _TOLD:
        work.step(table, _SQL["delete_of_id"].format(table=table), alone=True)
    for table in ("quarantine_outbox", "quarantine"):
        work.step(table, _SQL["delete_quarantined"].format(table=table))
    work.step("quarantine_records", _SQL["delete_quarantine_records"])
    work.step("patients", _SQL["forget_zone"])
