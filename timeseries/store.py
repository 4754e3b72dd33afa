"""Edge: writes batches to PostgreSQL. One transaction a batch: watermarks first, then samples, then all they imply."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import errors

from timeseries import quarantine
from timeseries.arrays import NumpyArrayDumper
from timeseries.derive import dirty_hours, newest_of_each_series
from timeseries.keys import KeyRing
from timeseries.model import (
    REPLAY,
    Advance,
    DuplicateReason,
    Fenced,
    Rejected,
    StoreRefused,
    StoreStrained,
    StoreUnavailable,
    Watermark,
    WriteBatch,
    WriteOutcome,
)
from timeseries.one_connection import Connection, OneConnection
from timeseries.queries import load
from timeseries.rows import COLUMNS, Rows, copy_chunks, from_copy, in_order, same_as_previous, sort_order
from timeseries.sample_ids import put_sample_ids
from timeseries.versions import Resolution, resolve
from vitals.adapters import is_export
from vitals.quality import Flag, Reason

_SQL: Final = load("store")
_COLUMN_LIST: Final = ", ".join(COLUMNS)
# What an SQLSTATE says that begins so (PostgreSQL's manual, appendix A). The server is well and broke off at this
# batch: out of memory (53200), at a limit of its configuration (53400) or in time (57014), at a chunk's state (55000).
_STRAINED: Final = ("53200", "53400", "55000", "57014")
# The database is away, full, read-only, locked, or without the schema or the rights that this release needs (42):
# whatever the batch, it has to wait.
_AWAY: Final = ("08", "25006", "25P03", "28", "3D", "42", "53", "55", "57", "58")
# The content itself: a value that does not fit, a constraint or a trigger that says no, a limit of the server's making.
_REFUSED: Final = ("21", "22", "23", "38", "39", "44", "54", "P0")
# Whatever is left counts as strained, deadlocks (40) and internal errors (XX) among it: tried again, but not for ever.

# A server that vanishes without a word is noticed within half a minute, also in the middle of a statement.
_KEEPALIVE: Final[dict[str, Any]] = {
    "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000
}  # fmt: skip


def _times(values: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return np.ascontiguousarray(values).view("M8[us]")


class SampleStore(OneConnection):
    """The recorder's side of the database, over one connection: a call waits until the one before it is done.

    A statement is given up after `statement_timeout_s`, a call after twice as long, so that no server that is slow or
    frozen holds a caller for ever.
    """

    def __init__(self, url: str, *, statement_timeout_s: float = 60.0, connect_timeout_s: int = 5) -> None:
        options = (
            f"-c statement_timeout={int(statement_timeout_s * 1_000)} -c lock_timeout=20000 -c timezone=UTC"
            # Corrections into the columnstore fail above a limit of decompressed rows, and trying again cannot help.
            " -c timescaledb.max_tuples_decompressed_per_dml_transaction=0"
        )
        super().__init__(url, options=options, connect_timeout=connect_timeout_s, **_KEEPALIVE)
        self.call_timeout_s = 2 * statement_timeout_s
        self.turn = asyncio.Lock()
        self.keys = KeyRing()

    async def watermarks(self, topics: Sequence[str]) -> dict[tuple[str, int], Watermark]:
        """Return how far each partition of `topics` is stored. Raises `StoreUnavailable`."""
        async with Translated(self):
            cursor = await (await self._open()).execute(_SQL["read_watermarks"], {"topics": list(topics)})
            return {(row[0], row[1]): Watermark(*row) for row in await cursor.fetchall()}

    async def begin_epoch(self, mark: Watermark, next_offset: int) -> Watermark:
        """Declare the log that `mark` speaks of gone, and start again at `next_offset` in a new epoch.

        Raises `Fenced` if another recorder did so first, `StoreUnavailable` if the database does not answer.
        """
        async with Translated(self):
            connection = await self._open()
            await connection.execute(_SQL["open_watermarks"], {"topics": [mark.topic], "partitions": [mark.partition]})
            values = {"topic": mark.topic, "partition": mark.partition, "epoch": mark.epoch, "next_offset": next_offset}
            row = await (await connection.execute(_SQL["begin_epoch"], values)).fetchone()
        if row is None:
            raise Fenced(f"{mark.topic}/{mark.partition} has begun another epoch")
        return Watermark(mark.topic, mark.partition, row[0], next_offset)

    async def resolve_keys(self, patients: Sequence[str], origins: Sequence[tuple[str, str]]) -> None:
        """Make `keys` know these patient ids and (device id, source app) pairs. Raises `StoreUnavailable`."""
        if self.keys.knows(patients, origins):
            return
        async with Translated(self):
            await self.keys.learn(await self._open(), patients, origins)

    async def write(self, batch: WriteBatch) -> WriteOutcome:
        """Store one batch and move the watermarks, all or nothing.

        Raises `Fenced` if a watermark does not stand where the batch begins, `StoreUnavailable` where trying again can
        help (`StoreStrained` where the batch itself may be the reason) and `StoreRefused` where it cannot. Nothing of
        the batch is stored then, unless only the answer to COMMIT was lost: then the next attempt is fenced.
        """
        async with Translated(self):
            connection = await self._open()
            async with connection.transaction():
                await _lock(connection, batch.advances)
                await self._put_beside(connection, batch)
                outcome, stored, conflicts, again = await _put_samples(connection, batch)
                await put_sample_ids(connection, batch, conflicts)
                await _put_derived(connection, stored)
                await quarantine.put(connection, batch, [*batch.rejected, *_rejected(batch, conflicts)])
                await _count_duplicates(connection, batch, again)
                await _count(connection, "count_reduced", batch.reduced)
                await _count(connection, "count_not_consented", batch.not_consented)
                await _move(connection, batch.advances)
        return replace(outcome, reduced=sum(batch.reduced.values()), not_consented=sum(batch.not_consented.values()))

    async def _put_beside(self, connection: Connection, batch: WriteBatch) -> None:
        """Store what a subclass's batches hold beside samples; called within the transaction, watermarks locked."""

    async def _open(self) -> Connection:
        fresh = self._connection is None or self._connection.closed
        connection = await super()._open()
        if fresh:
            connection.adapters.register_dumper(np.ndarray, NumpyArrayDumper)
        return connection


