"""A file that is missing or was changed, a manifest that is lost, a row that was edited: `verify` names exactly it."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tests.timeseries.archive.making import DAY_0, DAY_1, HEART, NEVER, Vault
from tests.timeseries.lifecycle_world import HOUR, START
from tests.timeseries.making import query
from timeseries import archive_verify
from timeseries.archive_chain import ArchiveDamaged
from timeseries.archive_erase import erase_patient
from timeseries.archive_read import verify_file
from timeseries.archive_restore import ALWAYS, restore
from timeseries.archive_storage import open_storage

FILE = "vital 2024-06-06 part 0"
LINK = "link 2 (vital 2024-06-06 part 0)"


def faults(vault: Vault) -> dict[str, list[str]]:
    """What is wrong, by what: without the file's random name."""
    found: dict[str, list[str]] = {}
    for what, why in vault.verify().faults:
        found.setdefault(what.split(" (retention_class")[0].removeprefix(folder()), []).append(why)
    return found


def folder() -> str:
    return "retention_class=vital/utc_day=2024-06-06/"


def changed(vault: Vault, at: float) -> None:
    path = vault.path(next(one for one in vault.known() if str(one).startswith(FILE)))
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 0x10
    path.write_bytes(content)


def cut(vault: Vault, keep: float) -> None:
    path = vault.path(next(one for one in vault.known() if str(one).startswith(FILE)))
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


def gone(vault: Vault) -> None:
    vault.path(next(one for one in vault.known() if str(one).startswith(FILE))).unlink()


def exchanged(vault: Vault) -> None:
    """A whole and readable file of ours, in the place of another."""
    one, other = (vault.path(one) for one in vault.known() if one.retention_class == "vital")
    one.write_bytes(other.read_bytes())


