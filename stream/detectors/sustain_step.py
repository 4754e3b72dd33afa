"""The machine of `stream.detectors.sustain` for one sample at a time: a record holds few of a metric, and for less than
dozens numpy's arrays cost more than they save.
"""

from __future__ import annotations

from stream.detectors.sustain import (
    BREACH,
    BREAK,
    CALM,
    EXERTED,
    HOLD,
    KEPT_READINGS,
    NEVER,
    Reading,
    Run,
    Sustained,
    Timing,
    Transition,
    complete,
    needed,
    recovery_us,
)
from vitals.clock import US_PER_S


def step(state: Sustained, timing: Timing, code: int, reading: Reading) -> tuple[Sustained, Transition | None]:
    """Take in one sample (no `SKIP`) later than `state.at_us`: the same as `advance` with a window of it alone."""
    start_us, raising, run = reading[0], state.raised_us is None, state.run
    code, recover_us = _rested(state.recover_us, timing, code, start_us)
    hit = code == (BREACH if raising else CALM)
    if run is not None and start_us - run.last_us > timing.max_gap_s * US_PER_S:
        run = None
    if hit or (run is not None and raising and code == HOLD):
        run = _longer(Run(start_us, start_us) if run is None else run, reading, hit)
    else:
        run = None
    after = Sustained(start_us, state.opened_us, state.raised_us, run, recover_us)
    if run is not None and hit and _is_enough(run, timing, raising):
        return complete(after, start_us)
    return after, None


def _rested(recover_us: int | None, timing: Timing, code: int, start_us: int) -> tuple[int, int | None]:
    """Return what a sample means to somebody who recovers until `recover_us`, and until when they do after it."""
    if code == EXERTED:
        recover_us = max(start_us + recovery_us(timing), NEVER if recover_us is None else recover_us)
    if recover_us is None or recover_us < start_us:
        return code, None
    return code if code == CALM else BREAK, recover_us if recover_us > start_us else None


def _longer(run: Run, reading: Reading, hit: bool) -> Run:
    readings = (*run.readings, reading)[-KEPT_READINGS:]
    return Run(run.since_us, reading[0], run.seen + 1, run.hits + hit, readings)


def _is_enough(run: Run, timing: Timing, raising: bool) -> bool:
    """Tell whether a run is long enough with its last sample."""
    delay_s, samples, share = needed(timing, raising)
    lasted = run.last_us - run.since_us >= delay_s * US_PER_S
    return lasted and run.hits >= samples and run.hits >= share * run.seen
