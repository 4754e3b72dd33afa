"""What watch says happened: one event a change of an alert, the JSON on `vigil.alerts` (key: patient id).

Every event carries the whole alert (opened, raised and cleared times, newest evidence), so that a reader who missed the
ones before it still knows everything: folding events (alerts/episode.py) is choosing, never adding up.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from vitals.ids import is_opaque

SCHEMA_VERSION: Final = 1
MAX_READINGS: Final = 32
"""The most values an alert quotes; the newest are kept."""


class Kind(StrEnum):
    """What an alert is about: the measuring or the measured. A technical problem never reads as a patient's."""

    TECHNICAL = "technical"
    PHYSIOLOGICAL = "physiological"


class Priority(StrEnum):
    """How soon someone must know."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """0 for low to 2 for high."""
        return _PRIORITIES.index(self)


_PRIORITIES: Final = tuple(Priority)


class Audience(StrEnum):
    """Whom an alert is for at all, whatever its priority."""

    CARE = "care"
    REVIEW = "review"  # only a named clinician's review list, never a page (CLINICAL: behaviour, state of mind)


class State(StrEnum):
    """Where an alert stands. `ESCALATED`: still open, now of a higher priority."""

    RAISED = "raised"
    ESCALATED = "escalated"
    CLEARED = "cleared"

    @property
    def rank(self) -> int:
        """0 for raised to 2 for cleared: which of two events of one time is the later."""
        return _STATES.index(self)


_STATES: Final = tuple(State)


def _opaque(text: str) -> str:
    if not is_opaque(text):
        raise ValueError("not an opaque id")
    return text


Opaque = Annotated[str, AfterValidator(_opaque)]
Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
HexId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Figure = Annotated[str, Field(max_length=60, pattern=r"^[^\x00-\x1f]*$")]
Text = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]


class Message(BaseModel):
    """The root of everything that travels as JSON: frozen; unknown fields of a newer writer are left aside.

    What is wrong with one is told without a word of its content: it may end in a log.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, hide_input_in_errors=True)

    def to_bytes(self) -> bytes:
        """Return the message as UTF-8 JSON; the same message gives the same bytes."""
        return self.model_dump_json().encode()


class Origin(Message):
    """Which device, read through which application, measured."""

    device_id: Opaque
    source_app: Opaque


class Reading(Message):
    """One measured value, in the evidence's unit; `quality` 0 to 1."""

    at: AwareDatetime
    value: float
    quality: float


class Evidence(Message):
    """Why: the window (of event time) that decided, its newest values, the limit they were held against.

    `samples` counts all that took part, `readings` quotes the newest of them, `quality` is the lowest among those
    quoted. A technical alert quotes no values: what a sensor says off the body is no measurement. `figures` are what a
    detector computed, by name with unit (`rmssd_ms`).
    """

    window_start: AwareDatetime
    window_end: AwareDatetime
    samples: int = Field(ge=0)
    unit: str = Field(max_length=20)
    threshold: float | None = None
    readings: Annotated[tuple[Reading, ...], Field(max_length=MAX_READINGS)] = ()
    quality: float | None = None
    figures: Annotated[dict[Word, float | Figure], Field(max_length=24)] = Field(default_factory=dict)


class AlertEvent(Message):
    """One change of one alert.

    Times are event time, the measuring device's clock: `opened_at` when it became pending, `raised_at` when it had held
    long enough, `changed_at` when it came into `state`, `measured_at` of the newest evidence. `retrospective`: what was
    found is too old to be paged as happening now. `review_by` is the clinician of an alert for review. `policy` says
    which policy, in which version, was in force.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    alert_id: HexId
    patient_id: Opaque
    kind: Kind
    priority: Priority
    rule: Word
    rule_version: int = Field(ge=1)
    metric: Word
    origin: Origin
    state: State
    opened_at: AwareDatetime
    raised_at: AwareDatetime
    changed_at: AwareDatetime
    cleared_at: AwareDatetime | None = None
    measured_at: AwareDatetime
    retrospective: bool = False
    individualised: bool = False
    audience: Audience = Audience.CARE
    review_by: Opaque | None = None
    policy: Annotated[str, Field(max_length=80)] = ""
    evidence: Evidence
    sentence: Text

    @model_validator(mode="after")
    def _times_agree(self) -> Self:
        if not self.opened_at <= self.raised_at <= self.changed_at:
            raise ValueError("an alert opens, is raised and changes in that order")
        if (self.cleared_at is not None) != (self.state is State.CLEARED):
            raise ValueError("cleared_at stands in cleared alerts, and only there")
        return self


def alert_id(patient: str, rule: str, metric: str, origin: Origin, pending_us: int) -> str:
    """Return the alert's id: 32 hex digits that follow from whom, what, by which device and since when (us UTC).

    Whoever sees the same samples again gives the same alert the same id; so a replay repeats and never adds.
    """
    return digest(patient, rule, metric, origin.device_id, origin.source_app, str(pending_us))


def digest(*words: str) -> str:
    """Return 32 hex digits (128 bits of SHA-256) of `words`; no two lists of words run together."""
    return hashlib.sha256("".join(f"{len(word)}:{word}" for word in words).encode()).hexdigest()[:32]
