"""A sensor off its wearer is one technical alert, whatever it tells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from alerts.event import Kind, State
from stream.detectors.observation import Observations
from stream.detectors.off_wrist import OffWrist
from stream.detectors.protocol import NOBODY
from tests.stream.detectors.judging import assert_cuts_do_not_matter, changes, hostile, judge, size
from tests.stream.detectors.running import T0, S, together, told
from vitals.catalogue import number_of
from vitals.quality import Context

RAISED, CLEARED = State.RAISED, State.CLEARED
OFF = int(Context.NO_CONTACT)


def strap(off_from: float, off_to: float, *, quality: float = 0.0, context: int = OFF) -> object:
    at = np.arange(0, 900.0)
    off = (at >= off_from) & (at < off_to)
    grade, how = np.where(off, quality, 1.0), np.where(off, context, 0)
    five = slice(None, None, 5)
    return together(
        told("heart_rate", at, np.where(off, 210, 70), quality=grade, context=how),
        told("spo2", at[five] + 0.3, np.where(off, 60, 97)[five], quality=grade[five], context=how[five]),
    )


@settings(deadline=None, max_examples=50)
@given(cuts=st.lists(st.integers(1, 1_100), max_size=30))
def test_a_strap_that_is_taken_off_is_one_alert_and_cleared_when_it_is_worn(cuts: list[int]) -> None:
    told_ = assert_cuts_do_not_matter(OffWrist(), strap(200, 500), cuts)  # type: ignore[arg-type]
    assert changes(told_.findings) == [("wear_state", RAISED, 260.0), ("wear_state", CLEARED, 560.0)]
    raised, cleared = told_.findings
    assert (raised.kind, raised.rule, raised.figures["reason"]) == (Kind.TECHNICAL, "signal_lost", "no contact")
    assert raised.opened_us == cleared.opened_us == T0 + 200 * S
    assert raised.readings == (), "what a sensor says off the body is no measurement"


def test_quality_0_is_a_reason_of_its_own() -> None:
    found = judge(OffWrist(), strap(200, 500, context=0)).findings  # type: ignore[arg-type]
    assert [one.figures["reason"] for one in found] == ["quality 0", "measures again"]


def test_what_has_no_contact_is_distrusted_whatever_its_quality() -> None:
    seen = strap(200, 500, quality=1.0)
    found = judge(OffWrist(), seen)  # type: ignore[arg-type]
    assert (found.distrust == (seen["context"] == OFF)).all()  # type: ignore[index]
    assert found.findings[0].state is RAISED


def test_one_channel_that_is_lost_beside_others_is_no_loss_of_contact() -> None:
    at = np.arange(0, 900.0)
    seen = together(told("heart_rate", at, 70), told("spo2", at[::5] + 0.3, 60, quality=0))
    assert judge(OffWrist(), seen).findings == []


@pytest.mark.parametrize("context", [int(Context.CHARGING), int(Context.CHARGING) | OFF])
def test_charging_is_planned(context: int) -> None:
    assert judge(OffWrist(), strap(200, 500, context=context)).findings == []  # type: ignore[arg-type]


def test_poor_quality_alone_neither_raises_nor_clears() -> None:
    assert judge(OffWrist(), strap(200, 500, quality=0.3, context=0)).findings == []  # type: ignore[arg-type]


def test_a_watch_that_says_that_it_is_not_worn_is_distrusted_until_it_is() -> None:
    at = np.arange(0, 600.0)
    seen = together(told("heart_rate", at, 63), told("wear_state", [100.5, 400.5], [0, 1]))
    found = judge(OffWrist(), seen)
    off = (seen["start_us"] > T0 + 100 * S) & (seen["start_us"] <= T0 + 400 * S)
    assert (found.distrust == off).all()
    assert changes(found.findings) == [("wear_state", RAISED, 161.0), ("wear_state", CLEARED, 461.0)]
    assert found.findings[0].figures["reason"] == "not worn"
    half = judge(OffWrist(), seen[:300])
    assert number_of("heart_rate") in OffWrist().distrusted(half.state)
    assert OffWrist().distrusted(found.state) == frozenset()


def doubtful(hours: float = 1.0, wear: tuple[float, ...] = (0.0,), quality: ArrayLike = 1.0) -> Observations:
    at = np.arange(5, hours * 3_600)
    return together(told("wear_state", list(wear), 0), told("heart_rate", at, 168 + at % 5, quality=quality))


@settings(deadline=None, max_examples=50)
@given(cuts=st.lists(st.integers(1, 3_600), max_size=40))
def test_not_worn_said_once_lapses_when_good_values_keep_coming(cuts: list[int]) -> None:
    seen = doubtful()
    found = assert_cuts_do_not_matter(OffWrist(), seen, cuts)
    assert (found.distrust == (seen["start_us"] < T0 + 905 * S)).all()
    assert changes(found.findings) == [("wear_state", RAISED, 60.0), ("wear_state", CLEARED, 965.0)]
    assert found.findings[1].figures["reason"] == "good values although not worn"
    assert "not worn, but good values came for 15 min" in found.findings[1].says
    assert found.state == OffWrist().fresh(), "it is forgotten"


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(1, 3_600), max_size=40))
def test_not_worn_said_again_begins_anew(cuts: list[int]) -> None:
    found = assert_cuts_do_not_matter(OffWrist(), doubtful(wear=tuple(np.arange(0, 3_600, 600.0))), cuts)
    assert found.distrust.all()
    again = assert_cuts_do_not_matter(OffWrist(), doubtful(wear=(0.0, 1_200.5)), cuts)
    assert [one.state for one in again.findings] == [RAISED, CLEARED, RAISED, CLEARED]
    assert again.distrust.sum() == 901 + 901


@pytest.mark.parametrize("every", [600, 601])
def test_values_of_no_use_or_far_between_speak_against_nothing(every: int) -> None:
    at = np.arange(5, 3_600.0)
    found = judge(OffWrist(), doubtful(quality=np.where(at % every == 5, 0.0, 1.0)))
    assert found.distrust.all()
    sparse = together(told("wear_state", [0.0], 0), told("heart_rate", np.arange(5, 36_000, every * 1.0), 70))
    assert judge(OffWrist(), sparse).distrust.all() == (every > 600)


def test_worn_after_all_is_said_as_ever() -> None:
    found = judge(OffWrist(), together(doubtful(0.3), told("wear_state", [950.5], 1))).findings
    assert found[1].figures["reason"] == "measures again"


def test_a_watch_that_says_so_and_falls_silent_is_told_by_the_clock_once() -> None:
    detector = OffWrist()
    state = judge(detector, told("wear_state", [0.0], [0])).state
    state, early = detector.overdue(state, T0 + 59 * S, NOBODY)
    state, due = detector.overdue(state, T0 + 7_000 * S, NOBODY)
    state, again = detector.overdue(state, T0 + 8_000 * S, NOBODY)
    assert (early, again) == ([], [])
    assert [(one.state, one.opened_us, one.raised_us) for one in due] == [(RAISED, T0, T0 + 60 * S)]
    back = together(told("wear_state", [9_000.0], [1]), told("heart_rate", np.arange(9_000.5, 9_100), 70))
    found = judge(detector, back, state=state).findings
    assert [(one.state, one.opened_us) for one in found] == [(CLEARED, T0)]


def test_hostile_input_leaves_it_small_and_cuts_do_not_matter() -> None:
    for seed in range(3):
        seen = hostile(seed)
        found = assert_cuts_do_not_matter(OffWrist(), seen, range(0, 10_000, 61))
        assert size(found.state) <= OffWrist.max_bytes
