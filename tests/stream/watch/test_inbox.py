"""What waits for the settled detectors: in event order, each measurement once, as received when its first copy was."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.watch.inbox import in_order
from tests.stream.detectors.running import S, told

_FEW = st.integers(0, 3)


def test_a_copy_that_comes_much_later_does_not_look_held_up() -> None:
    seen = told("rr_interval", np.arange(20.0), np.full(20, 1_000.0))
    again = seen[5:8].copy()
    again["received_us"] += 30 * S
    rows, _ = in_order(np.concatenate((seen, again)))
    assert np.array_equal(rows, seen)


def test_a_correction_was_received_when_it_came() -> None:
    seen = told("rr_interval", np.arange(3.0), np.full(3, 1_000.0))
    corrected = seen[1:2].copy()
    for column in ("received_us", "written_us"):
        corrected[column] += 30 * S
    corrected["value"] = 990
    rows, _ = in_order(np.concatenate((seen, corrected)))
    assert rows["value"].tolist() == [1_000, 990, 1_000]
    assert rows["received_us"][1] == corrected["received_us"][0]


@settings(max_examples=200, deadline=None)
@given(given=st.lists(st.tuples(_FEW, _FEW, _FEW, _FEW), min_size=1, max_size=12))
def test_of_each_measurement_the_last_written_counts_as_its_first_copy_came(
    given: list[tuple[int, int, int, int]],
) -> None:
    seen = told("rr_interval", np.zeros(len(given)), np.full(len(given), 1_000.0))
    for column, values in zip(("metric", "start_us", "written_us", "received_us"), np.array(given).T, strict=True):
        seen[column] = values
    rows, _ = in_order(seen)
    expected: dict[tuple[int, int], tuple[int, int]] = {}
    for metric, start, written, received in sorted(given, reverse=True):  # of the last written the first received stays
        if (metric, start) not in expected or expected[metric, start][0] == written:
            expected[metric, start] = (written, received)
    columns = (rows[column].tolist() for column in ("metric", "start_us", "written_us", "received_us"))
    found = {(metric, start): (written, received) for metric, start, written, received in zip(*columns, strict=True)}
    assert found == expected
    assert len(found) == len(rows)
