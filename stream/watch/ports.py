"""What the edge of the watch asks of others: the engine, the samples' log, the running consumer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alerts.event import AlertEvent
from stream.recorder import Partition
from stream.watch.crowd import Crowd
from vitals.batch import BatchHeader, SampleColumns


class Watching(Protocol):
    """One partition's engine (`stream.watch.engine.Engine`): pure, and never called twice at a time.

    `ignored` counts samples that came twice, or too late to be judged.
    """

    ignored: int

    def see(
        self, headers: Sequence[BatchHeader | None], counts: NDArray[np.int64], columns: SampleColumns, now_us: int
    ) -> list[AlertEvent]:
        """Take in a decoded fetch; return what the immediate rules say."""
        ...

    def settle(self, now_us: int, *, all_due: bool = False) -> Iterator[list[AlertEvent]]:
        """Yield, patient by patient, what the settled detectors say. Between two steps anything else may be called."""
        ...

    def finish(self, now_us: int) -> list[AlertEvent]:
        """Settle everything up to the newest sample."""
        ...

    def end(self, now_us: int) -> list[AlertEvent]:
        """Close every open episode; the engine is not asked again."""
        ...

    def take_failures(self) -> dict[str, int]:
        """Return how often detectors broke, by name, since this was last asked."""
        ...

    def overdue(self, now_us: int) -> Iterator[list[AlertEvent]]:
        """Yield, patient by patient, what the clock alone says; only asked while the partition is caught up."""
        ...

    def open_alerts(self, patient_id: str) -> Mapping[str, object]:
        """Return what is open of a patient, by alert id."""
        ...

    def adopt(self, crowd: Crowd, now_us: int) -> list[AlertEvent]:
        """Judge by these profiles, policies and consents from now on."""
        ...

    def dirty(self) -> list[str]:
        """Return the patients that changed since their last snapshot."""
        ...

    def snapshot(self, patient_id: str) -> bytes:
        """Return a patient's state, empty where nothing is held of them, and count them as unchanged."""
        ...

    def restore(self, patient_id: str, data: bytes) -> None:
        """Take a patient's state over. Raises `VigilError` for what is damaged or of another version."""
        ...


class LogAccess(Protocol):
    """What is asked of the samples' log beside reading on (`stream.log_access.FaustLog`)."""

    async def seek(self, partition: Partition, offset: int) -> None:
        """Deliver from `offset` on."""
        ...

    async def holds(self, partition: Partition, offset: int, crc: int | None) -> bool:
        """Tell whether the record at `offset` has this CRC-32."""
        ...

    async def next_after(self, partition: Partition, offset: int) -> int | None:
        """Return the first offset from `offset` on that the log has a record at."""
        ...


class Reach(Protocol):
    """How far the log goes, as the consumer's fetches say."""

    def highwater(self, partition: Partition) -> int | None:
        """Return the offset behind the newest record, None where no fetch has told yet."""
        ...

    def answered_s(self, partition: Partition) -> float | None:
        """Return when (monotonic seconds) the broker last answered a fetch of this partition."""
        ...
