"""One patient leaves the archive: for certain, and nothing else changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from tests.timeseries.archive.making import DAY_0, DAY_1, HEART, NEVER, Vault
from tests.timeseries.archive.test_restore import BrokenOff, back, dropped
from tests.timeseries.lifecycle_world import DAY, START
from tests.timeseries.making import query
from timeseries import archive_erase, archive_file, archive_table
from timeseries.archive_chain import ArchiveDamaged, Leaf
from timeseries.archive_erase import Erased, UnderHold, erase_patient, expire
from timeseries.archive_table import NoReason, UnknownPatient
from vitals.ids import InvalidId

TWO = "wearer-2-of-the-archive"


def erase(vault: Vault, patient: str = TWO, who: str = "dpo", why: str = "matter 4711") -> Erased:
    with vault.connect() as connection:
        return erase_patient(connection, vault.storage, patient, who, why)


def leaves(vault: Vault) -> dict[tuple[int, int], Leaf]:
    with vault.connect() as connection:
        return {
            (one.file_id, leaf.position): leaf
            for one in vault.known()
            for leaf in archive_table.leaves(connection, one.file_id)
        }


def decoded(folder: Path) -> str:
    """Everything that the Parquet files hold, in words: rows, statistics, metadata."""
    told = []
    for path in folder.rglob("*.parquet"):
        file = pq.ParquetFile(path)
        told += [str(file.read().to_pylist()), str(file.metadata.to_dict()), str(file.schema_arrow.metadata)]
    return "\n".join(told)


def test_nothing_of_the_patient_is_left_and_all_else_is_as_before(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_file, "GROUP_ROWS", 10)
    vault.everything()
    vault.world.write(vault.world.samples(2, HEART, START + 3 * DAY))
    vault.world.write(vault.world.samples(1, HEART, START + 3 * DAY))
    dropped(vault)
    back(vault)
    files, before, chain = vault.known(), leaves(vault), vault.verify().head
    theirs = {key: leaf for key, leaf in before.items() if leaf.patient_key == 2}
    assert len(theirs) == 3
    assert TWO in decoded(vault.folder)
    old = [vault.path(one) for one in files if one.file_id in {file_id for file_id, _ in theirs}]

    done = erase(vault)
    assert (done.files, done.rows, done.restored, done.still_in_samples) == (3, 49, 49, False)

    assert not [path for path in old if path.exists()]
    assert TWO not in decoded(vault.folder)
    for name, content in vault.contents().items():
        assert TWO.encode() not in content, name
        for leaf in theirs.values():
            assert leaf.salt is not None
            assert leaf.salt not in content, name
            assert leaf.salt.hex().encode() not in content, name
    assert query(vault.url, "SELECT count(*) FROM archive_leaves WHERE patient_key = 2 AND salt IS NOT NULL") == [(0,)]
    assert query(vault.url, "SELECT count(*) FROM archive_coverage WHERE patient_key = 2") == [(0,)]
    assert query(vault.url, "SELECT count(*) FROM restored_samples WHERE patient_key = 2") == [(0,)]

    after = leaves(vault)
    for key, leaf in before.items():
        now = after[key]
        assert (now.sha256, now.rows) == (leaf.sha256, leaf.rows), "a commitment stays, erased or not"
        assert now == leaf or key in theirs
    same = ("file_id", "retention_class", "utc_day", "part", "leaf_root", "link", "previous", "chain", "created_at")
    for one, later in zip(files, vault.known(), strict=True):
        assert [getattr(one, name) for name in same] == [getattr(later, name) for name in same]
        assert (one.uri == later.uri) == (one.file_id not in {file_id for file_id, _ in theirs})
    verdict = vault.verify()
    assert (verdict.faults, verdict.unknown, verdict.unfinished) == ([], [], [])
    assert verdict.links == len(files) + 3
    assert verdict.head != chain
    events = query(vault.url, "SELECT kind, file_id, positions, who, why FROM archive_events ORDER BY link")
    assert events == [("erased", key[0], [key[1]], "dpo", "matter 4711") for key in sorted(theirs)]
    wanted = vault.expected(end=START + DAY)
    wanted = wanted[(wanted["patient_key"] != 2) & (wanted["metric_key"] == HEART)]
    assert vault.read([1, 2, 3]).tobytes() == wanted.tobytes()


def test_again_there_is_nothing_to_erase(vault: Vault) -> None:
    dropped(vault)
    erase(vault)
    before = vault.contents()
    assert erase(vault) == Erased()
    assert vault.contents() == before


def test_one_after_the_other_until_nothing_is_left(vault: Vault) -> None:
    dropped(vault)
    for patient in (2, 1, 3):
        erase(vault, f"wearer-{patient}-of-the-archive")
        assert vault.verify().faults == []
    assert not list(vault.folder.rglob("*.parquet"))
    assert {(one.uri, one.rows) for one in vault.known()} == {(None, 0)}
    assert all(told["uri"] is None and len(told["events"]) >= 1 for told in vault.manifests())
    assert vault.verify().rows == 0
    assert vault.day() == []
    assert back(vault).rows == 0


def test_whoever_is_still_in_samples_is_told_of_and_archived_again(vault: Vault) -> None:
    vault.everything()
    assert erase(vault).still_in_samples
    assert not vault.covered(), "what the archive no longer has is never dropped"
    (one,) = vault.day()
    assert (one.part, one.rows) == (1, 24)
    assert vault.covered()
    assert vault.verify().faults == []


def test_under_a_hold_nothing_is_erased_until_it_is_lifted(vault: Vault) -> None:
    dropped(vault)
    before, files = vault.contents(), vault.known()
    vault.world.hold(2)
    with pytest.raises(UnderHold, match="vigil hold list"):
        erase(vault)
    assert vault.contents() == before
    assert vault.known() == files
    erase(vault, "wearer-1-of-the-archive")
    vault.world.lift(2)
    assert erase(vault).rows == 48


def test_a_hold_that_comes_between_wins(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Placed when the new file is written and not yet in the place of the old one."""
    dropped(vault)
    before, files = vault.contents(), vault.known()
    rewritten = archive_erase._rewritten

    def meanwhile(*what: Any) -> Any:
        vault.world.hold(2)
        return rewritten(*what)

    monkeypatch.setattr(archive_erase, "_rewritten", meanwhile)
    with pytest.raises(UnderHold):
        erase(vault)
    assert vault.contents() == before, "the new file is gone, the old one stands"
    assert [one.uri for one in vault.known()] == [one.uri for one in files]


