"""Where the files lie: names, whole files or none, what a killed run left, and no secret in any message."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs

from timeseries.archive_storage import (
    ArchiveUnreachable,
    folder_of,
    hash_of,
    left_over,
    listed,
    manifest_name,
    new_name,
    open_storage,
    part_of,
    read_whole,
    remove,
    size_of,
    write_whole,
)

DAY = date(2026, 3, 1)
HERE = "retention_class=vital/utc_day=2026-03-01"


@pytest.fixture
def storage(tmp_path: Path) -> fs.FileSystem:
    return open_storage(str(tmp_path))


def test_names() -> None:
    assert folder_of("vital", DAY) == HERE
    assert manifest_name("vital", DAY, 3) == f"{HERE}/_part-0003.json"
    assert len({new_name("vital", DAY, 3) for _ in range(100)}) == 100
    assert new_name("vital", DAY, 3).startswith(f"{HERE}/part-0003-")


@given(st.integers(0, 10**6))
def test_a_name_tells_its_part(part: int) -> None:
    assert part_of(new_name("vital", DAY, part)) == part
    assert part_of(manifest_name("vital", DAY, part)) == part


@pytest.mark.parametrize("name", ["README", "part-0001.parquet", ".part-0001-01234567.parquet.ab.tmp", "_part-1.json"])
def test_other_names_tell_none(name: str) -> None:
    assert part_of(f"{HERE}/{name}") == -1


def test_there_and_gone(storage: fs.FileSystem, tmp_path: Path) -> None:
    write_whole(storage, f"{HERE}/a", lambda sink: sink.write(b"content"))
    assert read_whole(storage, f"{HERE}/a") == b"content"
    assert size_of(storage, f"{HERE}/a") == 7
    assert hash_of(storage, f"{HERE}/a").hex().startswith("ed7002b4")
    assert listed(storage) == listed(storage, HERE) == [f"{HERE}/a"]
    for _ in range(2):
        remove(storage, f"{HERE}/a")
    assert (listed(storage), read_whole(storage, "a"), size_of(storage, "a"), size_of(storage, HERE)) == (
        [],
        None,
        None,
        None,
    )
    assert listed(storage, "nowhere") == []


def test_half_a_file_is_none(storage: fs.FileSystem, tmp_path: Path) -> None:
    write_whole(storage, "a", lambda sink: sink.write(b"before"))

    def fail(sink: Any) -> None:
        sink.write(b"half of it")
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".a.")]
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_whole(storage, "a", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert read_whole(storage, "a") == b"before"


def test_what_a_killed_run_left(storage: fs.FileSystem, tmp_path: Path) -> None:
    known, of_older_table, orphan = (new_name("vital", DAY, part) for part in range(3))
    named = manifest_name("vital", DAY, 1)
    foreign = f"{HERE}/notes.parquet"
    half = [f"{HERE}/.part-0000-01234567.parquet.89abcdef.tmp", f"{HERE}/._part-0000.json.89abcdef.tmp"]
    for path in (known, of_older_table, orphan, foreign, *half):
        write_whole(storage, path, lambda sink: sink.write(b"x"))
    write_whole(storage, named, lambda sink: sink.write(json.dumps({"uri": of_older_table}).encode()))
    write_whole(storage, manifest_name("vital", DAY, 4), lambda sink: sink.write(b"[broken"))
    write_whole(storage, manifest_name("vital", DAY, 5), lambda sink: sink.write(b"[]"))
    assert set(left_over(storage, listed(storage), {known})) == {orphan, *half}


@pytest.mark.parametrize("name", ["plain", "with a blank", "ümläut", "per%20cent", "hash#and?query"])
def test_a_folder_by_any_name(tmp_path: Path, name: str) -> None:
    storage = open_storage(str(tmp_path / name / "archive"))
    write_whole(storage, f"{HERE}/a", lambda sink: sink.write(b"x"))
    assert (tmp_path / name / "archive" / HERE / "a").read_bytes() == b"x"


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveUnreachable, match="cannot be opened"):
        open_storage(str(tmp_path / "file" / "archive"))


SECRET = "wJalrXUtnFEMI"


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://AKIA:{SECRET}@bucket/a", f"s3://AKIA:{SECRET}/K7@bucket/a", f"s3://AKIA:{SECRET}[x@bucket/a",
        f"s3://AKIA:{SECRET}%2F@bucket/a", f"s3://AKIA@{SECRET}", f"s3://AKIA:{SECRET}/K7", f"s3:// {SECRET}/a",
        f"s3://bucket/a?secret_key={SECRET}", f"nowhere://{SECRET}/a", f"s3:///{SECRET}",
    ],
)  # fmt: skip
def test_no_message_repeats_what_may_be_a_secret(uri: str) -> None:
    with pytest.raises(ArchiveUnreachable) as refused:
        open_storage(uri)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
