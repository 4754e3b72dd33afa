"""The adapter of Fitbit's account archive: which file in it is what."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final
from zipfile import ZipInfo

from devices.adapter import Piece, Reading, Source
from devices.archive import Archive, DamagedMember, open_archive
from devices.documents import Unreadable
from devices.errors import MalformedExport
from devices.fitbit import series
from devices.fitbit.records import Records
from devices.local_time import Zone
from devices.rows import Rows, drained
from vitals.ids import pseudonym

_DATE: Final = r"\d{4}-\d\d-\d\d"
_SERIES: Final = {
    rf"heart_rate-{_DATE}\.json": series.HEART_RATE,
    rf"steps-{_DATE}\.json": series.STEPS,
    rf"distance-{_DATE}\.json": series.DISTANCE,
    r"minute spo2 - .{1,40}\.csv": series.SPO2,
    rf"heart_rate_{_DATE}\.csv": series.GOOGLE_HEART_RATE,
    rf"steps_{_DATE}\.csv": series.GOOGLE_STEPS,
}
_RECORDS: Final = {
    rf"sleep-{_DATE}\.json": Records.sleep,
    rf"exercise-\d{{1,9}}\.json|exercise-{_DATE}\.json": Records.exercise,
    rf"resting_heart_rate-{_DATE}\.json": Records.resting,
    rf"daily_resting_heart_rate(?:_{_DATE})?\.csv": Records.google_resting,
    rf"weight-{_DATE}\.json": Records.weight,
    r"heart rate variability details - .{1,40}\.csv": Records.variability,
    r"daily respiratory rate summary - .{1,40}\.csv": Records.breathing,
    r"computed temperature - .{1,40}\.csv": Records.temperature,
}
# Files that are Fitbit's without doubt and that Vigil has no metric for: counted by these words. `calories` is what a
# body burns in all, and the catalogue knows only the active and the resting part.
_IGNORED: Final = (
    "calories", "altitude", "sedentary_minutes", "lightly_active_minutes", "moderately_active_minutes",
    "very_active_minutes", "time_in_heart_rate_zones", "demographic_vo2_max", "run_vo2_max", "swim_lengths_data",
    "estimated_oxygen_variation", "daily spo2", "device temperature", "daily heart rate variability summary",
    "stress score", "sleep_score", "active zone minutes", "badge", "food_logs", "water_logs", "mindfulness",
)  # fmt: skip

Reader = Callable[[bytes], None]


class FitbitAdapter:
    """Reads a Fitbit archive: heart rate, steps, distance, SpO2, variability, breathing, nights, workouts."""

    name = "fitbit-export"
    about = "A Fitbit account archive (zip), also from Google Takeout. Its nights are in local time: give --zone."

    def read(self, source: Source, reading: Reading) -> Iterator[Piece]:
        """Yield what the archive tells (see `devices.adapter.Adapter.read`). A damaged file in it costs that file."""
        rows, zone = Rows(reading), Zone(reading.zone)
        with open_archive(source) as archive:
            yield from drained(rows, _steps(archive, _readers(rows, reading, zone), reading))


def _readers(rows: Rows, reading: Reading, zone: Zone) -> list[tuple[re.Pattern[str], Reader]]:
    device_id = pseudonym(reading.hash_key, "", "fitbit")  # the archive does not say which band measured what
    records = Records(rows, reading, zone, device_id)
    found: list[tuple[re.Pattern[str], Reader]] = [
        (re.compile(name), partial(one.read, rows=rows, reading=reading, zone=zone, device_id=device_id))
        for name, one in _SERIES.items()
    ]
    return found + [(re.compile(name), partial(read, records)) for name, read in _RECORDS.items()]


def _steps(archive: Archive, readers: list[tuple[re.Pattern[str], Reader]], reading: Reading) -> Iterator[None]:
    members = archive.members()
    recognised = False
    for done, member in enumerate(members, 1):
        name = member.filename.rsplit("/", 1)[-1].lower()
        reader = next((read for pattern, read in readers if pattern.fullmatch(name)), None)
        recognised |= reader is not None
        if reader is not None:
            _read(archive, member, reader, reading)
        elif name.endswith((".json", ".csv")):
            _ignore(name, reading)
        reading.on_progress(done, len(members))
        yield
    if not recognised:
        raise MalformedExport("the zip file holds no Fitbit archive: none of its files is one that Fitbit writes")


def _read(archive: Archive, member: ZipInfo, reader: Reader, reading: Reading) -> None:
    """Read one file; one that cannot be read is one rejected record."""
    try:
        reader(archive.read(member))
    except DamagedMember:
        reason = "damaged"
    except Unreadable as unreadable:
        reason = unreadable.reason
    else:
        return
    reading.tally.read += 1
    reading.tally.rejected[reason] += 1


def _ignore(name: str, reading: Reading) -> None:
    reading.tally.read += 1
    word = next((one for one in _IGNORED if name.startswith(one)), "other")
    reading.tally.ignored[word] += 1


ADAPTER: Final = FitbitAdapter()
