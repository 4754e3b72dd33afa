"""Many plain records at once: columns of numbers, and a short list of those that need to be looked at one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, compress
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.apple import categories, columns, quantities
from devices.apple.dates import DateReader
from devices.apple.origin import Origin, Origins
from devices.apple.plain import Plain, entries_of, plain_text
from devices.apple.units import SAME, converted
from vitals.quality import Context

METADATA_KEYS: Final = frozenset({"HKMetadataKeyHeartRateMotionContext", "HKWasUserEntered", "HKTimeZone"})
_MOTION: Final = {"1": int(Context.MOTION_SEDENTARY), "2": int(Context.MOTION_ACTIVE)}
_NO_CHANNEL: Final = quantities.Channel(0, SAME, "")


def context_of(metadata: Mapping[str, str]) -> int:
    """Return the context bits that a record's metadata tell."""
    motion = _MOTION.get(metadata.get("HKMetadataKeyHeartRateMotionContext", ""), 0)
    return motion | (Context.USER_ENTERED if metadata.get("HKWasUserEntered") == "1" else 0)


class _Fields(NamedTuple):
    """The fields of many `Plain` records, each a column."""

    text: tuple[bytes, ...]
    kind: tuple[bytes, ...]
    source: tuple[bytes, ...]
    device: tuple[bytes, ...]
    unit: tuple[bytes, ...]
    created: tuple[bytes, ...]
    start: tuple[bytes, ...]
    end: tuple[bytes, ...]
    value: tuple[bytes, ...]
    entries: tuple[bytes, ...]


class PlainColumns:
    """The rows (`collect.FIELDS`) of plain records.

    `unread` counts those of types that are not read, which have no row; `others` are where rows are missing that must
    be looked at one by one: categories, and whatever is wrong.
    """

    def __init__(self, found: Sequence[tuple[bytes, ...]], dates: DateReader, received_us: int) -> None:
        self._found = found
        self._fields = _Fields(*zip(*found, strict=True))
        pairs = list(zip(self._fields.kind, self._fields.unit, strict=True))
        self._channels, self._at_channel = columns.distinct(pairs, _channel)
        self.rows = np.empty((len(found), 7), np.float64)
        sound = self._fill_times(dates, received_us)
        sound &= self._fill_values()
        unread = np.array([_is_unread(kind) for kind, _ in dict.fromkeys(pairs)])[self._at_channel]
        self.unread = Counter(compress(self._fields.kind, unread.tolist()))
        self.others = np.flatnonzero(~sound & ~unread)
        self._has_row = sound

    def _fill_times(self, dates: DateReader, received_us: int) -> NDArray[np.bool_]:
        fields, n = self._fields, len(self._found)
        written = [created or start for created, start in zip(fields.created, fields.start, strict=True)]
        time_us, offset_min, valid = columns.dates(chain(fields.start, fields.end, written))
        start_us, end_us, written_us = time_us.reshape(3, n)
        self.rows[:, 0], self.rows[:, 1] = start_us, (end_us - start_us) // 1_000
        self.rows[:, 2], self.rows[:, 6] = offset_min[:n], written_us
        if b"" in fields.created:
            self.rows[np.fromiter((not one for one in fields.created), np.bool_, n), 6] = received_us
        self._fill_metadata(dates, start_us)
        sound: NDArray[np.bool_] = valid.reshape(3, n).all(axis=0) & (end_us >= start_us)
        return sound

    def _fill_metadata(self, dates: DateReader, start_us: NDArray[np.int64]) -> None:
        metadata, at = columns.distinct(self._fields.entries, _metadata)
        self.rows[:, 5] = np.array([context_of(one) for one in metadata])[at]
        for number, one in enumerate(metadata):
            zone = one.get("HKTimeZone", "")
            for index in np.flatnonzero(at == number).tolist() if zone else ():
                offset = dates.offset_in(zone, int(start_us[index]))
                if offset is not None:
                    self.rows[index, 2] = offset

    def _fill_values(self) -> NDArray[np.bool_]:
        values = columns.numbers(self._fields.value)
        is_read = np.array([one is not None for one in self._channels])
        sound: NDArray[np.bool_] = np.isfinite(values) & is_read[self._at_channel]
        known = [one or _NO_CHANNEL for one in self._channels]
        self.rows[:, 3] = np.array([one.metric for one in known])[self._at_channel]
        for number, one in enumerate(known):
            if one.scale != SAME:  # Python rounds to the nearest decimal, numpy does not: both ways must agree
                rows = np.flatnonzero((self._at_channel == number) & sound)
                values[rows] = [converted(value, one.scale) for value in values[rows].tolist()]
        self.rows[:, 4] = values
        return sound

    def origins(self, known: Origins) -> tuple[list[Origin], NDArray[np.intp]]:
        """Return the records' origins, and for each record where its own stands among them: -1 without a row."""
        fields = self._fields
        pairs = list(zip(fields.source, fields.device, strict=True))
        texts, at_pair = columns.distinct(pairs, _texts)
        suffixes = ["" if one is None else one.suffix for one in self._channels]
        both, at = np.unique(at_pair * len(suffixes) + self._at_channel, return_inverse=True)
        found = []
        for pair, channel in zip(*(part.tolist() for part in np.divmod(both, len(suffixes))), strict=True):
            source, device = texts[pair]
            found.append(known.of(source, device, suffixes[channel]))
        at[~self._has_row] = -1
        return found, at

    def attributes(self, index: int) -> tuple[dict[str, str], dict[str, str] | None]:
        """Return attributes and metadata of one record, as expat would have given them."""
        one = Plain(*self._found[index])
        given = {
            "type": one.kind, "sourceName": one.source, "device": one.device, "unit": one.unit,
            "creationDate": one.created, "startDate": one.start, "endDate": one.end, "value": one.value,
        }  # fmt: skip
        attributes = {name: plain_text(raw) for name, raw in given.items() if raw or name == "sourceName"}
        return attributes, _metadata(one.entries) or None


def _is_unread(kind: bytes) -> bool:
    return plain_text(kind) not in quantities.QUANTITY_TYPES and plain_text(kind) not in categories.TYPES


def _channel(pair: tuple[bytes, bytes]) -> quantities.Channel | None:
    return quantities.channel_of(plain_text(pair[0]), plain_text(pair[1]))


def _texts(pair: tuple[bytes, bytes]) -> tuple[str, str | None]:
    return plain_text(pair[0]), plain_text(pair[1]) or None


def _metadata(entries: bytes) -> dict[str, str]:
    return {key: value for key, value in entries_of(entries) if key in METADATA_KEYS} if entries else {}


def add_rows(origins: Sequence[Origin], at: NDArray[np.intp], rows: NDArray[np.float64]) -> None:
    """Append each row to the origin that it belongs to (none for -1), in their order."""
    first = {id(origin): number for number, origin in reversed(list(enumerate(origins)))}  # two texts may be one origin
    own = np.array([first[id(origin)] for origin in origins] + [-1])[at]
    for number in np.unique(own[own >= 0]).tolist():
        origins[number].rows.frombytes(rows[own == number].tobytes())
