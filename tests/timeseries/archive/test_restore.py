"""Samples come back: those that were asked for, each once, however often it is broken off."""

from datetime import datetime
from typing import Any

import pytest

from tests.timeseries.archive.making import DAY_0, HEART, STEPS, Vault
from tests.timeseries.lifecycle_world import DAY, HOUR, START
from tests.timeseries.making import query
from timeseries import archive_restore, archive_table
from timeseries.archive_chain import ArchiveBusy, ArchiveDamaged
from timeseries.archive_erase import erase_patient
from timeseries.archive_overview import overview
from timeseries.archive_read import versions_of
from timeseries.archive_restore import ALWAYS, AlreadyRestored, NoSuchRestore, Restore, discard, restore
from timeseries.archive_table import UnknownPatient
from vitals.ids import InvalidId


class BrokenOff(Exception):
    """Somebody pulled the plug."""


def back(
    vault: Vault,
    patient: int | None = None,
    start: datetime = ALWAYS[0],
    end: datetime = ALWAYS[1],
    who: str = "operator",
    **options: Any,
) -> Restore:
    name = None if patient is None else f"wearer-{patient}-of-the-archive"
    with vault.connect() as connection:
        return restore(connection, vault.storage, name, start, end, who, **options)


def dropped(vault: Vault) -> Vault:
    """All is archived, and nothing is in samples any more."""
    vault.everything()
    query(vault.url, "DELETE FROM samples")
    return vault


def erase(vault: Vault, patient: int) -> None:
    with vault.connect() as connection:
        erase_patient(connection, vault.storage, f"wearer-{patient}-of-the-archive", "dpo", "4711")


def test_everything(vault: Vault) -> None:
    dropped(vault)
    done = back(vault)
    assert (done.restore_id, done.rows, done.patient_key) == (1, len(vault.world.standing), None)
    assert done.finished_at is not None
    assert vault.restored().tobytes() == vault.expected().tobytes()
    assert query(vault.url, "SELECT count(*) FROM samples") == [(0,)], "into a table of its own"


@pytest.mark.parametrize(
    ("patient", "start", "end"),
    [
        (2, None, None), (None, START + DAY, None), (None, None, START + 1.5 * HOUR),
        (1, START + HOUR, START + 30 * HOUR),
        (1, START + DAY - 1.25 * HOUR, START + DAY), (3, START + 100 * DAY, START + 101 * DAY),
        (3, START + HOUR / 2, START + HOUR / 2 + (HOUR / 3_600_000_000)),
    ],
)  # fmt: skip
def test_what_was_asked_for(vault: Vault, patient: int | None, start: datetime | None, end: datetime | None) -> None:
    dropped(vault)
    done = back(vault, patient, start or ALWAYS[0], end or ALWAYS[1])
    wanted = vault.expected(patient, start, end)
    assert vault.restored().tobytes() == wanted.tobytes()
    assert done.rows == len(wanted)


def test_the_standing_version_comes_tombstones_too(vault: Vault) -> None:
    world = vault.world
    vault.everything()
    for at, patient, flags in ((START + HOUR, 2, 0), (START + 2 * HOUR, 2, 128), (START + HOUR / 4, 3, 0)):
        rows = world.samples(patient, HEART, at)
        rows["flags"] = flags
        world.write(rows)
    dropped(vault)
    assert max(one.part for one in vault.known()) == 1
    back(vault)
    assert vault.restored().tobytes() == vault.expected().tobytes()
    assert (vault.restored()["flags"] == 128).sum() == 1


