"""A day into the archive: once, all of it, and again whatever came, changed or went since."""

from datetime import timedelta
from typing import Any

import numpy as np
import psycopg
import pytest

from tests.timeseries.archive.making import BATTERY, DAY_0, DAY_1, HEART, NEVER, Vault
from tests.timeseries.lifecycle_world import DAY, HOUR, START
from tests.timeseries.making import query
from timeseries import archive, archive_file, archive_table, archive_write
from timeseries.archive_chain import GENESIS, ArchiveBusy, ArchiveDamaged, file_hash, leaf_root
from timeseries.archive_file import read_back
from timeseries.archive_storage import listed, write_whole
from timeseries.archive_table import UnknownClass
from timeseries.archive_write import UnknownWords
from timeseries.rows import Rows


def of_day_0(vault: Vault, metric: int = HEART) -> Rows:
    rows = vault.expected(end=START + DAY)
    found: Rows = rows[rows["metric_key"] == metric]
    return found


def test_a_day_is_one_file_that_holds_all_of_it(vault: Vault) -> None:
    assert not vault.covered()
    (one,) = vault.day()
    assert (one.retention_class, one.utc_day, one.part, one.rows) == ("vital", DAY_0, 0, 72)
    assert (one.min_time, one.max_time) == (START, START + 11.5 * HOUR)
    assert (one.link, one.previous, one.chain) == (1, GENESIS, file_hash(one))
    assert one.manifest_written
    assert vault.covered()
    assert not vault.covered(DAY_1)
    assert not vault.covered(name="activity")
    with vault.connect() as connection:
        leaves = archive_table.leaves(connection, one.file_id)
    assert [(leaf.position, leaf.patient_key, leaf.rows) for leaf in leaves] == [(0, 1, 24), (1, 2, 24), (2, 3, 24)]
    assert one.leaf_root == leaf_root((leaf.rows, leaf.sha256) for leaf in leaves)
    assert len({leaf.salt for leaf in leaves}) == 3
    assert vault.read([1, 2, 3]).tobytes() == of_day_0(vault).tobytes()
    assert len(vault.world.rows()) == len(vault.world.standing), "samples are only read"
    assert [told["chain"] for told in vault.manifests()] == [one.chain.hex()]
    verdict = vault.verify()
    assert (verdict.files, verdict.rows, verdict.links, verdict.head) == (1, 72, 1, one.chain)
    assert (verdict.faults, verdict.unknown, verdict.unfinished) == ([], [], [])


def test_again_writes_nothing(vault: Vault) -> None:
    vault.everything()
    before, files, head = vault.contents(), vault.known(), vault.verify().head
    vault.everything()
    assert vault.day(recheck=NEVER) == []
    assert vault.contents() == before
    assert [one.file_id for one in vault.known()] == [one.file_id for one in files]
    assert vault.verify().head == head


def test_every_class_has_its_own(vault: Vault) -> None:
    vault.everything()
    assert [str(one).split(" (")[0] for one in vault.known()] == [
        "activity 2024-06-06 part 0", "vital 2024-06-06 part 0", "activity 2024-06-07 part 0", "vital 2024-06-07 part 0"
    ]  # fmt: skip
    assert vault.read([1], name="activity").tobytes() == vault.expected(1, end=START + DAY)[-12:].tobytes()


def test_an_empty_day_makes_no_file_and_is_covered(vault: Vault) -> None:
    assert vault.day(DAY_0 - timedelta(days=9)) == []
    assert vault.covered(DAY_0 - timedelta(days=9))
    assert listed(vault.storage) == []


def test_late_corrected_and_deleted_samples_are_the_next_part_and_the_winner_stands(vault: Vault) -> None:
    world = vault.world
    vault.day()
    late = world.samples(1, HEART, START + HOUR / 4)
    corrected = world.samples(2, HEART, START + HOUR)
    deleted = world.samples(3, HEART, START + 2 * HOUR)
    deleted["flags"] = 128
    for rows in (late, corrected, deleted):
        world.write(rows)
    assert not vault.covered()
    (one,) = vault.day()
    assert (one.part, one.rows) == (1, 3)
    assert vault.covered()
    assert vault.read([1, 2, 3]).tobytes() == of_day_0(vault).tobytes()
    # Dropped from samples, and told once more with an older time: the archive keeps the winner.
    query(vault.url, "DELETE FROM samples")
    older = corrected.copy()
    older["written_at"] -= 10**9
    older["value"] = 1
    standing = dict(world.standing)
    world.standing.clear()
    world.write(older)
    world.standing = standing
    assert [one.part for one in vault.day()] == [2]
    assert vault.covered()
    assert vault.read([1, 2, 3]).tobytes() == of_day_0(vault).tobytes()
    assert not vault.verify().faults


