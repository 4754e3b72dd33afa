"""A small world whose samples grow old: written as the recorder writes them, and remembered here to compare with."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
import psycopg

from tests.timeseries.making import query
from timeseries.lifecycle import run
from timeseries.lifecycle_model import Report
from timeseries.migrate import migrate
from timeseries.rollup import refresh
from timeseries.rollup_history import levels_of
from timeseries.rows import COLUMNS, IDENTITY, ROW, Rows, sort_order
from vitals.catalogue import BY_CODE
from vitals.clock import from_datetime, to_datetime

START: Final = datetime(2024, 6, 6, tzinfo=UTC)
"""A Thursday: TimescaleDB's seven-day chunks begin here, too."""
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
OLD: Final = START + timedelta(days=760)
"""When everything of the first weeks is due."""
METRICS: Final = (BY_CODE["heart_rate"].number, BY_CODE["battery"].number, BY_CODE["steps"].number)
_TIMES: Final = frozenset({"time", "written_at", "received_at"})
Identity = tuple[int, ...]

STAND_IN = "CREATE TABLE archived (LIKE samples, retention_class text NOT NULL, utc_day date NOT NULL)"


class TableArchive:
    """An archive that is a table of the same database: quick, and as easily broken off."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            connection.execute(STAND_IN.encode())
        self.broken = False

    def archive_day(self, connection: Any, retention_class: str, utc_day: date) -> None:
        if self.broken:
            raise OSError("the archive is away")
        values = {"class": retention_class, "day": utc_day}
        with connection.transaction():
            connection.execute(
                "INSERT INTO archived SELECT s.*, %(class)s, %(day)s FROM samples s JOIN metrics m USING (metric_key) "
                "WHERE m.retention_class = %(class)s AND (s.time AT TIME ZONE 'UTC')::date = %(day)s "
                "AND NOT EXISTS (SELECT FROM archived a WHERE (a.patient_key, a.metric_key, a.origin_key, a.time, "
                "a.duration_ms, a.written_at, a.value, a.flags) = (s.patient_key, s.metric_key, s.origin_key, s.time, "
                "s.duration_ms, s.written_at, s.value, s.flags))",
                values,
            )
            connection.execute(
                "INSERT INTO archive_coverage SELECT %(class)s, %(day)s, h.* FROM samples_of_day(%(class)s, %(day)s) h "
                "ON CONFLICT (retention_class, utc_day, patient_key) DO UPDATE SET rows = excluded.rows, "
                "checksum = excluded.checksum",
                values,
            )

    def expire(self, connection: Any, retention_class: str, before: date) -> int:
        gone = "DELETE FROM archived WHERE retention_class = %s AND utc_day < %s"
        return int(connection.execute(gone, (retention_class, before)).rowcount)

    def everything(self, url: str) -> Rows:
        return to_rows(query(url, f"SELECT {', '.join(COLUMNS)} FROM archived"))

    def read_rows(self, connection: Any, retention_class: str, utc_day: date, patients: Any) -> Rows:
        found = connection.execute(
            f"SELECT DISTINCT ON (patient_key, metric_key, origin_key, time, duration_ms) {', '.join(COLUMNS)} "
            "FROM archived WHERE retention_class = %s AND utc_day = %s AND patient_key = ANY (%s) "
            "ORDER BY patient_key, metric_key, origin_key, time, duration_ms, written_at DESC",
            (retention_class, utc_day, list(patients)),
        )
        return to_rows(found)


def to_rows(found: Iterable[tuple[Any, ...]]) -> Rows:
    rows = [
        tuple(from_datetime(value) if name in _TIMES else value for name, value in zip(COLUMNS, row, strict=True))
        for row in found
    ]
    return np.array(rows, ROW)


def identity(row: Any) -> Identity:
    return tuple(int(row[name]) for name in IDENTITY)


def identities(rows: Rows) -> set[Identity]:
    return {identity(row) for row in rows}


@dataclass
class World:
    """What there must be.

    `standing`: the newest version of each identity ever written, which must be readable for ever. `kept`: what a hold
    keeps in samples: all that was there when it was placed, and all that came since.
    """

    url: str
    archive: Any = None
    standing: dict[Identity, tuple[Any, ...]] = field(default_factory=dict)
    kept: set[Identity] = field(default_factory=set)
    moment: datetime = OLD
    clock: int = 0

    @classmethod
    def make(cls, url: str, patients: int = 4, archive: Any = None) -> "World":
        migrate(url, prepare_threshold=None)
        query(url, f"INSERT INTO patients (patient_id) SELECT 'p' || n FROM generate_series(1, {patients}) n")
        query(url, "INSERT INTO devices (device_id) VALUES ('d1')")
        query(url, "INSERT INTO origins (device_key, source_app) VALUES (1, 'app')")
        world = cls(url)
        world.archive = archive or TableArchive(url)
        return world

    def samples(self, patient: int, metric: int, at: datetime, count: int = 1, *, every: timedelta = HOUR) -> Rows:
        """New samples, written a second after those of the call before."""
        self.clock += 1
        rows = np.zeros(count, ROW)
        rows["time"] = from_datetime(at) + np.arange(count) * (every // timedelta(microseconds=1))
        rows["written_at"] = rows["received_at"] = from_datetime(OLD) + self.clock * 1_000_000
        rows["value"] = self.clock + np.arange(count) / 64
        rows["patient_key"], rows["metric_key"], rows["origin_key"] = patient, metric, 1
        rows["duration_ms"] = 60_000 if metric == METRICS[2] else 0
        rows["quality"] = 1
        return rows

    def write(self, rows: Rows, within: psycopg.Connection[Any] | None = None) -> None:
        """Store rows as the recorder does: the newest version stands, and the hours become dirty with it.

        In a transaction of its own, or `within` one that the caller ends.
        """
        held = self.held()
        for row in rows[sort_order(rows)]:
            key = identity(row)
            if key[0] in held:
                self.kept.add(key)
            if key not in self.standing or self.standing[key][1] < row["written_at"]:
                self.standing[key] = tuple(row.tolist())
        columns = {
            name: [to_datetime(int(value)) for value in rows[name]] if name in _TIMES else rows[name].tolist()
            for name in COLUMNS
        }
        kinds = ["timestamptz"] * 3 + ["float8", "int", "int", "int", "real"] + ["smallint"] * 4
        arrays = ", ".join(f"%({name})s::{kind}[]" for name, kind in zip(COLUMNS, kinds, strict=True))
        with self._connection(within) as connection:
            connection.execute(
                f"INSERT INTO samples AS s ({', '.join(COLUMNS)}) SELECT * FROM unnest({arrays}) "
                "ON CONFLICT (patient_key, metric_key, origin_key, time, duration_ms) DO UPDATE SET "
                "written_at = excluded.written_at, received_at = excluded.received_at, value = excluded.value, "
                "flags = excluded.flags, quality = excluded.quality WHERE excluded.written_at > s.written_at",
                columns,
            )
            connection.execute(
                "INSERT INTO dirty_ranges AS d (patient_key, hour, from_time, to_time) "
                "SELECT p, date_trunc('hour', t, 'UTC'), min(t), max(t) "
                "FROM unnest(%(patient_key)s::int[], %(time)s::timestamptz[]) AS s (p, t) GROUP BY 1, 2 "
                "ON CONFLICT (patient_key, hour) DO UPDATE SET from_time = least(d.from_time, excluded.from_time), "
                "to_time = greatest(d.to_time, excluded.to_time)",
                columns,
            )

    @contextmanager
    def _connection(self, within: psycopg.Connection[Any] | None) -> Iterator[psycopg.Connection[Any]]:
        if within is not None:
            yield within
            return
        with psycopg.connect(self.url, prepare_threshold=None) as connection:
            yield connection

    def refresh(self) -> None:
        """Bring the rollups up to date; no day waits to be made: that is another matter."""
        refresh(self.url, prepare_threshold=None)
        query(self.url, "DELETE FROM dirty_days")

    def compress(self) -> None:
        """On TimescaleDB: everything into the columnstore."""
        if query(self.url, "SELECT to_regclass('chunks') IS NOT NULL") == [(True,)]:
            query(self.url, "SELECT compress_chunk(chunk, if_not_compressed => true) FROM chunks")

    def run(self, **options: Any) -> Report:
        """One run of the lifecycle at this world's time."""
        return run(self.url, self.archive, moment=self.moment, prepare_threshold=None, **options)

    def hold(self, patient: int) -> None:
        query(self.url, "INSERT INTO legal_holds (patient_key, reason, placed_by) VALUES (%s, 'c', 'u')", (patient,))
        self.kept |= {key for key in identities(self.rows()) if key[0] == patient}

    def held(self) -> set[int]:
        return {row[0] for row in query(self.url, "SELECT patient_key FROM patients_on_hold")}

    def lift(self, patient: int) -> None:
        query(
            self.url,
            "UPDATE legal_holds SET lifted_at = now(), lifted_by = 'u', lift_reason = 'o' "
            "WHERE patient_key = %s AND lifted_at IS NULL",
            (patient,),
        )
        self.kept = {key for key in self.kept if key[0] != patient}

    def rows(self) -> Rows:
        """What is in samples."""
        return to_rows(query(self.url, f"SELECT {', '.join(COLUMNS)} FROM samples"))

    def archived(self) -> Rows:
        """Every version that the archive has."""
        found: Rows = self.archive.everything(self.url)
        return found

    def check_nothing_is_lost(self) -> None:
        """The standing version of every identity is in samples or in the archive, and nothing stands above it."""
        best: dict[Identity, tuple[Any, ...]] = {}
        for row in np.concatenate([self.archived(), self.rows()]):
            key = identity(row)
            if key not in best or best[key][1] < row["written_at"]:
                best[key] = tuple(row.tolist())
        assert best == self.standing

    def check_holds(self) -> None:
        """What a hold keeps is in samples."""
        assert not self.kept - identities(self.rows())

    def check_rollups(self) -> None:
        """The three levels say what the standing versions say, whether samples are here or gone."""
        rows = np.array(list(self.standing.values()), ROW) if self.standing else np.empty(0, ROW)
        for level, expected in levels_of(rows).items():
            found = query(
                self.url,
                f"SELECT patient_key, metric_key, origin_key, bucket, n, sum, min, max, first, last FROM {level}_all "
                "ORDER BY 1, 2, 3, 4",
            )
            wanted = [
                (*(int(one[name]) for name in ("patient_key", "metric_key", "origin_key")),
                 to_datetime(int(one["bucket"])), int(one["n"]),
                 *(float(one[name]) for name in ("sum", "min", "max", "first", "last")))
                for one in expected
            ]  # fmt: skip
            assert found == sorted(wanted), level
