"""The care profile: what a clinician says of one person, so that rules fit them. By opaque id, versioned, signed off.

CLINICAL.md: of whom nothing is known, adult defaults hold, labelled "not individualised"; adult rules refuse children.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, model_validator

from vitals.catalogue import BY_CODE
from vitals.ids import is_opaque

MAX_LIMITS: Final = 32


class AgeBand(StrEnum):
    """How old somebody is, as far as rules must know."""

    CHILD = "child"  # under 16: no adult rule applies, and there are no others
    ADULT = "adult"
    OLD = "old"  # 65 and over


class Band(BaseModel):
    """The limits of one metric in the catalogue's unit; None leaves a side to the policy. Raises ValueError."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError("the low limit lies below the high one")
        return self


def _known(limits: Mapping[str, Band]) -> Mapping[str, Band]:
    unknown = sorted(set(limits) - set(BY_CODE))
    if unknown:
        raise ValueError(f"the catalogue has no metric {unknown[0][:40]!r}")
    return MappingProxyType(dict(limits))


def _opaque(text: str) -> str:
    if not is_opaque(text):
        raise ValueError("not an opaque id")
    return text


def _plain(limits: Mapping[str, Band]) -> dict[str, Band]:
    return dict(limits)  # pydantic writes no mapping proxies


Limits = Annotated[
    Mapping[str, Band],
    Field(max_length=MAX_LIMITS),
    AfterValidator(_known),
    PlainSerializer(_plain, return_type=dict[str, Band]),
]


class CareProfile(BaseModel):
    """What rules may take into account. `limits` hold waking and sleeping, `sleeping_limits` override them asleep.

    `version` 0 is nobody's own profile: the adult defaults. `spo2_scale` 2 is NEWS2's, only where prescribed. `oxygen`:
    breathes supplemental oxygen, None where nobody said. `review_by` (an opaque id of a clinician) receives changes of
    behaviour for review, under a plan agreed with the patient; without it they are not looked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: int = Field(default=0, ge=0)
    age_band: AgeBand = AgeBand.ADULT
    pregnant: bool = False
    oxygen: bool | None = None
    spo2_scale: Literal[1, 2] = 1
    pacemaker: bool = False
    known_af: bool = False
    rate_limiting_drug: bool = False
    trained: bool = False
    limits: Limits = Field(default_factory=lambda: MappingProxyType({}))
    sleeping_limits: Limits = Field(default_factory=lambda: MappingProxyType({}))
    review_by: Annotated[str, AfterValidator(_opaque)] | None = None

    @property
    def individualised(self) -> bool:
        """Whether a clinician has signed it off."""
        return self.version > 0

    @property
    def is_child(self) -> bool:
        """Whether adult rules must keep away."""
        return self.age_band is AgeBand.CHILD

    def limit(self, metric: str, *, asleep: bool) -> Band:
        """Return the person's own limits of a metric code; an empty `Band` where none are set."""
        waking = self.limits.get(metric, Band())
        own = self.sleeping_limits.get(metric) if asleep else None
        if own is None:
            return waking
        return Band(low=waking.low if own.low is None else own.low, high=waking.high if own.high is None else own.high)


UNKNOWN: Final = CareProfile()
"""Of whom nothing is known."""
