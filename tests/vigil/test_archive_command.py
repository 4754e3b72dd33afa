"""The commands on the archive, over a real PostgreSQL and a folder: what they show and do, and how they refuse."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tests.services.databases import copied_database
from tests.timeseries.archive.making import HEART, Vault
from tests.timeseries.lifecycle_world import HOUR, START
from tests.timeseries.making import query
from vigil.embedded.postgres import EmbeddedPostgres

NAME = "Anna Schmidt 1961-04-12"
TWO = "wearer-2-of-the-archive"


@pytest.fixture
def vault(postgres: EmbeddedPostgres, migrated: str, tmp_path: Path) -> Iterator[Vault]:
    """Two archived days of three people."""
    with copied_database(postgres.url, migrated) as url:
        yield Vault(url, tmp_path / "archive").fill().everything()


@pytest.fixture(scope="module")
def untouched(postgres: EmbeddedPostgres, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """The same, for what changes nothing."""
    with copied_database(postgres.url, migrated) as url:
        yield Vault(url, tmp_path_factory.mktemp("command") / "archive").fill().everything()


def vigil(*arguments: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "vigil", "archive", *arguments],
        env={"PATH": os.environ["PATH"], "COLUMNS": "160"} | variables,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def ask(vault: Vault, *arguments: str, code: int = 0) -> str:
    done = vigil(*arguments, code=code, DATABASE_URL=vault.url, VIGIL_ARCHIVE_URI=str(vault.folder))
    return done.stdout if code == 0 else done.stdout + done.stderr


def ask_json(vault: Vault, *arguments: str, code: int = 0) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(ask(vault, *arguments, "--json", code=code))
    return told


def test_list_shows_what_is_there_and_what_was_brought_back(vault: Vault) -> None:
    ask(vault, "restore", "--patient", TWO, "--to", "2024-06-07", "--who", "ada")
    told = ask_json(vault, "list")
    held = {one["class"]: one for one in told["held"]}
    assert (held["vital"]["days"], held["vital"]["files"], held["vital"]["rows"]) == (2, 2, 144)
    assert (held["activity"]["first"], held["activity"]["last"], held["activity"]["year"]) == (
        "2024-06-06", "2024-06-07", 2024,
    )  # fmt: skip
    assert told["chain"] == {"link": 4, "sha256": vault.known()[-1].chain.hex()}
    (restored,) = told["restores"]
    assert (restored["patient_id"], restored["rows"], restored["requested_by"], restored["finished"]) == (
        TWO, 24, "ada", True,
    )  # fmt: skip
    text = ask(vault, "list")
    for word in ("vital", "144", "2024-06-07", TWO, "ada", "done", f"chain: link 4, {told['chain']['sha256']}"):
        assert word in text
    assert "activity" not in ask(vault, "list", "--class", "vital")
    assert [one["rows"] for one in ask_json(vault, "list", "--from", "2024-06-07", "--class", "vital")["held"]] == [72]
    assert "has nothing of what was asked for" in ask(vault, "list", "--to", "2020-01-01")
    assert "ada" in ask(vault, "list", "--to", "2020-01-01"), "restores are shown whatever is in the archive"


def test_list_of_an_empty_archive(database: str) -> None:
    assert (
        vigil("list", DATABASE_URL=database).stdout == "the archive is empty (or has nothing of what was asked for)\n"
    )


def test_verify_says_yes_and_names_what_is_wrong(vault: Vault) -> None:
    assert "read 4 files with 168 samples" in ask(vault, "verify")
    told = ask_json(vault, "verify")
    assert (told["ok"], told["files"], told["links"], told["faults"], told["unknown"]) == (True, 4, 4, [], [])
    broken = vault.known()[1]
    vault.path(broken).unlink()
    told = ask_json(vault, "verify", code=1)
    assert (told["ok"], told["faults"]) == (False, [{"what": str(broken), "why": "it is missing"}])
    text = ask(vault, "verify", code=1)
    assert f"wrong  {broken}: it is missing" in text
    assert "1 fault: nothing is dropped that rests on these files" in text
    assert ask_json(vault, "verify", "--class", "activity")["ok"]
    assert ask_json(vault, "verify", "--from", "2024-06-07")["files"] == 2
    (vault.folder / "notes.txt").write_text("x")
    assert "unknown  notes.txt" in ask(vault, "verify", code=1)


def test_restore_discard_and_again(vault: Vault) -> None:
    some = ("--patient", TWO, "--from", "2024-06-06T01:00+00:00", "--to", "2024-06-06T04:30+02:00")
    assert ask(vault, "restore", *some) == "restore 1: 3 samples stand in restored_samples\n"
    assert vault.restored().tobytes() == vault.expected(2, START + HOUR, START + 2.5 * HOUR).tobytes()
    refused = ask(vault, "restore", "--all", code=2)
    assert "error: restore 1 of the same samples stands in restored_samples (3 rows)" in refused
    assert "restore 2: 168 samples" in ask(vault, "restore", "--all", "--again")
    assert ask(vault, "discard", "2") == "removed 168 samples of restore 2 from restored_samples\n"
    assert len(vault.restored()) == 3
    refused = ask(vault, "discard", "2", code=2)
    assert "error: there is no restore 2, or it was discarded (vigil archive list)" in refused
    assert "no restore 99" in ask(vault, "discard", "99", code=2)


def test_erase(vault: Vault) -> None:
    ask(vault, "restore", "--patient", TWO)
    vault.world.hold(2)
    refused = ask(vault, "erase", "--patient", TWO, "--who", "dpo", "--why", "4711", code=2)
    assert "error: a legal hold stands on the patient" in refused
    vault.world.lift(2)
    assert ask(vault, "erase", "--patient", TWO, "--who", "dpo", "--why", "4711") == (
        "erased 48 samples from 2 files, and 48 that were restored\n"
        "the table samples still holds rows of this patient: they are archived again when they are due\n"
    )
    query(vault.url, "DELETE FROM samples")
    assert ask(vault, "erase", "--patient", TWO, "--who", "dpo", "--why", "4711") == (
        "erased 0 samples from 0 files, and 0 that were restored\n"
    )
    assert ask_json(vault, "verify")["ok"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "--from", "yesterday"], "a UTC day, for example 2026-03-01"),
        (["verify", "--to", "2026-13-01"], "a UTC day, for example 2026-03-01"),
        (["verify", "--from", "2026-03-01", "--to", "2026-03-01"], "--from must be before --to"),
        (["list", "--from", "2026-03-02", "--to", "2026-03-01"], "--from must be before --to"),
        (["verify", "--class", "vitals"], "no samples are of class vitals; there are activity, "),
        (["list", "--class", "waveform"], "no samples are of class waveform"),
        (["restore"], "say what to bring back: --patient, --from, --to, or --all"),
        (["restore", "--from", "noon"], "a day or a time, for example"),
        (["restore", "--from", "2026-03-01", "--to", "2026-03-01"], "--from must be before --to"),
        (["restore", "--patient", "nobody"], "no patient has that id"),
        (["restore", "--patient", NAME], "patient id must be 1 to 64 letters"),
        (["restore", "--all", "--who", NAME], "who does this must be 1 to 64 letters"),
        (["discard", "0"], "Input should be greater than or equal to 1"),
        (["discard", "x"], "Input should be a valid integer"),
        (["erase", "--patient", "nobody", "--who", "dpo", "--why", "4711"], "no patient has that id"),
        (["erase", "--patient", NAME, "--who", "dpo", "--why", "4711"], "patient id must be 1 to 64 letters"),
        (["erase", "--patient", TWO, "--who", NAME, "--why", "4711"], "who does this must be 1 to 64 letters"),
        (["erase", "--patient", TWO, "--who", "dpo", "--why", " "], "say why: the number of the matter"),
        (["erase", "--patient", TWO], "Missing option"),
    ],
)
def test_what_is_wrongly_asked_is_refused_with_a_way_on(untouched: Vault, arguments: list[str], words: str) -> None:
    before = untouched.contents()
    refused = ask(untouched, *arguments, code=2)
    assert words in " ".join(refused.replace("│", " ").split())
    assert "Anna" not in refused
    assert untouched.contents() == before
    assert len(untouched.restored()) == 0


def test_without_settings(untouched: Vault) -> None:
    for arguments in (["verify"], ["restore", "--all"], ["erase", "--patient", "p", "--who", "d", "--why", "1"]):
        assert "VIGIL_ARCHIVE_URI" in vigil(*arguments, code=2, DATABASE_URL=untouched.url).stderr
    assert "DATABASE_URL" in vigil("list", code=2).stderr
    assert "chain: link 4" in vigil("list", DATABASE_URL=untouched.url).stdout, "the list needs no storage"


def test_a_database_that_is_away_or_empty(empty_database: str, tmp_path: Path) -> None:
    away = {"DATABASE_URL": "postgresql://vigil:topsecret@127.0.0.1:1/vigil", "VIGIL_ARCHIVE_URI": str(tmp_path)}
    empty = {"DATABASE_URL": empty_database, "VIGIL_ARCHIVE_URI": str(tmp_path)}
    for arguments in (["list"], ["verify"], ["restore", "--all"], ["discard", "1"]):
        refused = vigil(*arguments, code=2, **away).stderr
        assert "error: the database does not answer: say the same again, nothing is lost" in refused
        assert "topsecret" not in refused
        assert "run vigil db migrate" in vigil(*arguments, code=2, **empty).stderr


def test_a_role_that_may_not(untouched: Vault) -> None:
    name = f"nobody_{uuid4().hex[:12]}"
    role = sql.Identifier(name)
    with psycopg.connect(untouched.url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(role))
        try:
            rest = untouched.url.rpartition("@")[2]
            done = vigil("list", code=2, DATABASE_URL=f"postgresql://{name}:x@{rest}")
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(role))
    assert "error: DATABASE_URL's role may not do this" in done.stderr


def test_a_storage_that_is_away(untouched: Vault, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for uri, words in (
        (str(tmp_path / "file" / "below"), "the archive cannot be opened"),
        ("s3://AKIA:topsecret/x@bucket/a", "holds credentials: give them as AWS_ACCESS_KEY_ID"),
        ("nowhere://bucket", "the archive cannot be opened"),
    ):
        refused = vigil("verify", code=2, DATABASE_URL=untouched.url, VIGIL_ARCHIVE_URI=uri).stderr
        assert words in refused
        assert "topsecret" not in refused


def test_a_storage_that_fails_on_the_way(vault: Vault) -> None:
    s3 = "s3://bucket/a?endpoint_override=127.0.0.1:1&scheme=http&region=eu-central-1"
    done = vigil(
        "restore", "--all", code=2, DATABASE_URL=vault.url, VIGIL_ARCHIVE_URI=s3,
        AWS_ACCESS_KEY_ID="AKIA", AWS_SECRET_ACCESS_KEY="topsecret", AWS_EC2_METADATA_DISABLED="true",
    )  # fmt: skip
    assert "error: the archive's storage failed, nothing is lost, say the same again:" in done.stderr
    assert "NETWORK_CONNECTION" in done.stderr
    assert "topsecret" not in done.stderr
    assert "restore 1: 168 samples" in ask(vault, "restore", "--all"), "it goes on where it was"


def test_a_damaged_file_refuses_a_restore(vault: Vault) -> None:
    vault.path(vault.known()[1]).write_bytes(b"PAR1")
    refused = ask(vault, "restore", "--patient", TWO, code=2)
    assert "error: " in refused
    assert "cannot be read as a file of the archive" in refused
    assert "Traceback" not in refused


def test_samples_stay(vault: Vault) -> None:
    """No command of these touches samples."""
    before = vault.world.rows().tobytes()
    vault.world.write(vault.world.samples(1, HEART, START + HOUR / 4))
    now = vault.world.rows()
    assert now.tobytes() != before
    ask(vault, "restore", "--all")
    ask(vault, "erase", "--patient", TWO, "--who", "dpo", "--why", "4711")
    ask(vault, "verify")
    assert vault.world.rows().tobytes() == now.tobytes()
