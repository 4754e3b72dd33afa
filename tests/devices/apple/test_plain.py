"""Records read in columns are those that expat would have read: both ways, over files of every kind."""

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.adapter import Piece
from devices.apple import ExportSummary, plain, scanner, source
from devices.apple.columns import dates
from devices.apple.dates import BadDate, DateReader
from devices.errors import MalformedExport
from tests.devices.apple.exports import FIXTURES, document, element, read, samples, sessions
from vitals.batch import to_arrow

Told = tuple[dict[tuple[str, str], bytes], list[object], ExportSummary]


def _told(pieces: list[Piece], summary: ExportSummary) -> Told:
    """What came of a file: each origin's samples in their order, all sessions, all counts."""
    mine: dict[tuple[str, str], list[Piece]] = {}
    for piece in pieces:
        if piece.samples is not None:
            mine.setdefault((piece.device_id, piece.source_app), []).append(piece)
    columns = {origin: to_arrow(samples(some)).serialize().to_pybytes() for origin, some in mine.items()}
    return columns, list(sessions(pieces)), summary


def _nothing_plain(_text: bytes, at: int, *, mixed: bool) -> tuple[list[tuple[bytes, ...]], int]:
    return [], at


def _both(data: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[Told, int]:
    """Read in both ways, compare; return what was told and how many records went in columns."""
    counted = Counter[str]()
    find = plain.find_plain

    def counting(text: bytes, at: int, *, mixed: bool) -> tuple[list[tuple[bytes, ...]], int]:
        found = find(text, at, mixed=mixed)
        counted["plain"] += len(found[0])
        return found

    outcomes: list[Told | str] = []
    for way in (counting, _nothing_plain):
        with monkeypatch.context() as patched:
            patched.setattr(scanner, "find_plain", way)
            try:
                outcomes.append(_told(*read(data)))
            except MalformedExport as error:
                outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
    told = outcomes[0]
    return (told if not isinstance(told, str) else ({}, [], ExportSummary())), counted["plain"]


def test_the_fixture_and_many_like_it_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (FIXTURES / "everyday.xml").read_bytes()
    body = text[text.index(b" <Record") : text.index(b"</HealthData>")]
    (_, _, summary), count = _both(b"<HealthData>\n" + body * 200 + b"</HealthData>", monkeypatch)
    assert summary.read == 22 * 200
    assert count > 10 * 200


@pytest.mark.parametrize("size", [1 << 18, 4_099, 331])
def test_usual_records_go_in_columns(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "CHUNK_BYTES", size)
    rng = random.Random(size)
    records = [element(value=str(rng.randint(40, 180)), sourceVersion="10.2") for _ in range(2_000)]
    _, count = _both(document(*records), monkeypatch)
    assert count > (1_900 if size > 4_000 else 0)


_ATTRIBUTES: dict[str, list[str | None]] = {
    "type": [
        "HKQuantityTypeIdentifierHeartRate",
        "HKQuantityTypeIdentifierOxygenSaturation",
        "HKQuantityTypeIdentifierNew",
        "HKQuantityTypeIdentifierDistanceCycling",
        "HKCategoryTypeIdentifierSleepAnalysis",
        "Anna",
        None,
        "",
    ],
    "sourceName": [
        "Watch",
        "Anna's\u00a0Watch",
        "A &amp; B",
        "&lt;x&gt;",
        "",
        None,
        "a\tb",
        "&#65;",
        "\ufffe",
        "\u2019",
        "a\nb",
    ],
    "sourceVersion": ["10.2", None, "", "&bogus;"],
    "device": [
        None,
        "",
        "&lt;&lt;HKDevice: 0x1&gt;, name:A, model:Watch, hardware:Watch6,7&gt;",
        "no comma",
        ",",
        "a<b",
    ],
    "unit": ["count/min", "%", "km", "mi", None, "", "count\u00a0/min"],
    "creationDate": ["2024-01-01 10:00:05 +0100", None, "", "2024-02-30 10:00:00 +0100", "٢٠٢٤-01-01 10:00:00 +0100"],
    "startDate": [
        "2024-01-01 10:00:00 +0100",
        "2024-01-01T10:00:00 +0100",
        "2024-01-01 10:00:00 *0100",
        "2024-01-01 10:00:00",
        "2024-02-29 23:59:59 -0330",
        None,
    ],
    "endDate": ["2024-01-01 10:00:00 +0100", "2024-03-01 10:30:00 +0100", "2024-01-01 25:00:00 +0100"],
    "value": [
        "60",
        "0.58",
        "0.1234567",
        "nan",
        "inf",
        "1e400",
        "sixty",
        "6_0",
        " 60 ",
        None,
        "",
        "٦٠",
        "HKCategoryValueSleepAnalysisAsleepREM",
    ],
}
_INSIDE = [
    "",
    '<MetadataEntry key="HKMetadataKeyHeartRateMotionContext" value="2"/>',
    '<MetadataEntry key="HKTimeZone" value="Asia/Kolkata"/>',
    '<MetadataEntry key="HKTimeZone" value="Nowhere"/>\n<MetadataEntry key="HKWasUserEntered" value="1"/>',
    "<MetadataEntry bad/>",
    '<MetadataEntry key="HKWasUserEntered" value="1"/><MetadataEntry key="HKWasUserEntered" value="0"/>',
    "text",
    "<!-- c -->",
    '<MetadataEntry value="1" key="HKWasUserEntered"/>',
    '<MetadataEntry key="a &quot; b" value=""/>',
    "<![CDATA[<Record]]>",
]
_record = st.builds(
    lambda given, inside, end: element(**given).replace("/>", end.replace("@", inside) if inside else "/>"),
    st.fixed_dictionaries({name: st.sampled_from(values) | st.just(values[0]) for name, values in _ATTRIBUTES.items()}),
    st.just("") | st.sampled_from(_INSIDE),
    st.sampled_from([">@</Record>", ">\n  @\n </Record>", " >@</Record >"]),
)
_other = st.sampled_from(
    [
        "<Workout/>",
        f"<Correlation>{element()}</Correlation>",
        f"<Correlation>{element()}",
        "<!-- " + element() + " -->",
        element().replace("/>", ">"),
        element().replace("/>", " />"),
        '<Me name="x"/>',
        element().replace(" unit", "  unit"),
        "</Record>",
        element().replace(' unit="count/min"', "").replace(" value=", ' unit="count/min" value='),
    ]
)


@settings(deadline=None, max_examples=150)
@given(elements=st.lists(st.just(element()) | _record | _other, max_size=30))
def test_whatever_the_records_both_ways_agree(elements: list[str]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        _both(document(*elements), monkeypatch)


@settings(deadline=None, max_examples=100)
@given(at=st.integers(0, 20_000), noise=st.binary(min_size=1, max_size=12))
def test_whatever_the_damage_both_ways_agree(at: int, noise: bytes) -> None:
    data = document(*[element(sourceVersion="1", device="&lt;x&gt;, model:Watch")] * 60)
    with pytest.MonkeyPatch.context() as monkeypatch:
        _both(data[: at % len(data)] + noise + data[at % len(data) + len(noise) :], monkeypatch)


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["tdda/export6s3sample.xml", "healthkit-to-sqlite/export.xml"])
def test_real_exports_read_alike(realdata: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _both((realdata / "apple-health" / name).read_bytes(), monkeypatch)


def test_dates_in_columns_are_those_that_are_read_one_by_one() -> None:
    rng = random.Random(7)
    texts = [
        f"{rng.randint(1890, 2210):04d}-{rng.randint(0, 13):02d}-{rng.randint(0, 32):02d} {rng.randint(0, 24):02d}:"
        f"{rng.randint(0, 61):02d}:{rng.randint(0, 60):02d} "
        f"{rng.choice('+-')}{rng.randint(0, 20):02d}{rng.randint(0, 61):02d}"
        for _ in range(20_000)
    ]
    texts += [f"{year}-02-29 00:00:00 +0000" for year in range(1900, 2200)]
    texts += [texts[0][:at] + bad + texts[0][at + 1 :] for at in range(25) for bad in " -:+x"]
    one_by_one = DateReader()
    for text, time_us, offset, valid in zip(
        texts, *(part.tolist() for part in dates(t.encode() for t in texts)), strict=True
    ):
        try:
            expected = one_by_one.time_us(text)
        except BadDate:
            assert not valid, text
        else:
            assert (valid, time_us, offset) == (True, expected, one_by_one.zone_offset_min(text, expected, None))
