"""From what an adapter told of a document to what is to be delivered of it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.adapter import Piece, Session, Tally
from ingest.gateway.judge import judge
from ingest.gateway.parsed import BodyRefused, Delivery, Judged, Outcome, Parsed, Retry, Status
from ingest.gateway.ports import Notes
from ingest.record_arrow import MalformedRecord
from ingest.topics import ANNOTATIONS, WAVEFORMS
from ingest.waveform_record import encode_chunk
from vitals.access import Principal
from vitals.batch import BatchHeader, SampleColumns
from vitals.catalogue import BY_CODE, UNKNOWN_METRIC
from vitals.gate import Gate
from vitals.ids import PatientId
from vitals.quality import Reason
from vitals.waveform_validity import fault

MAX_OUTCOMES: Final = 1_000
"""So many entries are named in an answer; the counts stay exact."""

Origin = tuple[str, str]
"""Device and source application."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A record that Vigil has no metric for, by its place in the document."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Told:
    """What an adapter told of a whole document: a piece for each origin, and the count of its records.

    `places` says, where the adapter can, which record each sample of an origin came from; `rejected` and `ignored`
    are the records that gave nothing, as many of them as are listed.
    """

    pieces: tuple[Piece, ...]
    tally: Tally
    places: Mapping[Origin, NDArray[np.int64]] = field(default_factory=dict)
    rejected: tuple[Outcome, ...] = ()
    ignored: tuple[Ignored, ...] = ()


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all records of one request share."""

    principal: Principal
    patient_id: PatientId
    adapter: str
    received_us: int
    request_id: str
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Weighed:
    """A document after the gate: everything to deliver, and what was refused of it."""

    judged: Judged
    duplicates: int
    refused: Counter[str]
    """Samples by reason."""
    waveforms: int
    refused_waveforms: Counter[str]
    sessions: int
    refused_sessions: Counter[str]
    sessions_not_consented: Mapping[int, int] = field(default_factory=dict)
    """By the number of the metric that they are about, as the annotator counts them."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all of the document is taken."""
        return not (self.judged.accepted or self.duplicates or self.waveforms or self.sessions)


