"""Edge: the recorder of waveforms. Takes records like the recorder of samples, and keeps each signal's memory besides.

What a batch changes in a signal's memory counts only once the batch is stored: a retry, or a batch cut in halves
because the database refuses one record, begins again from what is stored. After an assignment nothing that was
remembered before counts, because another worker may have gone on since.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import structlog
from prometheus_client import Counter

from stream.assemble import RawRecord
from stream.features.memory import UnreadableState
from stream.recorder import (
    Backoff,
    GateSource,
    Log,
    Partition,
    Prepared,
    Recorder,
    Store,
    open_gate,
    pieces_of,
    transaction_of,
)
from stream.waveform_assemble import Assembled, Opened, assemble, open_records, signal_of
from stream.waveform_memory import from_bytes, to_bytes
from stream.waveform_signal import SignalState, WaveformPolicy
from timeseries.model import Rejected, WriteBatch
from timeseries.waveform_model import SignalKey, WaveformBatch
from vitals.catalogue import BY_NUMBER
from vitals.clock import Clock, system_clock
from vitals.gate import OPEN
from vitals.quality import Reason

log = structlog.get_logger(__name__)

CHUNKS: Final = Counter("vigil_recorder_waveform_chunks", "Waveform records: taken in order, or late", ["outcome"])
FORGOTTEN: Final = Counter("vigil_recorder_waveform_forgotten", "Signals whose saved memory could not be read")

MAX_REMEMBERED: Final = 2_000
"""Signals whose memory is held, some 12 kB each (24 MB); the others are read from the database when they come."""


class SignalStore(Store, Protocol):
    """What the waveform recorder needs of `timeseries.waveform_store.WaveformStore`."""

    async def read_states(self, signals: Sequence[SignalKey]) -> dict[SignalKey, bytes]:
        """Return the saved memory of those of these signals that have one."""


@dataclass(frozen=True, slots=True)
class Transaction(Prepared):
    """Records, the transaction that stores them, and what the signals' memory is once it is done."""

    states: Mapping[SignalKey, SignalState] = field(default_factory=dict)
    late: int = 0


class WaveformRecorder(Recorder):
    """One worker's recording of waveform partitions."""

    def __init__(
        self,
        store: SignalStore,
        log_: Log,
        *,
        policy: WaveformPolicy | None = None,
        gate: GateSource = open_gate,
        backoff: Backoff | None = None,
        clock: Clock = system_clock,
        sign_of_life: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(store, log_, gate=gate, backoff=backoff, clock=clock, sign_of_life=sign_of_life)
        self._signals = store
        self._policy = policy or WaveformPolicy()
        self._states: OrderedDict[SignalKey, SignalState] = OrderedDict()

    async def assigned(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Return where to read each partition from; what was remembered of any signal is read again."""
        self._states.clear()
        return await super().assigned(partitions)

    async def prepare(self, records: Sequence[RawRecord]) -> list[Prepared]:
        """Return what is new among `records`, still unopened: a signal goes on from what the batch before leaves."""
        fresh = await self._admit(records)
        return [
            Prepared(piece, transaction_of(piece, _NOTHING_DERIVED, _NOTHING_PLACED, ())) for piece in pieces_of(fresh)
        ]

    async def store(self, prepared: Sequence[Prepared]) -> None:
        """Open and store what `prepare` gave; return when it is stored, or fenced and given up."""
        for one in prepared:
            await self._store(await self._prepared(one.records))

    def _refused(self, prepared: Prepared) -> Prepared:
        refused = self._assembled(prepared.records, _REFUSED)
        before = prepared.batch
        batch = replace(refused.batch, describe=before.describe, not_consented=before.not_consented)
        return replace(refused, batch=batch, gate=prepared.gate)

    async def _prepared(self, records: Sequence[RawRecord]) -> Prepared:
        opened = open_records(records, await self._patiently(self._gate))
        await self._patiently(lambda: self._signals.resolve_keys(opened.patients, opened.origins))
        await self._remember(opened)
        return self._assembled(records, opened)

    def _assembled(self, records: Sequence[RawRecord], opened: Opened) -> Transaction:
        keys = self._signals.keys
        made = assemble(self._policy, opened, self._states, keys.patients, keys.origins)
        plain = transaction_of(records, made.derived, made.placed, made.rejected)
        return Transaction(records, waveform_batch(plain, made), opened.gate, made.states, made.late)

    async def _write(self, prepared: Prepared, tries: int | None = None) -> None:
        await super()._write(prepared, tries)
        if isinstance(prepared, Transaction):
            self._states.update(prepared.states)
            while len(self._states) > MAX_REMEMBERED:
                self._states.popitem(last=False)
            CHUNKS.labels("late").inc(prepared.late)
            CHUNKS.labels("taken").inc(len(prepared.records) - prepared.late)

    async def _remember(self, opened: Opened) -> None:
        """Read the memory of signals that is not held here."""
        keys = self._signals.keys
        signals = {signal_of(*one, keys.patients, keys.origins) for one in opened.told if one is not None}
        for signal in signals & self._states.keys():
            self._states.move_to_end(signal)
        missing = sorted(signals - self._states.keys())
        if not missing:
            return
        for signal, data in (await self._patiently(lambda: self._signals.read_states(missing))).items():
            _, _, metric, channel = signal
            try:
                self._states[signal] = from_bytes(BY_NUMBER[metric].code, channel, data)
            except UnreadableState as error:
                FORGOTTEN.inc()
                log.warning("signal_memory_unreadable", metric=BY_NUMBER[metric].code, error=str(error))


_REFUSED: Final = Opened([None], [Rejected(0, -1, Reason.WRITE_REFUSED.value)], OPEN)
_EMPTY: Final = assemble(WaveformPolicy(), Opened([], [], OPEN), {}, {}, {})
_NOTHING_DERIVED, _NOTHING_PLACED = _EMPTY.derived, _EMPTY.placed


def waveform_batch(plain: WriteBatch, made: Assembled) -> WaveformBatch:
    """Return the batch of the derived samples with the chunks and the memory beside them."""
    return WaveformBatch(
        rows=plain.rows,
        record=plain.record,
        index=plain.index,
        adapters=plain.adapters,
        advances=plain.advances,
        describe=plain.describe,
        rejected=plain.rejected,
        duplicates=plain.duplicates,
        reduced=plain.reduced,
        not_consented={**plain.not_consented, **made.not_consented},
        chunks=made.chunks,
        states={signal: to_bytes(state) for signal, state in made.states.items()},
    )
