"""Faults do to exactly so many samples what they say, and nothing to the others."""

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from devices.simulator import (
    ALL_CADENCES_S,
    ALWAYS,
    FAULTS,
    BackDate,
    Burst,
    Drift,
    Duplicate,
    Fault,
    FirmwareChange,
    Glitch,
    Loss,
    OffWrist,
    Reorder,
    Stretch,
    ZoneChange,
    cohort,
    simulate,
    tell,
    truth,
    wearer,
)
from devices.simulator.post import deliver, in_order
from tests.devices.simulator.people import DAY, HOUR, MIN, NOON, S, of, told
from vitals.batch import SampleColumns, to_arrow
from vitals.quality import Context

END = NOON + 2 * HOUR
HALF = NOON + HOUR
WELL = wearer(3, cadences_s=ALL_CADENCES_S)
CLEAN = simulate(WELL, NOON, END)


def with_fault(*faults: Fault) -> tuple[SampleColumns, tuple[Counter[str], ...]]:
    who = replace(WELL, faults=faults)
    return told(who, NOON, END), tell(who, NOON, END).counts


def key(columns: SampleColumns) -> NDArray[np.int64]:
    return columns.written_us * 64 + columns.metric


def changed(after: SampleColumns) -> set[str]:
    """The columns in which samples that were neither lost nor added differ."""
    return {
        one.name for one in fields(SampleColumns)
        if not np.array_equal(getattr(after, one.name), getattr(CLEAN, one.name))
    }  # fmt: skip


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_loss(share: float) -> None:
    after, [count] = with_fault(Loss(*ALWAYS, share=share))
    assert count == Counter(lost=len(CLEAN) - len(after))
    assert count["lost"] / len(CLEAN) == pytest.approx(share, abs=0.01)
    kept = CLEAN.take(np.isin(key(CLEAN), key(after)))
    assert to_arrow(kept).equals(to_arrow(after))


def test_loss_of_one_channel_in_its_time_only() -> None:
    after, [count] = with_fault(Loss(HALF, HALF + 10 * MIN, share=1.0, metrics=("spo2",)))
    assert count == Counter(lost=120)
    gone = CLEAN.take(~np.isin(key(CLEAN), key(after)))
    assert len(gone) == 120
    assert (gone.metric == of(CLEAN, "spo2").metric[0]).all()
    assert ((gone.written_us >= HALF) & (gone.written_us < HALF + 10 * MIN)).all()


@pytest.mark.parametrize("times", [1, 8])
def test_duplicates_are_the_same_sample_later(times: int) -> None:
    after, [count] = with_fault(Duplicate(*ALWAYS, share=0.1, later_s=20.0, times=times))
    assert count == Counter(duplicated=len(after) - len(CLEAN))
    assert count["duplicated"] / len(CLEAN) == pytest.approx(0.1 * times, rel=0.1)
    _, first, repeats = np.unique(key(after), return_index=True, return_counts=True)
    assert set(repeats.tolist()) == {1, 1 + times}
    copies = after.take(np.delete(np.arange(len(after)), first))
    originals = CLEAN.take(np.searchsorted(key(CLEAN), key(copies)))
    late = copies.received_us - originals.received_us
    assert set(late.tolist()) == {20 * S * k for k in range(1, times + 1)}
    assert to_arrow(replace(copies, received_us=originals.received_us)).equals(to_arrow(originals))
    assert to_arrow(after.take(np.sort(first))).equals(to_arrow(CLEAN))


def test_reorder_lets_samples_overtake() -> None:
    after, [count] = with_fault(Reorder(*ALWAYS, share=0.1, by_s=30.0))
    assert changed(after) == {"received_us"}
    late = after.received_us - CLEAN.received_us
    assert count == Counter(held_up=int((late > 0).sum()))
    assert 0 <= late.min() < late.max() <= 30 * S
    assert (np.diff(after.received_us) < 0).any()


