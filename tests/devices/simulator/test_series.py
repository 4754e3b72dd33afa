"""One series however it is cut: with every scenario, with every fault, at every channel."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.simulator import (
    ALL_CADENCES_S,
    FAULTS,
    RATES_HZ,
    SCENARIOS,
    Deterioration,
    Wearer,
    cohort,
    heart_rate_frames,
    physiology,
    simulate,
    tell,
    waveforms,
    wearer,
)
from devices.simulator.physiology import FIELDS
from tests.devices.simulator.people import HOUR, MIN, NOON, S
from vitals.batch import SampleColumns, to_arrow
from vitals.catalogue import BY_NUMBER
from vitals.ids import DeviceId

NAMES = [name for name in SCENARIOS if name != "well"]


@st.composite
def cut_wearers(draw: st.DrawFn) -> tuple[Wearer, list[int]]:
    """A wearer with up to three scenarios and up to four faults, all within a quarter of an hour, and where to cut."""
    start = draw(st.integers(NOON - 1_000 * HOUR, NOON))
    scenario = "+".join(draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)))
    faults = draw(st.lists(st.sampled_from(list(FAULTS)), max_size=4, unique=True))
    [who] = cohort(
        1, draw(st.integers(0, 2**40)), start, start + 15 * MIN, scenarios=[scenario], faults=faults,
        cadences_s=ALL_CADENCES_S, zone_offset_min=draw(st.integers(-720, 840)),
    )  # fmt: skip
    cuts = draw(st.lists(st.integers(0, 15 * MIN), max_size=4))
    return who, [start, *(start + cut for cut in sorted(cuts)), start + 15 * MIN]


@settings(max_examples=60, deadline=None)
@given(cut_wearers())
def test_pieces_are_the_same_as_the_whole_with_scenarios_and_faults(cut: tuple[Wearer, list[int]]) -> None:
    who, edges = cut
    whole = tell(who, edges[0], edges[-1])
    pieces = [tell(who, a, b) for a, b in pairwise(edges)]
    for device, firmware in {(one.device_id, one.firmware) for one in whole.stretches}:
        mine = _joined([one for piece in pieces for one in piece.stretches], device, firmware)
        assert mine.equals(_joined(list(whole.stretches), device, firmware))
    assert sum(piece.samples for piece in pieces) == whole.samples
    for number, count in enumerate(whole.counts):
        assert sum((piece.counts[number] for piece in pieces), Counter[str]()) == +count


def _joined(stretches: list, device: DeviceId, firmware: str):  # type: ignore[no-untyped-def,type-arg]
    return to_arrow(
        SampleColumns.concat([one.samples for one in stretches if (one.device_id, one.firmware) == (device, firmware)])
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**40), at=st.integers(NOON - 100 * HOUR, NOON), scenario=st.sampled_from(NAMES))
def test_a_moment_is_the_same_alone_and_in_a_long_stretch(seed: int, at: int, scenario: str) -> None:
    [who] = cohort(1, seed, at, at + HOUR, scenarios=[scenario])
    moments = at + np.arange(0, HOUR, 7 * S)
    together = physiology(who, moments)
    for index in (0, 200, 514):
        alone = physiology(who, moments[index : index + 1])
        far = physiology(who, np.array([moments[index], moments[index] + 400 * HOUR]))
        for name in FIELDS:
            assert getattr(alone, name)[0] == getattr(together, name)[index] == getattr(far, name)[0], name


def test_live_second_by_second_is_the_same_as_history() -> None:
    who = wearer(3)
    live = SampleColumns.concat([simulate(who, NOON + k * S, NOON + (k + 1) * S) for k in range(130)])
    assert to_arrow(live).equals(to_arrow(simulate(who, NOON, NOON + 130 * S)))
    frames = [frame for k in range(70) for frame in heart_rate_frames(who, NOON + k * S, NOON + (k + 1) * S)]
    assert frames == heart_rate_frames(who, NOON, NOON + 70 * S)


def test_live_across_the_end_of_a_night_is_the_same_as_history() -> None:
    who = wearer(3, cadences_s=ALL_CADENCES_S)
    start, end = NOON + 8 * HOUR, NOON + 22 * HOUR
    cuts = [*range(start, end, 7 * MIN + 1), end]
    live = SampleColumns.concat([simulate(who, a, b) for a, b in pairwise(cuts)])
    assert to_arrow(live).equals(to_arrow(simulate(who, start, end)))


@pytest.mark.parametrize("metric", RATES_HZ)
def test_waveforms_are_the_same_however_cut(metric: str) -> None:
    [who] = cohort(1, 5, NOON, NOON + 10 * MIN, scenarios=["af+ectopy"])
    start, end = NOON + 4 * MIN, NOON + 6 * MIN
    whole = waveforms(who, metric, start, end)
    edges = [start, start + 1, start + 17 * S, start + 17 * S + 300_000, end]
    pieces = [chunk for a, b in pairwise(edges) for chunk in waveforms(who, metric, a, b)]
    assert [one.start_us for one in pieces] == [one.start_us for one in whole] == list(range(start - S, end - S, S))
    assert all(np.array_equal(a.values, b.values) for a, b in zip(pieces, whole, strict=True))


def test_the_seed_is_everything() -> None:
    hour = (NOON, NOON + HOUR)
    assert to_arrow(simulate(wearer(5), *hour)).equals(to_arrow(simulate(wearer(5), *hour)))
    assert not to_arrow(simulate(wearer(5), *hour)).equals(to_arrow(simulate(wearer(6), *hour)))


def test_order_and_the_three_clocks() -> None:
    day = simulate(wearer(1, cadences_s=ALL_CADENCES_S, zone_offset_min=-300), NOON, NOON + 24 * HOUR, latency_us=7)
    key = day.written_us * 64 + day.metric
    assert (np.diff(key) > 0).all()
    assert (day.received_us == day.written_us + 7).all()
    assert (day.zone_offset_min == -300).all()
    spans = day.duration_ms > 0
    assert (day.start_us[spans] + day.duration_ms[spans] * 1_000 == day.written_us[spans]).all()
    assert {BY_NUMBER[n].code for n in np.unique(day.metric).tolist()} == {*ALL_CADENCES_S, "rr_interval"}


def test_a_scenario_changes_nothing_before_it_begins() -> None:
    script = Deterioration(NOON + HOUR)
    ill = simulate(wearer(2, scenarios=(script,)), NOON, NOON + HOUR - 120 * S)
    assert to_arrow(ill).equals(to_arrow(simulate(wearer(2), NOON, NOON + HOUR - 120 * S)))


def test_empty_time_and_unknown_channels() -> None:
    assert len(simulate(wearer(1), NOON, NOON)) == 0
    assert tell(wearer(1), NOON, NOON).stretches == ()
    assert heart_rate_frames(wearer(1), NOON, NOON) == []
    assert waveforms(wearer(1), "ecg", NOON, NOON) == []
    with pytest.raises(ValueError, match="no channel weight"):
        simulate(replace(wearer(1), cadences_s={"weight": 1.0}), NOON, NOON + S)
    with pytest.raises(ValueError, match="no waveform eeg"):
        waveforms(wearer(1), "eeg", NOON, NOON + S)
