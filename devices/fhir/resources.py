"""The part of FHIR R4 that is read: of an Observation what is measured, never who it is of or who wrote it.

Models of our own: the whole standard's (fhir.resources) cost four times the time and memory and would build Patients
that nobody may look at (docs/decisions/0013-adapter-libraries.md).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Word = Annotated[str, StringConstraints(strict=True, max_length=256)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Coding(_Part):
    """A code of a system."""

    system: Word = ""
    code: Word = ""


class CodeableConcept(_Part):
    """Codes that mean the same; its text is not read."""

    coding: tuple[Coding, ...] = ()


class Quantity(_Part):
    """A number with its unit, in UCUM where `system` says so."""

    value: Number | None = None
    comparator: Word | None = None
    unit: Word = ""
    code: Word = ""


class Period(_Part):
    """From and to."""

    start: Word | None = None
    end: Word | None = None


class SampledData(_Part):
    """A series: value = data x factor + origin, one every `period` milliseconds."""

    origin: Quantity
    period: Number
    factor: Number = 1.0
    dimensions: Annotated[int, Field(strict=True, ge=1, le=16)] = 1
    data: str = ""


class Identifier(_Part):
    """An id that somebody else gave."""

    system: Word = ""
    value: Word = ""


class Reference(_Part):
    """What another resource is called; compared and hashed, and its display text is not read."""

    reference: Word = ""
    identifier: Identifier = Identifier()

    @property
    def key(self) -> str:
        """Which resource is meant, empty where none is."""
        named = self.identifier
        return self.reference or (f"{named.system}|{named.value}" if named.value else "")


class Extension(_Part):
    """What Vigil adds to what it writes."""

    url: Word = ""
    valueDecimal: Number | None = None  # noqa: N815 - FHIR's names
    valueInteger: Annotated[int, Field(strict=True)] | None = None  # noqa: N815


class Meta(_Part):
    """When a server last changed the resource."""

    lastUpdated: Word | None = None  # noqa: N815


class Measured(_Part):
    """What an Observation and each of its components have."""

    code: CodeableConcept
    valueQuantity: Quantity | None = None  # noqa: N815
    valueInteger: Annotated[int, Field(strict=True)] | None = None  # noqa: N815
    valueCodeableConcept: CodeableConcept | None = None  # noqa: N815
    valueSampledData: SampledData | None = None  # noqa: N815
    dataAbsentReason: CodeableConcept | None = None  # noqa: N815


class Observation(Measured):
    """One Observation."""

    status: Word
    id: Word = ""
    identifier: tuple[Identifier, ...] = ()
    meta: Meta = Meta()
    subject: Reference = Reference()
    device: Reference = Reference()
    effectiveDateTime: Word | None = None  # noqa: N815
    effectiveInstant: Word | None = None  # noqa: N815
    effectivePeriod: Period | None = None  # noqa: N815
    issued: Word | None = None
    component: tuple[Measured, ...] = ()
    extension: tuple[Extension, ...] = ()