class Translated:
    """Bounds a call in time and turns psycopg's errors into the store's; drops a connection that may be unusable."""

    def __init__(self, store: SampleStore) -> None:
        self._store = store

    async def __aenter__(self) -> None:
        await self._store.turn.acquire()
        self._limit = asyncio.timeout(self._store.call_timeout_s)  # from our turn on
        await self._limit.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._within_limit(kind, error, trace)
            await self._translate(error)
        finally:
            self._store.turn.release()

    async def _within_limit(self, *error: Any) -> None:
        try:
            await self._limit.__aexit__(*error)
        except TimeoutError as late:
            await self._store.close()
            raise StoreStrained(f"the database was not done after {self._store.call_timeout_s:g} s") from late

    async def _translate(self, error: BaseException | None) -> None:
        if error is None or isinstance(error, (Fenced, StoreRefused, StoreUnavailable)):
            return
        if not isinstance(error, (psycopg.Error, OSError)):
            await self._store.close()  # cancelled or broken in mid-protocol: never reuse this connection
            return
        translated = translation_of(error)
        if not isinstance(translated, StoreRefused):
            await self._store.close()
        raise translated from error


def translation_of(error: psycopg.Error | OSError) -> StoreRefused | StoreUnavailable:
    """Return what the error means. Without an SQLSTATE the server said nothing: psycopg did."""
    state = getattr(error, "sqlstate", None)
    if state is None and isinstance(error, (OSError, psycopg.OperationalError, psycopg.InterfaceError)):
        return StoreUnavailable("the database does not answer")
    if state is None or state.startswith(_REFUSED):
        return StoreRefused(f"the database refuses the batch (SQLSTATE {state or 'none'})")
    if state.startswith(_AWAY) and not state.startswith(_STRAINED):
        return StoreUnavailable(f"the database takes nothing (SQLSTATE {state})")
    return StoreStrained(f"the database broke off at the batch (SQLSTATE {state})")


