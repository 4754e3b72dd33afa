"""A note on a stretch of a person's time: the JSON on `vigil.annotations` (key: patient id).

What a device or an export calls one thing (a workout, a night), what a detector marks, what a wearer reports. Whoever
finds the same again writes the same `annotation_key`, and the row stays one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from alerts.event import SCHEMA_VERSION, Message, Opaque, Word
from vitals.catalogue import BY_CODE


class AnnotationKind(StrEnum):
    """What a note is about. A correlation says "coincides with", never "is caused by"."""

    ANOMALY = "anomaly"
    TREND = "trend"
    CORRELATION = "correlation"
    ACTIVITY = "activity"
    ENVIRONMENT = "environment"
    REPORT = "report"
    SESSION = "session"


def _known(code: str) -> str:
    if code not in BY_CODE:
        raise ValueError("no metric of the catalogue")
    return code


MetricCode = Annotated[str, AfterValidator(_known)]
Detail = str | int | float | bool | list[MetricCode]


class Annotation(Message):
    """One note. `label` is a word of the rule or the source, never a diagnosis, a name or free text.

    `metric` is the one it speaks of, None: the person. `rule` and `rule_version` stand together: a detector's.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    annotation_key: Opaque
    patient_id: Opaque
    kind: AnnotationKind
    metric: MetricCode | None = None
    from_time: AwareDatetime
    to_time: AwareDatetime
    source: Opaque
    rule: Word | None = None
    rule_version: Annotated[int, Field(ge=1)] | None = None
    label: Word
    detail: dict[Word, Detail] = Field(default_factory=dict, max_length=16)
    retracted: bool = False

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.to_time < self.from_time:
            raise ValueError("it ends before it begins")
        if (self.rule is None) != (self.rule_version is None):
            raise ValueError("rule and rule_version stand together")
        return self
