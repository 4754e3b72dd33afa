"""A rule on a series that may be sparse: a sample that stands alone decides by itself, and the worst value is kept.

A sensor's readings come in numbers, and one of them is no evidence; a finger stick or a thermometer gives one reading,
and nobody can wait for the next. On top of `stream.detectors.sustain`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.detectors.sustain import BREACH, CALM, NEVER, Sustained, Timing, Transition, Window, follow
from vitals.clock import US_PER_S

AT_ONCE: Final = Timing(delay_s=0, min_samples=1, clear_delay_s=0, clear_samples=1, max_gap_s=1e9, min_share=0)


@dataclass(frozen=True, slots=True)
class Spell:
    """Where a rule stands on one series, and the worst value (largest, or smallest) since `worst_since_us`."""

    held: Sustained = field(default_factory=Sustained)
    worst: float = 0.0
    worst_since_us: int = NEVER


def alone(start_us: NDArray[np.int64], before_us: int, alone_s: float) -> NDArray[np.bool_]:
    """Mark the times with none in the `alone_s` before them; `before_us` is the one before the first (or `NEVER`)."""
    first = start_us[:1] - before_us if before_us != NEVER else np.full(min(1, len(start_us)), np.iinfo(np.int64).max)
    result: NDArray[np.bool_] = np.concatenate((first, np.diff(start_us))) > alone_s * US_PER_S
    return result


def follow_spell(
    spell: Spell, timing: Timing, window: Window, single: NDArray[np.bool_], *, lowest: bool
) -> tuple[Spell, list[tuple[Transition, float]]]:
    """Take in `window`; samples marked `single` raise and clear by themselves.

    Returns the new state and each transition with the worst value from its opening to it.
    """
    if spell.held.is_quiet and not np.count_nonzero(window.code == BREACH):
        return spell, []  # nearly always
    held, told = _follow(spell.held, timing, window, single)
    found = [(one, _worst(spell, window, one.opened_us, one.at_us, lowest=lowest)) for one in told]
    since = held.opened_us if held.opened_us is not None else held.run.since_us if held.run else None
    if since is None:
        return Spell(held), found
    return Spell(held, _worst(spell, window, since, held.at_us, lowest=lowest), since), found


def _follow(
    held: Sustained, timing: Timing, window: Window, single: NDArray[np.bool_]
) -> tuple[Sustained, list[Transition]]:
    deciding = np.flatnonzero(single & ((window.code == BREACH) | (window.code == CALM)))
    if not len(deciding):
        return follow(held, timing, window)
    told: list[Transition] = []
    cuts = np.unique(np.concatenate(([0, len(window)], deciding, deciding + 1))).tolist()
    decides = set(deciding.tolist())
    for first, last in pairwise(cuts):
        part = slice(first, last)
        piece = Window(window.start_us[part], window.code[part], window.value[part], window.quality[part])
        held, found = follow(held, AT_ONCE if first in decides else timing, piece)
        told += found
    return held, told


def _worst(spell: Spell, window: Window, since_us: int, until_us: int, *, lowest: bool) -> float:
    values = window.value[(window.start_us >= since_us) & (window.start_us <= until_us)].tolist()
    if spell.worst_since_us == since_us:
        values.append(spell.worst)
    return float(min(values) if lowest else max(values))
