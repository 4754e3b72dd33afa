"""`vigil token` over a real PostgreSQL: the secret is shown once, on standard output, and is nowhere else."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import segno
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner, Result

from tests.services.databases import copied_database
from tests.timeseries.making import query
from timeseries.registry import Description, Registry
from vigil.commands.token import app
from vigil.embedded.postgres import EmbeddedPostgres
from vigil.settings import settings
from vigil.token_screen import pairing_uri, qr_code
from vitals.access import hashed, new_token, token_id_of
from vitals.errors import VigilError

URL = "https://vigil.example.org"
NAME = "Anna Schmidt 1961-04-12"


@pytest.fixture(scope="module")
def migrated(postgres: EmbeddedPostgres, schema: str) -> Iterator[str]:
    """Watch `watch-1` on p-017, strap `strap-1` on p-018."""
    with copied_database(postgres.url, schema) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            registry = Registry(connection, "nurse-1")
            for device, patient in (("watch-1", "p-017"), ("strap-1", "p-018")):
                registry.register(device, Description(device_type="watch"))
                registry.bind(device, patient, datetime(2026, 3, 1, tzinfo=UTC))
        yield url.rpartition("/")[2]


def token(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})


def made(*arguments: str) -> str:
    """The token that a command shows: all of its standard output."""
    done = token(*arguments)
    assert done.exit_code == 0, done.output
    text = done.stdout.removesuffix("\n")
    assert token_id_of(text) is not None, done.stdout
    assert text not in done.stderr
    return text


def refused(*arguments: str) -> str:
    """What a command that refuses says; it shows no token."""
    done = token(*arguments)
    assert done.exit_code != 0, done.output
    assert done.stdout == ""
    return str(done.exception) if isinstance(done.exception, VigilError) else done.stderr


def listed(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in token("list", "--json", *arguments).stdout.splitlines()]


def test_a_token_from_creation_to_revocation(url: str) -> None:
    first = made("create", "--patient", "p-017", "--device", "watch-1", "--who", "nurse-1", "--note", "inventory-12")
    first_id = str(token_id_of(first))
    (one,) = listed()
    assert (one["token_id"], one["kind"], one["patient_id"], one["devices"]) == (
        first_id, "device", "p-017", ["watch-1"],
    )  # fmt: skip
    assert (one["state"], one["note"], one["last_used_at"]) == ("unused", "inventory-12", None)
    lasts = datetime.fromisoformat(one["expires_at"]) - datetime.fromisoformat(one["created_at"])
    assert lasts == timedelta(days=365)
    second = made("rotate", first_id, "--who", "nurse-1", "--overlap", "2h")
    second_id = str(token_id_of(second))
    table = token("list").stdout
    assert f"then {second_id}" in table
    assert "p-017, watch-1" in table
    assert "by nurse-1" in table
    gone = token("revoke", second_id, "--who", "nurse-2", "--why", "ticket 7")
    assert gone.exit_code == 0
    assert {line.split()[0] for line in gone.stdout.splitlines()} == {first_id, second_id}
    assert token("list").stdout.startswith("no token stands")
    assert [one["state"] for one in listed("--all")] == ["revoked", "revoked"]
    assert [one["revoked_by"] for one in listed("--all", "--patient", "p-017")] == ["nurse-2"] * 2
    assert listed("--all", "--patient", "p-018") == []
    stored = query(url, "SELECT secret_sha256 FROM access_tokens WHERE token_id = %s", (first_id,))
    assert stored == [(hashed(first[-43:]),)]


def test_what_each_kind_of_sender_gets(url: str) -> None:
    made("create", "--devices", "watch-1, strap-1", "--who", "nurse-1", "--expires", "12h")
    made("create", "--patient", "p-017", "--device", "watch-1", "--kind", "bridge", "--who", "nurse-1")
    new = token("create", "--patient", "p-999", "--who", "nurse-1")
    assert "nobody knew that patient" in new.stderr
    platform = token("create", "--patient", "p-017", "--issuer", "https://issuer.example", "--subject", "ward-7",
                     "--who", "nurse-1")  # fmt: skip
    assert (platform.exit_code, platform.stdout) == (0, "")
    assert [(one["kind"], one["patient_id"], one["devices"], one["subject"]) for one in listed()] == [
        ("bridge", None, ["strap-1", "watch-1"], None), ("bridge", "p-017", ["watch-1"], None),
        ("bridge", "p-999", None, None), ("platform", "p-017", None, "ward-7"),
    ]  # fmt: skip
    assert "whoever wears strap-1, watch-1" in token("list").stdout
    assert "a platform has no secret here" in refused("rotate", listed()[-1]["token_id"], "--who", "nurse-1")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--expires", "never", "--patient", "p-017"], "two years"),
        (["--expires", "731d", "--patient", "p-017"], "730 days"),
        (["--expires", "0d", "--patient", "p-017"], "730 days"),
        ([], "whom it speaks for"),
        (["--device", "watch-1"], "--patient"),
        (["--patient", "p-017", "--devices", "watch-1"], "no --patient"),
        (["--patient", "p-017", "--device", "strap-1"], "not bound"),
        (["--patient", "p-017", "--device", "watch-9"], "not registered"),
        (["--patient", "p-017", "--kind", "device"], "does not go together"),
        (["--patient", "p-017", "--kind", "nonsense"], "nonsense"),
        (["--patient", NAME], "patient id must be"),
        (["--patient", "p-017", "--note", NAME], "the note must be"),
        (["--patient", "p-017", "--issuer", "https://issuer.example"], "--subject"),
        (["--patient", "p-017", "--issuer", "http://issuer.example", "--subject", "x"], "https"),
        (["--patient", "p-017", "--issuer", "https://issuer.example", "--subject", NAME], "without spaces"),
        (["--patient", "p-017", "--issuer", "https://issuer.example", "--subject", "x", "--qr"], "no token"),
        (["--patient", "p-017", "--qr"], "--url"),
        (["--patient", "p-017", "--qr", "--url", "http://vigil.example.org"], "https"),
        (["--patient", "p-017", "--certificate", "/nowhere.pem"], "BEGIN CERTIFICATE"),
        (["--patient", "p-017", "--certificate", __file__], "BEGIN CERTIFICATE"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(url: str, arguments: list[str], says: str) -> None:
    said = refused("create", "--who", "nurse-1", *arguments)
    assert says in said
    assert NAME not in said
    assert query(url, "SELECT count(*) FROM access_tokens") == [(0,)]


def test_a_whole_token_on_the_command_line_is_refused_and_not_repeated(url: str) -> None:
    text = made("create", "--patient", "p-017", "--who", "nurse-1")
    for command in (["revoke", text, "--why", "lost"], ["rotate", text]):
        said = refused(*command, "--who", "nurse-1")
        assert "shell's history" in said.replace("\n", " ")
        assert text[-43:] not in said
    assert "no such token" in refused("revoke", "a" * 16, "--who", "nurse-1", "--why", "lost")
    assert "say why" in refused("revoke", str(token_id_of(text)), "--who", "nurse-1", "--why", " ")


def test_a_certificate_is_kept_as_its_fingerprint(url: str, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bridge-1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
        .not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    file = tmp_path / "bridge.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made("create", "--devices", "watch-1", "--certificate", str(file), "--who", "nurse-1")
    der = certificate.public_bytes(serialization.Encoding.DER)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    assert listed()[0]["certificate_sha256"] == digest.finalize().hex()


def seen(shown: str) -> list[list[int]]:
    """The modules that a terminal shows in half blocks, 1 for dark, without the quiet zone of four around them."""
    halves = {" ": (1, 1), "\u2580": (0, 1), "\u2584": (1, 0), "\u2588": (0, 0)}
    rows: list[list[int]] = []
    for line in shown.splitlines():
        rows += [[halves[character][half] for character in line] for half in (0, 1)]
    size = len(rows[0])
    assert all(not any(row) for row in rows[:4] + rows[size - 4 : size]), "light around it"
    assert all(not any(row[:4] + row[-4:]) for row in rows[:size])
    return [row[4:-4] for row in rows[4 : size - 4]]


def test_the_shown_code_holds_the_stored_token(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the token known beforehand, what is printed must be that token's code, module by module."""
    known = new_token()
    monkeypatch.setattr("timeseries.access_tokens.new_token", lambda: known)
    done = token("create", "--patient", "p-017", "--qr", "--url", f"{URL}/", "--who", "nurse-1")
    assert known.text not in done.output, "the code is the one time that it is shown"
    uri = f"vigil://pair?url=https%3A%2F%2Fvigil.example.org&token={known.text}"
    assert parse_qs(urlsplit(uri).query) == {"url": [URL], "token": [known.text]}
    expected = segno.make_qr(uri, error="m")
    assert seen(done.stdout) == [list(map(int, row)) for row in expected.matrix]
    assert query(url, "SELECT secret_sha256 FROM access_tokens") == [(hashed(known.text[-43:]),)]


