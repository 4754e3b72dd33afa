"""The end of an episode whose rule no longer applies to the person: of a child, say, no adult rule says anything."""

from __future__ import annotations

from alerts.event import Kind, Priority, State
from stream.detectors.finding import Finding
from stream.detectors.sustain import Sustained


def no_longer(
    rule: str,
    metric: str,
    what: str,
    opened_us: int | None,
    raised_us: int | None,
    at_us: int,
    *,
    priority: Priority = Priority.LOW,
    unit: str | None = None,
) -> list[Finding]:
    """Return the clearing at `at_us` (us UTC; not before `raised_us`) of what opened at `opened_us`; none of nothing.

    `what` names what was seen, as the finding that raised did; `unit` is that of its readings where not the metric's.
    """
    if opened_us is None or raised_us is None:
        return []
    at_us = max(at_us, raised_us)
    return [
        Finding(
            rule, 1, metric, Kind.PHYSIOLOGICAL, priority, State.CLEARED, opened_us, raised_us, at_us, at_us, opened_us,
            f"{what}: no longer judged for this person", unit=unit,
        )
    ]  # fmt: skip


def sustained_no_longer(
    rule: str, metric: str, what: str, held: Sustained, at_us: int, priority: Priority = Priority.LOW
) -> list[Finding]:
    """Return the same of a rule that stands where `held` says."""
    return no_longer(rule, metric, what, held.opened_us, held.raised_us, max(at_us, held.at_us), priority=priority)
