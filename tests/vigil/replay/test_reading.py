"""Files as samples: whatever a file holds, what can be read is read, the rest is counted, and nothing is quoted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vigil.replay.recording import RELATIVE_BASE_US, UnreadableRecording
from vigil.replay.run import accepted, read_file
from vitals.batch import NO_ZONE
from vitals.catalogue import number_of
from vitals.clock import from_datetime

MOMENT = from_datetime(datetime(2026, 1, 1, 8, tzinfo=UTC))
HEART, RR = number_of("heart_rate"), number_of("rr_interval")
BUSY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


def written(folder: Path, text: str, name: str = "told.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-01T08:00:00Z", "2026-01-01T09:00:00+01:00", "2026-01-01 08:00:00", "2026-01-01T08:00:00.000000Z",
        "1767254400", "1767254400000", "1767254400000000", "1767254400000000000",
    ],
)  # fmt: skip
def test_a_time_is_understood_however_it_is_written(tmp_path: Path, time: str) -> None:
    columns = read_file(written(tmp_path, f"time,metric,value\n{time},heart_rate,70\n")).columns
    assert columns.start_us.tolist() == [MOMENT]
    assert columns.zone_offset_min.tolist() == [60 if "+01" in time else NO_ZONE]


def test_columns_stand_in_any_order_and_others_do_not_matter(tmp_path: Path) -> None:
    text = "value,quality,who,metric,Time\n70,0.25,x,heart_rate,2026-01-01T08:00:00Z\n71,,y,spo2,2026-01-01T08:00:01Z\n"
    columns = read_file(written(tmp_path, text)).columns
    assert columns.value.tolist() == [70, 71]
    assert columns.quality.tolist() == [0.25, 1.0]
    assert columns.metric.tolist() == [HEART, number_of("spo2")]


def test_small_numbers_are_seconds_since_the_start(tmp_path: Path) -> None:
    read = read_file(written(tmp_path, "time,metric,value\n0,heart_rate,70\n1.5,heart_rate,71\n"))
    assert (read.columns.start_us - RELATIVE_BASE_US).tolist() == [0, 1_500_000]
    assert "seconds from the start" in read.notes[0]


def test_what_cannot_be_read_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    text = (
        "time,metric,value\n2026-01-01T08:00:00Z,heart_rate,70\nyesterday,heart_rate,70\n1,2\n"
        "2026-01-01T08:00:01Z,heart_rate,fast\n2026-01-01T08:00:02Z,mood,3\n2026-01-01T08:00:03Z,heart_rate,900\n"
    )
    told, refused = accepted(read_file(written(tmp_path, text)))
    assert told[1].value.tolist() == [70]
    assert dict(refused) == {"time": 1, "columns": 1, "value": 1, "unknown_metric": 1, "out_of_range": 1}


def test_parquet_is_read_by_its_own_types(tmp_path: Path) -> None:
    table = pa.table({
        "time": pa.array([datetime(2026, 1, 1, 8, tzinfo=UTC)] * 2, pa.timestamp("ns", "UTC")),
        "metric": pa.array(["heart_rate", "spo2"]).dictionary_encode(),
        "value": pa.array([70, 97], pa.int32()),
        "quality": pa.array([None, 0.5], pa.float32()),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "told.parquet")
    columns = read_file(tmp_path / "told.parquet").columns
    assert columns.start_us.tolist() == [MOMENT] * 2
    assert columns.quality.tolist() == [1.0, 0.5]
    assert columns.metric.tolist() == [HEART, number_of("spo2")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("told.parquet", "this is no Parquet"),
        ("told.csv", "Anna Schmidt,1961-04-12\n1,2\n"),
        ("told.csv", "time,metric,value,time\n"),
        ("told.txt", "Anna Schmidt\n"),
        ("told.txt", ""),
    ],
)
def test_what_is_no_recording_says_what_is_expected_and_quotes_nothing(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(UnreadableRecording, match=r"told\.") as refused:
        read_file(written(tmp_path, text, name))
    assert "Anna" not in str(refused.value)
    assert "1961" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rr.txt", "# remarks\nRR (ms)\n800\n820.5\n810\n"),
        ("rr.txt", "0.8\n0.8205\n0.81\n"),
        ("rr.csv", "rr\n800\n820.5\n810\n"),
        ("rr.txt", "0.8 0.8 N\n1.6205 0.8205 N\n2.4305 0.81 V\n"),
        ("rr", "time;rr\n10.8;800\n11.6205;820.5\n12.4305;810\n"),
    ],
)
def test_lists_of_intervals_are_beats_in_a_row(tmp_path: Path, name: str, text: str) -> None:
    columns = read_file(written(tmp_path, text, name)).columns
    np.testing.assert_allclose(columns.value, [800, 820.5, 810])
    assert (columns.metric == RR).all()
    np.testing.assert_array_equal(columns.received_us, columns.start_us + np.round(columns.value * 1_000))
    np.testing.assert_array_equal(columns.start_us[1:], columns.received_us[:-1])


@pytest.mark.parametrize(
    ("text", "values", "refused"),
    [
        ("rr\n800\n1e300\n-5\n900\n", [800, 900], {"interval": 2}),
        ("0 1e308\n1 800\n2 810\n", [800, 810], {"interval": 1}),
        ("-1e308 800\n1e308 810\n", [800], {"time": 1}),
        ("\n".join(["86400000"] * 40_000), [86_400_000] * 36_600, {"time": 3_400}),
        ("0.8\n0.9\n1e300\n", [800, 900], {"interval": 1}),
    ],
)
def test_intervals_that_cannot_be_leave_the_times_of_the_others_alone(
    tmp_path: Path, text: str, values: list[float], refused: dict[str, int]
) -> None:
    read = read_file(written(tmp_path, text, "rr.txt"))
    assert read.columns.value.tolist() == values
    assert {reason: count for reason, count in read.refused.items() if count} == refused
    assert 0 <= read.hours <= 100 * 366 * 24


def test_a_list_without_one_interval_that_can_be_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRecording, match="between 0 and a day"):
        read_file(written(tmp_path, "1e300\n-4\n", "rr.txt"))


def marked(at: list[int], codes: list[int]) -> bytes:
    """Annotations in MIT's form; what lies 1,024 samples on or more is skipped to."""
    words: list[int] = []
    for distance, code in zip(np.diff([0, *at]).tolist(), codes, strict=True):
        far = distance > 1_023
        words += [59 << 10, distance >> 16, distance & 0xFFFF] if far else []
        words += [code << 10 | (0 if far else distance), 63 << 10 | 3, 0x4241, 0x43]  # and three bytes of remarks
    return np.array([*words, 0], "<u2").tobytes()