def test_a_hold_waits_until_the_file_at_work_is_done(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped(vault)
    refused: list[str] = []
    append = archive_table.append_event

    def meanwhile(*what: Any) -> None:
        with vault.connect() as other:
            other.execute("SET lock_timeout = 200")
            try:
                other.execute("INSERT INTO legal_holds (patient_key, reason, placed_by) VALUES (2, 'c', 'u')")
            except psycopg.errors.LockNotAvailable:
                refused.append("waits")
        append(*what)

    monkeypatch.setattr(archive_table, "append_event", meanwhile)
    erase(vault)
    assert refused == ["waits", "waits"]


def test_whom_nobody_knows(vault: Vault) -> None:
    dropped(vault)
    with pytest.raises(UnknownPatient, match="nothing was done"):
        erase(vault, "nobody")
    for wrong, error in (
        (("Anna Schmidt", "dpo", "4711"), InvalidId), ((TWO, "Anna Schmidt", "4711"), InvalidId),
        ((TWO, "dpo", "  "), NoReason),
    ):  # fmt: skip
        with pytest.raises(error) as refused:
            erase(vault, *wrong)
        assert "Anna" not in str(refused.value)
    assert query(vault.url, "SELECT count(*) FROM archive_events") == [(0,)]


def before_the_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_what: Any) -> None:
        raise BrokenOff

    monkeypatch.setattr(archive_erase, "_swap", stop)


