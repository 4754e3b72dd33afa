"""Edge: csv and Parquet of (time, metric, value[, quality, context, duration_ms]) as samples, in columns.

Times are ISO 8601 with an offset (without one they are UTC), or numbers (`recording.absolute`). Between semicolons or
tabs a decimal comma is one, too. A row that cannot be read is counted by reason and left out; what the channel cannot
mean is left out later, by the same rules as anywhere. Files are read piece by piece.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
_ROWS: Final = 1 << 18
_DELIMITERS: Final = (",", ";", "\t")
_NAMES: Final = {"timestamp": "time", "start": "time", "code": "metric"}


def read_csv(path: Path) -> Recording:
    """Return the samples of a csv file with a header line. Raises `UnreadableRecording`."""
    broken = Counter[str]()

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        del row  # its text may be somebody's
        broken["columns"] += 1
        return "skip"

    names, delimiter = _header(path)
    try:
        with pyarrow.csv.open_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=1, block_size=_BLOCK),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), include_columns=[one for one in names if one in _WANTED]
            ),
        ) as reader:
            found = _read(reader, _Form(path.name, decimal_comma=delimiter != ","))
    except pa.ArrowException as error:
        raise UnreadableRecording(f"{path.name} breaks off as csv: {_kind(error)}") from None
    found.refused += broken
    return found


def read_parquet(path: Path) -> Recording:
    """Return the samples of a Parquet file. Raises `UnreadableRecording`."""
    try:
        schema = pyarrow.parquet.read_schema(path)
        names = dict(zip(schema.names, map(_plain, schema.names), strict=True))
        _check(path, list(names.values()))
        wanted = {own: name for own, name in names.items() if name in _WANTED}
        metric = [own for own, name in wanted.items() if name == "metric" and not schema.field(own).type.num_fields]
        # Each word of a metric once, however often it stands: a small file may say a long one millions of times.
        with pyarrow.parquet.ParquetFile(path, read_dictionary=metric) as file:
            if file.metadata.num_rows > MAX_SAMPLES:
                raise UnreadableRecording(f"{path.name} has more than {MAX_SAMPLES:,} rows")
            pieces = file.iter_batches(_ROWS, columns=list(wanted))
            named = (one.rename_columns([names[own] for own in one.schema.names]) for one in pieces)
            return _read(named, _Form(path.name))
    except (pa.ArrowException, OSError) as error:
        raise UnreadableRecording(f"{path.name} is no Parquet file that can be read: {_kind(error)}") from None


_WANTED: Final = frozenset((*NEEDED, *OPTIONAL))


def is_samples(path: Path) -> bool:
    """Tell whether the first line of a text file has the columns of samples."""
    with path.open("rb") as file:
        line = file.readline(4_096).decode("utf-8-sig", errors="replace")
    return set(NEEDED) <= set(_columns(line)[0])


def _header(path: Path) -> tuple[list[str], str]:
    """Return the names of the columns, and what stands between them."""
    with path.open("rb") as file:
        line = file.readline(4_096)
    try:
        names, delimiter = _columns(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UnreadableRecording(f"line 1 of {path.name} is no UTF-8 (a compressed file is unpacked first)") from None
    _check(path, names)
    return names, delimiter


def _columns(line: str) -> tuple[list[str], str]:
    """Return the names of a header line and their delimiter: the comma, or what a spreadsheet with decimal commas, or a
    database, writes in its place."""
    found = {sign: [_plain(one.strip('" \ufeff')) for one in line.strip("\r\n ").split(sign)] for sign in _DELIMITERS}
    sign = max(_DELIMITERS, key=lambda one: len(set(NEEDED) & set(found[one])))
    return found[sign], sign


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


def _kind(error: Exception) -> str:
    return type(error).__name__  # its words may quote the file


@dataclass(slots=True)
class _Form:
    """How a file says things. `is_number`: whether its times are numbers, None before the first piece."""

    file: str
    decimal_comma: bool = False
    is_number: bool | None = None


def _read(pieces: Iterable[pa.RecordBatch], form: _Form) -> Recording:
    """Return the samples of pieces of a table. Only numbers are kept of each: text takes ten times the memory."""
    refused, rows = Counter[str](), 0
    kept: list[tuple[NDArray[Any], ...]] = []
    for piece in pieces:
        if not piece.num_rows:
            continue
        rows += piece.num_rows
        if rows > MAX_SAMPLES:
            raise UnreadableRecording(f"{form.file} has more than {MAX_SAMPLES:,} rows")
        kept.append(_part({name: _simple(piece[name], name, form) for name in piece.schema.names}, form, refused))
    if not kept:
        kept.append(tuple(np.empty(0, kind) for kind in _KINDS))
    time, zone, metric, value, quality, context, duration_ms = (
        np.concatenate(parts) for parts in zip(*kept, strict=True)
    )
    kept.clear()
    time_us, note = absolute(time) if form.is_number else (time, None)
    made = recording(time_us, metric, value, quality, context, duration_ms, zone)
    made.refused, made.notes = +refused, [] if note is None else [note]
    return made


_KINDS: Final = (np.int64, np.int16, np.int16, np.float64, np.float32, np.int16, np.int64)


def _part(table: Mapping[str, pa.Array], form: _Form, refused: Counter[str]) -> tuple[NDArray[Any], ...]:
    """Return the columns of a piece's readable rows (time in us, or as the numbers that the file has), and count the
    others."""
    time, zone, timely = _times(table["time"], form)
    rows = len(time)
    value = _floats(table["value"], np.nan, form)
    quality = _floats(table["quality"], 1.0, form) if "quality" in table else np.ones(rows)
    keep = np.ones(rows, np.bool_)
    for reason, mask in (("time", timely), ("value", np.isfinite(value)), ("quality", np.isfinite(quality))):
        refused[reason] += int((keep & ~mask).sum())
        keep &= mask
    if "zone_offset_min" in table:
        zone = _integers(table, "zone_offset_min", NO_ZONE, form)
    context, duration_ms = (_integers(table, name, 0, form) for name in ("context", "duration_ms"))
    found: tuple[NDArray[Any], ...] = (time, zone, _metrics(table["metric"]), value, quality, context, duration_ms)
    kinds: tuple[Any, ...] = (time.dtype, *_KINDS[1:])
    return tuple(one[keep].astype(kind, copy=False) for one, kind in zip(found, kinds, strict=True))


def _simple(column: pa.Array, name: str, form: _Form) -> pa.Array:
    """Return a column as plain text, numbers or times, however its writer keeps it. Raises `UnreadableRecording`."""
    kind = column.type
    if pa.types.is_dictionary(kind) and name != "metric":
        column, kind = column.cast(kind.value_type), kind.value_type
    text = pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary, pa.types.is_large_binary
    if any(is_one(kind) for is_one in text):
        return column.cast(pa.string())
    simple = pa.types.is_string, pa.types.is_primitive, pa.types.is_decimal, pa.types.is_dictionary, pa.types.is_null
    is_odd = pa.types.is_temporal(kind) and not (name == "time" and pa.types.is_timestamp(kind))
    if is_odd or not any(is_one(kind) for is_one in simple):
        takes = {"time": "times, numbers or text", "metric": "text"}.get(name, "numbers or text")
        raise UnreadableRecording(f"column {name} of {form.file} has another type: {takes} is what it takes")
    return column


def _metrics(column: pa.Array) -> NDArray[np.int16]:
    coded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column.cast(pa.string()))
    words = coded.dictionary.cast(pa.string()).fill_null("").to_pylist()
    numbers: NDArray[np.int16] = numbers_of([*words, ""])[
        coded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
    ]
    return numbers


def _integers(table: Mapping[str, pa.Array], name: str, default: int, form: _Form) -> NDArray[np.int64]:
    if name not in table:
        return np.full(len(table["time"]), default, np.int64)
    found = _floats(table[name], default, form)
    bound = 2**31 if name == "duration_ms" else 2**15 - 1
    return np.where(np.isfinite(found) & (np.abs(found) <= bound), found, default).astype(np.int64)


def _floats(column: pa.Array, empty: float, form: _Form) -> NDArray[np.float64]:
    """Return numbers; `empty` where there is nothing, NaN for what is no number."""
    if not pa.types.is_string(column.type):
        return np.asarray(column.cast(pa.float64()).fill_null(empty).to_numpy(zero_copy_only=False), np.float64)
    text = pc.utf8_trim_whitespace(column.fill_null(""))
    if form.decimal_comma:
        text = pc.replace_substring(text, ",", ".")
    number = pc.match_substring_regex(text, _NUMBER)
    told = pc.if_else(number, text, "nan").cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(pc.equal(text, "").to_numpy(zero_copy_only=False), empty, told)


_NUMBER: Final = r"^[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?$"


def _times(column: pa.Array, form: _Form) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.bool_]]:
    """Return (us UTC, or the numbers that the file has; zone offsets in minutes; which could be read)."""
    unknown = np.full(len(column), NO_ZONE, np.int64)
    if pa.types.is_timestamp(column.type):
        told = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
        is_told = column.is_valid().to_numpy(zero_copy_only=False)
        return told.fill_null(0).to_numpy(zero_copy_only=False), unknown, is_told
    text = pc.utf8_trim_whitespace(column.fill_null("")) if pa.types.is_string(column.type) else None
    if form.is_number is None:
        form.is_number = text is None or _mostly(pc.match_substring_regex(text, _NUMBER))
    if text is not None and not form.is_number:
        return _iso(text.to_pylist())
    number = _floats(column, np.nan, form)
    good = np.isfinite(number) & (np.abs(number) < 4e18)
    return np.where(good, number, 0.0), unknown, good


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
    if zoned and text[-3:-2] in {"+", "-"}:
        return f"{text}:00"  # as PostgreSQL writes it
    return text.replace("z", "Z") if zoned else f"{text}Z"
