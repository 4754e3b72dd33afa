"""Edge: deletions that were told by sample id: noted, looked for, settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from timeseries.answers import patiently
from timeseries.arrays import NumpyArrayDumper
from timeseries.one_connection import Connection, OneConnection
from timeseries.queries import load
from timeseries.sample_ids import as_uuids
from vitals.clock import from_datetime, to_datetime

_SQL: Final = load("deletions")
_OPTIONS: Final = "-c statement_timeout=60000 -c lock_timeout=10000 -c timezone=UTC"


class Outcome(StrEnum):
    """What became of a deletion."""

    DONE = "done"  # no sample under this id stands
    UNKNOWN = "unknown"  # none ever came
    REFUSED = "refused"  # samples stand: written later than it was told, or their tombstones were not stored


@dataclass(frozen=True, eq=False, slots=True)
class Told:
    """What one sender told to be no more: `sample_ids` (n, 16) uint8; times are microseconds UTC."""

    patient_id: str
    device_id: str
    source_app: str
    adapter: str
    sample_ids: NDArray[np.uint8]
    told_us: int
    received_us: int


@dataclass(frozen=True, slots=True)
class Open:
    """A deletion that is due to be looked at; `looked` is the state in which it was read.

    `is_known`: a sample was told under this id. `stands`: one of those is still there. `outlasts`: one is still there
    that was written later than this was told, and that it therefore does not take away.
    """

    patient_key: int
    sample_id: UUID
    looked: Any
    looks: int
    is_known: bool
    stands: bool
    outlasts: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """A stored sample that a deletion names; times are microseconds UTC, `received_us` that of the deletion."""

    patient_id: str
    device_id: str
    source_app: str
    adapter: str
    metric: int
    start_us: int
    duration_ms: int
    written_us: int
    received_us: int


@dataclass(frozen=True, slots=True)
class Mark:
    """What is to be noted of an open deletion: settled with an outcome, or looked at again after a pause.

    `looks` is how often it was looked at by now.
    """

    deletion: Open
    looks: int
    pause_s: float = 0.0
    outcome: Outcome | None = None


class DeletionStore(OneConnection):
    """The deleter's side of the database. Every call raises `StoreUnavailable` where trying again can help."""

    def __init__(self, url: str, *, prepare_threshold: int | None = 5) -> None:
        """Store in the database at `url`."""
        super().__init__(url, options=_OPTIONS, prepare_threshold=prepare_threshold)

    async def note(self, told: Told) -> None:
        """Note ids that are to be deleted; the same once more changes nothing. Raises `StoreRefused`."""
        values = {
            "patient": told.patient_id, "device": told.device_id, "app": told.source_app, "adapter": told.adapter,
            "ids": as_uuids(told.sample_ids), "told": to_datetime(told.told_us),
            "received": to_datetime(told.received_us),
        }  # fmt: skip
        await self._run("add_patient", {"patient": told.patient_id})
        await self._run("put_deletions", values)

    async def due(self, most: int) -> list[Open]:
        """Return up to `most` deletions that are to be looked at now, the longest due first."""
        return [Open(*row) for row in await self._run("open_deletions", {"most": most})]

    async def standing(self, deletions: Sequence[Open], most: int) -> list[Standing]:
        """Return up to `most` samples that stand and that these deletions name."""
        values = {**_keys(deletions), "most": most}
        return [_standing(row) for row in await self._run("samples_to_delete", values)]

    async def mark(self, marks: Sequence[Mark]) -> list[Outcome]:
        """Note what was found; return the outcomes of those that are settled now.

        One that was told again, or whose sample came, since it was read stays as it is: due.
        """
        values = {
            **_keys([one.deletion for one in marks]), "looked": [one.deletion.looked for one in marks],
            "looks": [one.looks for one in marks], "pauses": [one.pause_s for one in marks],
            "outcomes": [one.outcome for one in marks],
        }  # fmt: skip
        return [Outcome(name) for (name,) in await self._run("mark_deletions", values) if name is not None]

    async def waiting(self) -> tuple[int, float]:
        """Return how many deletions are open, and how old the oldest is in seconds."""
        ((count, age_s),) = await self._run("count_open", {})
        return count, age_s

    async def _run(self, query: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        try:
            with patiently():
                cursor = await (await self._open()).execute(_SQL[query], values)
                return await cursor.fetchall() if cursor.description else []
        except BaseException:
            await self.close()
            raise

    async def _open(self) -> Connection:
        fresh = self._connection is None or self._connection.closed
        connection = await super()._open()
        if fresh:
            connection.adapters.register_dumper(np.ndarray, NumpyArrayDumper)
        return connection


def _standing(row: tuple[Any, ...]) -> Standing:
    patient, device, source_app, adapter, metric, start, duration_ms, written, received = row
    return Standing(
        patient, device, source_app, adapter, metric, from_datetime(start), duration_ms, from_datetime(written),
        from_datetime(received),
    )  # fmt: skip


def _keys(deletions: Sequence[Open]) -> dict[str, Any]:
    return {"patients": [one.patient_key for one in deletions], "ids": [one.sample_id for one in deletions]}
