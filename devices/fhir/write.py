"""Samples as a FHIR R4 Bundle of Observations: LOINC, UCUM, opaque ids, nothing else of a person."""

from __future__ import annotations

import hashlib
import uuid
from datetime import timedelta, timezone
from typing import Any, Final

from devices.fhir import codes
from vitals.batch import NO_ZONE, BatchHeader, SampleColumns
from vitals.catalogue import BY_CODE, BY_NUMBER, UNKNOWN_METRIC, Kind, Metric, RetentionClass
from vitals.clock import to_datetime

_CATEGORIES: Final = {
    RetentionClass.VITAL: "vital-signs",
    RetentionClass.ACTIVITY: "activity",
    RetentionClass.SLEEP: "activity",
    RetentionClass.REPORTED: "survey",
}
_CATEGORY_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
_MAX_OFFSET_MIN: Final = 14 * 60
"""What a FHIR dateTime may say."""

_PANEL: Final = "85354-9"
"""Blood pressure panel with all children optional."""
_PRESSURES: Final = frozenset(BY_CODE[code].number for code in ("bp_systolic", "bp_diastolic", "bp_mean"))

Json = dict[str, Any]


def to_bundle(header: BatchHeader, samples: SampleColumns) -> Json:
    """Return the samples of one batch as a Bundle of type `collection`, one Observation each.

    Blood pressures that were measured together are one panel, as the vital signs profile has it.
    Patient and device are logical references to opaque ids. A deleted sample is `entered-in-error` and has no value.
    Reading it again with `devices.fhir.ADAPTER` gives the same samples, except for when they were received. Raises
    KeyError for a sample whose metric the catalogue lacks.
    """
    entries = [_entry(header, samples, group) for group in _groups(samples)]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _groups(samples: SampleColumns) -> list[list[int]]:
    """Return the places of the samples, those of one blood pressure together."""
    groups: list[list[int]] = []
    panels: dict[tuple[object, ...], list[int]] = {}
    for at, metric in enumerate(samples.metric.tolist()):
        if metric not in _PRESSURES:
            groups.append([at])
            continue
        panel = panels.get(key := _together(samples, at))
        if panel is None or any(samples.metric[one] == metric for one in panel):
            groups.append(panel := [])
            panels[key] = panel
        panel.append(at)
    return groups


def _together(samples: SampleColumns, at: int) -> tuple[object, ...]:
    columns = (
        samples.start_us, samples.duration_ms, samples.zone_offset_min, samples.written_us, samples.quality,
        samples.context, samples.deleted,
    )  # fmt: skip
    return (*(column[at].item() for column in columns), samples.sample_id[at].tobytes())


def _entry(header: BatchHeader, samples: SampleColumns, group: list[int]) -> Json:
    at = group[0]
    if int(samples.metric[at]) == UNKNOWN_METRIC:
        raise KeyError("a sample of an unknown metric has no Observation")
    metric, offset = BY_NUMBER[int(samples.metric[at])], int(samples.zone_offset_min[at])
    start_us, duration_ms = int(samples.start_us[at]), int(samples.duration_ms[at])
    deleted = bool(samples.deleted[at])
    observation: Json = {
        "resourceType": "Observation",
        "status": "entered-in-error" if deleted else "final",
        "subject": _logical(codes.PATIENT_ID, header.patient_id),
        "device": _logical(codes.DEVICE_ID, header.device_id),
        "issued": _instant(int(samples.written_us[at]), NO_ZONE),
        **_effective(start_us, duration_ms, offset),
        **(_panel(samples, group) if len(group) > 1 else _part(samples, at)),
        **_category(metric),
        **_extensions(float(samples.quality[at]), int(samples.context[at])),
        **_identifier(samples.sample_id[at].tobytes()),
    }
    what = _PANEL if len(group) > 1 else metric.code
    key = "\x1f".join((*_identity(header), what, str(start_us), str(duration_ms)))
    known = uuid.UUID(bytes=hashlib.sha256(key.encode()).digest()[:16], version=5)
    return {"fullUrl": f"urn:uuid:{known}", "resource": observation}


def _identity(header: BatchHeader) -> tuple[str, str, str]:
    return header.patient_id, header.device_id, header.source_app


def _logical(system: str, value: str) -> Json:
    return {"identifier": {"system": system, "value": value}}


def _code(metric: Metric) -> Json:
    loinc = [{"system": codes.LOINC, "code": metric.loinc}] if metric.loinc else []
    return {"coding": [*loinc, {"system": codes.VIGIL, "code": metric.code}]}


def _part(samples: SampleColumns, at: int) -> Json:
    """Return code and value of one sample; a deleted one has none."""
    metric = BY_NUMBER[int(samples.metric[at])]
    value = {} if samples.deleted[at] else _value(metric, float(samples.value[at]))
    return {"code": _code(metric), **value}


def _panel(samples: SampleColumns, group: list[int]) -> Json:
    return {
        "code": {"coding": [{"system": codes.LOINC, "code": _PANEL}]},
        "component": [_part(samples, at) for at in group],
    }


def _category(metric: Metric) -> Json:
    word = _CATEGORIES.get(metric.retention)
    return {"category": [{"coding": [{"system": _CATEGORY_SYSTEM, "code": word}]}]} if word else {}


def _value(metric: Metric, value: float) -> Json:
    if metric.kind is Kind.CATEGORY:
        coding = {"system": codes.CATEGORY + metric.code, "code": metric.categories[int(value)]}
        return {"valueCodeableConcept": {"coding": [coding]}}
    return {"valueQuantity": {"value": value, "unit": metric.unit, "system": codes.UCUM, "code": metric.unit}}


def _effective(start_us: int, duration_ms: int, offset: int) -> Json:
    start = _instant(start_us, offset)
    if not duration_ms:
        return {"effectiveDateTime": start}
    return {"effectivePeriod": {"start": start, "end": _instant(start_us + duration_ms * 1_000, offset)}}


def _instant(time_us: int, offset: int) -> str:
    """Return FHIR text, exact to the microsecond; `Z` where nobody told the wearer's zone."""
    if abs(offset) > _MAX_OFFSET_MIN:
        return to_datetime(time_us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    local = to_datetime(time_us).astimezone(timezone(timedelta(minutes=offset)))
    return local.isoformat(timespec="microseconds")


def _extensions(quality: float, context: int) -> Json:
    found: list[Json] = []
    if quality != 1.0:
        found.append({"url": codes.QUALITY, "valueDecimal": quality})
    if context:
        found.append({"url": codes.CONTEXT, "valueInteger": context})
    return {"extension": found} if found else {}


def _identifier(sample_id: bytes) -> Json:
    return {"identifier": [{"system": codes.SAMPLE_ID, "value": sample_id.hex()}]} if any(sample_id) else {}
