"""From one Observation to rows and waveforms, or to the reason why not."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from devices.adapter import Reading
from devices.fhir import codes
from devices.fhir.resources import CodeableConcept, Identifier, Measured, Observation, Quantity, SampledData
from devices.fhir.sampled import BadSeries, counts, parts, runs
from devices.local_time import BadTime, Zone
from devices.rows import Origin, Row, Rows
from vitals.catalogue import BY_CODE, Kind
from vitals.ids import pseudonym
from vitals.waveform import WaveformChunk

_APP: Final = "fhir"
_READ: Final = frozenset({"final", "amended", "corrected", "preliminary"})
_DELETED: Final = "entered-in-error"
_WITHOUT_RESULT: Final = frozenset({"registered", "cancelled", "unknown"})
_DECIMALS: Final = 9
_PERIOD_MS: Final = (1e-3, 1e7)


class Refused(Exception):
    """An Observation gives nothing; `reason` says why, `ignored` whether that is no fault of its own."""

    def __init__(self, reason: str, *, ignored: bool = False) -> None:
        super().__init__()
        self.reason, self.ignored = reason, ignored


class When(NamedTuple):
    """What times an Observation tells."""

    start_us: int
    duration_ms: int
    zone_offset_min: int
    written_us: int


@dataclass(frozen=True, slots=True)
class Found:
    """What one part of an Observation measured, before anything of it is kept."""

    target: codes.Target
    row: Row | None = None
    chunks: tuple[WaveformChunk, ...] = ()
    series: tuple[Row, ...] = ()


class ObservationReader:
    """Takes Observations one by one. Whose they are is checked: all of a file must be of one subject."""

    def __init__(self, rows: Rows, reading: Reading, zone: Zone) -> None:
        self._rows, self._reading, self._zone = rows, reading, zone
        self._subject = ""

    def take(self, told: Observation) -> None:
        """Keep what it measured. Raises `Refused`."""
        self._check(told)
        when = self._when(told)
        found: list[Found] = []
        faults: list[Refused] = []
        for part in (told, *told.component):
            try:
                found.append(self._measured(told, part, when))
            except Refused as refused:
                faults.append(refused)
        if not found:
            # A panel has no value of its own: what is wrong with its components says more.
            raise next((one for one in faults if one.reason not in {"code", "value_type"}), faults[0])
        device = pseudonym(self._reading.hash_key, told.device.key, "fhir")
        for one in found:
            self._keep(Origin(device, _APP + one.target.suffix), one)

    def _keep(self, origin: Origin, found: Found) -> None:
        for row in (*((found.row,) if found.row else ()), *found.series):
            self._rows.add(origin, row)
        for chunk in found.chunks:
            self._rows.wave(origin, chunk)

    def _check(self, told: Observation) -> None:
        if told.status in _WITHOUT_RESULT:
            raise Refused("without_result", ignored=True)
        if told.status not in _READ and told.status != _DELETED:
            raise Refused("not_well_formed")
        whose = told.subject.key
        if whose and not self._subject:
            self._subject = whose
        elif whose and whose != self._subject:
            raise Refused("other_subject")

    def _when(self, told: Observation) -> When:
        """Return the times. Raises `Refused`: a date without a time says no moment."""
        try:
            return self._times(told)
        except BadTime:
            raise Refused("date") from None

    def _times(self, told: Observation) -> When:
        moment = told.effectiveDateTime or told.effectiveInstant
        period, duration_ms = told.effectivePeriod, 0
        if moment is None and period is not None:
            moment = period.start
        start_us, offset = self._moment(moment)
        if period is not None and period.end is not None:
            duration_ms = (self._moment(period.end)[0] - start_us) // 1_000
        written = told.issued or told.meta.lastUpdated
        written_us = self._reading.received_us if written is None else self._moment(written)[0]
        return When(start_us, duration_ms, offset, written_us)

    def _moment(self, text: str | None) -> tuple[int, int]:
        if text is None or "T" not in text:
            raise BadTime
        time_us, offset = self._zone.read(text)
        return time_us, offset

    def _measured(self, told: Observation, part: Measured, when: When) -> Found:
        """Return what one part measured. Raises `Refused`."""
        target = _target(part.code)
        deleted = told.status == _DELETED
        if part.valueSampledData is not None and not deleted:
            return self._series(target, part.valueSampledData, when)
        metric = BY_CODE[target.metric]
        if metric.kind is Kind.WAVEFORM:
            raise Refused("value_type")
        value = 0.0 if deleted else _value(part, target)
        row = Row(
            when.start_us, metric.number, value, when.duration_ms, when.zone_offset_min, _context(told),
            when.written_us, _quality(told), deleted, self._sample_id(told, target),
        )  # fmt: skip
        if metric.kind is Kind.INTERVAL and not row.duration_ms:
            raise Refused("duration")
        _checked(row)
        return Found(target, row)

    def _series(self, target: codes.Target, data: SampledData, when: When) -> Found:
        scale = codes.scale_of(target.metric, data.origin.code, data.origin.unit)
        if scale is None:
            raise Refused("unit")
        if not _PERIOD_MS[0] <= data.period <= _PERIOD_MS[1] or data.origin.value is None:
            raise Refused("value")
        if data.dimensions != 1 and target.metric != "acceleration":
            raise Refused("value_type")
        try:
            if BY_CODE[target.metric].kind is Kind.WAVEFORM:
                found = Found(target, chunks=tuple(self._chunks(target, data, scale, when)))
            else:
                found = Found(target, series=tuple(_trend(target, data, scale, when)))
        except BadSeries:
            raise Refused("value") from None
        if not found.chunks and not found.series:
            raise Refused("absent", ignored=True)
        return found

    def _chunks(
        self, target: codes.Target, data: SampledData, scale: codes.Scale, when: When
    ) -> Iterator[WaveformChunk]:
        factor, origin = data.factor * scale[0], (data.origin.value or 0.0) * scale[0] + scale[1]
        for first, told in runs(data):
            values, step = counts(told, factor, origin)
            for place, part in parts(values, data.dimensions):
                start_us = when.start_us + round((first + place) * data.period * 1_000)
                _checked(Row(start_us, BY_CODE[target.metric].number, 0.0))
                yield WaveformChunk(
                    target.metric, start_us, 1_000 / data.period, part, step, when.written_us,
                    self._reading.received_us, target.channel, zone_offset_min=when.zone_offset_min,
                )  # fmt: skip

    def _sample_id(self, told: Observation, target: codes.Target) -> bytes:
        """Return the id by which the source knows the sample: Vigil's own if it wrote it, else a hash of FHIR's."""
        for one in told.identifier:
            if one.system == codes.SAMPLE_ID:
                return _own_id(one)
        if not told.id:
            return bytes(16)
        text = f"{told.id}\x1f{target.metric}{target.suffix}"
        return hmac.new(self._reading.hash_key, text.encode(), hashlib.sha256).digest()[:16]


def _own_id(identifier: Identifier) -> bytes:
    try:
        found = bytes.fromhex(identifier.value)
    except ValueError:
        raise Refused("not_well_formed") from None
    if len(found) != 16:
        raise Refused("not_well_formed")
    return found


def _target(concept: CodeableConcept) -> codes.Target:
    """Return what the codes mean: Vigil's own first, then the first that is known. Raises `Refused`."""
    ours = sorted(concept.coding, key=lambda one: one.system != codes.VIGIL)
    found = [codes.TARGETS[key] for one in ours if (key := (one.system, one.code)) in codes.TARGETS]
    if not found:
        raise Refused("code", ignored=True)
    return found[0]


