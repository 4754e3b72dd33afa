"""The adapter of FHIR R4: finds the Observations in a file."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
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
from devices.rows import Origin, Row, Rows, drained

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


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A resource that gave nothing: its place among the file's resources, and why."""

    index: int
    reason: str
    ignored: bool


@dataclass(slots=True)
class Entries:
    """What became of each resource, by its place: filled by `FhirAdapter.read` for who has to answer for each.

    `places` holds, for each origin, the places of the resources that its samples came from, in the order of its pieces.
    """

    most: int = 1_000
    """So many of those left out are listed; `Reading.tally` counts all of them."""
    left_out: list[LeftOut] = field(default_factory=list)
    places: dict[Origin, array[int]] = field(default_factory=dict)
    at: int = 0
    """The place of the resource that is being read."""


class _PlacedRows(Rows):
    """Rows that note where each of them came from."""

    def __init__(self, reading: Reading, entries: Entries) -> None:
        super().__init__(reading)
        self._entries = entries

    def add(self, origin: Origin, row: Row) -> None:
        super().add(origin, row)
        self._entries.places.setdefault(origin, array("q")).append(self._entries.at)


class FhirAdapter:
    """Reads Observations of vital signs, activity, sleep and signals, in LOINC (or MDC) and UCUM."""

    name = "fhir-bundle"
    about = "FHIR R4 Observations of one person: a Bundle, a single one, or ndjson of a bulk export."

    def read(self, source: Source, reading: Reading, entries: Entries | None = None) -> Iterator[Piece]:
        """Yield what the file tells (see `devices.adapter.Adapter.read`); `entries` learns what became of each."""
        entries = Entries(most=0) if entries is None else entries
        rows = _PlacedRows(reading, entries) if entries.most else Rows(reading)
        reader = ObservationReader(rows, reading, Zone(reading.zone))
        with opened(source) as file:
            total = file.seek(0, SEEK_END)
            file.seek(0)
            yield from drained(rows, _steps(file, total, reader, reading, entries))


def _steps(file: BinaryIO, total: int, reader: ObservationReader, reading: Reading, entries: Entries) -> Iterator[None]:
    for count, (resource, done) in enumerate(_resources(file, total), 1):
        entries.at = count - 1
        _count(_refusal(resource, reader), reading, entries)
        if count % _EVERY == 0:
            reading.on_progress(done, total)
            yield
    reading.on_progress(total, total)


def _count(refused: Refused | None, reading: Reading, entries: Entries) -> None:
    tally = reading.tally
    tally.read += 1
    if refused is None:
        tally.accepted += 1
        return
    (tally.ignored if refused.ignored else tally.rejected)[refused.reason] += 1
    if len(entries.left_out) < entries.most:
        entries.left_out.append(LeftOut(entries.at, refused.reason, refused.ignored))


def _refusal(resource: object, reader: ObservationReader) -> Refused | None:
    """Let the reader have a resource and return why it gave nothing, None where it gave something."""
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if isinstance(kind, str) and kind != "Observation":
        return Refused(kind if kind in _KNOWN else "other", ignored=True)
    if kind != "Observation":
        return Refused("not_well_formed")
    try:
        reader.take(Observation.model_validate(resource))
    except ValidationError:
        return Refused("not_well_formed")
    except Refused as refused:
        return refused
    return None


def _resources(file: BinaryIO, total: int) -> Iterator[tuple[object, int]]:
    """Yield (resource, bytes done). Raises `MalformedExport` for what is no FHIR JSON."""
    first = file.readline(MAX_LINE_BYTES)
    head = _object(first)
    kind = head.get("resourceType") if head is not None else None
    if isinstance(kind, str) and kind != "Bundle":
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
