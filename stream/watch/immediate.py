"""The immediate tier: limits, judged the moment a record comes.

Samples are judged in event time. A sample that is late, but by less than `lateness_s`, still takes its place: a series
that is looked at keeps its last seconds beside the state before them, and judges them again when one is inserted. What
was told is final: a transition closes the time before it. What comes twice has the same start and counts once.

A metric is looked at (`Series`) from its first suspicious sample until nothing of it is pending, raised or suspicious;
what came just before is then still in the inbox. All the rest of the time its samples cost nothing here.

The few samples that a record mostly adds are judged one by one, from where the rules stood (`stream.watch.onward`);
many are judged together with all recent ones (`stream.watch.judging`). Both tell the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from stream.detectors.finding import Finding
from stream.detectors.observation import Observations, copied, follows, joined, merge, pick
from stream.detectors.policy import WatchPolicy
from stream.detectors.sustain import NEVER
from stream.detectors.track import Track, enrich
from stream.watch.judging import Doubted, Moment, boundary_of, judge_all, settle
from stream.watch.memory import Origin, Series
from stream.watch.onward import judge_onward

DOUBTED: Final = 0.25
"""The quality of what a technical detector distrusts: it says nothing of the body, and nothing of the contact."""


_FEW: Final = 16
"""So many new samples of a metric at most are judged one by one."""


def judge(
    origin: Origin, track: Track, policy: WatchPolicy, part: Observations, now_us: int, doubted: Doubted = frozenset
) -> Iterator[Finding]:
    """Judge one record's rows of an origin, which are not yet in its inbox; findings come metric by metric."""
    metric_of = part["metric"]
    metrics = set(origin.awake) | set(metric_of[part["alarm"]].tolist())
    part, at = enrich(track, part), Moment(policy, now_us, doubted)
    for metric in sorted(metrics):
        rules = policy.by_metric.get(metric)
        if rules is None:
            origin.awake.pop(metric, None)
            continue
        series = origin.awake.get(metric)
        mine = pick(part, metric_of == metric)
        if series is None:
            series = _wake(origin, track, metric, policy)
        elif not len(mine):
            continue
        _take_in(series, _trusted(origin, metric, mine))
        if series.active or series.alarming:
            origin.awake[metric] = series
            is_few = len(mine) <= _FEW and not policy.settle_s
            yield from judge_onward(series, rules, at) if is_few else judge_all(series, rules, at)
        if not (series.active or series.alarming):
            origin.bases[metric] = max(series.base_us, boundary_of(series, policy))
            origin.awake.pop(metric, None)


def _wake(origin: Origin, track: Track, metric: int, policy: WatchPolicy) -> Series:
    """Return the series of a metric that has become suspicious: what waits in the inbox stands before its samples."""
    base_us = max(int(origin.begun_us[metric]), origin.bases.get(metric, NEVER))
    waiting = origin.inbox.rows()
    series = Series(base_us)
    _take_in(series, _trusted(origin, metric, enrich(track, pick(waiting, waiting["metric"] == metric))))
    settle(series, boundary_of(series, policy))
    return series


def _trusted(origin: Origin, metric: int, rows: Observations) -> Observations:
    """Return rows by start, and doubted where the device is."""
    if len(rows) > 1:
        start = rows["start_us"]
        if (start[1:] < start[:-1]).any():
            rows = rows.take(np.argsort(start, kind="stable"))
    if metric in origin.distrusted:
        rows = copied(rows)
        rows["quality"] = np.minimum(rows["quality"], DOUBTED)
    return rows


def _take_in(series: Series, part: Observations) -> None:
    """Join `part` (ordered by start) to the recent samples."""
    if not len(part):
        return
    fresh = pick(part, part["start_us"] > series.base_us) if part["start_us"][0] <= series.base_us else part
    if not len(fresh):
        return
    if follows(series.recent, fresh):
        series.recent = joined(series.recent, fresh)
    else:
        series.recent = merge(series.recent, fresh)
        series.trail = None
    series.alarming = series.alarming or bool(fresh["alarm"].any())
