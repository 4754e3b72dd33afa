"""Rows into Arrow and Parquet and out again, bit for bit."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs

from tests.timeseries.archive.making import WORDS, file_rows
from tests.timeseries.making import rows as made_rows
from timeseries import archive_file
from timeseries.archive_chain import ArchiveDamaged
from timeseries.archive_file import GROUP_ROWS, FileWriter, slices
from timeseries.archive_format import SCHEMA, UnknownKey, Words, from_arrow, slice_of, to_arrow
from timeseries.archive_leaf import LeafHasher
from timeseries.rows import ROW, Rows
from vitals.batch import NO_ZONE


@given(file_rows())
def test_there_and_back(rows: Rows) -> None:
    part = slice_of(rows, WORDS)
    table = to_arrow(part)
    table.validate(full=True)
    assert table.schema == SCHEMA
    back = from_arrow(table)
    assert back.rows.tobytes() == rows.tobytes()
    assert back.starts.tolist() == part.starts.tolist()
    assert back.words == part.words


@given(file_rows(1))
def test_words_and_nulls_are_what_the_keys_say(rows: Rows) -> None:
    told = to_arrow(slice_of(rows, WORDS)).to_pylist()
    for row, line in zip(rows, told, strict=True):
        assert line["patient_id"] == WORDS.patients[row["patient_key"]]
        assert (line["metric"], line["unit"]) == WORDS.metrics[row["metric_key"]]
        assert (line["device_id"], line["source_app"]) == WORDS.origins[row["origin_key"]]
        zone = row["zone_offset_min"]
        assert line["zone_offset_min"] == (None if zone == NO_ZONE else zone)


@given(file_rows(1), st.sets(st.sampled_from(["a-1", "b-2", "c-3", "nobody"])))
def test_of_patients(rows: Rows, wanted: set[str]) -> None:
    found = slice_of(rows, WORDS).of_patients(frozenset(wanted))
    keys = [key for key, name in WORDS.patients.items() if name in wanted]
    assert found.rows.tobytes() == rows[np.isin(rows["patient_key"], keys)].tobytes()
    assert [words for words, _ in found.runs()] == slice_of(found.rows, WORDS).words
    assert all(len(part) for _, part in found.runs())


def test_a_key_without_a_word_is_named() -> None:
    with pytest.raises(UnknownKey, match="9"):
        slice_of(made_rows(1, origin_key=9), WORDS)


def test_other_columns_types_and_nulls_are_refused() -> None:
    table = to_arrow(slice_of(made_rows(3), WORDS))
    with pytest.raises(ValueError, match="columns"):
        from_arrow(table.drop_columns(["unit"]))
    at = SCHEMA.get_field_index("value")
    for other in (pa.array([1.0, None, 2.0]), pa.array([1, 2, 3])):
        with pytest.raises(ValueError, match="value"):
            from_arrow(table.set_column(at, "value", other))
    with pytest.raises(ValueError, match="word"):
        from_arrow(table.set_column(0, "patient_id", pa.array(["a", None, "a"]).dictionary_encode()))


def written(rows: Rows, cuts: list[int], words: Words = WORDS) -> bytes:
    """A file's bytes, its rows handed over in pieces."""
    sink = BytesIO()
    writer = FileWriter(sink, LeafHasher(lambda _, __: b"salt"), {"vigil.retention_class": "vital"})
    for part in np.split(rows, sorted(cuts)):
        writer.add(part, words)
    writer.close(words)
    return sink.getvalue()


@given(file_rows(), st.lists(st.integers(0, 24), max_size=4))
def test_a_file_holds_what_was_handed_over(rows: Rows, cuts: list[int]) -> None:
    content = written(rows, cuts)
    assert content == written(rows, []), "how it was handed over does not show"
    table = pq.read_table(BytesIO(content), read_dictionary=["patient_id", "metric", "unit", "device_id", "source_app"])
    assert from_arrow(table.cast(SCHEMA)).rows.tobytes() == rows.tobytes()


def test_row_groups_are_equal_sorted_and_tell_what_is_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader passes over the groups that cannot hold what it asks for, by patient, metric or time."""
    count = GROUP_ROWS + 5_000
    rows = np.concatenate([made_rows(count, patient_key=1), made_rows(1_000, patient_key=2)])
    (tmp_path / "file.parquet").write_bytes(written(rows, [10, 70_000]))
    metadata = pq.read_metadata(tmp_path / "file.parquet")
    assert [metadata.row_group(n).num_rows for n in range(2)] == [GROUP_ROWS, 6_000]
    assert metadata.metadata[b"vigil.retention_class"] == b"vital"
    columns = {metadata.row_group(1).column(n).path_in_schema: metadata.row_group(1).column(n) for n in range(17)}
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert (columns["patient_id"].statistics.min, columns["patient_id"].statistics.max) == ("a-1", "b-2")
    assert columns["time"].statistics.has_min_max
    order = [one.column_index for one in metadata.row_group(0).sorting_columns]
    assert [SCHEMA.names[n] for n in order] == ["patient_id", "metric_key", "origin_key", "time", "duration_ms"]

    storage = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    asked: list[bool] = []
    looks = archive_file._may_hold

    def noted(group: Any, patients: frozenset[str]) -> bool:
        asked.append(looks(group, patients))
        return asked[-1]

    monkeypatch.setattr(archive_file, "_may_hold", noted)
    (part,) = slices(storage, "file.parquet", ["b-2"])
    assert part.rows.tobytes() == rows[count:].tobytes()
    assert asked == [False, True]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 100, b"no file of ours"])
def test_bytes_that_are_no_file_of_ours(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.parquet").write_bytes(content)
    with pytest.raises(ArchiveDamaged, match=r"file\.parquet"):
        list(slices(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "file.parquet"))


def test_somebody_elses_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "file.parquet")
    with pytest.raises(ArchiveDamaged, match="KeyError"):
        list(slices(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "file.parquet"))


def test_a_row_needs_few_bytes() -> None:
    """An hour of heart rate at 1 Hz: the columns that repeat cost nearly nothing."""
    rows = made_rows(3_600, value=np.round(60 + 5 * np.sin(np.arange(3_600) / 300)))
    assert rows.itemsize == ROW.itemsize == 56
    assert len(written(rows, [])) - len(written(rows[:1], [])) < 3_600 * 4
