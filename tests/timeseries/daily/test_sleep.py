"""Nights and naps: which day they belong to, which device is believed, and what they come to."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.timeseries.daily.making import Sample, day_number, local, samples, wanted
from timeseries.daily.nights import agreement, night_measures, regularity
from timeseries.daily.sleep import sleep
from timeseries.daily.zones import UNKNOWN_MIN
from vitals.clock import from_datetime

ASLEEP, AWAKE, CORE, DEEP, REM = range(1, 6)
WATCH, PHONE = 1, 2
D = day_number(2)


def stage(start: datetime, minutes: float, value: int, origin: int = WATCH) -> Sample:
    return ("sleep_stage", origin, start, start + timedelta(minutes=minutes), value)


def bed(start: datetime, minutes: float, origin: int = PHONE) -> Sample:
    return ("in_bed", origin, start, start + timedelta(minutes=minutes), 1)


def nights(told: list[Sample], *days: int, **options: Any) -> dict[str, list[float]]:
    of, all_told = wanted(*(days or (D,))), samples(told, **options)
    stretches, episodes = sleep(all_told)
    found = night_measures(stretches, episodes, all_told, of)
    found["sleep_agreement"] = agreement(stretches, episodes, of)
    return {name: values.tolist() for name, values in found.items()}


NIGHT = [  # 23:00 to 7:00 with 20 minutes awake
    stage(local(1, 23), 90, CORE), stage(local(2, 0.5), 60, DEEP), stage(local(2, 1.5), 20, AWAKE),
    stage(local(2, 1.5) + timedelta(minutes=20), 100, REM), stage(local(2, 3.5), 210, CORE),
]  # fmt: skip
IN_BED = [bed(local(1, 22.5), 540)]


def test_a_night_as_the_manual_counts_it() -> None:
    found = {name: values[0] for name, values in nights(NIGHT + IN_BED).items()}
    del found["sleep_agreement"]
    assert found == {
        "sleep_total_min": 460, "sleep_core_min": 300, "sleep_deep_min": 60, "sleep_rem_min": 100,
        "sleep_unspecified_min": 0, "sleep_awake_min": 20, "sleep_disturbances": 1, "sleep_in_bed_min": 540,
        "sleep_efficiency_pct": pytest.approx(100 * 460 / 540), "sleep_latency_min": 30,
        "sleep_onset_at": from_datetime(local(1, 23)), "sleep_end_at": from_datetime(local(2, 7)),
        "sleep_midpoint_at": from_datetime(local(2, 3)), "sleep_onset_local_min": -60, "sleep_midpoint_local_min": 180,
        "nap_count": 0, "nap_min": 0,
    }  # fmt: skip


def test_without_time_in_bed_there_is_no_efficiency_and_without_a_night_nothing() -> None:
    found = nights(NIGHT, D, D + 1)
    for name in ("sleep_efficiency_pct", "sleep_latency_min", "sleep_in_bed_min"):
        assert np.isnan(found[name]).all()
    assert found["sleep_total_min"][0] == 460
    assert all(np.isnan(values[1]) for values in found.values())
    short = nights([*NIGHT, bed(local(1, 22.5), 60)])
    assert np.isnan(short["sleep_efficiency_pct"][0]), "most of the sleep was not told to be in bed"
    assert short["sleep_in_bed_min"] == [30 + 480 - 20]


def test_time_in_bed_alone_is_told_from_noon_to_noon() -> None:
    found = nights(IN_BED, D, D + 1)
    assert found["sleep_in_bed_min"][0] == 540
    assert np.isnan(found["sleep_in_bed_min"][1])
    assert np.isnan(found["sleep_total_min"]).all()


def test_a_night_belongs_to_the_day_of_waking_before_and_after_midnight() -> None:
    early = [stage(local(1, 20.5), 180, ASLEEP)]  # over before midnight: still the night to the 2nd
    assert nights(early, D - 1, D)["sleep_total_min"][1] == 180
    late = [stage(local(2, 3), 480, ASLEEP)]
    assert nights(late, D - 1, D)["sleep_total_min"][1] == 480
    assert np.isnan([nights(late, D - 1, D)["sleep_total_min"][0], nights(early, D - 1, D)["sleep_total_min"][0]]).all()


def test_who_works_at_night_has_a_night_by_day() -> None:
    """9:00 to 15:00 has its middle at noon: the next day's. 8:00 to 15:00 belongs to the same day, whole."""
    assert nights([stage(local(2, 8), 420, ASLEEP)], D, D + 1)["sleep_total_min"][0] == 420
    assert nights([stage(local(2, 9), 360, ASLEEP)], D, D + 1)["sleep_total_min"][1] == 360


