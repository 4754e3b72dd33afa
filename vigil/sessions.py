"""What an adapter calls a session, as the annotation that travels and is stored."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from alerts.annotation import Annotation, AnnotationKind
from devices.adapter import Piece, Session
from ingest.publisher import Publisher
from ingest.record import Record
from ingest.topics import ANNOTATIONS
from vitals.clock import to_datetime
from vitals.ids import PatientId

_NOT_A_WORD: Final = re.compile(r"[^a-z0-9_.-]+")


def annotation_of(patient: PatientId, piece: Piece, session: Session) -> Annotation:
    """Return a session of a patient as an annotation. Raises pydantic's ValidationError for one that cannot be."""
    label = f"{session.kind}.{session.label}" if session.label else session.kind
    return Annotation(
        annotation_key=f"session-{session.session_id}",
        patient_id=patient,
        kind=AnnotationKind.SESSION,
        metric=session.metrics[0] if len(session.metrics) == 1 else None,
        from_time=to_datetime(session.start_us),
        to_time=to_datetime(session.end_us),
        source=piece.source_app,
        label=_NOT_A_WORD.sub("_", label.lower())[:64],
        detail={
            "device_id": piece.device_id, "source_app": piece.source_app, "confidence": session.confidence,
            "metrics": list(session.metrics),
        },
    )  # fmt: skip


def note_records(patient: PatientId, piece: Piece) -> list[Record]:
    """Return the sessions of a piece as records for the topic of annotations."""
    notes = [annotation_of(patient, piece, session) for session in piece.sessions]
    return [Record(note.patient_id.encode(), note.to_bytes(), ()) for note in notes]


async def publish_sessions(publisher: Publisher, patient: PatientId, pieces: Iterable[Piece]) -> int:
    """Send the sessions of these pieces and return how many. Raises `BrokerUnreachable`; may be repeated."""
    records = [record for piece in pieces for record in note_records(patient, piece)]
    await publisher.confirm([await publisher.send(record, topic=ANNOTATIONS) for record in records])
    return len(records)
