"""Edge: what an operator may see of the quarantine, and the raw records that get a second chance."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

import psycopg

from timeseries.answers import in_our_words
from timeseries.model import SourceRecord
from timeseries.quarantine_model import Count, Example, Extent, Held, Place, Selection
from timeseries.queries import load

_OPTIONS: Final = "-c statement_timeout=300000 -c lock_timeout=20000 -c timezone=UTC"


def _queries() -> Mapping[str, str]:
    """Return the queries with their shared conditions put in: our own text, nothing that came from outside."""
    raw = load("quarantine")
    replayable = raw["replayable"].replace("{selected}", raw["selected"])
    return {
        name: query.replace("{replayable}", replayable).replace("{selected}", raw["selected"])
        for name, query in raw.items()
    }


_SQL: Final = _queries()


class QuarantineReview:
    """One connection, an async context manager. Methods raise `StoreUnavailable` or `StoreRefused`."""

    def __init__(self, url: str, *, connect_timeout_s: int = 5) -> None:
        self._url = url
        self._connect_timeout_s = connect_timeout_s
        self._connection: psycopg.AsyncConnection[Any]

    async def __aenter__(self) -> Self:
        with in_our_words():
            self._connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, options=_OPTIONS, connect_timeout=self._connect_timeout_s
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.close()

    async def counts(self, selection: Selection) -> list[Count]:
        """Return counts by reason, device, adapter and topic, and the total."""
        return [Count(*row) for row in await self._rows("counts", selection.values())]

    async def newest(self, selection: Selection, limit: int) -> list[Example]:
        """Return the newest quarantined samples and records."""
        rows = await self._rows("newest", {**selection.values(), "limit": limit})
        return [Example(Place(*row[:4]), *row[4:]) for row in rows]

    async def extent(self, selection: Selection) -> Extent:
        """Return what a replay of `selection` will look at."""
        return Extent(*(await self._rows("extent", selection.values()))[0])

    async def page(
        self, selection: Selection, until: datetime, after: Place | None, *, records: int, size: int
    ) -> list[Held]:
        """Return the next raw records after a place: at most `records`, and `size` bytes but for the first."""
        start = after or Place("", 0, 0, 0)
        values = {
            **selection.values(), "until": until, "limit": records, "bytes": size, "after_topic": start.topic,
            "after_partition": start.partition, "after_epoch": start.epoch, "after_offset": start.offset,
        }  # fmt: skip
        return [_held(row) for row in await self._rows("page", values)]

    async def mark_replayed(self, rows: Sequence[tuple[Place, int]]) -> None:
        """Note that the second chance of these rows (place, index) is with the broker."""
        values: dict[str, Any] = {
            "topics": [place.topic for place, _ in rows],
            "partitions": [place.partition for place, _ in rows],
            "epochs": [place.epoch for place, _ in rows],
            "offsets": [place.offset for place, _ in rows],
            "indices": [index for _, index in rows],
        }
        with in_our_words():
            await self._connection.execute(_SQL["mark_replayed"], values)

    async def _rows(self, query: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with in_our_words():
            return await (await self._connection.execute(_SQL[query], values)).fetchall()


def _held(row: tuple[Any, ...]) -> Held:
    # A foreign name keeps the form that `timeseries.quarantine` gave it: none of ours has a NUL or a backslash.
    headers = [(name, None if raw is None else base64.b64decode(raw)) for name, raw in row[9]]
    topic, partition, epoch, offset, timestamp_ms, patient, device, adapter, key, _, value, withheld, indices = row
    source = SourceRecord(
        topic, partition, epoch, offset, timestamp_ms, patient, device, adapter, key, headers, value, withheld
    )  # fmt: skip
    return Held(source, tuple(indices))
