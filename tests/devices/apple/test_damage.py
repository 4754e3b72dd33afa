"""Exports as they should not be: cut short, broken inside, hostile, or no export at all."""

import io
import os
import random
import tracemalloc
import zipfile
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.adapter import Piece
from devices.apple import ExportSummary, read_export, source
from devices.apple.origin import Origins
from devices.apple.records import RecordReader
from devices.apple.scanner import MAX_TOKEN, ElementScanner
from devices.errors import MalformedExport
from tests.devices.apple.exports import FIXTURES, KEY, NOW_US, check, document, element, read, samples, zipped

CDA = b'<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"><id/></ClinicalDocument><ClinicalDocument/>'


def _fails(data: bytes, says: str) -> tuple[int, MalformedExport]:
    """Read what there is; return how many samples came before the error, and the error."""
    summary, batches = ExportSummary(), list[Piece]()
    with pytest.raises(MalformedExport, match=says) as caught:
        batches.extend(read_export(io.BytesIO(data), received_us=NOW_US, hash_key=KEY, summary=summary))
    check(summary, batches)
    assert caught.value.records == summary.read
    return len(samples(batches)) if batches else 0, caught.value


@pytest.mark.parametrize(
    "broken",
    [
        element().replace("sourceName", "HK Bad sourceName"),  # iOS 8.3: attribute names with spaces
        element().replace('value="60"', 'value="60'),
        element().replace('unit="count/min"', "unit=count/min"),
        element(value="&bogus;"),
        element(value="a < b"),
        element().replace("/>", ' value="61"/>'),
        element().replace("/>", ">"),
        element().replace("/>", "><MetadataEntry key='a'></Record>"),
        element().replace("/>", "></Rekord>"),
        element().replace("Watch", "Wat\udcffch"),  # no UTF-8
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1 << 18, 97, 1])
def test_damage_costs_the_record_it_stands_in(broken: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "CHUNK_BYTES", size)
    text = document(element(value="41"), "@", *(element(value=str(42 + i)) for i in range(3)))
    data = text.replace(b"@", broken.encode("utf-8", "surrogateescape"))
    batches, summary = read(data)
    assert samples(batches).value.tolist() == [41.0, 42.0, 43.0, 44.0]
    assert (summary.read, summary.rejected) == (5, {"not_well_formed": 1})


@pytest.mark.parametrize("broken", [element().replace("/>", ">"), element().replace("/>", ""), element(value="&x;")])
def test_the_last_record_may_be_the_damaged_one(broken: str) -> None:
    _, summary = read(document(element(), broken))
    assert (summary.read, summary.accepted, summary.rejected) == (2, 1, {"not_well_formed": 1})


@pytest.mark.parametrize("broken", ["<!DOCTYPE HealthData>", "<Me name='&x;'/>", "<ExportDate value=1/>"])
def test_damage_outside_records_costs_no_record(broken: str) -> None:
    _, summary = read(document(element(), broken, element()))
    assert (summary.read, summary.accepted, summary.damaged_others) == (2, 2, 1)


def test_a_damaged_correlation_does_not_count_its_records_twice() -> None:
    inside = f"<Correlation>{element()}<MetadataEntry bad/>{element()}</Correlation>"
    _, summary = read(document(element(), inside, element()))
    assert (summary.read, summary.accepted, summary.damaged_others) == (2, 2, 1)


NEXT_DAY = {"startDate": "2024-01-02 10:00:00 +0100", "endDate": "2024-01-02 10:00:00 +0100"}
DATES = 'startDate="2024-01-01 10:00:00 +0100" endDate="2024-01-01 10:00:00 +0100"'


@pytest.mark.parametrize("size", [1 << 18, 97, 1])
@pytest.mark.parametrize("after", ["", f"<Correlation {DATES}>{element()}</Correlation>", "<Workout/>", element()])
@pytest.mark.parametrize("count", [1, 3, 300])
def test_a_correlation_without_its_end_costs_no_record(
    count: int, after: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "CHUNK_BYTES", size)
    follow = [element(**NEXT_DAY, value=str(40 + i % 100)) for i in range(count)]
    open_ended = f"<Correlation {DATES}>{element()}{element(unit='count/s', value='1')}"
    batches, summary = read(document(open_ended, *follow, *([after] if after else [])))
    follow_on = 1 if after == element() else 0  # it has the Correlation's dates, but stands behind one that has not
    assert samples(batches).value.tolist() == [40.0 + i % 100 for i in range(count)] + [60.0] * follow_on
    assert (summary.read, summary.accepted, summary.damaged_others) == (count + follow_on,) * 2 + (1,)
    assert summary.nested_records == 2 + (after.startswith("<Correlation"))