ONE = "patient_key = 2 AND time = '2024-06-06 03:00+00' AND origin_key = 1"
LATER = '{"time": "2024-06-06 03:00:01+00"}'
CHANGES = [
    f"DELETE FROM samples WHERE {ONE}",
    f"INSERT INTO samples SELECT (jsonb_populate_record(s, '{LATER}')).* FROM samples s WHERE {ONE}",
] + [
    f"UPDATE samples SET {change} WHERE {ONE}"
    for change in (
        "value = value + 1", "quality = 0.25", "flags = 4", "flags = 128", "context = 2", "zone_offset_min = 60",
        "written_at = written_at + INTERVAL '1 microsecond'", "received_at = received_at + INTERVAL '1 second'",
        "duration_ms = 5", "origin_key = 2", "time = time + INTERVAL '1 microsecond'", "patient_key = 99",
    )
]  # fmt: skip


def test_nothing_is_covered_that_changed_in_any_column(vault: Vault) -> None:
    vault.day()
    for change in CHANGES:
        with vault.connect() as connection, connection.transaction(force_rollback=True):
            assert connection.execute(change.encode()).rowcount > 0, change
            assert not archive.is_covered(connection, "vital", DAY_0), change
        assert vault.covered()


def test_two_values_that_change_places_are_a_change(vault: Vault) -> None:
    vault.day()
    swapped = query(
        vault.url,
        "UPDATE samples a SET value = b.value FROM samples b "
        "WHERE (a.patient_key, a.origin_key, a.metric_key) = (1, 1, %s) AND "
        "(b.patient_key, b.origin_key, b.metric_key) = (1, 1, a.metric_key) AND "
        "(a.time, b.time) IN (('2024-06-06 03:00Z', '2024-06-06 04:00Z'), ('2024-06-06 04:00Z', '2024-06-06 03:00Z')) "
        "RETURNING a.value",
        (HEART,),
    )
    assert len({value for (value,) in swapped}) == 2
    assert not vault.covered()


def test_what_was_dropped_is_covered_and_what_another_class_got_is_not_asked(vault: Vault) -> None:
    vault.day()
    vault.world.write(vault.world.samples(1, BATTERY, START))
    assert vault.covered()
    query(vault.url, "DELETE FROM samples WHERE patient_key = 1")
    assert vault.covered()


def test_nobodys_word_is_taken_for_longer_than_30_days(vault: Vault) -> None:
    vault.day()
    query(vault.url, "UPDATE archive_files SET verified_at = now() - INTERVAL '29 days'")
    assert vault.covered()
    query(vault.url, "UPDATE archive_files SET verified_at = now() - INTERVAL '31 days'")
    assert not vault.covered()
    assert vault.day() == []
    assert vault.covered()


