"""What a check found: how bad it is, what it says, what to do. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from vigil.settings import Settings


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    SKIP = "skip"  # not set up here, and needs not be
    WARN = "warn"  # works, and somebody should look at it
    FAIL = "fail"  # does not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `do`: what to do next, empty where nothing is to be done."""

    area: str
    what: str
    verdict: Verdict
    says: str
    do: str = ""


def judged(area: str, what: str, says: str, *, fine: bool, do: str, bad: Verdict = Verdict.WARN) -> Finding:
    """Return a finding that is OK where `fine`, and otherwise says what to do."""
    return Finding(area, what, Verdict.OK, says) if fine else Finding(area, what, bad, says, do)


Check = Callable[[Settings], Awaitable[Sequence[Finding]]]
"""Looks at one area; raises `VigilError` where it cannot, which is a finding too."""


def worst(findings: Sequence[Finding]) -> Verdict:
    """Return the worst verdict among findings, OK where there are none."""
    order = list(Verdict)
    return max((one.verdict for one in findings), key=order.index, default=Verdict.OK)