def test_a_nested_record_may_have_dates_of_its_own() -> None:
    inside = f"<Correlation {DATES}>{element()}{element(**NEXT_DAY)}{element()}</Correlation>"
    _, summary = read(document(element(), element(**NEXT_DAY), inside, element()))
    assert (summary.read, summary.accepted, summary.correlations, summary.nested_records) == (3, 3, 1, 3)


def test_a_file_cut_short_in_a_correlation_without_its_end_still_costs_no_record() -> None:
    data = document(f"<Correlation {DATES}>{element()}", element(**NEXT_DAY), element(**NEXT_DAY))
    assert _fails(data[: data.index(b"</HealthData")], "cut short")[0] == 2


def test_a_damaged_record_in_a_correlation_whose_end_is_missing_costs_itself() -> None:
    broken = element().replace("/>", ">")
    data = document(f"<Correlation {DATES}>{element()}", element(**NEXT_DAY), broken, element(**NEXT_DAY))
    _, summary = read(data)
    assert (summary.read, summary.accepted, summary.damaged_others) == (2, 2, 1)


def test_a_damaged_workout_is_counted_with_the_workouts() -> None:
    _, summary = read(document(element(), "<Workout bad/>", "<Workout><WorkoutEvent bad/></Workout>", element()))
    assert (summary.read, summary.accepted, summary.rejected_workouts) == (2, 2, {"not_well_formed": 2})


@pytest.mark.parametrize("control", ["\x0b", "\x00", "\x1f", "&#11;", "&#x0B;", "&#0;"])
@pytest.mark.parametrize("size", [1 << 18, 5, 1])
def test_control_characters_cost_nothing(control: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "CHUNK_BYTES", size)
    _, summary = read(document(element(sourceName=f"Wa{control}tch"), element(sourceVersion="&#49;&amp;")))
    assert (summary.read, summary.accepted) == (2, 2)


@settings(deadline=None)
@given(cuts=st.lists(st.integers(1, 9_000), max_size=30))
def test_the_cuts_between_chunks_do_not_matter(cuts: list[int]) -> None:
    data = (FIXTURES / "everyday.xml").read_bytes()
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    summary = ExportSummary()
    scanner = ElementScanner(RecordReader(Origins(KEY), summary, NOW_US))
    for start, end in pairwise(edges):
        scanner.feed(data[start:end])
    scanner.close()
    whole = read(data)[1]
    whole.by_metric.clear()
    whole.sessions = 0  # counted when they are handed out, as samples by metric are
    assert summary == whole


@settings(deadline=None, max_examples=200)
@given(at=st.integers(0, 9_000), noise=st.binary(min_size=1, max_size=40))
def test_whatever_stands_in_a_file_it_is_read_or_malformed(at: int, noise: bytes) -> None:
    data = (FIXTURES / "everyday.xml").read_bytes()
    with suppress(MalformedExport):
        read(data[:at] + noise + data[at + len(noise) :])


@settings(deadline=None, max_examples=60)
@given(length=st.integers(0, 9_000))
def test_a_file_cut_short_gives_what_came_before_and_says_where(length: int) -> None:
    data = (FIXTURES / "everyday.xml").read_bytes()
    length = min(length, data.index(b"</HealthData>") + 12)
    if b"<HealthData " not in data[:length]:
        _fails(data[:length], "no HealthData element")
        return
    _, error = _fails(data[:length], "cut short")
    assert (error.offset, error.line) == (length, data[:length].count(b"\n") + 1)
    assert f"at byte {length}, line {error.line}; {error.records} records before it were read" in str(error)


def test_what_follows_the_root_is_not_read() -> None:
    assert read(document(element()) + b"<HealthData>" + element().encode())[1].read == 1


@pytest.mark.parametrize("data", [b"", b"\x00" * 5_000, b"<html></html>", CDA, b"%PDF-1.7", os.urandom(3_000_000)])
def test_no_export_at_all(data: bytes) -> None:
    _fails(data, "not an Apple Health export")


