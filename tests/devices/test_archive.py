"""Zip files that want to fill the memory, and those that are broken."""

import io
import resource
import zipfile

import pytest

from devices import archive
from devices.archive import Archive, DamagedMember, open_archive
from devices.errors import MalformedExport
from tests.devices.zips import zipped


def read_all(data: bytes) -> list[bytes]:
    with open_archive(io.BytesIO(data)) as found:
        return [found.read(member) for member in found.members()]


def test_members_come_as_they_lie() -> None:
    assert read_all(zipped({"b": b"1", "a": b"2", "folder/": b""})) == [b"1", b"2"]


def test_a_member_that_unpacks_to_gigabytes_is_refused_before_it_does() -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file, file.open("steps-2024-06-01.json", "w") as member:
        for _ in range(300):
            member.write(bytes(1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MalformedExport, match="unpacks"):
        read_all(bomb.getvalue())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB; the member has 300 MB


def test_many_members_may_not_unpack_to_more_than_the_file_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_RATIO_FLOOR", 1 << 20)
    with pytest.raises(MalformedExport, match="unpacks"):
        read_all(zipped({str(n): bytes(200_000) for n in range(60)}))


def test_a_directory_of_more_members_than_an_export_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_MAX_DIRECTORY_BYTES", 4_000)
    with pytest.raises(MalformedExport, match="members"):
        read_all(zipped({str(n): b"" for n in range(200)}))


def test_a_zip_within_a_zip() -> None:
    inner = zipped({"one": b"1" * 100_000, "two": b"2"})
    for stored in (True, False):
        with open_archive(io.BytesIO(zipped({"x.zip": inner, "y.zip": b"none"}, stored=stored))) as outer:
            good, bad = outer.members()
            with outer.inner(good) as found:
                assert [len(found.read(member)) for member in found.members()] == [100_000, 1]
            with pytest.raises(DamagedMember), outer.inner(bad):
                pass


def test_a_zip_within_that_says_it_is_beyond_reason_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_RATIO_FLOOR", 1 << 20)
    with open_archive(io.BytesIO(zipped({"x.zip": bytes(10 << 20)}))) as outer:
        (member,) = outer.members()
        with pytest.raises(DamagedMember), outer.inner(member):
            pass


def test_a_damaged_member_is_that_members_damage() -> None:
    data = bytearray(zipped({"one": b"1" * 50, "two": b"2"}, stored=True))
    data[data.index(b"1" * 50) + 3] = 0x41
    with open_archive(io.BytesIO(bytes(data))) as found:
        one, two = found.members()
        with pytest.raises(DamagedMember):
            found.read(one)
        assert found.read(two) == b"2"


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06", b"PK\x03\x04" * 20, zipped({"a": b"1"})[:-10], b"{}"])
def test_what_is_no_zip_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(MalformedExport):
        read_all(data)


def test_a_member_without_a_name_is_a_member_like_any_other() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as found:
        found.writestr(zipfile.ZipInfo(""), b"1")
    assert read_all(file.getvalue()) == [b"1"]


def test_it_is_closed_with_its_file() -> None:
    with open_archive(io.BytesIO(zipped({"a": b"1"}))) as found:
        members = found.members()
    assert isinstance(found, Archive)
    with pytest.raises(DamagedMember):
        found.read(members[0])
