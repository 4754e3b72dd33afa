"""From raw waveform records to one write: open, advance each signal, place what comes of it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ingest.record import Decoded, hint
from ingest.record_arrow import MalformedRecord
from ingest.waveform_record import decode_chunk
from stream.assemble import Placed, RawRecord, Validated, place, records_without_consent, rejected
from stream.validate import without_consent
from stream.waveform_derive import Derived, derived_app
from stream.waveform_signal import Outcome, Piece, SignalState, WaveformPolicy, advance
from stream.waveform_validate import fault, flags_of
from timeseries.model import Rejected
from timeseries.waveform_model import ChunkRow, SignalKey
from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.catalogue import number_of
from vitals.gate import OPEN, Gate
from vitals.quality import Reason
from vitals.validity import reasons
from vitals.waveform import WaveformChunk


@dataclass(frozen=True, slots=True)
class Opened:
    """Records, one entry each: whose chunk it is and the chunk, or None where it is not let in.

    `failures` says why it is quarantined; `not_consented` counts the chunks that no consent covers, by (adapter, metric
    number), and `withheld` are the positions of records whose value the quarantine must not keep.
    """

    told: list[tuple[BatchHeader, WaveformChunk] | None]
    failures: list[Rejected]
    gate: Gate
    not_consented: Mapping[tuple[str, int], int] = field(default_factory=dict)
    withheld: frozenset[int] = frozenset()

    @property
    def patients(self) -> list[str]:
        """The distinct patient ids."""
        return list({one[0].patient_id for one in self.told if one is not None})

    @property
    def origins(self) -> list[tuple[str, str]]:
        """The distinct (device id, source app) pairs, those of derived samples included."""
        found = {(header.device_id, app) for header, chunk in filter(None, self.told) for app in _apps(header, chunk)}
        return list(found)


def _apps(header: BatchHeader, chunk: WaveformChunk) -> tuple[str, str]:
    return header.source_app, derived_app(chunk.metric, chunk.channel)


def open_records(records: Sequence[RawRecord], gate: Gate = OPEN) -> Opened:
    """Decode and validate records. Raises nothing: what cannot be stored stands in `failures`."""
    told: list[tuple[BatchHeader, WaveformChunk] | None] = []
    failures: list[Rejected] = []
    missing: Counter[tuple[str, int]] = Counter()
    withheld: set[int] = set()
    for position, record in enumerate(records):
        one = _opened(record, gate)
        told.append(None if isinstance(one, _Refused) else one)
        if not isinstance(one, _Refused):
            continue
        if one.withheld:
            withheld.add(position)
        if one.reason is Reason.NO_CONSENT:
            missing[one.adapter, number_of(one.metric or "")] += 1
        else:
            failures.append(Rejected(position, -1, one.reason.value, one.metric))
    return Opened(told, failures, gate, missing, frozenset(withheld))


@dataclass(frozen=True, slots=True)
class _Refused:
    reason: Reason
    metric: str | None = None
    adapter: str = "unknown"
    withheld: bool = False


def _opened(record: RawRecord, gate: Gate) -> tuple[BatchHeader, WaveformChunk] | _Refused:
    try:
        header, chunk = decode_chunk(record.key, record.value, record.headers)
    except MalformedRecord as error:
        kept = gate.is_open or gate.may_keep_unread(hint(record.key, record.headers)[0])
        return _Refused(error.reason, withheld=not kept)
    refused = _refused_by(gate, header, chunk)
    metric = chunk.metric if number_of(chunk.metric) else None
    if refused is Reason.NO_CONSENT:
        return _Refused(refused, metric, header.adapter, withheld=True)
    reason = fault(chunk) or refused
    return (header, chunk) if reason is None else _Refused(reason, metric, header.adapter)


def _refused_by(gate: Gate, header: BatchHeader, chunk: WaveformChunk) -> Reason | None:
    """Return why the gate refuses a chunk, judged by where it begins."""
    if gate.is_open:
        return None
    start, metric = np.array([chunk.start_us]), np.array([number_of(chunk.metric)], np.int16)
    return next((reason for reason, which in gate.judge(header, start, metric) if which[0]), None)


def signal_of(
    header: BatchHeader, chunk: WaveformChunk, patients: Mapping[str, int], origins: Mapping[tuple[str, str], int]
) -> SignalKey:
    """Return the key of a chunk's signal. Raises KeyError for an id without a key."""
    origin = origins[header.device_id, header.source_app]
    return patients[header.patient_id], origin, number_of(chunk.metric), chunk.channel


