"""The archive in an S3-compatible store, through the same code."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from pyarrow import fs

from tests.services import Unavailable
from tests.services.s3 import S3Server, ensure_moto
from tests.timeseries.archive.making import DAY_0, HEART, NEVER, Vault
from tests.timeseries.archive.test_erase import TWO, erase
from tests.timeseries.archive.test_restore import back
from tests.timeseries.lifecycle_world import DAY, HOUR, START
from tests.timeseries.making import query
from timeseries import archive_storage
from timeseries.archive_chain import ArchiveDamaged
from timeseries.archive_erase import expire
from timeseries.archive_storage import left_over, listed, open_storage, read_whole, remove, size_of, write_whole

SECRET = "topsecret/0123456789abcdef"


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    try:
        ensure_moto()
    except Unavailable as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    with S3Server(tmp_path_factory.mktemp("s3") / "moto.log") as server:
        yield server


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the environment and from nowhere else."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


@pytest.fixture
def uri(s3: S3Server, credentials: None) -> str:
    bucket = f"vigil-{uuid4().hex[:12]}"
    s3.make_bucket(bucket)
    return s3.uri(bucket, "/the/archive")


@pytest.fixture
def storage(uri: str) -> fs.FileSystem:
    return open_storage(uri)


@pytest.fixture
def in_s3(vault: Vault, storage: fs.FileSystem) -> Vault:
    vault.archive.storage = storage
    return vault


def put(content: bytes, sink: Any) -> None:
    sink.write(content)


def contents(storage: fs.FileSystem) -> dict[str, bytes]:
    return {path: read_whole(storage, path) or b"" for path in listed(storage)}


def test_files_come_and_go(storage: fs.FileSystem) -> None:
    assert listed(storage) == listed(storage, "nowhere") == []
    write_whole(storage, "a=1/b=2/c", lambda sink: sink.write(b"content"))
    assert listed(storage) == ["a=1/b=2/c"]
    assert read_whole(storage, "a=1/b=2/c") == b"content"
    assert (size_of(storage, "a=1/b=2/c"), size_of(storage, "a=1/b=2/d")) == (7, None)
    assert read_whole(storage, "a=1/b=2/d") is None
    for _ in range(2):
        remove(storage, "a=1/b=2/c")
    assert listed(storage) == []


def test_an_upload_in_parts_shows_when_it_is_complete(storage: fs.FileSystem) -> None:
    def write(sink: Any) -> None:
        for _ in range(4):
            sink.write(bytes(6 << 20))
            assert listed(storage) == []

    write_whole(storage, "large", write)
    assert size_of(storage, "large") == 24 << 20


def test_an_upload_that_is_given_up_leaves_nothing(storage: fs.FileSystem) -> None:
    def write(sink: Any) -> None:
        sink.write(bytes(12 << 20))
        raise RuntimeError("given up")

    with pytest.raises(RuntimeError, match="given up"):
        write_whole(storage, "large", write)
    assert listed(storage) == []


def test_the_whole_life_of_a_day(in_s3: Vault, storage: fs.FileSystem) -> None:
    vault = in_s3
    vault.everything()
    assert vault.covered()
    before = contents(storage)
    assert len(before) == 8
    vault.everything()
    assert vault.day(recheck=NEVER) == []
    assert contents(storage) == before
    late = vault.world.samples(1, HEART, START + HOUR / 4)
    deleted = vault.world.samples(2, HEART, START + HOUR)
    deleted["flags"] = 128
    for rows in (late, deleted):
        vault.world.write(rows)
    assert [(one.part, one.rows) for one in vault.day()] == [(1, 2)]
    query(vault.url, "DELETE FROM samples")
    back(vault)
    assert vault.restored().tobytes() == vault.expected().tobytes()
    assert erase(vault).files == 3
    for name, content in contents(storage).items():
        assert TWO.encode() not in content, name
    wanted = vault.expected(end=START + DAY)
    wanted = wanted[(wanted["patient_key"] != 2) & (wanted["metric_key"] == HEART)]
    assert vault.read([1, 2, 3]).tobytes() == wanted.tobytes()
    with vault.connect() as connection:
        assert expire(connection, storage, "activity", (START + DAY).date(), "policy", "5 years") == (1, 12)
    verdict = vault.verify()
    assert (verdict.faults, verdict.unknown, verdict.unfinished) == ([], [], [])


def test_what_was_changed_or_removed_is_named(in_s3: Vault, storage: fs.FileSystem) -> None:
    vault = in_s3
    vault.everything()
    one = vault.known()[1]
    content = read_whole(storage, one.uri or "") or b""
    flipped = bytearray(content)
    flipped[len(flipped) // 2] ^= 1
    for other, why in ((bytes(flipped), "SHA-256"), (content[:-9], "size"), (None, "it is missing")):
        remove(storage, one.uri or "")
        if other is not None:
            write_whole(storage, one.uri or "", partial(put, other))
        found = vault.verify().faults
        assert {what for what, _ in found} == {str(one)}
        with pytest.raises(ArchiveDamaged, match=f"{one.retention_class} {one.utc_day} part 0"):
            vault.day(recheck=NEVER)
        assert why in " ".join(told for _, told in found) or "cannot be read" in found[0][1]
    write_whole(storage, one.uri or "", lambda sink: sink.write(content))
    assert vault.verify().faults == []


def test_a_killed_run_s_upload_is_removed_by_the_next(in_s3: Vault, storage: fs.FileSystem) -> None:
    write_whole(storage, archive_storage.new_name("vital", DAY_0, 0), lambda sink: sink.write(b"nobody knows of it"))
    assert len(left_over(storage, listed(storage), set())) == 1
    in_s3.day()
    verdict = in_s3.verify()
    assert (verdict.faults, verdict.unknown) == ([], [])


def test_a_store_that_is_away_costs_nothing(in_s3: Vault, s3: S3Server) -> None:
    vault = in_s3
    vault.archive.storage = open_storage("s3://vigil/a?endpoint_override=127.0.0.1:1&scheme=http&region=eu-central-1")
    with pytest.raises(OSError, match="NETWORK_CONNECTION") as away:
        vault.day()
    assert SECRET not in str(away.value)
    assert vault.known() == []
    vault.archive.storage = open_storage(s3.uri("no-such-bucket"))
    with pytest.raises(OSError, match="NO_SUCH_BUCKET"):
        vault.day()
    assert not vault.covered()
    with psycopg.connect(vault.url, autocommit=True) as connection:
        assert connection.execute("SELECT pg_try_advisory_lock(lifecycle_key())").fetchone() == (True,)


def test_credentials_come_from_the_environment(
    s3: S3Server, uri: str, vault: Vault, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store checks who asks: without a known key nothing goes, and nothing that is said tells the secret."""
    s3.call("POST", "/moto-api/reset-auth", b"0")
    try:
        vault.archive.storage = open_storage(uri)
        with pytest.raises(OSError, match=r"AWS Error (ACCESS_DENIED|INVALID_|UNKNOWN)") as refused:
            vault.day()
    finally:
        s3.call("POST", "/moto-api/reset-auth", b"Infinity")
    assert SECRET not in str(refused.value)
    vault.archive.storage = open_storage(uri)
    vault.day()
    told = capsys.readouterr()
    assert SECRET not in told.out + told.err
    assert SECRET not in repr(vault.archive.storage) + str(vault.archive.storage)
