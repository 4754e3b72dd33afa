"""What the synthetic patient is watched by, whatever policy is in force: one limit that raises and clears at once.

It stands in no file, so no policy can take it out: it goes through the same engine, topics and processes as any alert.
No detector looks at it, so nothing is told of its gaps, its silence or its two values that are for ever the same.
"""

from __future__ import annotations

from typing import Final

from alerts.event import Priority
from stream.detectors.limits import LimitRule, Side
from stream.detectors.policy import WatchPolicy
from stream.detectors.sustain import Timing
from stream.watch.plan import Plan
from vitals.synthetic import METRIC

RULE: Final = "heartbeat"

_AT_ONCE: Final = Timing(delay_s=0.0, min_samples=1, clear_delay_s=0.0, clear_samples=1, max_gap_s=86_400.0)
_LIMIT: Final = LimitRule(RULE, 1, METRIC, Side.ABOVE, 200.0, 100.0, Priority.LOW, _AT_ONCE, individualised=True)

SYNTHETIC_PLAN: Final = Plan(label="synthetic", version="1", limits=WatchPolicy(label="synthetic", rules=(_LIMIT,)))