def test_an_entity_bomb_is_never_defined() -> None:
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    prolog = f'<!DOCTYPE HealthData [<!ENTITY l0 "ha">{laughs}<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    _, summary = read(document(element(), element(sourceName="&l11;"), element(value="&f;"), prolog=prolog))
    assert (summary.accepted, summary.rejected) == (1, {"not_well_formed": 2})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (document("<a>" * 100_000), "nest deeper"),
        (document(element(sourceName="x" * (3 * MAX_TOKEN))), "a tag longer"),
        (document("<!--" + "x" * (3 * MAX_TOKEN) + "-->"), "a tag longer"),
        (document(*(element(**{f"a{i}": "1"}) for i in range(10_000))), "names of elements and attributes"),
    ],
    ids=["depth", "tag", "comment", "names"],
)
def test_what_grows_without_bound_is_refused(data: bytes, says: str) -> None:
    _fails(data, says)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    record = element().replace("/>", '><MetadataEntry key="a" value="b"/></Record>\n').encode()
    path = tmp_path / "export.xml"
    path.write_bytes(b"<HealthData>" + record * 60_000 + b"</HealthData>")
    tracemalloc.start()
    count = sum(len(b.samples or ()) for b in read_export(path, received_us=NOW_US, hash_key=KEY))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 60_000
    assert peak < 8 << 20 < path.stat().st_size


@pytest.mark.parametrize(
    "name", ["apple_health_export/Exportieren.xml", "导出.xml", "apple_health_export/export.xml", "EXPORT.XML"]
)
def test_a_zip_is_searched_by_what_its_members_hold(name: str) -> None:
    packed = zipped(**{
        "apple_health_export/export_cda.xml": CDA + b" " * 100_000,
        "apple_health_export/workout-routes/route.gpx": b"<gpx><HealthData></gpx>",
        "__MACOSX/apple_health_export/._export.xml": b"\x00\x05\x16\x07",
        name: document(element(), element()),
    })  # fmt: skip
    assert read(packed)[1].accepted == 2


def test_a_zip_without_an_export() -> None:
    _fails(zipped(**{"a/export_cda.xml": CDA, "notes.txt": document(element())}), "holds no Apple Health export")
    _fails(zipped(), "holds no Apple Health export")


def test_a_zip_cut_short() -> None:
    packed = zipped(**{"export.xml": document(*[element()] * 1_000)})
    for length in (4, 30, len(packed) // 2, len(packed) - 1):
        _fails(packed[:length], "the zip file is cut short or damaged")


def test_a_zip_damaged_inside_gives_what_came_before() -> None:
    rng = random.Random(1)
    packed = bytearray(zipped(**{"export.xml": document(*(element(value=str(rng.random())) for _ in range(50_000)))}))
    for at in range(len(packed) * 3 // 4, len(packed) * 3 // 4 + 50):
        packed[at] ^= 0xFF
    count, error = _fails(bytes(packed), "zip file is damaged|cut short")
    assert count > 1_000
    assert error.offset


def test_an_encrypted_zip_is_named_as_such() -> None:
    packed = bytearray(zipped(**{"export.xml": document(element())}))
    packed[6] |= 1  # general purpose flag, bit 0: in the local header and in the directory
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    _fails(bytes(packed), "damaged or encrypted")


def test_a_ratio_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_RATIO_FLOOR", 1 << 20)
    bomb = document(element()).replace(b"</HealthData>", b" " * (8 << 20) + b"</HealthData>")
    count, _ = _fails(zipped(**{"export.xml": bomb}), "which it cannot be")
    assert count == 0


def test_a_bomb_that_lies_about_its_size_is_stopped_while_unpacking() -> None:
    archive = zipfile.ZipFile(io.BytesIO(zipped()))
    stream = source.ExportStream(io.BytesIO(b"x" * (3 * source.CHUNK_BYTES)), 10, 2 * source.CHUNK_BYTES, archive)
    with pytest.raises(MalformedExport, match="which it cannot be"):
        list(stream.chunks())


def test_a_missing_file_is_the_systems_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "export.xml")


def test_a_given_file_stays_open() -> None:
    file = io.BytesIO(document(element()))
    list(read_export(file, received_us=NOW_US, hash_key=KEY))
    assert not file.closed
