"""Consent at the gate: what a standing consent of a sample's class covers passes, everything else is refused first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitals.batch import BatchHeader
from vitals.catalogue import BY_NUMBER, METRICS, UNKNOWN_METRIC, RetentionClass, number_of
from vitals.gate import CATEGORIES, CATEGORY_OF, DeviceRule, DeviceState, Gate, Permissions
from vitals.ids import DeviceId, PatientId
from vitals.quality import Reason

HEADER = BatchHeader(PatientId("p1"), DeviceId("d1"), "app", "ble")
HEART, STEPS = number_of("heart_rate"), number_of("steps")
FOREVER = (1 << 63) - 1


@dataclass(frozen=True)
class Span:
    category: RetentionClass
    start: int
    end: int


def permissions(spans: Sequence[Span]) -> Permissions:
    return Permissions(
        np.array([CATEGORIES.index(one.category) for one in spans], np.int8),
        np.array([one.start for one in spans], np.int64),
        np.array([one.end for one in spans], np.int64),
    )


def refused(gate: Gate, start: Sequence[int], metric: Sequence[int], header: BatchHeader = HEADER) -> list[bool]:
    verdict = gate.judge(header, np.array(start, np.int64), np.array(metric, np.int16))
    if not verdict:
        return [False] * len(start)
    assert verdict[0][0] is Reason.NO_CONSENT
    return [bool(one) for one in verdict[0][1]]


def test_every_metric_has_a_class_and_what_the_catalogue_lacks_has_none() -> None:
    assert [CATEGORIES[CATEGORY_OF[one.number]] for one in METRICS] == [one.retention for one in METRICS]
    assert CATEGORY_OF[UNKNOWN_METRIC] == -1


def test_the_class_and_the_time_of_a_sample_decide() -> None:
    gate = Gate(people={"p1": permissions([Span(RetentionClass.VITAL, 10, 20), Span(RetentionClass.VITAL, 15, 30)])})
    assert not gate.is_open
    assert refused(gate, [9, 10, 19, 29, 30], [HEART] * 5) == [True, False, False, False, True]
    assert refused(gate, [12], [STEPS]) == [True]


@pytest.mark.parametrize("required", [False, True])
def test_who_has_no_consent_at_all_is_let_in_only_where_none_is_required(required: bool) -> None:
    gate = Gate(people={"p2": permissions([])}, require_consent=required)
    assert refused(gate, [1, 2], [HEART, STEPS]) == [required] * 2
    p2 = BatchHeader(PatientId("p2"), DeviceId("d1"), "app", "ble")
    assert refused(gate, [1, 2], [HEART, STEPS], p2) == [True] * 2, "noted, and nothing of it stands"
    assert gate.may_keep_unread("p1") is gate.may_keep_unread(None) is not required
    assert not gate.may_keep_unread("p2")


def test_what_has_no_class_takes_consent_to_all_of_them() -> None:
    spans = [Span(one, 0, FOREVER) for one in CATEGORIES]
    assert refused(Gate(people={"p1": permissions(spans)}), [5], [UNKNOWN_METRIC]) == [False]
    assert refused(Gate(people={"p1": permissions(spans[1:])}), [5], [UNKNOWN_METRIC]) == [True]
    assert permissions(spans).covers_every_class
    assert not permissions(spans[:-1]).covers_every_class


def test_it_comes_before_what_the_registry_says() -> None:
    devices = {"d1": DeviceRule(DeviceState.SUSPENDED)}
    gate = Gate(devices, people={"p1": permissions([Span(RetentionClass.VITAL, 0, 10)])})
    verdict = gate.judge(HEADER, np.array([5, 15]), np.array([HEART, HEART], np.int16))
    assert [(reason, which.tolist()) for reason, which in verdict] == [
        (Reason.NO_CONSENT, [False, True]), (Reason.DEVICE_SUSPENDED, [True, True]),
    ]  # fmt: skip


_TIME = st.integers(-50, 50)
_SPANS = st.lists(
    st.builds(
        lambda category, start, length: Span(category, start, start + length),
        st.sampled_from(CATEGORIES), _TIME, st.integers(1, 60),
    ),
    max_size=12,
)  # fmt: skip


@given(_SPANS, st.lists(st.tuples(_TIME, st.sampled_from([UNKNOWN_METRIC, *sorted(BY_NUMBER)])), max_size=20))
def test_any_spans_say_what_looking_at_each_says(spans: list[Span], samples: list[tuple[int, int]]) -> None:
    def covered(at: int, category: RetentionClass) -> bool:
        return any(one.category is category and one.start <= at < one.end for one in spans)

    wanted = [
        all(covered(at, one) for one in CATEGORIES) if metric == UNKNOWN_METRIC
        else covered(at, BY_NUMBER[metric].retention)
        for at, metric in samples
    ]  # fmt: skip
    start, metric = np.array([at for at, _ in samples], np.int64), np.array([m for _, m in samples], np.int16)
    assert permissions(spans).covers(start, metric).tolist() == wanted