@pytest.mark.parametrize("after", range(8))
def test_broken_off_it_goes_on_and_nothing_is_twice(vault: Vault, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Eight steps of one patient's day each, left after every one of them."""
    monkeypatch.setattr(archive_restore, "STEP_ROWS", 20)
    dropped(vault)
    told: list[tuple[int, int]] = []

    def step(done: int, total: int) -> None:
        told.append((done, total))
        if len(told) == after + 1:
            raise BrokenOff

    with pytest.raises(BrokenOff):
        back(vault, on_step=step)
    state = query(vault.url, "SELECT finished_at, rows FROM restores")
    assert state == [(None, len(vault.restored()))]
    assert len(vault.restored()) == [0, 12, 36, 60, 84, 96, 120, 144][after]
    with pytest.raises(AlreadyRestored, match=r"restore 1 of the same samples is unfinished.*discard 1.*--again"):
        back(vault, 1)
    done = back(vault, on_step=step)
    assert done.restore_id == 1
    assert told[after + 1] == (told[after][0], 168), "what is done is not done again"
    assert told[-1] == (168, 168)
    assert vault.restored().tobytes() == vault.expected().tobytes()


def test_killed_within_a_step_leaves_nothing_of_it(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped(vault)
    put = archive_restore._put

    def half(connection: Any, rows: Any, restore_id: int) -> None:
        put(connection, rows, restore_id)
        raise BrokenOff

    monkeypatch.setattr(archive_restore, "_put", half)
    with pytest.raises(BrokenOff):
        back(vault)
    assert len(vault.restored()) == 0
    monkeypatch.undo()
    back(vault)
    assert vault.restored().tobytes() == vault.expected().tobytes()


@pytest.mark.parametrize(
    ("patient", "start", "end"),
    [(None, *ALWAYS), (2, *ALWAYS), (2, START, START + HOUR), (None, START + HOUR, START + 2 * HOUR)],
)
def test_over_existing_rows_it_refuses(vault: Vault, patient: int | None, start: datetime, end: datetime) -> None:
    dropped(vault)
    back(vault, 2)
    before = vault.restored()
    with pytest.raises(AlreadyRestored, match=r"restore 1 .* stands in restored_samples \(48 rows\).*discard 1"):
        back(vault, patient, start, end)
    assert vault.restored().tobytes() == before.tobytes()
    assert query(vault.url, "SELECT count(*) FROM restores") == [(1,)]


def test_beside_it_another_patient_or_another_time_is_no_second_time(vault: Vault) -> None:
    dropped(vault)
    back(vault, 2, START, START + DAY)
    back(vault, 2, START + DAY, START + 2 * DAY)
    back(vault, 1)
    assert len(vault.restored()) == 48 + 72
    assert vault.restored(3).tobytes() == vault.expected(1).tobytes()


def test_again_brings_them_once_more_under_another_number(vault: Vault) -> None:
    dropped(vault)
    back(vault, 2)
    assert back(vault, 2, again=True).restore_id == 2
    for number in (1, 2):
        assert vault.restored(number).tobytes() == vault.expected(2).tobytes()


def test_discarded_it_can_be_brought_back_as_if_never(vault: Vault) -> None:
    dropped(vault)
    back(vault, 2)
    back(vault, 3)
    with vault.connect() as connection:
        assert discard(connection, 1) == 48
        for number in (1, 7):
            with pytest.raises(NoSuchRestore, match=f"no restore {number}, or it was discarded"):
                discard(connection, number)
        assert [one.restore_id for one in overview(connection, None, None, None).restores] == [2]
    assert set(vault.restored()["patient_key"]) == {3}
    assert back(vault, 2).restore_id == 3
    assert vault.restored(3).tobytes() == vault.expected(2).tobytes()


def test_what_is_under_way_is_not_begun_again_nor_discarded(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_table, "_PATIENCE_S", 0.3)
    dropped(vault)
    tried: list[type] = []

    def meanwhile(_done: int, _total: int) -> None:
        if tried:
            return
        tried.append(meanwhile.__class__)
        with vault.connect() as other:
            with pytest.raises(ArchiveBusy):
                discard(other, 1)
            with pytest.raises(ArchiveBusy):
                restore(other, vault.storage, None, *ALWAYS, "operator")

    back(vault, on_step=meanwhile)
    assert tried
    assert vault.restored().tobytes() == vault.expected().tobytes()


def test_what_is_archived_after_it_began_is_not_in_it(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_restore, "STEP_ROWS", 20)
    dropped(vault)
    wanted = vault.expected()

    def stop(done: int, _total: int) -> None:
        if done:
            raise BrokenOff

    with pytest.raises(BrokenOff):
        back(vault, on_step=stop)
    vault.world.write(vault.world.samples(3, HEART, START + HOUR))
    vault.day()
    back(vault)
    assert vault.restored().tobytes() == wanted.tobytes(), "one state of the archive, not two"
    back(vault, again=True)
    assert vault.restored(2).tobytes() == vault.expected().tobytes()


def test_an_erasure_that_comes_between_reading_and_storing_wins(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped(vault)
    done: list[int] = []

    def meanwhile(*what: Any) -> Any:
        rows = versions_of(*what)
        if not done:
            done.append(len(rows))
            erase(vault, 2)
        return rows

    monkeypatch.setattr(archive_restore, "versions_of", meanwhile)
    back(vault)
    wanted = vault.expected()
    assert vault.restored().tobytes() == wanted[wanted["patient_key"] != 2].tobytes()


def test_what_was_archived_anew_after_an_erasure_comes_back(vault: Vault) -> None:
    """Erased from the archive while samples still held it: the next archiving has it again, and so has a restore."""
    vault.everything()
    erase(vault, 2)
    assert len(vault.read([2])) == 0
    dropped(vault)
    assert len(vault.read([2])) == 24
    back(vault, 2)
    assert vault.restored().tobytes() == vault.expected(2).tobytes()


def test_a_damaged_file_stops_it_and_put_back_it_goes_on(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_restore, "STEP_ROWS", 20)
    dropped(vault)
    broken = vault.path(vault.known()[3])
    content = broken.read_bytes()
    broken.write_bytes(content[:-40])
    with pytest.raises(ArchiveDamaged, match="utc_day=2024-06-07"):
        back(vault)
    assert len(vault.restored()) == 96, "the day before, and the steps"
    broken.write_bytes(content)
    back(vault)
    assert vault.restored().tobytes() == vault.expected().tobytes()


def test_other_rows_in_the_place_of_the_archived_never_come(vault: Vault) -> None:
    """A whole file, readable, of the same patients: the leaves tell."""
    dropped(vault)
    one, other = (vault.path(one) for one in vault.known() if one.retention_class == "vital")
    one.write_bytes(other.read_bytes())
    with pytest.raises(ArchiveDamaged, match=r"vital 2024-06-06 part 0 .*holds other rows than were archived"):
        back(vault, 2)
    assert len(vault.restored()) == 0


def test_whom_nobody_knows(vault: Vault) -> None:
    dropped(vault)
    with vault.connect() as connection:
        with pytest.raises(UnknownPatient, match="nothing was done"):
            restore(connection, vault.storage, "nobody", *ALWAYS, "operator")
        with pytest.raises(InvalidId, match="patient id must") as refused:
            restore(connection, vault.storage, "Anna Schmidt", *ALWAYS, "operator")
        assert "Anna" not in str(refused.value)
        with pytest.raises(InvalidId, match="who does this"):
            restore(connection, vault.storage, None, *ALWAYS, "Anna Schmidt")
    assert query(vault.url, "SELECT count(*) FROM restores") == [(0,)]


def test_an_empty_archive_restores_nothing_and_says_so(vault: Vault) -> None:
    done = back(vault)
    assert (done.rows, done.finished_at is None) == (0, False)


def test_both_classes_of_a_day_come(vault: Vault) -> None:
    dropped(vault)
    back(vault, 1, START, START + DAY)
    assert set(vault.restored()["metric_key"]) == {HEART, STEPS}
    assert len(vault.read([1], DAY_0, "activity")) == 12