async def _lock(connection: Connection, advances: Sequence[Advance]) -> None:
    names = {"topics": [a.topic for a in advances], "partitions": [a.partition for a in advances]}
    cursor = await connection.execute(_SQL["lock_watermarks"], names)
    found = {(topic, partition): (epoch, at) for topic, partition, epoch, at in await cursor.fetchall()}
    if len(found) < len(advances):
        await connection.execute(_SQL["open_watermarks"], names)
        cursor = await connection.execute(_SQL["lock_watermarks"], names)
        found = {(topic, partition): (epoch, at) for topic, partition, epoch, at in await cursor.fetchall()}
    for advance in advances:
        if found[advance.topic, advance.partition] != (advance.epoch, advance.from_offset):
            raise Fenced(f"the watermark of {advance.topic}/{advance.partition} is not where this batch begins")


async def _move(connection: Connection, advances: Sequence[Advance]) -> None:
    values = {
        "topics": [a.topic for a in advances],
        "partitions": [a.partition for a in advances],
        "epochs": [a.epoch for a in advances],
        "next_offsets": [a.last_offset + 1 for a in advances],
        "timestamps_ms": [a.timestamp_ms for a in advances],
        "crcs": [a.crc for a in advances],
    }
    await connection.execute(_SQL["move_watermarks"], values)


async def _put_samples(
    connection: Connection, batch: WriteBatch
) -> tuple[WriteOutcome, Rows, NDArray[np.intp], NDArray[np.intp]]:
    """Store the rows; return (outcome, rows that changed the table, positions of conflicts, of duplicates)."""
    order = np.arange(len(batch.rows)) if in_order(batch.rows) else sort_order(batch.rows)
    rows = batch.rows[order]
    none = np.empty(0, np.intp)
    if not same_as_previous(rows).any() and await _copy_straight(connection, rows):
        return WriteOutcome(inserted=len(rows)), rows, none, none
    await connection.execute(_SQL["lock_patients"], {"patients": np.unique(rows["patient_key"])})
    resolution = await _resolve(connection, rows)
    await _apply(connection, resolution)
    stored = np.concatenate([resolution.insert, resolution.replace])
    outcome = WriteOutcome(
        inserted=len(resolution.insert),
        replaced=len(resolution.replace),
        revisions=len(resolution.revisions),
        duplicates=len(resolution.duplicates),
        conflicts=len(resolution.conflicts),
    )
    return outcome, stored[sort_order(stored)], order[resolution.conflicts], order[resolution.duplicates]


def _rejected(batch: WriteBatch, conflicts: NDArray[np.intp]) -> list[Rejected]:
    return [Rejected(int(batch.record[at]), int(batch.index[at]), Reason.CONFLICT.value) for at in conflicts]


async def _copy_straight(connection: Connection, rows: Rows) -> bool:
    """COPY into the table; return False, with nothing stored, if an identity is there already."""
    if not len(rows):
        return True
    try:
        async with connection.transaction():
            await _copy(connection, f"COPY samples ({_COLUMN_LIST}) FROM STDIN (FORMAT BINARY)", rows)
    except errors.UniqueViolation:
        return False
    return True


async def _copy(connection: Connection, statement: str, rows: Rows) -> None:
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for chunk in copy_chunks(rows):
            await copy.write(chunk)


async def _read(connection: Connection, query: str) -> Rows:
    async with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT BINARY)") as copy:
        return from_copy(b"".join([bytes(part) async for part in copy]))


async def _resolve(connection: Connection, rows: Rows) -> Resolution:
    await connection.execute(_SQL["stage_table"])
    await _copy(connection, f"COPY staged ({_COLUMN_LIST}) FROM STDIN (FORMAT BINARY)", rows)
    await connection.execute("ANALYZE staged")
    stored = await _read(connection, _SQL["stored_versions"].format(columns=_prefixed(), **_bounds(rows)))
    revisions = await _read(connection, _SQL["stored_revisions"].format(columns=_prefixed()))
    await connection.execute("DELETE FROM staged")
    return resolve(rows, stored, revisions)