def after_the_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = archive_table.finish
    calls: list[int] = []

    def stop(*what: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise BrokenOff
        finish(*what)

    monkeypatch.setattr(archive_table, "finish", stop)


def with_the_manifest_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_what: Any) -> None:
        raise BrokenOff

    monkeypatch.setattr(archive_table, "remove", stop)


def with_the_commit_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database commits and is gone before it says so: a rollback would mean to delete the new file."""
    swap = archive_erase._swap

    def unanswered(*what: Any) -> None:
        swap(*what)
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(archive_erase, "_swap", unanswered)


@pytest.mark.parametrize(
    "where", [before_the_swap, after_the_swap, with_the_manifest_written, with_the_commit_unanswered]
)
def test_broken_off_anywhere_the_archive_is_whole_and_the_next_call_goes_on(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, where: Callable[[pytest.MonkeyPatch], None]
) -> None:
    dropped(vault)
    with monkeypatch.context() as patch:
        where(patch)
        with pytest.raises((BrokenOff, psycopg.OperationalError)):
            erase(vault)
    assert vault.verify().faults == [], "whole, perhaps unfinished"
    assert len(vault.read([1, 3])) == 48
    erase(vault)
    verdict = vault.verify()
    assert (verdict.faults, verdict.unknown, verdict.unfinished) == ([], [], [])
    assert TWO not in decoded(vault.folder)
    assert len(list(vault.folder.rglob("*.parquet"))) == 4
    assert len(vault.read([1, 3])) == len(vault.read([1, 3], DAY_1)) == 48


def test_a_file_that_lost_somebody_elses_rows_is_not_rewritten(vault: Vault) -> None:
    """Rewritten, the loss would be made good in the books."""
    vault.everything()
    one, other = (vault.path(one) for one in vault.known() if one.retention_class == "vital")
    one.write_bytes(other.read_bytes())
    before = vault.contents()
    with pytest.raises(ArchiveDamaged, match="nothing was taken out of it"):
        erase(vault)
    assert vault.contents() == before
    assert query(vault.url, "SELECT count(*) FROM archive_leaves WHERE salt IS NULL") == [(0,)]


def test_files_of_before_a_day_go_but_for_those_on_hold(vault: Vault) -> None:
    dropped(vault)
    vault.world.hold(3)
    with vault.connect() as connection:
        assert expire(connection, vault.storage, "vital", DAY_0, "policy", "archive: 5 years") == (0, 0)
        assert expire(connection, vault.storage, "vital", DAY_1, "policy", "archive: 5 years") == (1, 48)
        assert expire(connection, vault.storage, "vital", DAY_1, "policy", "archive: 5 years") == (0, 0)
    events = query(vault.url, "SELECT kind, positions, who, why FROM archive_events")
    assert events == [("expired", [0, 1], "policy", "archive: 5 years")]
    assert set(vault.read([1, 2, 3])["patient_key"]) == {3}
    assert len(vault.read([1, 2, 3], DAY_1)) == 72
    assert len(vault.read([1], DAY_0, "activity")) == 12
    vault.world.lift(3)
    with vault.connect() as connection:
        assert expire(connection, vault.storage, "vital", DAY_1, "policy", "archive: 5 years") == (1, 24)
    assert not list((vault.folder / "retention_class=vital" / "utc_day=2024-06-06").glob("*.parquet"))
    assert vault.verify().faults == []


def test_what_was_restored_stays_when_the_archive_lets_go(vault: Vault) -> None:
    dropped(vault)
    back(vault, 2)
    with vault.connect() as connection:
        expire(connection, vault.storage, "vital", DAY_1, "policy", "archive: 5 years")
    assert vault.restored().tobytes() == vault.expected(2).tobytes()


def test_after_an_erasure_a_late_sample_is_archived_as_ever(vault: Vault) -> None:
    dropped(vault)
    erase(vault)
    for patient in (2, 1):
        vault.world.write(vault.world.samples(patient, HEART, START))
    (one,) = vault.day(recheck=NEVER)
    assert (one.part, one.rows) == (1, 2)
    assert vault.covered()
    assert len(vault.read([2])) == 1
    assert len(vault.read([1])) == 24
    assert vault.verify().faults == []
