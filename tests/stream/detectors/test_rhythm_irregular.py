"""Irregular rhythm: found in fibrillation, real and made up, and in nothing else that is irregular."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Priority, State
from stream.detectors.packing import pack
from stream.detectors.protocol import NOBODY, Person
from stream.detectors.rhythm_irregular import IrregularRhythm
from stream.detectors.rhythm_irregularity import irregularity, levelled, rmssd_share
from stream.detectors.rhythm_windows import IrregularRhythmPolicy
from tests.stream.detectors.rhythm_helpers import annotated, at_s, by_radio, ltafdb_74, samples, short
from tests.stream.detectors.rhythms import IRREGULAR, REGULAR, Rr, early, fibrillation, misdetected, sinus
from tests.stream.detectors.running import S, assert_cuts_do_not_matter, run, together, told
from vitals.batch import NO_ZONE
from vitals.care_profile import AgeBand, CareProfile
from vitals.quality import Context

RAISED = ("irregular_rhythm", "raised", "low")
ESCALATED = ("irregular_rhythm", "escalated", "medium")


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def of(**profile: Any) -> Person:
    return Person(CareProfile(version=1, **profile))


def found_in(rr: Rr, person: Person = NOBODY, **how: Any) -> list[Any]:
    return run(IrregularRhythm(), samples(rr, **how), person=person)[1]


@pytest.mark.realdata
@pytest.mark.parametrize("lead", [0, 1])
def test_real_fibrillation_is_recorded_within_a_minute(lead: int) -> None:
    found = run(IrregularRhythm(), ltafdb_74(lead))[1]
    assert short(found) == [RAISED]
    assert at_s(found[0].changed_us) < 60
    assert found[0].says.endswith("; confirm by ECG")


@pytest.mark.realdata
def test_a_real_heart_with_33_atrial_beats_is_not_called_irregular() -> None:
    assert run(IrregularRhythm(), annotated("mitdb100/100.atr", 360.0))[1] == []


@pytest.mark.realdata
def test_a_day_of_real_sinus_rhythm_is_not_called_irregular() -> None:
    beats = annotated("af/nsr001.ecg", 128.0)
    assert len(beats) > 106_000
    assert run(IrregularRhythm(), beats, cuts=range(0, len(beats), 5_000))[1] == []


@pytest.mark.parametrize("name", IRREGULAR)
def test_fibrillation_is_recorded_then_pages_and_is_one_episode(name: str) -> None:
    rr = IRREGULAR[name](rng(11), 2_500)
    found = found_in(rr)
    assert short(found) == [RAISED, ESCALATED]
    assert found[0].opened_us == found[1].opened_us
    assert at_s(found[0].changed_us) <= 75
    assert at_s(found[0].changed_us) - at_s(found[0].opened_us) >= 30


@pytest.mark.parametrize("name", [name for name in REGULAR if not name.startswith("rsa")])
def test_what_is_regular_or_ectopic_never_pages_and_is_hardly_ever_recorded(name: str) -> None:
    found = [one for seed in range(6) for one in found_in(REGULAR[name](rng(300 + seed), 1_500))]
    assert all(one.priority is Priority.LOW for one in found)
    assert sum(one.state is State.RAISED for one in found) <= (1 if name in {"pvc_20", "pac_15"} else 0)


@pytest.mark.parametrize("name", ["rsa_young", "rsa_athlete"])
def test_the_breathing_of_the_young_never_pages(name: str) -> None:
    found = [one for seed in range(6) for one in found_in(REGULAR[name](rng(400 + seed), 1_500))]
    assert all(one.priority is Priority.LOW for one in found)
    assert sum(one.state is State.RAISED for one in found) <= 1


def test_it_pages_after_ten_minutes() -> None:
    found = found_in(fibrillation(rng(), 2_000, 800))
    assert short(found) == [RAISED, ESCALATED]
    assert 600 <= at_s(found[1].changed_us) < 660
    assert "for 10 min" in found[1].says


def test_it_pages_after_two_minutes_where_it_is_fast() -> None:
    found = found_in(fibrillation(rng(), 600, 430))
    assert short(found) == [RAISED, ESCALATED]
    assert 120 <= at_s(found[1].changed_us) < 160
    assert found[1].says.startswith("fast irregular rhythm")


def test_it_ends_three_minutes_after_sinus_rhythm_is_back() -> None:
    rr = np.concatenate((sinus(rng(1), 300), fibrillation(rng(2), 400), sinus(rng(3), 600)))
    found = found_in(rr)
    assert short(found) == [RAISED, ("irregular_rhythm", "cleared", "low")]
    ends_s = (rr[:700].sum()) / 1_000
    assert 180 <= at_s(found[1].changed_us) - ends_s <= 230
    assert rr[:300].sum() / 1_000 - 40 <= at_s(found[0].opened_us) <= rr[:300].sum() / 1_000 + 5


def test_short_bursts_of_it_never_page() -> None:
    parts = [part for seed in range(12) for part in (fibrillation(rng(seed), 60), sinus(rng(seed), 120))]
    assert ESCALATED not in short(found_in(np.concatenate(parts)))


@pytest.mark.parametrize("bit", [Context.MOTION_ACTIVE, Context.WORKOUT])
def test_nothing_is_judged_in_motion(bit: Context) -> None:
    assert found_in(fibrillation(rng(), 1_500), context=int(bit)) == []


def test_motion_does_not_end_an_episode() -> None:
    still, moved = fibrillation(rng(1), 300), sinus(rng(2), 900)
    rr = np.concatenate((still, moved))
    context = np.where(np.arange(len(rr)) < len(still), 0, int(Context.MOTION_ACTIVE))
    assert short(found_in(rr, context=context)) == [RAISED]


@pytest.mark.parametrize("how", [{"quality": 0.3}, {"context": int(Context.NO_CONTACT)}])
def test_what_is_not_trusted_is_not_judged(how: dict[str, Any]) -> None:
    assert found_in(fibrillation(rng(), 1_500), **how) == []


def test_a_third_of_the_beats_is_not_enough() -> None:
    seen = samples(fibrillation(rng(), 3_000))
    assert run(IrregularRhythm(), seen[rng(3).uniform(size=len(seen)) < 0.33])[1] == []


def test_five_percent_of_lost_beats_do_not_hide_it() -> None:
    seen = samples(fibrillation(rng(), 2_000))
    assert short(run(IrregularRhythm(), seen[rng(4).uniform(size=len(seen)) < 0.95])[1]) == [RAISED, ESCALATED]


@pytest.mark.parametrize("name", ["af", "af_beta_blocker", "rsa_athlete", "pvc_20"])
def test_the_dating_of_straps_changes_nothing(name: str) -> None:
    rr = {**IRREGULAR, **REGULAR}[name](rng(12), 2_000)
    found = run(IrregularRhythm(), by_radio(rr))[1]
    assert short(found) == ([RAISED, ESCALATED] if name in IRREGULAR else [])


def test_lost_beats_do_not_make_the_breathing_of_an_athlete_irregular() -> None:
    for seed in range(4):
        seen = samples(sinus(rng(seed), 3_000, 1_150, 90, 12))
        assert run(IrregularRhythm(), seen[rng(seed).uniform(size=len(seen)) < 0.95])[1] == []


def test_no_rule_of_a_fifth_is_applied() -> None:
    rr = fibrillation(rng(), 200, cv=0.3)
    assert (np.abs(np.diff(rr)) > 0.2 * rr[:-1]).mean() > 0.4
    assert short(found_in(rr)) == [RAISED]


@pytest.mark.parametrize("profile", [{"pacemaker": True}, {"age_band": AgeBand.CHILD}])
def test_nothing_is_found_of_children_and_pacemakers(profile: dict[str, Any]) -> None:
    assert found_in(fibrillation(rng(), 2_000), of(**profile)) == []


def test_a_pacemaker_that_becomes_known_ends_the_episode() -> None:
    seen = samples(fibrillation(rng(), 600))
    state, before = run(IrregularRhythm(), seen[:300])
    state, after = IrregularRhythm().step(state, seen[300:], int(seen["start_us"][-1]), of(pacemaker=True))
    assert short(before) == [RAISED]
    assert short(after) == [("irregular_rhythm", "cleared", "low")]
    assert after[0].opened_us == before[0].opened_us
    assert pack(state) == pack(IrregularRhythm().fresh())


def test_of_known_fibrillation_the_share_of_the_day_is_told_and_no_alert() -> None:
    parts = (fibrillation(rng(1), 60_000, 700), sinus(rng(2), 50_000, 800), fibrillation(rng(3), 80_000, 700))
    rr, sinus_s = np.concatenate(parts), parts[1].sum() / 1_000
    seen = samples(rr)
    found = run(IrregularRhythm(), seen, person=of(known_af=True), cuts=range(0, len(seen), 4_000))[1]
    days = [one for one in found if one.state is State.RAISED]
    assert {one.rule for one in found} == {"irregular_rhythm_burden"}
    assert len(found) == 2 * len(days) == 4
    assert {one.priority for one in found} == {Priority.LOW}
    # T0 lies at 15:06 UTC: the first day ends after 32,040 s.
    assert days[0].figures["burden_percent"] == pytest.approx(100, abs=2)
    assert days[0].figures["analysed_h"] == pytest.approx(32_000 / 3_600, abs=0.1)
    assert days[1].figures["burden_percent"] == pytest.approx(100 * (1 - sinus_s / 86_400), abs=1)


def test_a_day_whose_zone_is_unknown_is_one_of_utc() -> None:
    rr = np.concatenate((fibrillation(rng(1), 60_000, 700), fibrillation(rng(3), 80_000, 700)))
    known, unknown = (
        run(IrregularRhythm(), samples(rr, zone_offset_min=zone), person=of(known_af=True))[1] for zone in (0, NO_ZONE)
    )
    assert len(known) == 2
    assert unknown == known
    # A zone that is lost on the way ends no day early, and the next days are told as ever.
    zones = np.where(np.arange(len(rr)) < len(rr) // 3, 120, NO_ZONE)
    seen = samples(rr, zone_offset_min=zones)
    mixed = run(IrregularRhythm(), seen, person=of(known_af=True), cuts=range(0, len(seen), 4_000))[1]
    assert [one.state for one in mixed] == [State.RAISED, State.CLEARED]


def test_known_fibrillation_that_becomes_known_ends_the_episode() -> None:
    seen = samples(fibrillation(rng(), 600))
    state, _ = run(IrregularRhythm(), seen[:300])
    _, after = IrregularRhythm().step(state, seen[300:], int(seen["start_us"][-1]), of(known_af=True))
    assert short(after) == [("irregular_rhythm", "cleared", "low")]


def test_the_evidence_lets_a_person_judge() -> None:
    found = found_in(fibrillation(rng(), 300))[0]
    assert len(found.readings) == 32
    assert found.figures["rmssd_ms"] > 100
    assert found.figures["mean_rr_ms"] == pytest.approx(650, rel=0.15)
    assert found.figures["cosen"] > -1.4
    assert len(found.figures) <= 24
    assert "fibrillation" not in found.says
    assert found.window_start_us < found.measured_us == found.changed_us


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 2_400), max_size=12),
    seed=st.integers(0, 20),
    order=st.permutations(["af", "sinus", "pvc_20", "hole", "af_fast"]),
    known=st.booleans(),
)
def test_cuts_do_not_matter(cuts: list[int], seed: int, order: list[str], known: bool) -> None:
    parts, at = [], 0.0
    kinds = {**IRREGULAR, **REGULAR}
    for name in order:
        if name == "hole":
            at += 400
            continue
        rr = kinds[name](rng(seed), 600)
        parts.append(samples(rr, start_s=at, quality=np.where(rng(seed).uniform(size=600) < 0.02, 0.1, 1.0)))
        at += rr.sum() / 1_000
    assert_cuts_do_not_matter(IrregularRhythm, together(*parts), cuts, person=of(known_af=known))


@pytest.mark.parametrize("apart_us", [1, 1_000, 60 * S])
def test_hostile_input_is_bounded(apart_us: int) -> None:
    seen = told("rr_interval", np.zeros(10_000), rng().uniform(200, 4_000, 10_000))
    seen["start_us"] += np.arange(10_000) * apart_us
    state, _ = run(IrregularRhythm(), seen)
    assert _bytes(state) <= IrregularRhythm.max_bytes


def _bytes(state: Any) -> int:
    return len(repr(pack(state)))


def test_constant_intervals_are_no_trouble() -> None:
    assert found_in(np.full(500, 800.0)) == []
    told_of = irregularity(np.full((2, 40), 800.0))
    assert np.isfinite([told_of.cosen, told_of.left_over, told_of.predicted, told_of.near]).all()


def test_figures_of_a_window_are_what_they_say() -> None:
    steps = np.array([[800.0, 900.0] * 20])
    told_of = irregularity(steps)
    assert rmssd_share(steps)[0] == pytest.approx(100 / 850)
    assert told_of.near[0] == 0  # steps of 100 ms are 12 % of the mean, and 900 is no pause after 800
    assert told_of.predicted[0] > 0.99
    # 38 pairs of intervals in a row: of the 741 pairs of pairs those of one kind match, which are all that are near.
    assert told_of.cosen[0] == pytest.approx(np.log(60 / 850))


def test_ectopic_pairs_are_levelled_and_nothing_else() -> None:
    rr = np.array([[800.0, 520.0, 1_080.0, 800.0, 820.0, 790.0, 560.0, 700.0, 800.0, 1_600.0, 800.0]])
    assert levelled(rr).tolist() == [[800, 800, 800, 800, 820, 790, 630, 630, 800, 1_600, 800]]


def test_entropy_widens_its_tolerance_until_five_pairs_match() -> None:
    spread = np.array([np.geomspace(300, 2_900, 40)[np.random.default_rng(5).permutation(40)]])
    assert irregularity(spread).cosen[0] > np.log(2 * 30 / spread.mean())


def test_bigeminy_trigeminy_and_missed_beats_are_told_from_fibrillation_by_their_own_figures() -> None:
    base = sinus(rng(), 40, 800, 10)
    bigeminy = irregularity(early(base, np.arange(40) % 2 == 0, rng())[None, :])
    missed = irregularity(misdetected(sinus(rng(2), 60, 800, 10), rng(3), 0.08, 0)[None, :40])
    assert bigeminy.predicted[0] > 0.7
    assert missed.near[0] > 0.6


@pytest.mark.parametrize(
    "wrong",
    [
        {"beats": 8}, {"every_beats": 0}, {"low_ms": 3_000.0}, {"max_hole_s": 0}, {"min_coverage": 0.0},
        {"max_moving": 1.5}, {"opening_near": 0.8}, {"opening_predicted": 0.9}, {"sustained_s": -1.0},
    ],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(IrregularRhythmPolicy(), **wrong)
