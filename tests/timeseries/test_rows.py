"""Rows and PostgreSQL's binary COPY form."""

from itertools import pairwise

import hypothesis.extra.numpy as hnp
import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.timeseries.making import T0, rows
from timeseries.rows import COLUMNS, IDENTITY, ROW, Rows, from_copy, same_as_previous, sort_order, to_copy

_TIME = st.integers(-(2**60), 2**60)
_elements = st.tuples(
    _TIME, _TIME, _TIME, st.floats(width=64), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**31), 2**31 - 1), st.floats(width=32), *[st.integers(-(2**15), 2**15 - 1)] * 4,
)  # fmt: skip
any_rows = st.lists(_elements, max_size=20).map(lambda many: np.array(many, ROW))


@given(any_rows)
def test_round_trip_to_the_bit(given_: Rows) -> None:
    assert from_copy(to_copy(given_)).tobytes() == given_.tobytes()


@pytest.mark.parametrize("data", [b"", b"PGCOPY\n\xff\r\n\0", to_copy(rows(2))[1:], to_copy(rows(2)) + b"\0"])
def test_another_shape_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="binary COPY form"):
        from_copy(data)


@given(hnp.arrays(ROW, st.integers(0, 30), elements=_elements))
def test_the_order_is_that_of_the_index(given_: Rows) -> None:
    keys = [tuple(row[name] for name in IDENTITY) for row in given_]
    order = sort_order(given_)
    assert [keys[at] for at in order] == sorted(keys)
    # equal identities keep the batch's order: the version that was told later is taken later
    assert all(a < b for a, b in pairwise(order) if keys[a] == keys[b])


@given(st.lists(st.tuples(*[st.integers(0, 1)] * 5), max_size=20))
def test_neighbours_of_one_identity_are_seen(keys: list[tuple[int, ...]]) -> None:
    made = rows(len(keys), **{name: [key[at] for key in keys] for at, name in enumerate(IDENTITY)}) if keys else rows(0)
    ordered = made[sort_order(made)]
    assert same_as_previous(ordered).tolist() == [
        at > 0 and sorted(keys)[at] == sorted(keys)[at - 1] for at in range(len(keys))
    ]


def test_postgresql_reads_and_writes_the_same_rows(empty_database: str) -> None:
    """The server is the judge of the wire form: what it stored is compared as text, and read back as bytes."""
    given_ = rows(4)
    given_["value"] = [0.1, -0.0, 5e-324, 1.7976931348623157e308]
    given_["time"] = [T0, -2_208_988_800_000_000, 4_102_444_800_000_000, T0 + 1]
    given_["quality"] = [0.0, 1.0, 0.1, np.nan]
    given_["duration_ms"] = [0, -1, 2**31 - 1, -(2**31)]
    given_["zone_offset_min"] = [-32_768, 32_767, 0, 330]
    with psycopg.connect(empty_database, options="-c timezone=UTC") as connection:
        connection.execute(
            "CREATE TABLE samples (time timestamptz, written_at timestamptz, received_at timestamptz, value float8, "
            "patient_key int, origin_key int, duration_ms int, quality real, metric_key smallint, flags smallint, "
            "context smallint, zone_offset_min smallint)"
        )
        columns = ", ".join(COLUMNS)
        with connection.cursor().copy(f"COPY samples ({columns}) FROM STDIN (FORMAT BINARY)".encode()) as copy:
            copy.write(to_copy(given_))
        assert connection.execute("SELECT time::text, value, duration_ms, zone_offset_min FROM samples").fetchall() == [
            ("2024-06-01 12:00:00+00", 0.1, 0, -32_768),
            ("1900-01-01 00:00:00+00", -0.0, -1, 32_767),
            ("2100-01-01 00:00:00+00", 5e-324, 2**31 - 1, 0),
            ("2024-06-01 12:00:00.000001+00", 1.7976931348623157e308, -(2**31), 330),
        ]
        with connection.cursor().copy(
            f"COPY (SELECT {columns} FROM samples) TO STDOUT (FORMAT BINARY)".encode()
        ) as out:
            assert from_copy(b"".join(bytes(part) for part in out)).tobytes() == given_.tobytes()