def _value(part: Measured, target: codes.Target) -> float:
    """Return the value in the catalogue's unit. Raises `Refused`."""
    if part.dataAbsentReason is not None:
        raise Refused("absent", ignored=True)
    if part.valueCodeableConcept is not None:
        return _category(part.valueCodeableConcept, target)
    if part.valueInteger is not None:
        return _converted(float(part.valueInteger), codes.scale_of(target.metric, "1", BY_CODE[target.metric].unit))
    quantity = part.valueQuantity
    if quantity is None:
        raise Refused("value_type")
    if quantity.comparator:
        raise Refused("comparator")
    return _quantity(quantity, target)


def _quantity(quantity: Quantity, target: codes.Target) -> float:
    if quantity.value is None:
        raise Refused("value")
    return _converted(quantity.value, codes.scale_of(target.metric, quantity.code, quantity.unit))


def _converted(value: float, scale: codes.Scale | None) -> float:
    if scale is None:
        raise Refused("unit")
    converted = value if scale == (1.0, 0.0) else round(value * scale[0] + scale[1], _DECIMALS)
    if not math.isfinite(converted):
        raise Refused("value")
    return converted


def _category(concept: CodeableConcept, target: codes.Target) -> float:
    words = {word: number for number, word in BY_CODE[target.metric].categories.items()}
    system = codes.CATEGORY + target.metric
    found = [words[one.code] for one in concept.coding if one.system == system and one.code in words]
    if not found:
        raise Refused("value")
    return float(found[0])


def _trend(target: codes.Target, data: SampledData, scale: codes.Scale, when: When) -> Iterator[Row]:
    """Yield a row for each value of a series that is no waveform."""
    metric = BY_CODE[target.metric]
    if metric.kind is not Kind.INSTANTANEOUS:
        raise Refused("value_type")
    for first, values in runs(data):
        for place, told in enumerate(values.tolist(), first):
            value = _converted(told * data.factor + (data.origin.value or 0.0), scale)
            start_us = when.start_us + round(place * data.period * 1_000)
            row = Row(start_us, metric.number, value, 0, when.zone_offset_min, 0, when.written_us)
            _checked(row)
            yield row


def _checked(row: Row) -> None:
    if row.fault is not None:
        raise Refused(row.fault)


def _quality(told: Observation) -> float:
    found = [one.valueDecimal for one in told.extension if one.url == codes.QUALITY and one.valueDecimal is not None]
    return min(max(found[0], 0.0), 1.0) if found else 1.0


def _context(told: Observation) -> int:
    found = [one.valueInteger for one in told.extension if one.url == codes.CONTEXT and one.valueInteger is not None]
    return found[0] & 0x7FFF if found else 0
