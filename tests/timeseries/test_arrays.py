"""numpy arrays arrive in PostgreSQL as arrays of the right type."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest

from timeseries.arrays import NumpyArrayDumper

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("array", "type_"),
    [
        (np.array([-32_768, 0, 32_767], np.int16), "smallint[]"),
        (np.array([-(2**31), 0, 2**31 - 1], np.int32), "integer[]"),
        (np.array([-(2**63), 0, 2**63 - 1], np.int64), "bigint[]"),
        (np.array([0.1, -0.0, 3e38], np.float32), "real[]"),
        (np.array([0.1, -0.0, 1.7e308, 5e-324], np.float64), "double precision[]"),
        (np.array([1, -(2**55), 2**53], "M8[us]"), "timestamp with time zone[]"),
        (np.frombuffer(bytes(range(48)), "V16"), "uuid[]"),
    ],
    ids=lambda given: str(getattr(given, "dtype", given)),
)
@pytest.mark.parametrize("part", [slice(None), slice(0, 0), slice(None, None, -2)], ids=["all", "none", "strided"])
def test_every_type_that_a_column_has(postgres_connection: Any, array: np.ndarray, type_: str, part: slice) -> None:
    given = array[part]
    row = postgres_connection.execute("SELECT pg_typeof(%s), %s", (given, given)).fetchone()
    assert row[0] == type_
    if given.dtype.kind == "V":
        expected: list[Any] = [UUID(bytes=one.tobytes()) for one in given]
    elif given.dtype.kind == "M":
        expected = [_moment(one) for one in given.view("i8").tolist()]
    else:
        expected = given.tolist()
    if given.dtype == np.float32:
        assert np.array(row[1], np.float32).tobytes() == np.ascontiguousarray(given).tobytes()
    else:
        assert row[1] == expected


@pytest.mark.parametrize("values", [np.array(["a"]), np.array([True]), np.array([1], np.uint8)])
def test_a_type_that_no_column_has_is_refused(postgres_connection: Any, values: np.ndarray) -> None:
    with pytest.raises(KeyError):
        postgres_connection.execute("SELECT %s", (values,))


@pytest.mark.parametrize(("unit", "count"), [("s", 86_400), ("ms", 86_400_000), ("ns", 86_400_000_000_000)])
def test_times_in_another_unit_are_the_same_times(postgres_connection: Any, unit: str, count: int) -> None:
    postgres_connection.execute("SELECT %s", (np.array([1], "M8[us]"),))  # psycopg remembers a dumper for each dtype
    row = postgres_connection.execute("SELECT %s", (np.array([count], f"M8[{unit}]"),)).fetchone()
    assert row[0] == [datetime(1970, 1, 2, tzinfo=UTC)]


def _moment(time_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_us)


@pytest.fixture
def postgres_connection(database: str) -> Any:
    with psycopg.connect(database, options="-c timezone=UTC") as connection:
        connection.adapters.register_dumper(np.ndarray, NumpyArrayDumper)
        yield connection
