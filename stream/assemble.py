"""From raw records to one write: decode, validate, reduce, turn into rows. Pure; the keys come from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingest.record import Decoded, Headers, decode_many, hint
from stream.reduce import DEFAULT_REDUCTION, ReductionPolicy, left_out
from stream.validate import NO_CONSENT, flags, refused
from timeseries.model import Rejected, SampleIds, SourceRecord
from timeseries.rows import ROW, Rows, sort_order
from vitals.batch import BatchHeader
from vitals.catalogue import BY_NUMBER, LOW
from vitals.gate import OPEN, Gate
from vitals.validity import REASONS, reasons


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A Kafka record as the consumer hands it over.

    `epoch` and `follows` (the offset at which the watermark stands before this record) are the recorder's to fill in.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    epoch: int = 0
    follows: int = 0

    def source(self, *, withheld: bool = False) -> SourceRecord:
        """Return the record as the quarantine keeps it, `withheld`: without its value."""
        patient, device, adapter = hint(self.key, self.headers)
        return SourceRecord(
            self.topic, self.partition, self.epoch, self.offset, self.timestamp_ms,
            patient, device, adapter, self.key, list(self.headers), None if withheld else self.value, withheld,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Validated:
    """Decoded records and the verdict on each sample (an index into `vitals.validity.REASONS`, 0 accepted).

    `reduced` holds the ascending positions of accepted samples that are not stored, because others stand for them.
    `withheld` are the positions of records whose value the quarantine does not keep: no consent covers all of it.
    """

    decoded: Decoded
    codes: NDArray[np.uint8]
    reduced: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    withheld: frozenset[int] = frozenset()

    @property
    def headers(self) -> list[BatchHeader | None]:
        """Each record's header, None where it could not be opened, or where no consent covers any of its samples."""
        if not self.withheld:
            return list(self.decoded.headers)
        record = _positions(self.decoded.counts)[0]
        known = set(record[self.codes != NO_CONSENT].tolist()) | set(np.flatnonzero(self.decoded.counts == 0).tolist())
        return [header if at in known else None for at, header in enumerate(self.decoded.headers)]

    @property
    def patients(self) -> list[str]:
        """The distinct patient ids."""
        return list({header.patient_id for header in self.headers if header is not None})

    @property
    def origins(self) -> list[tuple[str, str]]:
        """The distinct (device id, source app) pairs."""
        return list({(header.device_id, header.source_app) for header in self.headers if header is not None})

    @property
    def adapters(self) -> list[str]:
        """Each record's adapter, `unknown` where the record could not be opened."""
        return ["unknown" if header is None else header.adapter for header in self.decoded.headers]

    @property
    def stored(self) -> NDArray[np.intp]:
        """The positions of the samples that become rows: accepted and not reduced."""
        stays = self.codes == 0
        stays[self.reduced] = False
        return np.flatnonzero(stays)

    @property
    def reduced_counts(self) -> dict[tuple[str, int], int]:
        """How many samples were reduced, by adapter and metric number."""
        return self._counts(self.reduced)

    @property
    def not_consented(self) -> dict[tuple[str, int], int]:
        """How many samples no consent covers, by adapter and metric number."""
        return self._counts(np.flatnonzero(self.codes == NO_CONSENT)) if self.withheld else {}

    def _counts(self, at: NDArray[np.intp]) -> dict[tuple[str, int], int]:
        if not len(at):
            return {}
        record = _positions(self.decoded.counts)[0][at]
        told = record.astype(np.int64) * len(LOW) + self.decoded.columns.metric[at]
        adapters, counts = self.adapters, dict[tuple[str, int], int]()
        for pair, samples in zip(*np.unique(told, return_counts=True), strict=True):
            key = adapters[pair // len(LOW)], int(pair % len(LOW))
            counts[key] = counts.get(key, 0) + int(samples)
        return counts


def validate(records: Sequence[RawRecord], policy: ReductionPolicy = DEFAULT_REDUCTION, gate: Gate = OPEN) -> Validated:
    """Decode, validate and reduce records. Raises nothing: what cannot be decoded stands in `decoded.failures`."""
    decoded = decode_many((record.key, record.value, record.headers) for record in records)
    codes = refused(gate, decoded.headers, decoded.counts, decoded.columns, reasons(decoded.columns))
    reduced = left_out(policy, decoded.counts, decoded.columns, codes == 0)
    return Validated(decoded, codes, reduced, _withheld(gate, records, decoded, codes))


def _withheld(gate: Gate, records: Sequence[RawRecord], decoded: Decoded, codes: NDArray[np.uint8]) -> frozenset[int]:
    """Return the records of which the value must not be kept."""
    if gate.is_open:
        return frozenset()
    unread = (at for at in decoded.failures if not gate.may_keep_unread(hint(records[at].key, records[at].headers)[0]))
    return records_without_consent(decoded, codes).union(unread)


def records_without_consent(decoded: Decoded, codes: NDArray[np.uint8]) -> frozenset[int]:
    """Return the positions of records that hold a sample which no consent covers."""
    return frozenset(_positions(decoded.counts)[0][codes == NO_CONSENT].tolist())


@dataclass(frozen=True, slots=True)
class Placed:
    """Samples to store as rows, and where each came from: its record's position and its index in that record.

    `ids` is None where none of them came with an id.
    """

    rows: Rows
    record: NDArray[np.int32]
    index: NDArray[np.int32]
    ids: SampleIds | None = None


def place(validated: Validated, patient_keys: Mapping[str, int], origin_keys: Mapping[tuple[str, str], int]) -> Placed:
    """Return the samples to store as rows, in the order of the table's index. Raises KeyError for an unknown id."""
    decoded = validated.decoded
    record, index = _positions(decoded.counts)
    stored = validated.stored
    columns = decoded.columns
    if len(stored) < len(record):
        columns, record, index = columns.take(stored), record[stored], index[stored]
    rows = np.empty(len(stored), ROW)
    headers = validated.headers
    rows["patient_key"] = _per_record(headers, lambda h: patient_keys[h.patient_id])[record]
    rows["origin_key"] = _per_record(headers, lambda h: origin_keys[h.device_id, h.source_app])[record]
    rows["time"], rows["written_at"], rows["received_at"] = columns.start_us, columns.written_us, columns.received_us
    rows["metric_key"], rows["duration_ms"] = columns.metric, columns.duration_ms
    rows["value"] = np.where(columns.deleted, 0.0, columns.value)
    rows["quality"] = np.where(columns.deleted, np.float32(0), columns.quality)
    rows["flags"], rows["context"] = flags(columns), columns.context
    rows["zone_offset_min"] = columns.zone_offset_min
    order = sort_order(rows)  # here, where it can run while the batch before is stored
    return Placed(rows[order], record[order], index[order], _ids(columns.sample_id, order))


def _ids(sample_id: NDArray[np.uint8], order: NDArray[np.intp]) -> SampleIds | None:
    """Return the ids of rows in this order, None where there are none: most senders give none."""
    if not sample_id.any():
        return None
    told = sample_id[order]
    at = np.flatnonzero(told.any(axis=1))
    return SampleIds(at, told[at])


def rejected(validated: Validated) -> list[Rejected]:
    """Return what goes into quarantine: records that could not be opened, then samples with their reasons.

    What no consent covers does not: it is counted.
    """
    decoded = validated.decoded
    found = [Rejected(position, -1, error.reason.value) for position, error in sorted(decoded.failures.items())]
    bad = np.flatnonzero((validated.codes != 0) & (validated.codes != NO_CONSENT))
    if not len(bad):
        return found
    record, index = _positions(decoded.counts)
    for at in bad:
        reason, metric = REASONS[validated.codes[at]], BY_NUMBER.get(int(decoded.columns.metric[at]))
        found.append(Rejected(int(record[at]), int(index[at]), str(reason), None if metric is None else metric.code))
    return found


def _positions(counts: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return, for every sample of the joined columns, its record's position and its index within that record."""
    record = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    starts = np.cumsum(counts) - counts
    index = np.arange(len(record)) - starts[record]
    return record, index.astype(np.int32)


def _per_record(headers: Sequence[BatchHeader | None], key_of: Callable[[BatchHeader], int]) -> NDArray[np.int32]:
    return np.array([0 if header is None else key_of(header) for header in headers], np.int32)
