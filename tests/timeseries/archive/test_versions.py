"""What stands in the archive is what stands in samples: the same rule, told all versions at once."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.timeseries.test_versions import identity, rank
from timeseries.archive_versions import not_in, standing
from timeseries.rows import ROW, Rows, sort_order
from timeseries.versions import resolve

FEW: dict[str, st.SearchStrategy[Any]] = {
    "time": st.sampled_from([0, 1]), "written_at": st.sampled_from([5, 6]), "received_at": st.integers(0, 9),
    "value": st.sampled_from([0.0, -0.0, 1.0, -2.5]), "patient_key": st.sampled_from([1, 2]), "origin_key": st.just(1),
    "duration_ms": st.sampled_from([0, 60]), "quality": st.sampled_from([0.0, 0.5]), "metric_key": st.just(1),
    "flags": st.sampled_from([0, 4, 128, 132]), "context": st.sampled_from([0, 2]),
    "zone_offset_min": st.sampled_from([-32_768, 60]),
}  # fmt: skip


@st.composite
def versions(draw: st.DrawFn) -> Rows:
    made = draw(st.lists(st.tuples(*(FEW[name] for name in ROW.names or ())), max_size=12))
    return np.array(made, ROW)


def keys(rows: Rows) -> list[tuple[Any, ...]]:
    return [(identity(row), rank(row)) for row in rows.tolist()]


@given(versions())
def test_the_standing_version_is_the_stores(rows: Rows) -> None:
    """`resolve`, told the versions in the order in which they were archived, keeps the same rows, bit for bit."""
    stored = resolve(rows, np.empty(0, ROW), np.empty(0, ROW)).insert
    found = standing(rows)
    assert found.tobytes() == stored[sort_order(stored)].tobytes()


@given(versions(), st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(rows: Rows, chance: Any) -> None:
    order = list(range(len(rows)))
    chance.shuffle(order)
    assert keys(standing(rows[order])) == keys(standing(rows))


@given(versions(), versions())
def test_what_of_one_batch_the_archive_lacks(rows: Rows, archived: Rows) -> None:
    known = set(keys(archived))
    assert not_in(rows, archived).tolist() == [key not in known for key in keys(rows)]


@given(versions(), versions())
def test_archiving_what_lacks_loses_nothing(rows: Rows, archived: Rows) -> None:
    fresh = rows[not_in(rows, archived)]
    assert not not_in(rows, np.concatenate([archived, fresh])).any()
    assert keys(standing(np.concatenate([archived, fresh]))) == keys(standing(np.concatenate([archived, rows])))