def _bounds(rows: Rows) -> dict[str, str]:
    """Return the patients and times of rows as SQL literals: COPY takes no parameters."""
    first, last = _times(np.array([rows["time"].min(), rows["time"].max()]))
    patients = ", ".join(map(str, np.unique(rows["patient_key"])))
    return {"patients": patients, "first": str(first), "last": str(last)}


def _prefixed() -> str:
    return ", ".join(f"s.{name}" for name in COLUMNS)


async def _apply(connection: Connection, resolution: Resolution) -> None:
    if len(resolution.insert):
        insert = resolution.insert[sort_order(resolution.insert)]
        try:
            await _copy(connection, f"COPY samples ({_COLUMN_LIST}) FROM STDIN (FORMAT BINARY)", insert)
        except errors.UniqueViolation as error:  # written by another recorder since we looked
            raise StoreUnavailable("another recorder wrote the same samples at the same time") from error
    if len(resolution.replace):
        await _copy(connection, f"COPY staged ({_COLUMN_LIST}) FROM STDIN (FORMAT BINARY)", resolution.replace)
        await connection.execute(_SQL["replace_versions"])
    if len(resolution.revisions):
        statement = f"COPY sample_revisions ({_COLUMN_LIST}) FROM STDIN (FORMAT BINARY)"
        await _copy(connection, statement, resolution.revisions)


async def _put_derived(connection: Connection, stored: Rows) -> None:
    if not len(stored):
        return
    newest = newest_of_each_series(stored)
    if len(newest):
        values = {
            **_series(newest), "received": _times(newest["received_at"]), "values": newest["value"],
            "qualities": newest["quality"], "contexts": newest["context"],
        }  # fmt: skip
        await connection.execute(_SQL["put_latest"], values)
    gone = stored[stored["flags"] & int(Flag.TOMBSTONE) != 0]
    if len(gone):
        await connection.execute(_SQL["forget_latest"], _series(gone))
        await connection.execute(_SQL["find_latest"], _series(gone))
    patients, hours, firsts, lasts = dirty_hours(stored)
    ranges = {"patients": patients, "hours": _times(hours), "froms": _times(firsts), "tos": _times(lasts)}
    await connection.execute(_SQL["mark_dirty"], ranges)


def _series(rows: Rows) -> dict[str, NDArray[np.generic]]:
    return {
        "patients": rows["patient_key"], "metrics": rows["metric_key"], "origins": rows["origin_key"],
        "times": _times(rows["time"]),
    }  # fmt: skip


def _why_again(batch: WriteBatch, position: int) -> DuplicateReason:
    """Return why samples of this record are there already. A replay tells an export's sample again, no export does."""
    if not is_export(batch.adapters[position]):
        return DuplicateReason.RESENT
    is_replay = any(name == REPLAY for name, _ in batch.describe(position).headers)
    return DuplicateReason.RESENT if is_replay else DuplicateReason.OVERLAPPING_EXPORT


async def _count_duplicates(connection: Connection, batch: WriteBatch, again: NDArray[np.intp]) -> None:
    counts = dict(batch.duplicates)
    for position, times in zip(*np.unique(batch.record[again], return_counts=True), strict=True):
        key = (batch.adapters[int(position)], _why_again(batch, int(position)).value)
        counts[key] = counts.get(key, 0) + int(times)
    if counts:
        ordered = sorted(counts)  # two recorders lock these rows in one order
        values = {
            "adapters": [adapter for adapter, _ in ordered],
            "reasons": [reason for _, reason in ordered],
            "samples": [counts[key] for key in ordered],
        }
        await connection.execute(_SQL["count_duplicates"], values)


async def _count(connection: Connection, query: str, counts: Mapping[tuple[str, int], int]) -> None:
    """Add counts by (adapter, metric number)."""
    if counts:
        await connection.execute(_SQL[query], counted(counts))


def counted(counts: Mapping[tuple[str, int], int]) -> dict[str, list[Any]]:
    """Return counts by (adapter, metric number) as the parameters of a query, in the order in which rows are locked."""
    ordered = sorted(counts)
    return {
        "adapters": [adapter for adapter, _ in ordered],
        "metrics": [metric for _, metric in ordered],
        "samples": [counts[key] for key in ordered],
    }