@dataclass(frozen=True, slots=True)
class Assembled:
    """What records come to: chunk rows, derived samples and their rows, what is quarantined, each signal's new memory.

    `late` counts the chunks that were only stored; `not_consented` those that no consent covers, by (adapter, metric).
    """

    chunks: list[ChunkRow]
    derived: Validated
    placed: Placed
    rejected: list[Rejected]
    states: dict[SignalKey, SignalState]
    late: int
    not_consented: Mapping[tuple[str, int], int]


def assemble(
    policy: WaveformPolicy,
    opened: Opened,
    memory: Mapping[SignalKey, SignalState],
    patients: Mapping[str, int],
    origins: Mapping[tuple[str, str], int],
) -> Assembled:
    """Advance every signal through its chunks, in order. `memory` is left as it is."""
    states: dict[SignalKey, SignalState] = {}
    rows: list[ChunkRow] = []
    derived: list[SampleColumns] = [_NOTHING]
    counts: list[int] = []
    headers: list[BatchHeader | None] = []
    late = 0
    for one in opened.told:
        columns = _NOTHING
        if one is not None:
            header, chunk = one
            signal = signal_of(header, chunk, patients, origins)
            outcome = advance(policy, states.get(signal) or memory.get(signal), chunk)
            states[signal] = outcome.state
            rows += _rows(signal, header, outcome)
            columns = _columns(outcome.derived, chunk)
            late += outcome.late
        headers.append(None if one is None else _derived_header(*one))
        counts.append(len(columns))
        derived.append(columns)
    joined = SampleColumns.concat(derived)
    decoded = Decoded(headers, np.array(counts, np.int64), joined, {})
    codes = without_consent(opened.gate, headers, decoded.counts, joined, reasons(joined))
    validated = Validated(decoded, codes, withheld=opened.withheld | records_without_consent(decoded, codes))
    bad = [*opened.failures, *rejected(validated)]
    placed = place(validated, patients, origins)
    return Assembled(rows, validated, placed, bad, states, late, opened.not_consented)


def _derived_header(header: BatchHeader, chunk: WaveformChunk) -> BatchHeader:
    return replace(header, source_app=derived_app(chunk.metric, chunk.channel))


def _rows(signal: SignalKey, header: BatchHeader, outcome: Outcome) -> list[ChunkRow]:
    return [_row(signal, header, piece) for piece in outcome.pieces]


def _row(signal: SignalKey, header: BatchHeader, piece: Piece) -> ChunkRow:
    chunk = piece.chunk
    return ChunkRow(
        signal=signal, time_us=piece.time_us, first_us=piece.start_us - piece.time_us, sample_rate_hz=piece.rate_hz,
        original_rate_hz=chunk.rate_hz, scale=chunk.scale, values=piece.values, written_us=chunk.written_us,
        received_us=chunk.received_us, quality=chunk.quality, flags=flags_of(chunk), context=chunk.context,
        zone_offset_min=chunk.zone_offset_min, adapter=header.adapter,
    )  # fmt: skip


def _columns(derived: Sequence[Derived], chunk: WaveformChunk) -> SampleColumns:
    """Return derived samples as columns; written and received when the chunk that completed them was."""
    return SampleColumns.concat(
        [
            _NOTHING,
            *(
                sample_columns(
                    one.start_us, np.full(len(one.start_us), number_of(one.metric), np.int16), one.value,
                    written_us=chunk.written_us, received_us=chunk.received_us, duration_ms=one.duration_ms,
                    zone_offset_min=chunk.zone_offset_min, quality=one.quality, context=chunk.context,
                )
                for one in derived
            ),
        ]
    )  # fmt: skip


_NONE = np.empty(0, np.int64)
_NOTHING = sample_columns(_NONE, _NONE.astype(np.int16), _NONE.astype(np.float64), received_us=_NONE)
