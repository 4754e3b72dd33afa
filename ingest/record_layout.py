"""Where the columns of a record stand, remembered from records that Arrow has read: to open one costs Arrow 60 us.

All that says where a batch's buffers lie comes before the first of them (schema, dictionary, the head of the batch) or
behind the last. A value of the same length that has the same bytes there holds its columns in the same places; what
Arrow would still look at (indices within the dictionary, ids that are null) is looked at for all records at once.
Whatever is not exactly so is left to Arrow: there is one judge of what a record may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitals.batch import SCHEMA, SampleColumns, metric_numbers

MAX_LAYOUTS: Final = 4_096
_METRIC, _IDS, _DELETED = (SCHEMA.get_field_index(name) for name in ("metric", "sample_id", "deleted"))
_BITS: Final = tuple(
    16 if at == _METRIC else 1 if at == _DELETED else column.type.bit_width for at, column in enumerate(SCHEMA)
)


@dataclass(frozen=True, slots=True)
class Layout:
    """A value's bytes: `head`, the columns at `spans` (one a column of `SCHEMA`), `tail`.

    `numbers` are the metrics of its dictionary. `no_ids`: where the bits stand that are all unset because no sample has
    an id; None where each has one.
    """

    rows: int
    head: bytes
    tail: bytes
    spans: tuple[slice, ...]
    numbers: NDArray[np.int16]
    no_ids: slice | None


class Layouts:
    """The layouts seen so far, at most `MAX_LAYOUTS`: of more all are forgotten, to be learned again."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bytes], Layout] = {}
        self._heads: dict[int, tuple[int, ...]] = {}  # by the length of a value, how long its head may be

    def __len__(self) -> int:
        return len(self._known)

    def find(self, value: bytes) -> Layout | None:
        """Return the layout of a value, None where it has none that is known."""
        for size in self._heads.get(len(value), ()):
            layout = self._known.get((len(value), value[:size]))
            if layout is not None and value.endswith(layout.tail):
                return layout if layout.no_ids is None or not value[layout.no_ids].strip(b"\0") else None
        return None

    def learn(self, value: bytes, batches: Sequence[pa.RecordBatch]) -> None:
        """Remember the layout of a value that Arrow has read and found right, if it is as simple as those are here."""
        layout = layout_of(value, batches[0]) if len(batches) == 1 else None
        if layout is None:
            return
        if len(self._known) >= MAX_LAYOUTS:
            self._known.clear()
            self._heads.clear()
        self._known[len(value), layout.head] = layout
        sizes = self._heads.get(len(value), ())
        if len(layout.head) not in sizes:
            self._heads[len(value)] = (*sizes, len(layout.head))


def layout_of(value: bytes, batch: pa.RecordBatch) -> Layout | None:
    """Return where the columns of `batch`, the one batch of `value`, stand; None where some are not of its bytes."""
    base, rows = pa.py_buffer(value).address, batch.num_rows
    spans, no_ids = [], None
    for at, column in enumerate(batch.columns):
        bits, data = column.buffers()[:2]
        if bits is not None:
            if at != _IDS or column.null_count != rows:
                return None
            no_ids = slice(bits.address - base, bits.address - base + bits.size)
        first = data.address - base
        spans.append(slice(first, first + (rows * _BITS[at] + 7) // 8))
    places = [*spans, *([] if no_ids is None else [no_ids])]
    begin, end = min(one.start for one in places), max(one.stop for one in places)
    if begin < 0 or end > len(value):  # Arrow has copied it
        return None
    dictionary = batch.column(_METRIC).dictionary
    return Layout(rows, value[:begin], value[end:], tuple(spans), metric_numbers(dictionary), no_ids)


def columns_of(found: Sequence[tuple[Layout, bytes]]) -> SampleColumns | None:
    """Return the samples of values with their layouts, one after the other.

    None where an index of any is not within its dictionary: which it is, Arrow says.
    """
    pieces = list(zip(*([value[span] for span in layout.spans] for layout, value in found), strict=True))
    rows = np.array([layout.rows for layout, _ in found])
    metric = _metrics([layout.numbers for layout, _ in found], np.frombuffer(b"".join(pieces[_METRIC]), np.int16), rows)
    if metric is None:
        return None

    def column(at: int, dtype: Any) -> Any:
        return np.frombuffer(b"".join(pieces[at]), dtype)

    return SampleColumns(
        start_us=column(0, np.int64),
        duration_ms=column(1, np.int64),
        zone_offset_min=column(2, np.int16),
        metric=metric,
        value=column(4, np.float64),
        quality=column(5, np.float32),
        context=column(6, np.int16),
        written_us=column(7, np.int64),
        received_us=column(8, np.int64),
        sample_id=_ids(found, pieces[_IDS], int(rows.sum())),
        deleted=_flags(pieces[_DELETED], rows),
    )


def _metrics(
    numbers: Sequence[NDArray[np.int16]], index: NDArray[np.int16], rows: NDArray[np.int64]
) -> NDArray[np.int16] | None:
    sizes = np.array([len(one) for one in numbers])
    if ((index < 0) | (index >= np.repeat(sizes, rows))).any():
        return None
    begins = np.cumsum(sizes) - sizes
    result: NDArray[np.int16] = np.concatenate(numbers)[index + np.repeat(begins, rows)]
    return result


def _ids(found: Sequence[tuple[Layout, bytes]], pieces: Sequence[bytes], samples: int) -> NDArray[np.uint8]:
    if all(layout.no_ids is not None for layout, _ in found):
        return np.zeros((samples, 16), np.uint8)
    told = (
        piece if layout.no_ids is None else bytes(len(piece)) for (layout, _), piece in zip(found, pieces, strict=True)
    )
    return np.frombuffer(b"".join(told), np.uint8).reshape(-1, 16)


def _flags(pieces: Sequence[bytes], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    if not b"".join(pieces).strip(b"\0"):
        return np.zeros(int(rows.sum()), np.bool_)
    bits = [
        np.unpackbits(np.frombuffer(piece, np.uint8), count=int(count), bitorder="little")
        for piece, count in zip(pieces, rows, strict=True)
    ]
    return np.concatenate(bits).view(np.bool_)