DAMAGES: dict[str, Callable[[Vault], None]] = {
    "missing": gone, "empty": lambda vault: cut(vault, 0), "truncated": lambda vault: cut(vault, 0.7),
    "without its end": lambda vault: cut(vault, 0.999), "exchanged": exchanged,
    **{f"a bit at {at:.0%}": partial(changed, at=at) for at in (0, 0.05, 0.3, 0.5, 0.7, 0.9, 1)},
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_refused_and_costs_nothing(vault: Vault, damage: str) -> None:
    vault.everything()
    whole = vault.contents()
    DAMAGES[damage](vault)
    found = faults(vault)
    assert found.keys() == {FILE}, "this one, and no other"
    vault.world.write(vault.world.samples(1, HEART, START + HOUR / 4))
    for _ in range(2):
        with pytest.raises(ArchiveDamaged, match=FILE):
            vault.day(recheck=NEVER)
    assert not vault.covered()
    if damage in {"missing", "empty", "truncated", "exchanged"}:
        with pytest.raises(ArchiveDamaged):
            vault.read([1, 2, 3])
        with pytest.raises(ArchiveDamaged), vault.connect() as connection:
            restore(connection, vault.storage, None, *ALWAYS, "operator")
        with pytest.raises(ArchiveDamaged), vault.connect() as connection:
            erase_patient(connection, vault.storage, "wearer-2-of-the-archive", "dpo", "4711")
    assert len(vault.world.rows()) == len(vault.world.standing), "nothing is lost"
    assert vault.day(DAY_1, recheck=NEVER) == [], "the other days are well"
    # The operator puts the file back: everything goes on.
    for name, content in whole.items():
        (vault.folder / name).write_bytes(content)
    assert [(one.part, one.rows) for one in vault.day(recheck=NEVER)] == [(1, 1)]
    assert faults(vault) == {}
    assert vault.covered()


def test_whatever_byte_is_changed_it_is_found(vault: Vault) -> None:
    """Also where Parquet would not notice: in what no reader looks at."""
    vault.day()
    path = vault.path(vault.known()[0])
    content = path.read_bytes()
    for at in range(0, len(content), len(content) // 60):
        other = bytearray(content)
        other[at] ^= 1
        path.write_bytes(other)
        assert {what.split(" (")[0] for what, _ in vault.verify().faults} == {FILE}, at
    path.write_bytes(content)
    assert not vault.verify().faults


def test_a_missing_file_is_noticed_without_being_read(vault: Vault) -> None:
    vault.day()
    gone(vault)
    with pytest.raises(ArchiveDamaged, match="it is missing"):
        vault.day(recheck=timedelta(days=1))


MANIFEST = f"{folder()}_part-0000.json"


def test_a_lost_manifest_is_named(vault: Vault) -> None:
    vault.everything()
    (vault.folder / MANIFEST).unlink()
    assert faults(vault) == {"_part-0000.json": ["the manifest is missing"]}


@pytest.mark.parametrize("was", ["operator", '"rows": 24', '"part": 0', "wearer-2"])
def test_an_edited_manifest_is_named(vault: Vault, was: str) -> None:
    vault.everything()
    text = (vault.folder / MANIFEST).read_text()
    other = text.replace(was, was.replace("2", "9").replace("0", "7")) if was in text else text + " "
    assert other != text
    (vault.folder / MANIFEST).write_text(other)
    assert faults(vault).keys() == {"_part-0000.json"}


TABLE = ["the manifest does not say what the table says: one of them was edited"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("rows = rows + 1", {FILE: ["its number of rows is not what the manifest says"], "_part-0000.json": TABLE}),
        ("size_bytes = 1", {FILE: ["its size is not what the manifest says"], "_part-0000.json": TABLE}),
        ("min_time = max_time", {FILE: ["its first time is not what the manifest says"], "_part-0000.json": TABLE}),
        ("max_time = min_time", {FILE: ["its last time is not what the manifest says"], "_part-0000.json": TABLE}),
        ("sha256 = sha256('x')", {FILE: ["its SHA-256 is not what the manifest says"], "_part-0000.json": TABLE}),
        ("created_at = now()", {"_part-0000.json": TABLE}),
        (
            "leaf_root = sha256('x')",
            {
                LINK: ["its leaves in the table are not those that were archived", "its row in the table was changed"],
                "_part-0000.json": TABLE,
            },
        ),
        (
            "chain = sha256('x')",
            {
                LINK: ["its row in the table was changed"],
                "link 3 (activity 2024-06-07 part 0)": ["it does not hold the link before it"],
                "_part-0000.json": TABLE,
            },
        ),
        (
            "previous = sha256('x')",
            {
                LINK: ["it does not hold the link before it", "its row in the table was changed"],
                "_part-0000.json": TABLE,
            },
        ),
        (
            "uri = NULL, rows = 0, min_time = NULL, max_time = NULL, sha256 = NULL, size_bytes = 0",
            {FILE: ["its row names no file, and rows that nobody erased belong to it"], "_part-0000.json": TABLE},
        ),
    ],
)
def test_an_edited_row_of_a_file_is_named(vault: Vault, change: str, expected: dict[str, list[str]]) -> None:
    vault.everything()
    query(vault.url, f"UPDATE archive_files SET {change} WHERE retention_class = 'vital' AND utc_day = '2024-06-06'")
    assert faults(vault) == expected


def test_a_file_that_changed_its_day_is_named(vault: Vault) -> None:
    vault.everything()
    query(vault.url, "UPDATE archive_files SET utc_day = '2024-06-30' WHERE link = 2")
    found = faults(vault)
    assert found["link 2 (vital 2024-06-30 part 0)"] == ["its row in the table was changed"]
    assert vault.verify().unknown == [MANIFEST]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("sha256 = sha256('x')", "the rows of leaf 1 are not those that were archived"),
        ("rows = rows - 1", "the rows of leaf 1 are not those that were archived"),
        ("salt = substr(sha256('x'), 1, 16)", "the rows of leaf 1 are not those that were archived"),
        ("patient_key = 77", "it holds other patients than the manifest says"),
        ("salt = NULL, erased_at = now()", "it holds other patients than the manifest says"),
    ],
)
def test_an_edited_leaf_is_named(vault: Vault, change: str, expected: str) -> None:
    vault.everything()
    query(vault.url, f"UPDATE archive_leaves SET {change} WHERE file_id = 2 AND position = 1")
    found = faults(vault)
    names = {FILE, "_part-0000.json"}
    names |= {LINK} if change.split(maxsplit=1)[0] in {"sha256", "rows"} else set()
    names |= {"file 2, leaf 1"} if "erased_at" in change else set()
    assert found.keys() == names
    if "erased" not in change and "patient" not in change:
        assert found[FILE] == [expected]


def test_a_link_that_was_taken_out_is_named(vault: Vault) -> None:
    vault.everything()
    query(vault.url, "DELETE FROM archive_leaves WHERE file_id = 2")
    query(vault.url, "DELETE FROM archive_files WHERE file_id = 2")
    verdict = vault.verify()
    assert verdict.faults == [("link 3 (activity 2024-06-07 part 0)", "links 2 to 2 before it are missing")]
    assert len(verdict.unknown) == 2