def test_beats_of_an_annotation_file_are_found_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "x.atr").write_bytes(marked([10, 260, 300, 2_010, 70_000], [28, 1, 14, 5, 1]))
    (tmp_path / "x.hea").write_text("x 2 250/1(0) 100000\n")
    columns = read_file(tmp_path / "x.atr").columns
    assert columns.value.tolist() == [7_000.0, 271_960.0]  # rhythm and noise marks are no beats


def test_a_header_without_a_frequency_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.atr").write_bytes(marked([10, 260], [1, 1]))
    (tmp_path / "x.hea").write_text("x 2 fast\n")
    with pytest.raises(UnreadableRecording, match="sampling frequency"):
        read_file(tmp_path / "x.atr")


def test_real_annotations_come_to_their_known_figures(realdata: Path) -> None:
    rr_ms = read_file(realdata / "mitdb100" / "100.atr").columns.value
    assert len(rr_ms) == 2_272
    assert (round(rr_ms.mean(), 1), round(rr_ms.std(), 1)) == (794.6, 48.8)
    assert round(float(np.sqrt(np.mean(np.diff(rr_ms) ** 2))), 2) == 63.23


@BUSY
@given(text=st.text(max_size=300) | st.binary(max_size=300), name=st.sampled_from(["a.csv", "a.txt", "a.parquet", "a"]))
def test_any_file_is_read_or_refused(tmp_path: Path, text: str | bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", errors="surrogatepass"))
    try:
        read = read_file(path)
    except UnreadableRecording:
        return
    accepted(read)


@BUSY
@given(
    rows=st.lists(
        st.tuples(
            st.text(max_size=30) | st.just("2026-01-01T08:00:00Z") | st.floats().map(repr),
            st.text(max_size=10) | st.just("spo2"),
            st.text(max_size=12) | st.floats().map(repr),
        ),
        max_size=20,
    )
)
def test_any_rows_are_borne(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    path = tmp_path / "a.csv"
    text = "time,metric,value\n" + "".join(f"{time},{metric},{value}\n" for time, metric, value in rows)
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    try:
        told, _ = accepted(read_file(path))
    except UnreadableRecording:
        return
    assert np.isfinite(told[1].value).all()


@pytest.mark.parametrize("sign", [";", "\t"])
def test_a_spreadsheet_with_decimal_commas_is_read(tmp_path: Path, sign: str) -> None:
    rows = [("time", "metric", "value", "quality"), ("2026-01-01 08:00:00+00", "body_temperature", "38,7", "0,75")]
    columns = read_file(written(tmp_path, "\ufeff" + "\r\n".join(sign.join(one) for one in rows))).columns
    assert (columns.value.tolist(), columns.quality.round(3).tolist()) == ([38.7], [0.75])
    assert columns.start_us.tolist() == [MOMENT]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.binary()])
