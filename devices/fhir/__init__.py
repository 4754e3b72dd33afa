"""FHIR R4: Observations in (a Bundle, one resource, or ndjson of a bulk export) and out."""

from devices.fhir.adapter import ADAPTER, Entries, LeftOut
from devices.fhir.write import to_bundle

__all__ = ["ADAPTER", "Entries", "LeftOut", "to_bundle"]
