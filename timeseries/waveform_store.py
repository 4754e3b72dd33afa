"""Edge: writes waveform chunks, what was derived from them and the signal stages' memory, in one transaction.

It is the sample store with more in the batch: the same watermarks are locked first and moved last, the derived samples
go the way of all samples (conflict path, latest, dirty ranges), and chunks and memory lie in between. So a worker that
lost its partition can write neither, and after a crash the memory is exactly that of the last stored record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from timeseries.model import DuplicateReason, WriteBatch
from timeseries.one_connection import Connection
from timeseries.queries import load
from timeseries.store import SampleStore, Translated
from timeseries.waveform_model import ChunkRow, SignalKey, WaveformBatch
from vitals.clock import to_datetime

_SQL: Final = load("waveforms")
_COUNT_DUPLICATES: Final = load("store")["count_duplicates"]


class WaveformStore(SampleStore):
    """The waveform recorder's side of the database; `write` takes a `WaveformBatch`."""

    async def read_states(self, signals: Sequence[SignalKey]) -> dict[SignalKey, bytes]:
        """Return the memory of those of these signals that have one. Raises `StoreUnavailable`."""
        values = {
            "patients": [patient for patient, _, _, _ in signals],
            "origins": [origin for _, origin, _, _ in signals],
            "metrics": [metric for _, _, metric, _ in signals],
            "channels": [channel for _, _, _, channel in signals],
        }
        async with Translated(self):
            cursor = await (await self._open()).execute(_SQL["read_states"], values)
            return {(row[0], row[1], row[2], row[3]): row[4] for row in await cursor.fetchall()}

    async def _put_beside(self, connection: Connection, batch: WriteBatch) -> None:
        if not isinstance(batch, WaveformBatch):
            return
        if batch.chunks:
            await _put_chunks(connection, batch.chunks)
        if batch.states:
            values = [_state(signal, state) for signal, state in sorted(batch.states.items())]
            async with connection.cursor() as cursor:
                await cursor.executemany(_SQL["put_states"], values)


async def _put_chunks(connection: Connection, chunks: Sequence[ChunkRow]) -> None:
    """Insert in the order of the identity, so that two writers never wait for each other; count what was there."""
    ordered = sorted(chunks, key=lambda chunk: chunk.identity)
    again: dict[str, int] = {}
    async with connection.cursor() as cursor:
        await cursor.executemany(_SQL["put_waveforms"], [_row(chunk) for chunk in ordered], returning=True)
        for chunk in ordered:
            if not cursor.rowcount:
                again[chunk.adapter] = again.get(chunk.adapter, 0) + 1
            cursor.nextset()
    if again:
        reasons = [DuplicateReason.RESENT.value] * len(again)
        values = {"adapters": list(again), "reasons": reasons, "samples": list(again.values())}
        await connection.execute(_COUNT_DUPLICATES, values)


def _state(signal: SignalKey, state: bytes) -> dict[str, Any]:
    patient, origin, metric, channel = signal
    return {"patient_key": patient, "origin_key": origin, "metric_key": metric, "channel": channel, "state": state}


def _row(chunk: ChunkRow) -> dict[str, Any]:
    patient, origin, metric, channel = chunk.signal
    axes, samples = chunk.values.shape
    return {
        "time": to_datetime(chunk.time_us), "written_at": to_datetime(chunk.written_us),
        "received_at": to_datetime(chunk.received_us), "sample_rate_hz": chunk.sample_rate_hz,
        "original_rate_hz": chunk.original_rate_hz, "scale": chunk.scale, "patient_key": patient, "origin_key": origin,
        "first_us": chunk.first_us, "duration_ms": round(samples / chunk.sample_rate_hz * 1_000),
        "quality": chunk.quality, "metric_key": metric, "axes": axes, "flags": chunk.flags, "context": chunk.context,
        "zone_offset_min": chunk.zone_offset_min, "channel": channel,
        "values": np.ascontiguousarray(chunk.values.T).ravel(),
    }  # fmt: skip
