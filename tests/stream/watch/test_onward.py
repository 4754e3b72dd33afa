"""Samples judged one by one, from where the rules stood, tell what judging all recent ones anew would tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Priority
from stream.detectors.finding import Finding
from stream.detectors.limits import LimitRule, Side, SignalRule
from stream.detectors.observation import OBSERVATION, Observations
from stream.detectors.policy import ADULT, WatchPolicy, hastened
from stream.detectors.protocol import NOBODY
from stream.detectors.sustain import Timing
from stream.detectors.track import Track
from stream.watch import immediate
from stream.watch.immediate import judge
from stream.watch.memory import Origin
from vitals.catalogue import number_of
from vitals.quality import Context

T0, S = 1_800_000_000_000_000, 1_000_000
HEART, SPO2 = number_of("heart_rate"), number_of("spo2")
MOVING, LOST = int(Context.MOTION_ACTIVE), int(Context.NO_CONTACT)
QUICK = hastened(ADULT, 3, 4)
SIGNAL = replace(QUICK, rules=(*QUICK.rules, SignalRule("signal_lost", 1, "heart_rate", timing=Timing(2))))
OTHERS = replace(
    QUICK, lateness_s=4.0, rules=(LimitRule("other", 1, "heart_rate", Side.ABOVE, 100, 90, Priority.LOW, Timing(2)),)
)
POLICIES = (
    QUICK,
    SIGNAL,
    replace(SIGNAL, max_recent=4),
    replace(SIGNAL, lateness_s=0.0),
    replace(SIGNAL, settle_s=3.0),
)

# Seconds after the sample before (late where negative), metric, value, context, quality, deleted.
SAMPLE = st.tuples(
    st.sampled_from([1, 1, 1, 1, 1, 0.5, 0, -1, -3.5, -30, 8]),
    st.sampled_from([HEART, HEART, HEART, SPO2]),
    st.sampled_from([70.0, 70.0, 125.0, 150.0, 150.0, 35.0, 95.0]),
    st.sampled_from([0, 0, 0, 0, MOVING, LOST]),
    st.sampled_from([1.0, 1.0, 1.0, 0.4, 0.0]),
    st.sampled_from([False] * 9 + [True]),
)
RECORDS = st.lists(st.lists(SAMPLE, min_size=1, max_size=4), min_size=1, max_size=40)
# Of whole stretches: a heart that is fast for some seconds, and calm for some.
STRETCHES = st.lists(st.tuples(st.sampled_from([70.0, 125.0, 150.0, 35.0]), st.integers(1, 9)), max_size=14)


def rows_of(record: Sequence[tuple[Any, ...]], at_s: float) -> tuple[Observations, float]:
    rows = np.zeros(len(record), OBSERVATION)
    for row, (step_s, metric, value, context, quality, deleted) in zip(rows, record, strict=True):
        at_s += max(step_s, 0)
        start_us = T0 + round((at_s + min(step_s, 0)) * S)
        row["start_us"], row["metric"], row["value"], row["context"] = start_us, metric, value, context
        row["quality"], row["deleted"] = quality, deleted
        row["written_us"] = row["received_us"] = T0 + round(at_s * S)
        row["alarm"] = not 45 <= value <= 120 or quality == 0 or context & LOST
    return rows, at_s


class Both:
    """The same origin twice: judged as it is, and judged all anew with every record."""

    def __init__(self) -> None:
        self.onward, self.anew = Origin(("d", "a"), NOBODY, 1), Origin(("d", "a"), NOBODY, 1)

    def judge(self, rows: Observations, policy: WatchPolicy, now_us: int, few: int) -> list[Finding]:
        """Return what is told, asserting that both tell it, and that both remember the same."""
        told = self._judge(self.onward, rows, policy, now_us, few)
        assert told == self._judge(self.anew, rows, policy, now_us, -1)
        assert remembered(self.onward) == remembered(self.anew)
        return told

    @staticmethod
    def _judge(origin: Origin, rows: Observations, policy: WatchPolicy, now_us: int, few: int) -> list[Finding]:
        doubted = frozenset({HEART}) if now_us // S % 11 == 0 else frozenset[int]()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(immediate, "_FEW", few)
            found = list(judge(origin, Track(), policy, rows, now_us, lambda: doubted))
        origin.inbox.put(rows)
        return found


def restart(origin: Origin) -> None:
    """Let an origin know no more than a snapshot would tell."""
    for series in origin.awake.values():
        series.trail = None


def remembered(origin: Origin) -> Any:
    series = {
        metric: (one.base_us, one.recent.tobytes(), one.alarming, one.active, one.retrospective)
        for metric, one in origin.awake.items()
    }
    return series, origin.bases


@settings(deadline=None, max_examples=200)
@given(RECORDS, st.sampled_from(POLICIES), st.sampled_from([2, 16]), st.sampled_from([0, 880, 2_000]), st.data())
def test_one_by_one_is_all_anew(
    records: list[list[tuple[Any, ...]]], policy: WatchPolicy, few: int, old_s: int, data: st.DataObject
) -> None:
    both, at_s = Both(), 0.0
    restarts = data.draw(st.sets(st.integers(0, len(records))), "restarts before")
    changes = data.draw(st.integers(0, 2 * len(records)), "another policy from")
    for number, record in enumerate(records):
        if number in restarts:
            restart(both.onward)
        rows, at_s = rows_of(record, at_s)
        both.judge(rows, policy if number < changes else OTHERS, T0 + round(max(at_s, old_s) * S), few)


@settings(deadline=None)
@given(STRETCHES, st.sampled_from([0, 930]), st.sampled_from([1, 5, 1_000]))
def test_stretches_raise_and_clear_alike(stretches: list[tuple[float, int]], old_s: int, restart_every: int) -> None:
    both, at_s = Both(), 0.0
    values = [value for value, length in [*stretches, (70.0, 30)] for _ in range(length)]
    for number, value in enumerate(values):
        if number % restart_every == 0:
            restart(both.onward)
        rows, at_s = rows_of([(1, HEART, value, 0, 1.0, False)], at_s)
        both.judge(rows, QUICK, T0 + round(max(at_s, old_s) * S), 16)
    assert not both.onward.awake


def test_a_repeat_after_a_change_of_policy_says_nothing_to_either() -> None:
    both, at_s = Both(), 0.0
    first = [(1, HEART, 70.0, 0, 1.0, False)] * 3 + [(1, HEART, 70.0, 0, 0.0, False)]
    again = [(1, SPO2, 97.0, 0, 1.0, False), (-1, HEART, 70.0, 0, 1.0, False)]
    for record, policy in ((first, replace(SIGNAL, lateness_s=0.0)), (again, OTHERS)):
        rows, at_s = rows_of(record, at_s)
        assert both.judge(rows, policy, T0 + round(at_s * S), 2) == []


def test_a_fast_heart_is_told_from_the_trail() -> None:
    both, at_s, told = Both(), 0.0, list[Finding]()
    for value in [70.0] * 5 + [150.0] * 9 + [70.0] * 30:
        rows, at_s = rows_of([(1, HEART, value, 0, 1.0, False)], at_s)
        told += both.judge(rows, QUICK, T0 + round(at_s * S), 16)
        assert all(one.trail is not None for one in both.onward.awake.values())
        assert all(one.trail is None for one in both.anew.awake.values())
    assert [(one.rule, one.state.value) for one in told] == [
        ("heart_rate_high", "raised"),
        ("heart_rate_high", "cleared"),
    ]
