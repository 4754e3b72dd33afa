"""The wearer as a chest strap shows them."""

import numpy as np
import pytest

from devices.gatt import heart_rate
from devices.simulator import heart_rate_frames, simulate, wearer
from tests.devices.simulator.people import NOON, S, of


def test_strap_frames_carry_every_beat_once() -> None:
    who = wearer(9)
    frames = heart_rate_frames(who, NOON, NOON + 600 * S)
    assert [at for at, _ in frames] == list(range(NOON, NOON + 600 * S, S))
    decoded = [heart_rate.decode(frame) for _, frame in frames]
    rr = of(simulate(who, NOON - S, NOON + 599 * S), "rr_interval")
    assert [ms for one in decoded for ms in one.rr_intervals_ms] == rr.value.tolist()
    assert all(one.contact for one in decoded)
    assert np.mean([one.heart_rate_bpm for one in decoded]) == pytest.approx(60_000 / rr.value.mean(), rel=0.05)


def test_a_strap_on_a_table_has_no_contact() -> None:
    frames = heart_rate_frames(wearer(9), NOON, NOON + 3 * S, contact=False)
    assert [heart_rate.decode(frame).contact for _, frame in frames] == [False] * 3
