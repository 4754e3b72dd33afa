"""What rows imply for the tables beside them, against plain Python."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.timeseries.making import T0, S, rows
from timeseries.derive import dirty_hours, newest_of_each_series
from timeseries.rows import sort_order

HOUR = 3_600 * S
_keys = st.tuples(
    st.integers(1, 2), st.integers(1, 2), st.integers(1, 2), st.integers(-3 * 3_600, 3 * 3_600), st.booleans()
)


def _rows(keys: list[tuple[Any, ...]]) -> Any:
    made = rows(len(keys))
    for at, (patient, metric, origin, second, gone) in enumerate(keys):
        made[at]["patient_key"], made[at]["metric_key"], made[at]["origin_key"] = patient, metric, origin
        made[at]["time"], made[at]["flags"], made[at]["value"] = T0 + second * S, 128 if gone else 1, at
    return made


@given(st.lists(_keys, min_size=1, max_size=40))
def test_the_newest_of_each_series_that_is_no_deletion(keys: list[tuple[Any, ...]]) -> None:
    newest: dict[tuple[int, ...], int] = {}
    for patient, metric, origin, second, gone in keys:
        if not gone:
            series = (patient, metric, origin)
            newest[series] = max(newest.get(series, second), second)
    made = _rows(keys)
    found = newest_of_each_series(made[sort_order(made)])
    assert {
        (int(r["patient_key"]), int(r["metric_key"]), int(r["origin_key"])): (int(r["time"]) - T0) // S for r in found
    } == newest
    assert len(found) == len(newest)


@given(st.lists(_keys, min_size=1, max_size=40))
def test_dirty_stretches_cover_every_row_hour_by_hour(keys: list[tuple[Any, ...]]) -> None:
    expected: dict[tuple[int, int], list[int]] = {}
    for patient, _, _, second, _ in keys:
        time = T0 + second * S
        expected.setdefault((patient, time - time % HOUR), []).append(time)
    made = _rows(keys)
    patients, hours, firsts, lasts = dirty_hours(made[sort_order(made)])
    found = list(zip(patients.tolist(), hours.tolist(), firsts.tolist(), lasts.tolist(), strict=True))
    assert found == [(p, h, min(times), max(times)) for (p, h), times in sorted(expected.items())]


def test_before_1970_hours_begin_before_their_minutes() -> None:
    _, hours, firsts, _ = dirty_hours(rows(1, time=-1))
    assert (hours.tolist(), firsts.tolist()) == ([-HOUR], [-1])


def test_nothing_left_is_no_series() -> None:
    assert len(newest_of_each_series(rows(3, flags=np.int16(128)))) == 0