def test_a_link_that_was_cut_off_is_named(vault: Vault) -> None:
    vault.everything()
    query(vault.url, "DELETE FROM archive_leaves WHERE file_id = 4")
    query(vault.url, "DELETE FROM archive_files WHERE file_id = 4")
    verdict = vault.verify()
    assert [what for what, _ in verdict.faults] == ["the head of the chain"]
    assert "names link 4, the last one is 3" in verdict.faults[0][1]
    assert len(verdict.unknown) == 2
    query(vault.url, "DELETE FROM archive_head")
    assert [why for _, why in vault.verify().faults] == ["there is none, the last one is 3, and its hash is another"]
    # Whoever resets the head too leaves the file and its manifest behind; and a note of the head elsewhere tells.
    query(vault.url, "INSERT INTO archive_head (link, chain) SELECT link, chain FROM archive_files WHERE link = 3")
    verdict = vault.verify()
    assert verdict.faults == []
    assert len(verdict.unknown) == 2


def test_an_edited_event_is_named(vault: Vault) -> None:
    vault.everything()
    with vault.connect() as connection:
        erase_patient(connection, vault.storage, "wearer-2-of-the-archive", "dpo", "4711")
    assert faults(vault) == {}
    query(vault.url, "UPDATE archive_events SET why = 'another' WHERE link = 5")
    found = faults(vault)
    assert found == {"link 5 (erased, file 2)": ["its row in the table was changed"], "_part-0000.json": TABLE}
    query(vault.url, "UPDATE archive_events SET why = '4711', positions = '{0}' WHERE link = 5")
    assert faults(vault).keys() == {"link 5 (erased, file 2)", "_part-0000.json", "file 2, leaf 1"}


def test_a_selection_reads_its_files_and_all_of_the_chain(vault: Vault) -> None:
    vault.everything()
    changed(vault, 0.5)
    for selection, files, wrong in (
        (("vital",), 2, True), (("activity",), 2, False), ((None, DAY_1), 2, False), ((None, None, DAY_1), 2, True),
        (("vital", DAY_0, DAY_1), 1, True), (("sleep",), 0, False),
    ):  # fmt: skip
        verdict = vault.verify(*selection)
        assert (verdict.files, bool(verdict.faults), verdict.links) == (files, wrong, 4), selection
    query(vault.url, "UPDATE archive_files SET chain = previous WHERE link = 4")
    assert vault.verify("activity", DAY_0, DAY_1).faults, "the chain is followed whatever is read"


def test_what_is_archived_meanwhile_is_no_fault(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verification takes no turn: an erasure rewrites the file that is being read, and an archiving moves the head."""
    vault.everything()
    done: list[str] = []

    def meanwhile(*what: Any) -> list[str]:
        if not done:
            done.append("erased")
            with vault.connect() as connection:
                erase_patient(connection, vault.storage, "wearer-1-of-the-archive", "dpo", "4711")
            vault.world.write(vault.world.samples(2, HEART, START + HOUR / 4))
            vault.day()
        return verify_file(*what)

    monkeypatch.setattr(archive_verify, "verify_file", meanwhile)
    assert vault.verify().faults == []


def test_somebody_elses_files_are_told_of_and_left_alone(vault: Vault) -> None:
    vault.everything()
    other = vault.folder / folder() / "part-0009-01234567.parquet"
    note = vault.folder / folder() / "notes.txt"
    other.write_bytes(b"?")
    note.write_bytes(b"?")
    assert vault.verify().unknown == [f"{folder()}notes.txt", f"{folder()}part-0009-01234567.parquet"]
    vault.day()
    assert vault.verify().unknown == [f"{folder()}notes.txt"], "what has our names and nobody knows is a left-over"


def test_another_folder_has_nothing_of_it(vault: Vault) -> None:
    """A disk that is not mounted, a wrong setting: every file is missing, nothing is archived there in its stead."""
    vault.everything()
    vault.archive.storage = open_storage(str(vault.folder.parent / "elsewhere"))
    assert len([why for _, why in vault.verify().faults if why == "it is missing"]) == 4
    vault.world.write(vault.world.samples(1, HEART, START + HOUR / 4))
    with pytest.raises(ArchiveDamaged, match="it is missing"):
        vault.day()
