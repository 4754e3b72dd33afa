"""The adapter of FHIR R4: finds the Observations in a file."""

from __future__ import annotations

from collections.abc import Iterator
from os import SEEK_END
from typing import Any, BinaryIO, Final

from pydantic import ValidationError

from devices.adapter import Piece, Reading, Source
from devices.archive import opened
from devices.documents import Unreadable, json_document
from devices.errors import MalformedExport
from devices.fhir.read import ObservationReader, Refused
from devices.fhir.resources import Observation
from devices.local_time import Zone
from devices.rows import Rows, drained

MAX_DOCUMENT_BYTES: Final = 64 << 20
MAX_LINE_BYTES: Final = 16 << 20
_EVERY: Final = 500
_KNOWN: Final = frozenset(
    {
        "AllergyIntolerance", "CarePlan", "CareTeam", "Claim", "Condition", "Coverage", "Device", "DiagnosticReport",
        "DocumentReference", "Encounter", "ExplanationOfBenefit", "Goal", "ImagingStudy", "Immunization", "Location",
        "Medication", "MedicationAdministration", "MedicationRequest", "MedicationStatement", "OperationOutcome",
        "Organization", "Patient", "Practitioner", "PractitionerRole", "Procedure", "Provenance",
        "QuestionnaireResponse", "RelatedPerson", "ServiceRequest", "Specimen",
    }
)  # fmt: skip


class FhirAdapter:
    """Reads Observations of vital signs, activity, sleep and signals, in LOINC (or MDC) and UCUM."""

    name = "fhir-bundle"
    about = "FHIR R4 Observations of one person: a Bundle, a single one, or ndjson of a bulk export."

    def read(self, source: Source, reading: Reading) -> Iterator[Piece]:
        """Yield what the file tells (see `devices.adapter.Adapter.read`)."""
        rows = Rows(reading)
        with opened(source) as file:
            total = file.seek(0, SEEK_END)
            file.seek(0)
            yield from drained(rows, _steps(file, total, ObservationReader(rows, reading, Zone(reading.zone)), reading))


def _steps(file: BinaryIO, total: int, reader: ObservationReader, reading: Reading) -> Iterator[None]:
    for count, (resource, done) in enumerate(_resources(file, total), 1):
        _take(resource, reader, reading)
        if count % _EVERY == 0:
            reading.on_progress(done, total)
            yield
    reading.on_progress(total, total)


def _take(resource: object, reader: ObservationReader, reading: Reading) -> None:
    tally = reading.tally
    tally.read += 1
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if kind != "Observation":
        if isinstance(kind, str):
            tally.ignored[kind if kind in _KNOWN else "other"] += 1
        else:
            tally.rejected["not_well_formed"] += 1
        return
    try:
        reader.take(Observation.model_validate(resource))
    except ValidationError:
        tally.rejected["not_well_formed"] += 1
    except Refused as refused:
        (tally.ignored if refused.ignored else tally.rejected)[refused.reason] += 1
    else:
        tally.accepted += 1


def _resources(file: BinaryIO, total: int) -> Iterator[tuple[object, int]]:
    """Yield (resource, bytes done). Raises `MalformedExport` for what is no FHIR JSON."""
    first = file.readline(MAX_LINE_BYTES)
    head = _object(first)
    if head is not None and head.get("resourceType") not in {None, "Bundle"}:
        yield from _lines(file, first)
        return
    if total > MAX_DOCUMENT_BYTES:
        raise MalformedExport(
            f"a Bundle larger than {MAX_DOCUMENT_BYTES} bytes: export it as ndjson, a line a resource"
        )
    rest = file.read(MAX_DOCUMENT_BYTES)
    for resource in _of(head if head is not None and not rest.strip() else _document(first + rest)):
        yield resource, total


def _document(data: bytes) -> object:
    try:
        return json_document(data)
    except Unreadable:
        raise MalformedExport("no FHIR JSON: it cannot be parsed") from None


def _of(document: object) -> list[Any]:
    """Return the resources of a document. Raises `MalformedExport`."""
    if isinstance(document, dict) and document.get("resourceType") == "Bundle":
        entries = document.get("entry") or []
        if isinstance(entries, list):
            return [one.get("resource") if isinstance(one, dict) else None for one in entries]
    elif isinstance(document, dict) and isinstance(document.get("resourceType"), str):
        return [document]
    raise MalformedExport("no FHIR JSON: neither a Bundle nor a resource")


def _lines(file: BinaryIO, first: bytes) -> Iterator[tuple[object, int]]:
    """Yield the resources of ndjson; a line that cannot be read costs that line."""
    line, done = first, 0
    while line:
        done += len(line)
        if len(line) >= MAX_LINE_BYTES:
            raise MalformedExport(f"a line longer than {MAX_LINE_BYTES} bytes")
        if line.strip():
            yield _object(line), done
        line = file.readline(MAX_LINE_BYTES)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json_document(line)
    except Unreadable:
        return None
    return found if isinstance(found, dict) else None


ADAPTER: Final = FhirAdapter()