@pytest.mark.parametrize("ppm", [200.0, -5_000.0])
def test_drift_grows(ppm: float) -> None:
    after, [count] = with_fault(Drift(HALF, ALWAYS[1], ppm=ppm))
    assert changed(after) == {"start_us"}
    gained = after.start_us - CLEAN.start_us
    since = (CLEAN.written_us - HALF) / S
    assert np.abs(gained - np.where(since > 0, since * ppm, 0.0)).max() <= 0.51
    assert count == Counter(drifted=int((gained != 0).sum()))


def test_back_dating_moves_only_the_measured_time() -> None:
    after, [count] = with_fault(BackDate(HALF, HALF + 10 * MIN))
    assert changed(after) == {"start_us"}
    moved = CLEAN.start_us - after.start_us
    assert set(moved.tolist()) == {0, 11 * HOUR}
    assert count == Counter(back_dated=int((moved > 0).sum()))


def test_a_burst_follows_its_outage() -> None:
    after, [count] = with_fault(Burst(HALF, HALF + 20 * MIN, flush_s=5.0))
    assert changed(after) == {"received_us"}
    held = (CLEAN.written_us >= HALF) & (CLEAN.written_us < HALF + 20 * MIN)
    assert count == Counter(burst=int(held.sum()))
    assert np.array_equal(after.received_us[~held], CLEAN.received_us[~held])
    arrived = after.received_us[held]
    assert HALF + 20 * MIN <= arrived.min() <= arrived.max() <= HALF + 20 * MIN + 5 * S
    assert (np.diff(arrived) >= 0).all()


@pytest.mark.parametrize("honest", [False, True])
def test_off_the_wrist_the_heart_rate_is_flat_for_hours(honest: bool) -> None:
    after, [count] = with_fault(OffWrist(HALF, HALF + 40 * MIN, honest=honest))
    off = after.take((after.written_us >= HALF) & (after.written_us < HALF + 40 * MIN))
    heart, steps = of(off, "heart_rate"), of(off, "steps")
    assert (heart.value == 63.0).all()
    assert (steps.value == 0.0).all()
    assert len(heart) + len(steps) == len(off)
    assert count == +Counter(flat=2_400, zeroed=40, lost=len(CLEAN) - len(after))
    assert (off.quality == (0.0 if honest else 1.0)).all()
    assert (off.context & int(Context.NO_CONTACT) != 0).all() == honest
    rest = after.take((after.written_us < HALF) | (after.written_us >= HALF + 40 * MIN))
    assert to_arrow(rest).equals(to_arrow(CLEAN.take(np.isin(key(CLEAN), key(rest)))))


def test_glitches_are_exactly_what_the_field_has_seen() -> None:
    after, [count] = with_fault(Glitch(*ALWAYS, every=50))
    assert changed(after) == {"value", "quality"}
    differs = (after.value != CLEAN.value) | (after.quality != CLEAN.quality)
    rr, spo2 = of(after.take(differs), "rr_interval"), of(after.take(differs), "spo2")
    assert count == Counter(rr_255_ms=len(rr), spo2_60=len(spo2))
    assert (rr.value == 255.0).all()
    assert (rr.quality == 1.0).all()
    assert (spo2.value == 60.0).all()
    assert (spo2.quality == 0.0).all()
    assert len(rr) > 50
    assert len(spo2) > 10


def test_new_firmware_rounds_and_the_id_stays_or_changes_as_stated() -> None:
    for suffix in ("", "-b"):
        who = replace(WELL, faults=(FirmwareChange(HALF, ALWAYS[1], "2.0", heart_rate_step=5.0, suffix=suffix),))
        old, new = tell(who, NOON, END).stretches
        assert (old.firmware, old.device_id) == ("1.0", WELL.device_id)
        assert (new.firmware, new.device_id) == ("2.0", WELL.device_id + suffix)
        assert old.samples.written_us.max() < HALF <= new.samples.written_us.min()
        assert (of(new.samples, "heart_rate").value % 5 == 0).all()
        clean = CLEAN.take(CLEAN.written_us >= HALF)
        rounded = int((new.samples.value != clean.value).sum())
        assert tell(who, NOON, END).counts == (Counter(after_change=len(clean), rounded=rounded),)
        assert to_arrow(old.samples).equals(to_arrow(CLEAN.take(CLEAN.written_us < HALF)))