def test_parquet_of_other_writers_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    """Polars and pandas write large strings, others dictionaries."""
    told = {"time": "2026-01-01T08:00:00Z", "metric": "heart_rate", "value": "70.5"}
    plain = {name: pa.array([one.encode()], pa.binary()).cast(kind) for name, one in told.items()}
    coded = {name: pa.array([one]).dictionary_encode() for name, one in told.items()}
    for number, table in enumerate((plain, coded)):
        pq.write_table(pa.table(table), tmp_path / f"{number}.parquet")
        columns = read_file(tmp_path / f"{number}.parquet").columns
        assert (columns.start_us.tolist(), columns.value.tolist()) == ([MOMENT], [70.5])


@pytest.mark.parametrize("name", ["time", "metric", "value", "quality"])
def test_a_column_of_another_type_is_named(tmp_path: Path, name: str) -> None:
    table = {"time": ["2026-01-01T08:00:00Z"], "metric": ["heart_rate"], "value": [70.0], "quality": [1.0]}
    pq.write_table(pa.table(table | {name: [{"inner": 1}]}), tmp_path / "told.parquet")
    with pytest.raises(UnreadableRecording, match=f"column {name} of told.parquet has another type"):
        read_file(tmp_path / "told.parquet")


def test_a_small_file_that_unpacks_to_much_takes_little_memory(tmp_path: Path) -> None:
    word = pa.array(["x" * 200_000]).take(pa.array(np.zeros(100, np.int32)))
    metric = pa.chunked_array([word] * 40)  # 800 MB, were each written out
    table = pa.table({"time": np.arange(len(metric)), "metric": metric, "value": np.full(len(metric), 70.0)})
    pq.write_table(table, tmp_path / "told.parquet", compression="zstd")
    assert (tmp_path / "told.parquet").stat().st_size < 1_000_000
    del table, word
    before = pa.default_memory_pool().max_memory()
    told, refused = accepted(read_file(tmp_path / "told.parquet"))
    assert (len(told[1]), dict(refused)) == (0, {"unknown_metric": len(metric)})
    assert pa.default_memory_pool().max_memory() - before < 200_000_000


def test_a_table_longer_than_a_piece_is_read_whole(tmp_path: Path) -> None:
    rows = 400_000
    text = "time,metric,value\n" + "".join(f"{number / 8},heart_rate,{60 + number % 7}\n" for number in range(rows))
    columns = read_file(written(tmp_path, text)).columns
    assert columns.value[-1] == 60 + (rows - 1) % 7
    assert ((columns.start_us - RELATIVE_BASE_US) == np.arange(rows) * 125_000).all()
    pq.write_table(pa.table({"time": np.arange(rows) / 8, "metric": ["heart_rate"] * rows, "value": columns.value}),
                   tmp_path / "told.parquet")  # fmt: skip
    again = read_file(tmp_path / "told.parquet").columns
    np.testing.assert_array_equal(again.start_us, columns.start_us)
    np.testing.assert_array_equal(again.value, columns.value)


def beats(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Intervals in ms, and the time in ms of the beat that ends each."""
    rr = np.random.default_rng(4).integers(600, 1_000, count)
    return rr, 5_000 + np.cumsum(rr)


@pytest.mark.parametrize("per_s", [1, 1_000])
@pytest.mark.parametrize("since_s", [0, 1_767_254_400])
def test_times_beside_intervals_are_seconds_or_milliseconds(tmp_path: Path, per_s: int, since_s: int) -> None:
    rr, at = beats()
    lines = [f"{(since_s + one / 1_000) * per_s:.3f},{ms}" for one, ms in zip(at, rr, strict=True)]
    columns = read_file(written(tmp_path, "\n".join(lines), "rr.txt")).columns
    base = since_s * 1_000_000 + 5_000_000 if since_s else RELATIVE_BASE_US - int(rr[0]) * 1_000
    np.testing.assert_allclose(columns.start_us, base + np.concatenate(([0], np.cumsum(rr[:-1]))) * 1_000, atol=2_000)
    np.testing.assert_array_equal(columns.value, rr)


def test_a_number_of_the_line_is_no_time(tmp_path: Path) -> None:
    rr, _ = beats()
    text = "nr,rr\n" + "".join(f"{number},{ms}\n" for number, ms in enumerate(rr))
    read = read_file(written(tmp_path, text, "rr.txt"))
    assert read.hours == pytest.approx(rr[:-1].sum() / 3_600_000)
    assert any("taken for no time" in note for note in read.notes)


@pytest.mark.parametrize("per_s", [1, 1_000])
def test_times_of_beats_alone_are_no_intervals(tmp_path: Path, per_s: int) -> None:
    rr, at = beats()
    text = "\n".join(f"{one / 1_000 * per_s:.3f}" for one in at)
    read = read_file(written(tmp_path, text, "rr.txt"))
    np.testing.assert_allclose(read.columns.value, rr[1:], atol=1)
    assert "times of beats" in read.notes[0]
