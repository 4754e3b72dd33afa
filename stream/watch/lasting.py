"""Open episodes that time alone changes: what was found late and still goes on, and what nobody measures any more.

A backlog is judged when it comes, and what it tells is too old to page. Where the same episode is still open once its
samples are of now again, that is news, told once. Where an origin is not heard for a day, the gap is what is told: the
episode of before is closed, and what the detector remembers of it forgotten, so that its return is told anew.
"""

from __future__ import annotations

from typing import Final

from alerts.event import AlertEvent, Audience, Kind
from stream.detectors.sustain import NEVER
from stream.watch.book import ENGINE, LIMITS, NO_LONGER, Circumstances, Episode
from stream.watch.events import PATIENT_ORIGIN
from stream.watch.memory import Origin, Patient
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S

LAPSES_S: Final = 26 * 3_600.0
"""So long after its origin was heard last an episode has nobody who could end it. What speaks of longer stays open."""


def going_on(patient: Patient, at: Circumstances) -> list[tuple[str, int]]:
    """Return the alert ids of episodes that go on live after all, and when (us) that was last measured.

    Their detector has them open, and trusts samples of their metric that are newer than what was told and no older
    than may be called live.
    """
    if not at.live:
        return []
    found = []
    for told, one in patient.book.episodes.items():
        if one.may_go_on:
            measured_us = min(_measured_us(patient, one), at.now_us)
            if one.measured_us < measured_us and at.now_us - measured_us <= one.max_age_s * US_PER_S:
                found.append((told, measured_us))
    return found


def lapsed(patient: Patient, at: Circumstances) -> list[AlertEvent]:
    """Close the physiological episodes of origins that were not heard for `LAPSES_S`, and return what says so."""
    silent_us = at.now_us - round(LAPSES_S * US_PER_S)
    gone = {
        told: one
        for told, one in patient.book.episodes.items()
        if _may_lapse(one) and NEVER < _heard_us(patient, one) < silent_us
    }
    for one in gone.values():
        _forget(patient, one)
    return patient.book.close(at, f"{NO_LONGER}: nothing came for a day", lambda one: one in gone.values())


def _may_lapse(one: Episode) -> bool:
    is_care = one.kind is Kind.PHYSIOLOGICAL and one.audience is not Audience.REVIEW
    return is_care and one.source != ENGINE and one.max_age_s <= LAPSES_S


def _is_of_all(one: Episode) -> bool:
    return (one.device_id, one.source_app) == (PATIENT_ORIGIN.device_id, PATIENT_ORIGIN.source_app)


def _measuring(patient: Patient, one: Episode) -> list[Origin]:
    """Return the origins that an episode is found in."""
    if _is_of_all(one):
        return list(patient.origins.values())
    origin = patient.origins.get((one.device_id, one.source_app))
    return [] if origin is None else [origin]


def _heard_us(patient: Patient, one: Episode) -> int:
    return max((origin.heard_us for origin in _measuring(patient, one)), default=NEVER)


def _measured_us(patient: Patient, one: Episode) -> int:
    """Return the end of the newest trustworthy sample of an episode's metric; of a score, of anything it asks for."""
    detector = patient.plan.by_name.get(one.source)
    if detector is None:
        return NEVER
    own = {BY_CODE[one.metric].number} & detector.metrics if one.metric in BY_CODE else set()
    numbers = sorted(own or detector.metrics)
    return max((int(origin.sound_us[numbers].max(initial=NEVER)) for origin in _measuring(patient, one)), default=NEVER)


def _forget(patient: Patient, one: Episode) -> None:
    if _is_of_all(one):
        patient.states.pop(one.source, None)
    for origin in _measuring(patient, one):
        if one.source != LIMITS:
            origin.states.pop(one.source, None)
            continue
        number = BY_CODE[one.metric].number
        series = origin.awake.pop(number, None)
        if series is not None:
            last_us = int(series.recent["start_us"].max(initial=series.base_us))
            origin.bases[number] = max(series.base_us, last_us)
