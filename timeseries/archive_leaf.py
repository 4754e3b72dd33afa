"""The hash of what is one patient's in a file: a leaf. Pure.

Canonical form: a series is the length and the JSON of its five words, then its rows as packed little-endian `ROW`s;
its digest is their SHA-256. A leaf is SHA-256 of a tag, a salt, the number of rows and the digests of the patient's
series in the order of the file. Parquet's encoding takes no part: a file may be rewritten, the leaf stays.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from timeseries.archive_format import KEYS, Slice
from timeseries.rows import ROW

_TAG: Final = b"vigil archive leaf 1\n"
_CANONICAL: Final = ROW.newbyteorder("<")


@dataclass(frozen=True, slots=True)
class LeafHash:
    """What was hashed of one patient: its place in the file, key as in the rows, number of rows, hash, and the salt."""

    position: int
    patient_id: str
    patient_key: int
    rows: int
    sha256: bytes
    salt: bytes


class LeafHasher:
    """Folds the slices of a file, in order, into one leaf a patient; memory does not grow with a patient's rows."""

    def __init__(self, salt_of: Callable[[int, str], bytes]) -> None:
        """Take the salt of the leaf at a position about a patient from `salt_of`."""
        self._salt_of = salt_of
        self._leaves: list[LeafHash] = []
        self._words: tuple[str, ...] | None = None
        self._keys = (0, 0, 0)
        self._series: Any = None
        self._digests: list[bytes] = []
        self._rows = 0

    def add(self, part: Slice) -> None:
        """Take the next rows."""
        for words, rows in part.runs():
            keys = tuple(int(rows[0][name]) for name in KEYS)
            if (words, keys) != (self._words, self._keys):
                self._next_series(words, keys)
            self._series.update(np.ascontiguousarray(rows, _CANONICAL).tobytes())
            self._rows += len(rows)

    def finish(self) -> list[LeafHash]:
        """Return the leaves. Raises ValueError if a patient came twice: then the file is not sorted."""
        self._end_series()
        self._end_patient()
        self._words = None
        if len({leaf.patient_id for leaf in self._leaves}) < len(self._leaves):
            raise ValueError("the rows of one patient stand apart")
        return self._leaves

    def _next_series(self, words: tuple[str, ...], keys: tuple[int, ...]) -> None:
        self._end_series()
        if self._words is None or words[0] != self._words[0]:
            self._end_patient()
        self._words, self._keys = words, (keys[0], keys[1], keys[2])
        header = json.dumps(words, separators=(",", ":")).encode()
        self._series = hashlib.sha256(struct.pack(">I", len(header)) + header)

    def _end_series(self) -> None:
        if self._series is not None:
            self._digests.append(self._series.digest())
            self._series = None

    def _end_patient(self) -> None:
        if self._words is None:
            return
        position, patient = len(self._leaves), self._words[0]
        salt = self._salt_of(position, patient)
        head = _TAG + salt + struct.pack(">Q", self._rows)
        digest = hashlib.sha256(head + b"".join(self._digests)).digest()
        self._leaves.append(LeafHash(position, patient, self._keys[0], self._rows, digest, salt))
        self._digests, self._rows = [], 0
