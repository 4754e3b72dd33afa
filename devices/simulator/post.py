"""The line between a wearer and Vigil: what was told, handed over when it arrives, in the order in which it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from devices.simulator.simulate import Stretch


def deliver(waiting: Sequence[Stretch], until_us: int) -> tuple[list[Stretch], list[Stretch]]:
    """Return (what has arrived by `until_us`, in order of `received_us`; what is still on its way)."""
    arrived, left = [], []
    for one in waiting:
        late = one.samples.received_us >= until_us
        if not late.all():
            arrived.append(replace(one, samples=one.samples.take(~late)))
        if late.any():
            left.append(replace(one, samples=one.samples.take(late)))
    return [in_order(one) for one in arrived], left


def in_order(told: Stretch) -> Stretch:
    """Return the samples of a stretch in the order in which they arrive."""
    received = told.samples.received_us
    if (received[1:] >= received[:-1]).all():
        return told
    return replace(told, samples=told.samples.take(np.argsort(received, kind="stable")))
