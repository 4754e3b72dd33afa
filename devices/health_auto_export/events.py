"""What a payload tells beside metrics: state of mind, symptoms, medications, heart rate notifications, ECGs.

Names of medicines, notes and whatever a person could have written are never kept: words count only where they stand in
a table here, and two medicines are told apart by a keyed hash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.apple.categories import SYMPTOMS
from devices.apple.ecg import NANOVOLT, Recording, label_of
from devices.documents import number
from devices.health_auto_export.intake import Ignored, Intake, Record, Refused, id_of, value_of
from devices.health_auto_export.metrics import plain
from devices.local_time import BadTime
from devices.rows import Origin
from vitals.catalogue import BY_CODE
from vitals.quality import Context

_VALENCE: Final = BY_CODE["state_of_mind_valence"].number
_SYMPTOM: Final = BY_CODE["symptom"].number
_MEDICATION: Final = BY_CODE["medication_event"].number
_EVENT: Final = BY_CODE["heart_rate_event"].number
_HEART_RATE: Final = BY_CODE["heart_rate"].number

_KINDS: Final = {"dailymood": ".daily_mood", "mood": ".daily_mood", "momentaryemotion": ""}
# HKStateOfMind.Label, and nothing else.
_FEELING_WORDS: Final = (
    "amazed amused angry annoyed anxious ashamed brave calm confident content disappointed discouraged disgusted "
    "drained embarrassed excited frustrated grateful guilty happy hopeful hopeless indifferent irritated jealous "
    "joyful lonely overwhelmed passionate peaceful proud relieved sad satisfied scared stressed surprised "
    "worried"
)
_FEELINGS: Final = frozenset(_FEELING_WORDS.split())
_SEVERITIES: Final = {
    "": 0, "unspecified": 0, "present": 0, "not_present": 1, "mild": 2, "moderate": 3, "severe": 4,
    "no_change": 1, "increased": 0, "decreased": 0,
}  # fmt: skip
_SYMPTOM_SUFFIXES: Final = {suffix.removeprefix("."): suffix for suffix in SYMPTOMS.values()}
_TAKEN: Final = {"unspecified": 0, "taken": 1, "skipped": 2, "snoozed": 3}
_NO_EVENT: Final = frozenset({"not_interacted", "notification_not_sent", "not_logged"})
_LOW, _HIGH, _IRREGULAR = 1.0, 2.0, 3.0
_LEAST_HIGH_BPM: Final = 75
"""Apple's thresholds are 40 to 50 for low and 100 to 150 for high."""
_MAX_VOLTAGES: Final = 1_000_000


def state_of_mind(intake: Intake, record: Record) -> None:
    """Take one state of mind: its valence from -1 to 1, and as session what was felt, in Apple's own words."""
    at, duration_ms = intake.span(record)
    kind = plain(record.get("kind")).replace("_", "")
    origin = intake.origin(record.get("source"), _KINDS.get(kind, ""))
    valence = value_of(record, "valence")
    duration_ms = duration_ms if kind in {"dailymood", "mood"} else 0
    intake.add(
        origin, _VALENCE, valence, at, duration_ms=duration_ms, context=Context.USER_ENTERED, sample_id=id_of(record)
    )
    labels = record.get("labels")
    felt = sorted({plain(one) for one in labels if plain(one) in _FEELINGS}) if isinstance(labels, list) else []
    span = (at.time_us, at.time_us + duration_ms * 1_000)
    intake.session(origin, "state_of_mind", span, ("state_of_mind_valence",), label=_joined(felt))


def _joined(words: list[str]) -> str:
    """Return words with dots between them, as many as fit an opaque word."""
    text = ""
    for word in words:
        text = f"{text}.{word}" if text and len(text) + len(word) < 64 else text or word
    return text


def symptom(intake: Intake, record: Record) -> None:
    """Take one symptom; one that is not in HealthKit's list counts as `other`."""
    at, duration_ms = intake.span(record)
    severity = _SEVERITIES.get(plain(record.get("severity")))
    if severity is None:
        raise Refused("value")
    origin = intake.origin(record.get("source"), _SYMPTOM_SUFFIXES.get(plain(record.get("name")), ".other"))
    context = Context.USER_ENTERED if record.get("userEntered") is True else 0
    intake.add(origin, _SYMPTOM, float(severity), at, duration_ms=duration_ms, context=context)


