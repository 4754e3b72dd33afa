"""A small archive in a folder, and rows in the order of a file."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg
from hypothesis import strategies as st
from pyarrow import fs

from tests.timeseries.lifecycle_world import DAY, HOUR, METRICS, START, World, to_rows
from tests.timeseries.making import query
from timeseries import archive, archive_table
from timeseries.archive_chain import ArchivedFile
from timeseries.archive_format import Words
from timeseries.archive_verify import Verdict, verify
from timeseries.lifecycle_archive import LifecycleArchive
from timeseries.rows import COLUMNS, ROW, Rows, sort_order
from vitals.batch import NO_ZONE

HEART, BATTERY, STEPS = METRICS
DAY_0: Final = START.date()
DAY_1: Final = (START + DAY).date()
NEVER: Final = timedelta(0)
"""How long a verification lasts: every archiving reads the files again."""
WORDS: Final = Words(
    {1: "a-1", 2: "b-2", 3: "c-3"},
    {1: ("heart_rate", "/min"), 2: ("steps", "1"), 300: ("skin_temperature", "Cel")},
    {1: ("watch", "app"), 2: ("phone", "app"), 3: ("phone", "other:app")},
)
_NUMBERS: Final = {
    "time": st.integers(-(2**50), 2**50),
    "written_at": st.integers(-(2**50), 2**50),
    "received_at": st.integers(-(2**50), 2**50),
    "value": st.floats(width=64, allow_nan=True),
    "duration_ms": st.integers(0, 2**31 - 1),
    "quality": st.floats(0, 1, width=32),
    "flags": st.integers(0, 2**15 - 1),
    "context": st.integers(0, 2**15 - 1),
    "zone_offset_min": st.sampled_from([NO_ZONE, -720, 0, 345, 840]),
}


@st.composite
def file_rows(draw: st.DrawFn, least: int = 0) -> Rows:
    """Rows of several patients, metrics and origins, in the order of a file."""
    series = st.tuples(*(st.sampled_from(sorted(words)) for words in (WORDS.patients, WORDS.metrics, WORDS.origins)))
    made = draw(st.lists(st.tuples(series, st.fixed_dictionaries(_NUMBERS)), min_size=least, max_size=24))
    rows = np.zeros(len(made), ROW)
    for row, (keys, numbers) in zip(rows, made, strict=True):
        row["patient_key"], row["metric_key"], row["origin_key"] = keys
        for name, value in numbers.items():
            row[name] = value
    return rows[sort_order(rows)]


class Vault:
    """A world (see `lifecycle_world`) whose archive is a folder, and what one does to it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.archive = LifecycleArchive.at(str(folder))
        self.world = World.make(url, patients=3, archive=self.archive)
        query(url, "UPDATE patients SET patient_id = 'wearer-' || patient_key || '-of-the-archive'")
        query(url, "INSERT INTO devices (device_id) VALUES ('d2')")
        query(url, "INSERT INTO origins (device_key, source_app) VALUES (2, 'other')")

    @property
    def storage(self) -> fs.FileSystem:
        return self.archive.storage

    @contextmanager
    def connect(self, zone: str = "UTC") -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.url, autocommit=True, options=f"-c timezone={zone}") as connection:
            yield connection

    def fill(self, days: int = 2, count: int = 12) -> "Vault":
        """Heart rate of three people by two devices, and the steps of the first, on so many days."""
        made = []
        for at in (START + day * DAY for day in range(days)):
            for patient in (1, 2, 3):
                one, other = (self.world.samples(patient, HEART, at + n * HOUR / 2, count) for n in range(2))
                one["zone_offset_min"][count // 2 :] = NO_ZONE
                other["origin_key"] = 2
                made += [one, other]
            made.append(self.world.samples(1, STEPS, at, count))
        self.world.write(np.concatenate(made))
        return self

    def day(self, day: date = DAY_0, name: str = "vital", **options: Any) -> list[ArchivedFile]:
        with self.connect() as connection:
            return archive.archive_day(connection, self.storage, name, day, **options)

    def everything(self) -> "Vault":
        """Archive all that is in samples."""
        for name, day in query(
            self.url,
            "SELECT DISTINCT m.retention_class, (s.time AT TIME ZONE 'UTC')::date FROM samples s "
            "JOIN metrics m USING (metric_key) ORDER BY 2, 1",
        ):
            self.day(day, name)
        return self

    def covered(self, day: date = DAY_0, name: str = "vital") -> bool:
        with self.connect() as connection:
            return archive.is_covered(connection, name, day)

    def verify(self, *selection: Any) -> Verdict:
        with self.connect() as connection:
            return verify(connection, self.storage, *selection)

    def known(self) -> list[ArchivedFile]:
        """Rows of `archive_files`."""
        with self.connect() as connection:
            return archive_table.files(connection)

    def read(self, patients: Sequence[int], day: date = DAY_0, name: str = "vital") -> Rows:
        with self.connect() as connection:
            return archive.read_rows(connection, self.storage, name, day, patients)

    def path(self, file: ArchivedFile) -> Path:
        return self.folder / (file.uri or "")

    def manifests(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.folder.rglob("_part-*.json"))]

    def contents(self) -> dict[str, bytes]:
        """Every file of the folder."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        }

    def restored(self, restore_id: int | None = None) -> Rows:
        where = "" if restore_id is None else f"WHERE restore_id = {restore_id}"
        rows = to_rows(query(self.url, f"SELECT {', '.join(COLUMNS)} FROM restored_samples {where}"))
        return rows[sort_order(rows)]

    def expected(self, patient: int | None = None, start: datetime | None = None, end: datetime | None = None) -> Rows:
        """The standing versions of a selection."""
        rows = np.array(list(self.world.standing.values()), ROW)
        rows = rows[sort_order(rows)]
        times = rows["time"]
        for moment, keep in ((start, np.greater_equal), (end, np.less)):
            if moment is not None:
                rows = rows[keep(times, int(moment.astimezone(UTC).timestamp() * 1_000_000))]
                times = rows["time"]
        return rows if patient is None else rows[rows["patient_key"] == patient]