def test_two_changes_of_firmware_follow_one_another() -> None:
    changes = (FirmwareChange(HALF, ALWAYS[1], "2.0"), FirmwareChange(HALF + 30 * MIN, ALWAYS[1], "3.0", 1.0, "-c"))
    stretches = tell(replace(WELL, faults=changes), NOON, END).stretches
    assert [(one.firmware, one.device_id) for one in stretches] == [
        ("1.0", WELL.device_id), ("2.0", WELL.device_id), ("3.0", WELL.device_id + "-c")
    ]  # fmt: skip


def test_a_flight_changes_the_zone_and_nothing_else() -> None:
    after, [count] = with_fault(ZoneChange(HALF, ALWAYS[1], zone_offset_min=540))
    assert changed(after) == {"zone_offset_min"}
    assert np.array_equal(after.zone_offset_min, np.where(CLEAN.written_us >= HALF, 540, 0))
    assert count == Counter(in_zone=int((CLEAN.written_us >= HALF).sum()))


def test_faults_follow_one_another_and_count_what_they_were_given() -> None:
    lose, twice = Loss(*ALWAYS, share=0.3), Duplicate(*ALWAYS, share=1.0)
    after, (lost, doubled) = with_fault(lose, twice)
    assert doubled["duplicated"] == len(CLEAN) - lost["lost"]
    assert len(after) == 2 * doubled["duplicated"]
    again, (doubled, lost) = with_fault(twice, lose)
    assert doubled["duplicated"] == len(CLEAN)
    assert len(again) == 2 * len(CLEAN) - lost["lost"]


def test_two_of_the_same_fault_choose_differently() -> None:
    _, (first, second) = with_fault(Loss(*ALWAYS, share=0.5), Loss(*ALWAYS, share=0.5))
    assert second["lost"] == pytest.approx(0.25 * len(CLEAN), rel=0.1)
    assert first["lost"] == pytest.approx(0.5 * len(CLEAN), rel=0.1)


@pytest.mark.parametrize("name", FAULTS)
def test_every_named_fault_happens_within_its_time_and_is_counted_in_the_truth(name: str) -> None:
    start, end = NOON, NOON + DAY // 4
    [who] = cohort(1, 2, start, end, faults=[name])
    counts: list[tuple[Counter[str], ...]] = [tell(who, at, at + HOUR).counts for at in range(start, end, HOUR)]
    [told_fault] = truth(who, start, end, counts).faults
    assert told_fault.counts == dict(truth(who, start, end).faults[0].counts)
    assert sum(told_fault.counts.values()) > 0
    assert told_fault.start_us < end


def test_the_post_hands_over_each_sample_once_when_it_arrives() -> None:
    who = replace(
        WELL, faults=(Reorder(*ALWAYS, share=0.5, by_s=200.0), Burst(HALF, HALF + 20 * MIN), Duplicate(*ALWAYS))
    )
    waiting: list[Stretch] = []
    arrived: list[SampleColumns] = []
    for at in range(NOON, END + 10 * MIN, 61 * S):
        waiting += tell(who, at, min(at + 61 * S, END)).stretches if at < END else ()
        due, waiting = deliver(waiting, at + 61 * S)
        for one in due:
            assert (np.diff(one.samples.received_us) >= 0).all()
            assert (one.samples.received_us < at + 61 * S).all()
            arrived.append(one.samples)
    assert waiting == []
    everything = told(who, NOON, END)
    handed = SampleColumns.concat(arrived)
    assert np.array_equal(np.sort(key(handed)), np.sort(key(everything)))
    assert np.array_equal(np.sort(handed.received_us), np.sort(everything.received_us))


def test_in_order_sorts_only_what_is_not_sorted() -> None:
    [clean] = tell(WELL, NOON, NOON + MIN).stretches
    assert in_order(clean) is clean
    [held_up] = tell(replace(WELL, faults=(Reorder(*ALWAYS),)), NOON, NOON + MIN).stretches
    assert (np.diff(in_order(held_up).samples.received_us) >= 0).all()
