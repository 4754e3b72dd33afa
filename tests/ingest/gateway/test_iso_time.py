"""Times as senders write them: what is a time, what is none, and the quick path beside the careful one."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.gateway.iso_time import time_of, times_of
from vitals.batch import NO_ZONE

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NINE_US = 1_795_248_000_000_000 + 3_600_000_000  # 2026-11-21T09:00:00Z
offsets = st.integers(-18 * 60, 18 * 60)
moments = st.datetimes()


def us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "time_us", "zone"),
    [
        ("2026-11-21T09:00:00Z", NINE_US, NO_ZONE),
        ("2026-11-21T09:00:00+00:00", NINE_US, 0),
        ("2026-11-21T09:00:00-00:00", NINE_US, NO_ZONE),
        ("2026-11-21T10:00:00+01:00", NINE_US, 60),
        ("2026-11-21T10:00:00+0100", NINE_US, 60),
        ("2026-11-21T10:00+01:00", NINE_US, 60),
        ("2026-11-20T22:30:00-10:30", NINE_US, -630),
        ("2026-11-22T03:00:00+18:00", NINE_US, 1_080),
        ("2026-11-21T09:00:00.5Z", NINE_US + 500_000, NO_ZONE),
        ("2026-11-21T09:00:00.000001Z", NINE_US + 1, NO_ZONE),
        ("2026-11-21T09:00:00.123456789Z", NINE_US + 123_456, NO_ZONE),
        ("0001-01-01T00:00:00+18:00", us(datetime(1, 1, 1, tzinfo=UTC)) - 18 * 3_600_000_000, 1_080),
        ("9999-12-31T23:59:59.999999-18:00", us(datetime.max.replace(tzinfo=UTC)) + 18 * 3_600_000_000, -1_080),
        ("2024-02-29T00:00:00Z", us(datetime(2024, 2, 29, tzinfo=UTC)), NO_ZONE),
    ],
)
def test_a_time_with_an_offset(text: str, time_us: int, zone: int) -> None:
    assert time_of(text) == (time_us, zone)
    for texts in ([text], [text, text], [text, "2026-11-21T09:00:00Z"]):
        told = times_of(texts)
        assert told is not None
        assert (told[0][0], told[1][0]) == (time_us, zone)


@pytest.mark.parametrize(
    "text",
    [
        "", "Z", "yesterday", "1795251600", "2026-11-21", "2026-11-21T09:00:00", "2026-11-21T09:00:00 +01:00",
        "2026-11-21 09:00:00Z", "2026-11-21t09:00:00Z", "2026-11-21T09:00:00z", "20261121T090000Z",
        "2026-11-21T09:00:60Z", "2026-11-21T23:59:60Z", "2026-11-21T24:00:00Z", "2026-11-21T09:60:00Z",
        "2026-02-29T09:00:00Z", "2026-13-01T09:00:00Z", "2026-00-01T09:00:00Z", "2026-01-00T09:00:00Z",
        "0000-01-01T09:00:00Z", "10000-01-01T09:00:00Z", "-001-01-01T09:00:00Z", "+2026-11-21T09:00:00Z",
        "2026-11-21T09:00:00+18:01", "2026-11-21T09:00:00-18:01", "2026-11-21T09:00:00+24:00",
        "2026-11-21T09:00:00+01:60", "2026-11-21T09:00:00+99:99", "2026-11-21T09:00:00+1:00",
        "2026-11-21T09:00:00+01", "2026-11-21T09:00:00+01:00:00", "2026-11-21T09:00:00.Z", "2026-11-21T09:00:00,5Z",
        "2026-11-21T09:00:00.1234567890Z", "2026-11-21T09:00:00Z ", " 2026-11-21T09:00:00Z", "2026-11-21T09:00:00Z\n",
        "2026-11-21T09:00:00\u2212\u0030\u0031:00", "\u0662\u0660\u0662\u0666-11-21T09:00:00Z", "2026-W47-6T09:00:00Z",
        "2026-325T09:00:00Z", "2026-11-21T09Z", "2026-11-21T09:00.5Z", "2026-11-21T09:00:00\x00Z",
    ],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    assert time_of(text) is None
    for texts in ([text], [text, text], ["2026-11-21T09:00:00Z", text], [text, "2026-11-21T09:00:00Z"]):
        assert times_of(texts) is None


@given(moments, offsets, st.sampled_from(["auto", "seconds", "milliseconds", "microseconds", "minutes"]))
def test_what_python_writes_is_read_as_python_reads_it(moment: datetime, offset_min: int, timespec: str) -> None:
    text = moment.replace(tzinfo=timezone(timedelta(minutes=offset_min))).isoformat(timespec=timespec)
    assert time_of(text) == (us(datetime.fromisoformat(text)), offset_min)


near_times = st.from_regex(
    r"\A[0-9]{4}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9](:[0-6][0-9](\.[0-9]{1,7})?)?"
    r"(Z|[+-][0-2][0-9]:?[0-5][0-9])?\Z"  # Python takes +00:60 for an offset of an hour, we do not
)


@given(near_times)
def test_it_is_a_time_only_if_python_reads_it_too(text: str) -> None:
    ours = time_of(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        assert ours is None
        return
    offset = moment.utcoffset()
    if offset is None or abs(offset) > timedelta(hours=18) or "T" not in text:
        assert ours is None
    else:
        assert ours is not None
        assert ours[0] == us(moment)


def together(texts: list[str]) -> list[tuple[int, int]] | None:
    told = times_of(texts)
    return None if told is None else list(zip(told[0].tolist(), told[1].tolist(), strict=True))


def apart(texts: list[str]) -> list[tuple[int, int]] | None:
    each = [time_of(text) for text in texts]
    return None if None in each else [one for one in each if one is not None]


@given(st.lists(near_times | st.text(max_size=30), min_size=1, max_size=4))
def test_many_are_read_as_each_alone(texts: list[str]) -> None:
    assert together(texts) == apart(texts)


@given(
    st.lists(moments, min_size=1, max_size=6),
    offsets,
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
    st.integers(0, 5),
    st.characters(),
)
def test_the_quick_path_reads_as_the_careful_one(
    some: list[datetime], offset_min: int, timespec: str, at: int, letter: str
) -> None:
    zone = timezone(timedelta(minutes=offset_min))
    texts = [moment.replace(tzinfo=zone).isoformat(timespec=timespec) for moment in some]
    assert together(texts) == apart(texts) is not None
    spoiled = [*texts[:-1], texts[-1][:at] + letter + texts[-1][at + 1 :]]
    assert together(spoiled) == apart(spoiled)
