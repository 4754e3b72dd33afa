"""The adapter of Garmin's account archive: which file in it is what."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final
from zipfile import ZipInfo

from devices.adapter import Piece, Reading, Session, Source
from devices.archive import Archive, DamagedMember, open_archive
from devices.documents import Unreadable
from devices.errors import MalformedExport
from devices.fit import read_fit
from devices.garmin.summaries import Summaries
from devices.local_time import Zone
from devices.rows import Origin, Rows, drained
from vitals.clock import US_PER_S

_SUMMARIES: Final = (
    (re.compile(r"udsfile_.{1,60}\.json"), Summaries.days),
    (re.compile(r".{0,80}_sleepdata\.json"), Summaries.nights),
    (re.compile(r".{0,80}_summarizedactivities\.json"), Summaries.activities),
)
_JSON: Final = ".json"


class _SeenRows(Rows):
    """Rows that remember in which seconds workouts began, so that a summary does not tell them again."""

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading)
        self.workouts: set[int] = set()

    def session(self, origin: Origin, session: Session) -> None:
        """Keep one session."""
        super().session(origin, session)
        if session.kind == "workout":
            self.workouts.add(session.start_us // US_PER_S)


class GarminAdapter:
    """Reads a Garmin archive: its FIT files, and the summaries of days, nights and workouts."""

    name = "garmin-export"
    about = "A Garmin account archive (zip with DI_CONNECT): its FIT files and summaries of days, nights and workouts."

    def read(self, source: Source, reading: Reading) -> Iterator[Piece]:
        """Yield what the archive tells (see `devices.adapter.Adapter.read`). A damaged file in it costs that file."""
        rows, zone = _SeenRows(reading), Zone(reading.zone)
        with open_archive(source) as archive:
            yield from drained(rows, _steps(archive, rows, reading, zone))


def _steps(archive: Archive, rows: _SeenRows, reading: Reading, zone: Zone) -> Iterator[object]:
    """Read FIT files first: what they tell of a workout is more than its summary."""
    summaries = Summaries(rows, reading, zone, rows.workouts)
    members = archive.members()
    later: list[tuple[ZipInfo, Callable[[bytes], None]]] = []
    recognised = False
    for done, member in enumerate(members, 1):
        name = member.filename.rsplit("/", 1)[-1].lower()
        read = next((read for pattern, read in _SUMMARIES if pattern.fullmatch(name)), None)
        if read is not None:
            later.append((member, read.__get__(summaries)))
        elif name.endswith(".fit"):
            recognised = True
            yield from _fit(archive, member, rows, reading, zone)
        elif name.endswith(".zip") and "uploaded" in name:
            recognised = True
            yield from _inner(archive, member, rows, reading, zone)
        elif name.endswith(_JSON):
            reading.tally.read += 1
            reading.tally.ignored["other"] += 1
        reading.on_progress(done - len(later), len(members))
    for left, (member, take) in enumerate(later, 1 - len(later)):
        _summary(archive, member, take, reading)
        reading.on_progress(len(members) + left, len(members))
        yield member
    if not (recognised or later):
        raise MalformedExport("the zip file holds no Garmin archive: none of its files is one that Garmin writes")


def _inner(archive: Archive, member: ZipInfo, rows: Rows, reading: Reading, zone: Zone) -> Iterator[object]:
    try:
        with archive.inner(member) as inner:
            for one in inner.members():
                if one.filename.lower().endswith(".fit"):
                    yield from _fit(inner, one, rows, reading, zone)
    except DamagedMember:
        _rejected(reading, "damaged")


def _fit(archive: Archive, member: ZipInfo, rows: Rows, reading: Reading, zone: Zone) -> Iterator[object]:
    """Read one FIT file; one that cannot be read to its end is one rejected record."""
    try:
        data = archive.read(member)
    except DamagedMember:
        _rejected(reading, "damaged")
        return
    try:
        yield from read_fit(data, rows, reading, zone)
    except MalformedExport:
        _rejected(reading, "fit_file")


def _summary(archive: Archive, member: ZipInfo, take: Callable[[bytes], None], reading: Reading) -> None:
    try:
        take(archive.read(member))
    except DamagedMember:
        _rejected(reading, "damaged")
    except Unreadable as unreadable:
        _rejected(reading, unreadable.reason)


def _rejected(reading: Reading, reason: str) -> None:
    reading.tally.read += 1
    reading.tally.rejected[reason] += 1


ADAPTER: Final = GarminAdapter()