def gathered(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Return one piece for each origin, its samples in the order in which they came."""
    by_origin: dict[Origin, list[Piece]] = {}
    for piece in pieces:
        by_origin.setdefault((piece.device_id, piece.source_app), []).append(piece)
    return tuple(_joined(group) for group in by_origin.values())


def _joined(group: Sequence[Piece]) -> Piece:
    samples = [piece.samples for piece in group if piece.samples is not None]
    return Piece(
        group[0].device_id,
        group[0].source_app,
        SampleColumns.concat(samples) if samples else None,
        tuple(chunk for piece in group for chunk in piece.waveforms),
        tuple(session for piece in group for session in piece.sessions),
    )


def weigh(told: Told, envelope: Envelope, gate: Gate, notes: Notes) -> Weighed:
    """Ask the gate about everything that a document told. Samples are judged as those of any request."""
    judged = [_samples(piece, told, envelope, gate) for piece in told.pieces if piece.samples is not None]
    waves = [_waveforms(piece, envelope, gate) for piece in told.pieces]
    sessions = [_sessions(piece, envelope, gate, notes) for piece in told.pieces]
    deliveries = [one for part in judged for one in part.deliveries]
    deliveries += [one for part in (*waves, *sessions) for one in part.deliveries]
    outcomes = [one for part in judged for one in part.outcomes]
    unconsented = _summed([*(dict(part.not_consented) for part in judged), *(part.not_consented for part in waves)])
    return Weighed(
        Judged(
            tuple(deliveries), sum(part.accepted for part in judged), tuple(outcomes),
            sum(part.deletions for part in judged), unconsented,
        ),
        sum(one.status is Status.DUPLICATE for one in outcomes),
        Counter(str(one.reason) for one in outcomes if one.status is Status.REJECTED),
        sum(part.accepted for part in waves),
        sum((part.refused for part in waves), Counter()),
        sum(part.accepted for part in sessions),
        sum((part.refused for part in sessions), Counter()),
        _summed(part.not_consented for part in sessions),
    )  # fmt: skip


def _summed(parts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    total = Counter[int]()
    for part in parts:
        total.update(part)
    return dict(total)


def _samples(piece: Piece, told: Told, envelope: Envelope, gate: Gate) -> Judged:
    columns = piece.samples
    assert columns is not None  # noqa: S101  asked before
    places = told.places.get((piece.device_id, piece.source_app))
    parsed = Parsed(
        len(columns),
        columns,
        np.arange(len(columns), dtype=np.int64) if places is None else places,
        device=piece.device_id,
        source_app=piece.source_app,
        written_us=envelope.received_us,
    )
    try:
        return judge(
            parsed,
            envelope.principal,
            gate,
            adapter=envelope.adapter,
            received_us=envelope.received_us,
            request_id=envelope.request_id,
            traceparent=envelope.traceparent,
        )
    except BodyRefused:  # the registry knows this one device of the document as somebody else's
        others = Outcome(0, Status.REJECTED, Reason.OTHER_WEARER, Retry.LATER)
        return Judged((), 0, tuple(replace(others, index=index) for index in parsed.index.tolist()))


@dataclass(frozen=True, slots=True)
class _Passed:
    """What of a piece's waveforms or sessions is to be delivered."""

    deliveries: tuple[Delivery, ...]
    accepted: int
    refused: Counter[str]
    not_consented: Mapping[int, int] = field(default_factory=dict)


def _header(piece: Piece, envelope: Envelope) -> BatchHeader:
    return BatchHeader(
        envelope.patient_id,
        piece.device_id,
        piece.source_app,
        envelope.adapter,
        envelope.traceparent,
        envelope.request_id,
    )


def _waveforms(piece: Piece, envelope: Envelope, gate: Gate) -> _Passed:
    header, refused, unconsented = _header(piece, envelope), Counter[str](), Counter[int]()
    deliveries = []
    for chunk in piece.waveforms:
        number = BY_CODE[chunk.metric].number
        asked = _reason(gate, header, chunk.start_us, [number])
        # As for samples: a missing consent comes before what is wrong with the chunk, and that before the registry.
        reason = (
            asked if asked is Reason.NO_CONSENT else fault(replace(chunk, received_us=envelope.received_us)) or asked
        )
        if reason is None:
            try:
                deliveries.append(Delivery(encode_chunk(header, chunk), WAVEFORMS, WAVEFORMS))
            except MalformedRecord as error:
                reason = error.reason
        if reason is not None:
            refused[str(reason)] += 1
        if reason is Reason.NO_CONSENT:
            unconsented[number] += 1
    return _Passed(tuple(deliveries), len(deliveries), refused, unconsented)


def _sessions(piece: Piece, envelope: Envelope, gate: Gate, notes: Notes) -> _Passed:
    header, refused, kept = _header(piece, envelope), Counter[str](), list[Session]()
    unconsented = Counter[int]()
    for session in piece.sessions:
        numbers = [BY_CODE[code].number for code in session.metrics] or [UNKNOWN_METRIC]
        reason = _reason(gate, header, session.start_us, numbers)
        if reason is None:
            kept.append(session)
        else:
            refused[str(reason)] += 1
        if reason is Reason.NO_CONSENT:
            unconsented[numbers[0] if len(numbers) == 1 else UNKNOWN_METRIC] += 1
    if not kept:
        return _Passed((), 0, refused, unconsented)
    records = notes(envelope.patient_id, replace(piece, samples=None, waveforms=(), sessions=tuple(kept)))
    return _Passed(tuple(Delivery(one, ANNOTATIONS, ANNOTATIONS) for one in records), len(kept), refused, unconsented)


def _reason(gate: Gate, header: BatchHeader, start_us: int, numbers: Sequence[int]) -> Reason | None:
    """Return why something that began then, and is about these metrics, is refused: for any one of them."""
    metric = np.array(numbers, np.int16)
    found = gate.judge(header, np.full(len(metric), start_us, np.int64), metric)
    return next((reason for reason, refused in found if refused.any()), None)


def nothing_of(gate: Gate, patient: PatientId) -> bool:
    """Tell whether the consents let nothing of this patient be stored, so that nothing need be read."""
    one = gate.people.get(patient)
    return gate.require_consent if one is None else not len(one.category)