def medication(intake: Intake, record: Record) -> None:
    """Take one medication event; where nothing was done or logged there is none."""
    status = plain(record.get("status"))
    if status in _NO_EVENT:
        raise Ignored("medication_without_event")
    if status not in _TAKEN:
        raise Refused("value")
    name = record.get("displayText") or record.get("name") or ""
    which = intake.hidden(name) if isinstance(name, str) and name else "unknown"
    at = intake.dates.read(record.get("start") or record.get("date") or record.get("scheduledDate"))
    intake.add(intake.origin(record.get("source"), f".med-{which}"), _MEDICATION, float(_TAKEN[status]), at)


def notification(intake: Intake, record: Record) -> None:
    """Take one heart rate notification, and the heart rates that came with it."""
    at, duration_ms = intake.span(record)
    threshold = number(record.get("threshold"))
    event = _IRREGULAR if threshold is None else (_HIGH if threshold >= _LEAST_HIGH_BPM else _LOW)
    intake.add(intake.origin(record.get("source")), _EVENT, event, at, duration_ms=duration_ms)
    origin = intake.origin(record.get("source"), ".notification")
    rates = record.get("heartRate")
    for rate in rates if isinstance(rates, list) else []:
        _rate(intake, origin, rate)


def _rate(intake: Intake, origin: Origin, rate: object) -> None:
    """Keep one heart rate of a notification, if it can be read: the notification itself stands without."""
    stamp = rate.get("timestamp") if isinstance(rate, dict) else None
    bpm = number(rate.get("hr")) if isinstance(rate, dict) else None
    if bpm is None or not isinstance(stamp, dict):
        return
    with suppress(BadTime, Refused):
        at, duration_ms = intake.span(stamp)
        intake.add(origin, _HEART_RATE, bpm, at, duration_ms=duration_ms)


def ecg(intake: Intake, record: Record) -> None:
    """Take one ECG: its session, and its waveform where the voltages are there."""
    at, duration_ms = intake.span(record)
    origin = intake.origin(record.get("source"))
    label = label_of(str(record.get("classification"))) or "unclassified"
    voltages = record.get("voltageMeasurements")
    if not isinstance(voltages, list) or not voltages:
        intake.session(origin, "ecg", (at.time_us, at.time_us + duration_ms * 1_000), ("ecg",), label=label)
        return
    rate_hz = value_of(record, "samplingFrequency")
    if not 1 <= rate_hz <= 20_000:
        raise Refused("unit")
    if len(voltages) > _MAX_VOLTAGES:
        raise Refused("oversized")
    recording = Recording(at.time_us, at.offset_min, rate_hz, _nanovolts(voltages), "", label)
    intake.session(origin, "ecg", (recording.start_us, recording.end_us), ("ecg",), label=label)
    for chunk in recording.chunks(intake.received_us):
        intake.rows.wave(origin, chunk)


def _nanovolts(voltages: list[object]) -> NDArray[np.int32]:
    """Return voltages in their order as int32 nanovolts. Raises `Refused` if one cannot be read."""
    values = [_nanovolt(one) for one in voltages]
    if max(map(abs, values)) > np.iinfo(np.int32).max:
        raise Refused("value")
    return np.rint(values).astype(np.int32)


def _nanovolt(one: object) -> float:
    if not isinstance(one, dict):
        raise Refused("not_well_formed")
    factor = NANOVOLT.get(str(one.get("units")).strip().casefold())
    if factor is None:
        raise Refused("unit")
    return value_of(one, "voltage") * factor


TAKERS: Final[Mapping[str, Callable[[Intake, Record], None]]] = MappingProxyType(
    {
        "stateOfMind": state_of_mind, "symptoms": symptom, "medications": medication,
        "heartRateNotifications": notification, "ecg": ecg,
    }
)  # fmt: skip
"""List of a payload -> what takes its records."""