def test_large_days_are_cut_between_patients(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, snapshots, slices and row groups of a few rows: the content and the leaves are the same."""
    monkeypatch.setattr(archive_write, "FILE_ROWS", 50)
    monkeypatch.setattr(archive_write, "BATCH_ROWS", 30)
    monkeypatch.setattr(archive_write, "SLICE_ROWS", 7)
    monkeypatch.setattr(archive_file, "GROUP_ROWS", 5)
    files = vault.day()
    assert [(one.part, one.rows) for one in files] == [(0, 48), (1, 24)]
    assert vault.read([1, 2, 3]).tobytes() == of_day_0(vault).tobytes()
    assert vault.read([3]).tobytes() == of_day_0(vault)[-24:].tobytes()
    assert not vault.verify().faults
    assert vault.covered()


def test_a_database_in_any_zone_archives_the_same_days(vault: Vault) -> None:
    with vault.connect("Pacific/Auckland") as connection:
        (one,) = archive.archive_day(connection, vault.storage, "vital", DAY_0)
        assert archive.is_covered(connection, "vital", DAY_0)
    assert one.rows == 72
    assert not vault.verify().faults, "the manifest says the same in every zone"


def test_words_that_the_tables_lack(vault: Vault) -> None:
    query(vault.url, "UPDATE samples SET origin_key = 77 WHERE patient_key = 3 AND origin_key = 2")
    with pytest.raises(UnknownWords, match="number 77"):
        vault.day()
    query(vault.url, "UPDATE samples SET origin_key = 2, patient_key = 99 WHERE origin_key = 77")
    with pytest.raises(UnknownWords, match="name patients"):
        vault.day()
    assert (vault.known(), listed(vault.storage)) == ([], [])
    assert not vault.covered()
    query(vault.url, "UPDATE samples SET patient_key = 3 WHERE patient_key = 99")
    assert len(vault.day()) == 1


def test_an_unknown_class_is_named(vault: Vault) -> None:
    with pytest.raises(UnknownClass, match="class vitals; there are activity, "):
        vault.day(name="vitals")
    with pytest.raises(UnknownClass, match="class waveform"):
        vault.verify("waveform")


def test_within_somebodys_transaction_it_refuses(vault: Vault) -> None:
    with vault.connect() as connection, connection.transaction(), pytest.raises(ValueError, match="autocommit"):
        archive.archive_day(connection, vault.storage, "vital", DAY_0)
    with psycopg.connect(vault.url) as connection, pytest.raises(ValueError, match="autocommit"):
        archive.archive_day(connection, vault.storage, "vital", DAY_0)


def test_one_at_a_time(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_table, "_PATIENCE_S", 0.3)
    with vault.connect() as other:
        other.execute("SELECT pg_advisory_lock(lifecycle_key())")
        with pytest.raises(ArchiveBusy, match="another process"):
            vault.day()
    assert len(vault.day()) == 1


def test_a_storage_that_gives_back_something_else(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of a file that did not come back as it was written, and the next run removes it."""

    def flips(storage: Any, path: str, write: Any) -> None:
        write_whole(storage, path, write)
        content = bytearray((vault.folder / path).read_bytes())
        content[len(content) // 3] ^= 1
        (vault.folder / path).write_bytes(content)

    monkeypatch.setattr(archive_write, "write_whole", flips)
    with pytest.raises(ArchiveDamaged):
        vault.day()
    assert vault.known() == []
    assert not vault.covered()
    monkeypatch.undo()
    assert len(listed(vault.storage)) == 1
    (one,) = vault.day()
    assert [path for path in listed(vault.storage) if path.endswith(".parquet")] == [one.uri]
    assert not vault.verify().unknown


def test_what_comes_while_it_is_archived_is_not_covered(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the snapshot and the moment at which its file is known, a sample comes and one changes."""

    def meanwhile(*what: Any) -> Any:
        vault.world.write(vault.world.samples(1, HEART, START + HOUR / 8))
        vault.world.write(vault.world.samples(2, HEART, START))
        return read_back(*what)

    monkeypatch.setattr(archive_write, "read_back", meanwhile)
    vault.day()
    monkeypatch.undo()
    assert not vault.covered()
    (one,) = vault.day()
    assert (one.part, one.rows) == (1, 2)
    assert vault.covered()
    assert vault.read([1, 2, 3]).tobytes() == of_day_0(vault).tobytes()


def test_a_table_older_than_the_archive_gives_no_number_twice(vault: Vault) -> None:
    """The database comes back from a backup of before: files that only their manifests name stay, and are told of."""
    vault.day()
    (theirs,) = vault.known()
    for table in ("archive_leaves", "archive_files", "archive_coverage"):
        query(vault.url, f"DELETE FROM {table}")
    query(vault.url, "UPDATE archive_head SET link = 0, chain = decode(repeat('00', 32), 'hex')")
    (one,) = vault.day()
    assert one.part == 1
    assert vault.verify().unknown == sorted(
        [theirs.uri or "", (theirs.uri or "").rpartition("/")[0] + "/_part-0000.json"]
    )
    assert not vault.verify().faults


def test_read_rows_takes_what_was_asked_for(vault: Vault) -> None:
    vault.day()
    assert len(vault.read([])) == 0
    assert len(vault.read([99])) == 0
    assert len(vault.read([1], DAY_1)) == 0
    assert set(vault.read([3, 1])["patient_key"]) == {1, 3}


def test_keys_of_another_database(vault: Vault) -> None:
    """A database that was filled anew has other keys; the words decide, and an origin that it lost is made again."""
    vault.day()
    query(vault.url, "DELETE FROM samples")
    query(vault.url, "DELETE FROM origins")
    query(vault.url, "DELETE FROM devices")
    query(vault.url, "ALTER TABLE patients ALTER patient_key SET GENERATED BY DEFAULT")
    query(vault.url, "UPDATE patients SET patient_key = patient_key + 40")
    query(vault.url, "UPDATE archive_leaves SET patient_key = patient_key + 40")
    rows = vault.read([41, 42, 43])
    assert len(rows) == 72
    assert set(rows["patient_key"]) == {41, 42, 43}
    words = dict(
        query(vault.url, "SELECT origin_key, device_id || source_app FROM origins JOIN devices USING (device_key)")
    )
    assert {words[key] for key in rows["origin_key"]} == {"d1app", "d2other"}
    assert not set(rows["origin_key"]) & {1, 2}
    by_device = {words[key]: np.sort(rows["time"][rows["origin_key"] == key]) for key in words}
    assert (by_device["d2other"] - by_device["d1app"] == 1_800_000_000).all()
