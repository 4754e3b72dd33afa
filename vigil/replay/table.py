"""Edge: csv and Parquet of (time, metric, value[, quality, context, duration_ms]) as samples, in columns.

Times are ISO 8601 with an offset (without one they are UTC), or numbers (`recording.absolute`). A row that cannot be
read is counted by reason and left out; what the channel cannot mean is left out later, by the same rules as anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from ingest.gateway.iso_time import time_of, times_of
from vigil.replay.recording import MAX_SAMPLES, Recording, UnreadableRecording, absolute, numbers_of, recording
from vitals.batch import NO_ZONE

NEEDED: Final = ("time", "metric", "value")
OPTIONAL: Final = ("quality", "context", "duration_ms", "zone_offset_min")
_BLOCK: Final = 8 * 1024 * 1024
_NAMES: Final = {"timestamp": "time", "start": "time", "code": "metric"}


def read_csv(path: Path) -> Recording:
    """Return the samples of a csv file with a header line. Raises `UnreadableRecording`."""
    broken = Counter[str]()

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        del row  # its text may be somebody's
        broken["columns"] += 1
        return "skip"

    names = _header(path)
    try:
        with pyarrow.csv.open_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=1, block_size=_BLOCK),
            parse_options=pyarrow.csv.ParseOptions(invalid_row_handler=skip),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), include_columns=[one for one in names if one in _WANTED]
            ),
        ) as reader:
            table = _bounded(reader)
    except pa.ArrowException as error:
        raise UnreadableRecording(f"{path.name} breaks off as csv: {_kind(error)}") from None
    found = _read(table)
    found.refused += broken
    return found


def read_parquet(path: Path) -> Recording:
    """Return the samples of a Parquet file. Raises `UnreadableRecording`."""
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if file.metadata.num_rows > MAX_SAMPLES:
                raise UnreadableRecording(f"{path.name} has more than {MAX_SAMPLES:,} rows")
            names = [_plain(one) for one in file.schema_arrow.names]
            _check(path, names)
            wanted = [own for own, name in zip(file.schema_arrow.names, names, strict=True) if name in _WANTED]
            table = file.read(columns=wanted)
            return _read(table.rename_columns([_plain(one) for one in table.column_names]))
    except (pa.ArrowException, OSError) as error:
        raise UnreadableRecording(f"{path.name} is no Parquet file that can be read: {_kind(error)}") from None


_WANTED: Final = frozenset((*NEEDED, *OPTIONAL))


def is_samples(path: Path) -> bool:
    """Tell whether the first line of a text file has the columns of samples."""
    with path.open("rb") as file:
        line = file.readline(4_096).decode("utf-8-sig", errors="replace")
    return set(NEEDED) <= {_plain(one.strip('" ')) for one in line.strip().split(",")}


def _header(path: Path) -> list[str]:
    with path.open("rb") as file:
        line = file.readline(4_096)
    try:
        names = [_plain(one.strip('" \ufeff')) for one in line.decode("utf-8-sig").strip().split(",")]
    except UnicodeDecodeError:
        raise UnreadableRecording(f"line 1 of {path.name} is no UTF-8") from None
    _check(path, names)
    return names


def _plain(name: str) -> str:
    name = name.strip().lower()
    return _NAMES.get(name, name)


def _check(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in NEEDED if name not in names]
    if missing or len(set(names)) < len(names):
        raise UnreadableRecording(
            f"{path.name} needs a header with the columns {', '.join(NEEDED)} (and may have {', '.join(OPTIONAL)}), "
            f"each once: {'no ' + missing[0] if missing else 'one stands twice'}"
        )


def _bounded(reader: Any) -> pa.Table:
    batches, rows = [], 0
    for batch in reader:
        rows += batch.num_rows
        if rows > MAX_SAMPLES:
            raise UnreadableRecording(f"more than {MAX_SAMPLES:,} rows")
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def _kind(error: Exception) -> str:
    return type(error).__name__  # its words may quote the file


def _read(table: pa.Table) -> Recording:
    refused, notes = Counter[str](), list[str]()
    time_us, zone, timely = _times(table["time"], notes)
    value = _floats(table["value"], np.nan)
    quality = _floats(table["quality"], 1.0) if "quality" in table.column_names else np.ones(len(table))
    good = {"time": timely, "value": np.isfinite(value), "quality": np.isfinite(quality)}
    keep = np.ones(len(table), np.bool_)
    for reason, mask in good.items():
        refused[reason] += int((keep & ~mask).sum())
        keep &= mask
    extra = {name: _integers(table, name, 0) for name in ("context", "duration_ms")}
    if "zone_offset_min" in table.column_names:
        zone = _integers(table, "zone_offset_min", NO_ZONE)
    made = recording(
        time_us[keep], _metrics(table["metric"])[keep], value[keep], quality[keep].astype(np.float32),
        extra["context"][keep].astype(np.int16), extra["duration_ms"][keep], zone[keep].astype(np.int16),
    )  # fmt: skip
    made.refused, made.notes = +refused, notes
    return made


def _metrics(column: pa.ChunkedArray) -> NDArray[np.int16]:
    coded = pc.dictionary_encode(column.cast(pa.string()).fill_null("")).combine_chunks()
    numbers: NDArray[np.int16] = numbers_of(coded.dictionary.to_pylist())[coded.indices.to_numpy()]
    return numbers


def _integers(table: pa.Table, name: str, default: int) -> NDArray[np.int64]:
    if name not in table.column_names:
        return np.full(len(table), default, np.int64)
    found = _floats(table[name], default)
    bound = 2**31 if name == "duration_ms" else 2**15 - 1
    return np.where(np.isfinite(found) & (np.abs(found) <= bound), found, default).astype(np.int64)


def _floats(column: pa.ChunkedArray, empty: float) -> NDArray[np.float64]:
    """Return numbers; `empty` where there is nothing, NaN for what is no number."""
    if not pa.types.is_string(column.type):
        return np.asarray(column.cast(pa.float64()).fill_null(empty).to_numpy(), np.float64)
    text = pc.utf8_trim_whitespace(column.fill_null(""))
    number = pc.match_substring_regex(text, _NUMBER)
    told = pc.if_else(number, text, "nan").cast(pa.float64()).to_numpy()
    return np.where(pc.equal(text, "").to_numpy(), empty, told)


_NUMBER: Final = r"^[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?$"


def _times(column: pa.ChunkedArray, notes: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return (us UTC, zone offsets in minutes, which could be read)."""
    unknown = np.full(len(column), NO_ZONE, np.int64)
    if pa.types.is_timestamp(column.type):
        kind = pa.timestamp("us", column.type.tz)
        told = column.cast(kind, safe=False).cast(pa.int64())
        return told.fill_null(0).to_numpy(), unknown, ~column.is_null().to_numpy()
    if pa.types.is_string(column.type):
        text = pc.utf8_trim_whitespace(column.fill_null(""))
        if not _mostly(pc.match_substring_regex(text, _NUMBER)):
            return _iso(text.to_pylist())
    number = _floats(column, np.nan)
    good = np.isfinite(number) & (np.abs(number) < 4e18)
    time_us, note = absolute(np.where(good, number, 0.0))
    notes += [] if note is None else [note]
    return time_us, unknown, good


def _mostly(mask: Any) -> bool:
    return len(mask) > 0 and 2 * (pc.sum(mask).as_py() or 0) > len(mask)


def _iso(texts: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    told = [_with_offset(text) for text in texts]
    quick = times_of(told)
    if quick is not None:
        return quick[0], quick[1].astype(np.int64), np.ones(len(texts), np.bool_)
    found = [time_of(text) for text in told]
    time_us = np.array([0 if one is None else one[0] for one in found], np.int64)
    zone = np.array([NO_ZONE if one is None else one[1] for one in found], np.int64)
    return time_us, zone, np.array([one is not None for one in found], np.bool_)


def _with_offset(text: str) -> str:
    text = text.replace(" ", "T", 1).replace(" ", "")
    zoned = text.endswith(("Z", "z")) or "+" in text[10:] or "-" in text[10:]
    return text.replace("z", "Z") if zoned else f"{text}Z"
