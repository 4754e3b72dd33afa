"""Binary arrays of PostgreSQL as numpy arrays: what psycopg itself makes of the same values is the oracle."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timeseries.arrays import NumpyArrayDumper
from timeseries.daily.columns import columns, from_binary_array
from timeseries.days_read import read_columns


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.lists(st.floats(allow_nan=False)))
def test_what_goes_out_comes_back(whole: list[int], real: list[float]) -> None:
    def there_and_back(values: Any) -> Any:
        dumper = NumpyArrayDumper(np.ndarray)
        return from_binary_array(dumper.upgrade(values, None).dump(values))  # type: ignore[arg-type]

    assert there_and_back(np.array(whole, np.int64)).tolist() == whole
    assert there_and_back(np.array(real, np.float64)).tolist() == real
    assert there_and_back(np.array([1, -2], np.int16)).tolist() == [1, -2]
    at = np.array([0, 1_780_000_000_123_456])
    assert there_and_back(at.astype("M8[us]")).tolist() == at.tolist()


def test_every_type_that_a_query_gives(database: str) -> None:
    text = """SELECT array_agg(v::smallint), array_agg(v), array_agg(v::bigint), array_agg(v::real / 4),
                     array_agg(v::float8 / 3), array_agg(timestamptz '2026-06-01 00:00+00' + v * INTERVAL '1 second')
              FROM generate_series(1, %(count)s) AS v"""
    start = datetime(2026, 6, 1, tzinfo=UTC)
    with psycopg.connect(database) as connection:
        found = read_columns(connection, text, {"count": 3})
        none = read_columns(connection, text, {"count": 0}, frozenset({3, 4}))
    assert [column.tolist() for column in found[:3]] == [[1, 2, 3]] * 3
    assert found[3].tolist() == [0.25, 0.5, 0.75]
    assert found[4].tolist() == [1 / 3, 2 / 3, 1.0]
    assert found[5].tolist() == [(start + timedelta(seconds=k)).timestamp() * 1e6 for k in (1, 2, 3)]
    assert [(len(column), column.dtype.kind) for column in none] == [(0, kind) for kind in "iiiffi"]


def test_an_array_with_nulls_is_no_column(database: str) -> None:
    with psycopg.connect(database) as connection, pytest.raises(ValueError, match="NULLs"):
        read_columns(connection, "SELECT array_agg(v) FROM (VALUES (1), (NULL)) AS t (v)", {})


def test_an_empty_array_and_a_missing_one_are_empty() -> None:
    assert from_binary_array(bytes(8) + (23).to_bytes(4)).tolist() == []
    assert [len(column) for column in columns([None, None], frozenset({1}))] == [0, 0]
