"""Edge: gives quarantined records their second chance, page by page: judge, send, wait for the broker, mark."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from ingest.publisher import Publisher
from ingest.record import Record
from stream.quarantine_replay import DERIVED, Chance, chances
from timeseries.quarantine_model import Extent, Held, Place, Selection
from timeseries.quarantine_review import QuarantineReview
from vigil.settings import Settings
from vitals.quality import Reason

PAGE_RECORDS: Final = 500
PAGE_BYTES: Final = 8 * 1024 * 1024
"""What one page holds at most (one record may be larger by itself): memory does not grow with the quarantine."""
_LINGER_MS: Final = 20


class Review(Protocol):
    """What a replay needs of `timeseries.quarantine_review.QuarantineReview`."""

    async def page(
        self, selection: Selection, until: datetime, after: Place | None, *, records: int, size: int
    ) -> list[Held]:
        """Return the next raw records after a place."""

    async def mark_replayed(self, rows: Sequence[tuple[Place, int]]) -> None:
        """Note that the broker has their second chance."""


class Sender(Protocol):
    """What a replay needs of `ingest.publisher.Publisher`."""

    async def send(self, record: Record, *, topic: str) -> asyncio.Future[Any]:
        """Queue one record."""

    async def confirm(self, acks: list[asyncio.Future[Any]]) -> None:
        """Wait until the broker has them."""


@dataclass(slots=True)
class Tally:
    """What became of a replay so far; a row is a quarantined sample or, as a whole, a record.

    `passing` rows go in `passing_records` with `accepted` samples and `chunks` of waveforms; of them `marked` are with
    the broker. `rejected` rows stay, by today's reason; `returning` are samples of whole records that the recorder will
    quarantine again, each by itself; `conflicts` were left out because their reason was not named.
    """

    records: int = 0
    rows: int = 0
    passing: int = 0
    passing_records: int = 0
    accepted: int = 0
    chunks: int = 0
    marked: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    returning: Counter[str] = field(default_factory=Counter)
    conflicts: int = 0

    def add(self, held: Held, chance: Chance) -> None:
        """Count one record."""
        self.records += 1
        self.rows += len(held.indices)
        self.passing += len(chance.indices)
        self.passing_records += chance.record is not None
        self.accepted += chance.accepted
        self.chunks += chance.chunks
        self.rejected += chance.rejected
        self.returning += chance.returning

    @property
    def broken(self) -> int:
        """Rows that no rule can let pass: key or headers name nobody, or the sample was derived from a waveform."""
        return self.rejected[Reason.HEADERS.value] + self.rejected[DERIVED]

    def to_json(self) -> dict[str, object]:
        """Return the figures: rows = passing + rejected."""
        return {
            "records": self.records, "rows": self.rows, "passing": self.passing,
            "passing_records": self.passing_records, "samples_accepted": self.accepted,
            "chunks_accepted": self.chunks, "replayed": self.marked,
            "rejected": dict(sorted(self.rejected.items())), "cannot_be_replayed": self.broken,
            "returning": dict(sorted(self.returning.items())), "conflicts_left_out": self.conflicts,
        }  # fmt: skip


async def replay(
    review: Review,
    selection: Selection,
    until: datetime,
    tally: Tally,
    sender: Sender | None,
    on_page: Callable[[Tally], None] = lambda _: None,
) -> None:
    """Replay what `selection` means, counting into `tally`; without a sender nothing is sent or marked.

    Rows are marked after the broker has their record: interrupted anywhere, a replay sends some again when it is
    repeated, and their identity keeps them from being stored twice.
    """
    after: Place | None = None
    while page := await review.page(selection, until, after, records=PAGE_RECORDS, size=PAGE_BYTES):
        after = page[-1].place
        judged = list(zip(page, chances(page), strict=True))
        for held, one in judged:
            tally.add(held, one)
        if sender is not None:
            await _send(sender, [one for _, one in judged])
            answered = [(held.place, index) for held, one in judged for index in one.indices]
            await review.mark_replayed(answered)
            tally.marked += len(answered)
        on_page(tally)


async def _send(sender: Sender, judged: Sequence[Chance]) -> None:
    await sender.confirm([await sender.send(one.record, topic=one.topic) for one in judged if one.record is not None])


async def run_replay(
    config: Settings,
    selection: Selection,
    tally: Tally,
    *,
    dry_run: bool,
    on_extent: Callable[[Extent], None],
    on_page: Callable[[Tally], None],
) -> None:
    """Replay with the real database and broker. A dry run needs no broker.

    Raises `MissingSetting`, `StoreUnavailable`, `StoreRefused` and `BrokerUnreachable`; `tally` says what was done.
    """
    async with AsyncExitStack() as stack:
        review = await stack.enter_async_context(QuarantineReview(config.database()))
        broker = None if dry_run else config.broker()
        extent = await review.extent(selection)
        tally.conflicts = extent.conflicts
        on_extent(extent)
        if not extent.records:
            return
        sender = None if broker is None else await stack.enter_async_context(Publisher(broker, linger_ms=_LINGER_MS))
        await replay(review, selection, extent.until, tally, sender, on_page)


async def feed(config: Settings) -> None:
    """Tell the topic what was quarantined until told to stop."""
    from stream import quarantine_feed
    from timeseries.quarantine_outbox import QuarantineOutbox
    from vigil.services import _until_told

    broker = config.broker()
    async with QuarantineOutbox(config.database()) as outbox:
        await _until_told(quarantine_feed.run(broker, outbox))


def now() -> datetime:
    """Return the time from which `--since` counts back."""
    return datetime.now(UTC)