def test_a_nap_is_apart_and_belongs_to_its_own_day() -> None:
    found = nights([*NIGHT, stage(local(2, 14), 45, ASLEEP), stage(local(3, 23), 480, ASLEEP)], D, D + 1, D + 2)
    assert found["sleep_total_min"][0] == 460
    assert (found["nap_count"], found["nap_min"]) == (
        [1, pytest.approx(np.nan, nan_ok=True), 0],
        [45, pytest.approx(np.nan, nan_ok=True), 0],
    )
    assert np.isnan(found["sleep_total_min"][1]), "a nap of less than three hours by day is no night"


def test_a_broken_night_is_one_night() -> None:
    """Up for two hours without being told as awake: both parts are the night, the gap is no wakefulness."""
    found = nights([stage(local(1, 23), 180, CORE), stage(local(2, 4), 150, CORE)])
    assert (found["sleep_total_min"], found["sleep_awake_min"], found["nap_count"]) == ([330], [0], [0])
    told = nights([stage(local(1, 23), 180, CORE), stage(local(2, 4), 150, CORE), bed(local(1, 23), 450)])
    assert (told["sleep_awake_min"], told["sleep_disturbances"]) == ([120], [1])


def test_two_apps_are_one_night_and_the_one_with_stages_is_believed() -> None:
    app = [stage(local(1, 22.5), 520, ASLEEP, PHONE)]
    found = nights(NIGHT + app)
    assert (found["sleep_total_min"], found["sleep_deep_min"]) == ([460], [60])
    died = nights([stage(local(1, 23), 90, CORE), *app])  # the watch's battery was empty at 0:30
    assert (died["sleep_total_min"], died["sleep_unspecified_min"]) == ([520], [520])
    assert np.isnan(died["sleep_deep_min"][0])


def test_a_nap_told_by_the_phone_alone_counts_beside_a_night_told_by_the_watch() -> None:
    assert nights([*NIGHT, stage(local(2, 15), 30, ASLEEP, PHONE)])["nap_min"] == [30]


def test_one_source_that_tells_stages_and_all_of_it_again_is_not_counted_twice() -> None:
    found = nights([*NIGHT, stage(local(1, 23), 480, ASLEEP)])
    assert found["sleep_total_min"] == [460]
    assert (found["sleep_unspecified_min"], found["sleep_awake_min"]) == ([0], [20])


def test_awake_alone_is_no_night() -> None:
    assert np.isnan(nights([stage(local(2, 3), 60, AWAKE)])["sleep_total_min"][0])
    assert np.isnan(nights([])["sleep_total_min"][0])


def test_sleep_over_a_flight_belongs_to_the_day_of_the_place_of_waking() -> None:
    """Asleep over the Atlantic: the watch tells Boston's offset, then Berlin's on waking at 9:00 there."""
    out = samples([stage(local(1, 22, "America/New_York"), 180, CORE)])
    told = samples([stage(local(2, 7, "Europe/Berlin"), 120, CORE)])
    both = out.followed_by(told)
    stretches, episodes = sleep(both)
    found = night_measures(stretches, episodes, both, wanted(D))
    assert found["sleep_total_min"].tolist() == [300]
    assert found["sleep_onset_local_min"].tolist() == [4 * 60]


@pytest.mark.parametrize(("month", "day", "hours"), [(3, 29, 7), (10, 25, 9)])
def test_a_night_on_which_the_clocks_change_lasts_as_long_as_it_did(month: int, day: int, hours: float) -> None:
    start, end = local(day - 1, 23, "Europe/Berlin", month), local(day, 7, "Europe/Berlin", month)
    for tells in (True, False):
        told = [("sleep_stage", WATCH, start, end, float(ASLEEP))]
        found = nights(told, day_number(day, month), tells=tells, zones=["Europe/Berlin"])
        assert found["sleep_total_min"] == [hours * 60]


def test_what_is_told_as_one_endless_sleep_is_cut_at_noon() -> None:
    found = nights([stage(local(1, 0), 4 * 1_440, ASLEEP)], D, D + 1, D + 2, D + 3)
    assert found["sleep_total_min"][:3] == [1_440, 1_440, 1_440]


