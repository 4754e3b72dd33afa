r"""Edge: lets aiokafka read records whose header names are not UTF-8, as Kafka's protocol wants them to be.

A broker takes such a record, and aiokafka's parser raises for it (`UnicodeDecodeError` out of every `getmany`): the
worker ends, its heir ends at the same record, and one stranger holds up everybody's partitions for good. Here the batch
in which it stands is read once more by aiokafka's own parser in Python, with the bytes that are no UTF-8 written as
`\xff`; then the record is judged like any other. The first reading, of all other batches, is what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy

_MAGIC_WITH_HEADERS: Final = 2


def tolerate() -> None:
    """From now on every aiokafka consumer of this process reads such records. Calling it again changes nothing."""
    fetcher.MemoryRecords = _Kept
    fetcher.PartitionRecords = _PartitionRecords


class _Kept(MemoryRecords):  # type: ignore[misc]
    """What one fetch brought of a partition, kept until it is read, so that the newest batch can be read again."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._data = data
        self._given = 0

    def next_batch(self) -> Any:
        self._given += 1
        return super().next_batch()

    def from_newest(self) -> _InPython:
        """Return the newest batch and those after it, to be read in Python."""
        again = _InPython(self._data)
        for _ in range(self._given - 1):
            again.next_batch()
        return again


class _InPython(_MemoryRecordsPy):  # type: ignore[misc]
    """The same, with header names that are never refused."""

    def next_batch(self) -> Any:
        data = bytes(self._next_slice)
        batch = super().next_batch()
        return _Batch(data) if data[self.MAGIC_OFFSET] >= _MAGIC_WITH_HEADERS else batch


class _Batch(_DefaultRecordBatchPy):  # type: ignore[misc]
    _buffer: bytearray

    def __iter__(self) -> _Batch:
        super().__iter__()  # decompresses
        self._buffer = _Bytes(self._buffer)
        return self


class _Bytes(bytearray):
    """Bytes of which aiokafka's parser decodes nothing but header names, slice by slice."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Bytes(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        try:
            return super().decode(encoding, errors)
        except UnicodeDecodeError:
            return self.replace(b"\\", rb"\\").decode(encoding, "backslashreplace")


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """Goes on in Python where the first reading cannot; what was given already is not given again."""

    _records: Any

    def _unpack_records(self) -> Iterator[Any]:
        try:
            yield from super()._unpack_records()
        except UnicodeDecodeError:
            self._records = self._records.from_newest()
            yield from super()._unpack_records()
