"""The life of samples with the real archive: Parquet files in a folder."""

from pathlib import Path

import numpy as np
import psycopg
import pytest

from tests.timeseries.lifecycle_world import DAY, HOUR, METRICS, START
from tests.timeseries.making import query
from tests.timeseries.test_lifecycle_raw import chance, filled
from timeseries.archive_read import versions_of
from timeseries.archive_storage import open_storage
from timeseries.archive_table import files
from timeseries.lifecycle import due
from timeseries.lifecycle_archive import LifecycleArchive
from timeseries.lifecycle_model import Report
from timeseries.rows import ROW, Rows

HEART = METRICS[0]


class Files(LifecycleArchive):
    """The real archive, and what the world asks of the stand-in."""

    def everything(self, url: str) -> Rows:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            keys = [key for (key,) in connection.execute("SELECT patient_key FROM patients")]
            parts = [versions_of(connection, self.storage, [one], keys) for one in files(connection)]
        return np.concatenate([np.empty(0, ROW), *parts])


@pytest.fixture
def archive(tmp_path: Path) -> Files:
    return Files(open_storage(str(tmp_path / "archive")))


def from_the_first_file_to_the_last_late_sample(url: str, archive: Files) -> None:
    world = filled(url, archive)
    world.hold(3)
    world.run()
    world.check_nothing_is_lost()
    world.check_holds()
    world.check_rollups()
    late = world.samples(1, HEART, START + 3 * HOUR)
    corrected = world.samples(2, HEART, START + HOUR)
    deleted = world.samples(3, HEART, START + DAY + HOUR)
    deleted["flags"] = 128
    for rows in (late, corrected, deleted):
        world.write(rows)
    world.refresh()
    report = world.run()
    assert len(report.late) == 2
    world.check_nothing_is_lost()
    world.check_holds()
    world.lift(3)
    world.refresh()
    world.run()
    assert len(world.rows()) == 0
    world.check_nothing_is_lost()
    world.check_rollups()
    assert world.run() == Report()


def test_stock(database: str, archive: Files) -> None:
    from_the_first_file_to_the_last_late_sample(database, archive)


@pytest.mark.timescale
def test_timescale(wasm: str, archive: Files) -> None:
    from_the_first_file_to_the_last_late_sample(wasm, archive)


def test_chance(database: str, archive: Files) -> None:
    chance(database, 20, 25, archive)


def test_files_that_were_read_long_ago_are_read_again_first(database: str, archive: Files) -> None:
    world = filled(database, archive)
    world.hold(1)
    world.run()
    world.lift(1)
    query(database, "UPDATE archive_files SET verified_at = now() - INTERVAL '40 days'")
    world.archive = None
    assert not world.run().dropped
    world.archive = archive
    report = world.run()
    assert len(report.archived) == 3 * 8
    assert len(world.rows()) == 0
    world.check_nothing_is_lost()
    world.check_rollups()


def test_the_archive_lets_go_too_and_the_rollups_stay(database: str, archive: Files) -> None:
    """What a rollup was made of is gone by policy: a late sample must not put itself in the place of all of it."""
    world = filled(database, archive)
    world.run()
    world.hold(2)
    before = query(database, "SELECT * FROM vitals_1h_all ORDER BY patient_key, metric_key, bucket")
    world.moment = START + 366 * 5 * DAY
    asked = {one.retention_class: one for one in due(database, moment=world.moment) if one.tier == "archive"}
    old = 4 * 4  # four of the eight days are five years old, four samples a person and day
    assert (asked["vital"].rows, asked["vital"].waits) == (2 * old, (f"{old} rows are on hold",))
    report = world.run()
    assert report.dropped == {(name, "archive"): 2 * old for name in ("vital", "activity", "technical")}
    assert world.run() == Report()
    late = world.samples(1, HEART, START + 1.5 * HOUR)
    world.write(late)
    world.refresh()
    report = world.run()
    assert [why for why in report.waits if "its rollups were made of has left the archive" in why]
    assert len(world.rows()) == 0
    assert query(database, "SELECT * FROM vitals_1h_all ORDER BY patient_key, metric_key, bucket") == before


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_file_that_is_missing_or_changed_keeps_its_day(
    database: str, archive: Files, tmp_path: Path, damage: str
) -> None:
    world = filled(database, archive)
    world.moment = START + 400 * DAY
    world.run()
    query(database, "UPDATE archive_files SET verified_at = now() - INTERVAL '60 days'")
    (path,) = tmp_path.glob("archive/retention_class=vital/utc_day=2024-06-06/*.parquet")
    if damage == "missing":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    world.moment += 400 * DAY
    report = world.run()
    assert [why for why in report.failed if why.startswith("vital 2024-06-06: not archived")]
    left = {int(metric) for metric in world.rows()["metric_key"]}
    assert left == {HEART}, "the other classes are well"
    assert len(world.rows()) == 3 * 8 * 4, "its days wait for the oldest of them"