def test_days_alike_agree_and_days_turned_round_do_not() -> None:
    def days(*hours: float) -> list[Sample]:
        return [stage(local(k, hour), 480, ASLEEP) for k, hour in enumerate(hours, 1)]

    found = nights(days(23, 23, 25, 30), D, D + 1, D + 2, D + 3)["sleep_agreement"]
    assert np.isnan(found[0]), "the day before has no night"
    assert found[1:] == [1, pytest.approx(1 - 4 / 24), pytest.approx(1 - 8 / 24)], "6:00 to 14:00 counts until noon"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 600), st.integers(190, 500)), min_size=2, max_size=5))
def test_agreement_is_that_of_minutes_compared_one_by_one(windows: list[tuple[int, int]]) -> None:
    """Sleep from 19:00 plus some minutes on, for some minutes; the oracle looks at every minute from noon to noon."""
    told = [stage(local(1 + k, 19) + timedelta(minutes=start), size, ASLEEP) for k, (start, size) in enumerate(windows)]
    days = [D + k for k in range(len(windows))]
    got = nights(told, *days)["sleep_agreement"]
    asleep = {1_440 * k + 420 + start + at for k, (start, size) in enumerate(windows) for at in range(size)}
    grids = [[1_440 * k + at in asleep for at in range(1_440)] for k in range(len(windows))]
    for k in range(1, len(windows)):
        assert got[k] == pytest.approx(np.mean([a == b for a, b in zip(grids[k], grids[k - 1], strict=True)]))


def test_the_regularity_index_is_the_mean_of_a_week_and_needs_five_days() -> None:
    day = np.array([10, 11, 12, 13, 14, 15, 16, 17, 40])
    shares = np.array([np.nan, 1, 0.5, 0.5, 1, 1, 0.5, 1, 1])
    found = regularity(np.zeros(9, np.int64), day, shares)
    assert np.isnan(found[[0, 1, 2, 3, 4, 8]]).all()
    assert found[[5, 6, 7]].tolist() == pytest.approx([200 * 4 / 5 - 100, 200 * 4.5 / 6 - 100, 200 * 5.5 / 7 - 100])
    order = np.random.default_rng(1).permutation(9)
    assert np.allclose(regularity(np.zeros(9, np.int64), day[order], shares[order]), found[order], equal_nan=True)
    two = regularity(np.repeat([0, 1], 9), np.tile(day, 2), np.tile(shares, 2))
    assert np.allclose(two, np.tile(found, 2), equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3 * 1_440), st.integers(1, 700), st.integers(1, 5), st.integers(1, 2), st.booleans()),
        max_size=14,
    )
)
def test_whatever_devices_tell_no_moment_of_sleep_counts_twice(told: list[tuple[int, int, int, int, bool]]) -> None:
    start = local(1, 12)
    given_samples = [
        bed(start + timedelta(minutes=at), size, origin)
        if in_bed
        else stage(start + timedelta(minutes=at), size, value, origin)
        for at, size, value, origin, in_bed in told
    ]
    found = nights(given_samples, *range(D - 1, D + 7))
    asleep = {
        minute
        for at, size, value, _, in_bed in told
        if not in_bed and value != AWAKE
        for minute in range(at, at + size)
    }
    nightly, naps = np.nansum(found["sleep_total_min"]), np.nansum(found["nap_min"])
    assert nightly + naps <= len(asleep) + 1e-6
    names = ("total_min", "awake_min", "onset_at", "end_at", "efficiency_pct", "core_min", "deep_min", "rem_min",
             "unspecified_min")  # fmt: skip
    for total, awake, first, last, efficiency, core, deep, rem, unspecified in zip(
        *(found[f"sleep_{name}"] for name in names), strict=True
    ):
        if not np.isnan(total):
            assert awake >= 0
            assert total + awake <= (last - first) / 60e6 + 1e-6
            assert np.isnan(efficiency) or 0 <= efficiency <= 100 + 1e-9
            assert np.nansum([core, deep, rem, unspecified]) == pytest.approx(total)


def test_an_untold_offset_is_the_patients_zone() -> None:
    told = samples([stage(local(1, 23, "Asia/Tokyo"), 480, ASLEEP)], tells=False, zones=["Asia/Tokyo"])
    assert told.zone_offset_min.tolist() == [UNKNOWN_MIN]
    stretches, episodes = sleep(told)
    assert night_measures(stretches, episodes, told, wanted(D))["sleep_onset_local_min"].tolist() == [-60]