def test_a_successor_is_shown_as_a_code_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made("create", "--patient", "p-017", "--who", "nurse-1")
    known = new_token()
    monkeypatch.setattr("timeseries.access_tokens.new_token", lambda: known)
    monkeypatch.setenv("VIGIL_GATEWAY_URL", URL)
    settings.cache_clear()
    done = token("rotate", str(token_id_of(first)), "--qr", "--who", "nurse-1")
    assert done.stdout == qr_code(pairing_uri(URL, known.text), colours=False) + "\n"


def test_on_a_terminal_the_code_brings_its_own_colours() -> None:
    plain, coloured = (qr_code(pairing_uri(URL, new_token().text), colours=colours) for colours in (False, True))
    assert "\033" not in plain
    assert all(line.startswith("\033[97;40m") and line.endswith("\033[0m") for line in coloured.splitlines())


def test_the_secret_is_in_no_table_no_log_and_no_other_stream(url: str, tmp_path: Path) -> None:
    """As a process of its own, at the loudest, standard error on a terminal."""
    master, terminal = pty.openpty()
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-c", "from vigil.commands.token import app; app()", "create", "--patient", "p-017",
             "--who", "nurse-1"],
            stdout=out, stderr=terminal, check=False, timeout=60,
            env={"PATH": os.environ["PATH"], "DATABASE_URL": url, "VIGIL_LOG_LEVEL": "debug"},
        )  # fmt: skip
    os.close(terminal)
    said = os.read(master, 1 << 16).decode()
    os.close(master)
    assert done.returncode == 0, said
    text = (tmp_path / "out").read_text().removesuffix("\n")
    secret = text[-43:]
    assert token_id_of(text) is not None
    assert str(token_id_of(text)) in said
    assert secret not in said
    names = query(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    dump = "".join(str(query(url, f"SELECT t::text FROM {name} t")) for (name,) in names)
    assert str(token_id_of(text)) in dump
    assert secret not in dump
    assert secret.encode().hex() not in dump


def test_a_database_that_is_away_or_behind_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    query(url, "ALTER VIEW access_overview RENAME TO not_yet")
    assert "vigil db migrate" in refused("list")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    settings.cache_clear()
    said = refused("create", "--patient", "p-017", "--who", "nurse-1")
    assert "does not answer" in said
    assert "secret" not in said
