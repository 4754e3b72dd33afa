"""`vigil doctor`: true about what is well, what is not, and what to do; it never dies of what it looks at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer import Typer
from typer.testing import CliRunner

from ingest.admin import create_topics
from ingest.topics import SAMPLES, TOPICS
from tests.timeseries.making import query
from tests.timeseries.test_roles import login
from timeseries.checkup import Checkup, checkup
from timeseries.migrate import Status, migrate
from vigil.checks import broker as broker_check
from vigil.checks import database, lag, policy, services
from vigil.checks.finding import Finding, Verdict, worst
from vigil.commands import doctor as command
from vigil.doctor import examine
from vigil.embedded.broker import EmbeddedBroker
from vigil.settings import Settings
from vitals.errors import VigilError

NOWHERE = "127.0.0.1:1"


def settings(**values: object) -> Settings:
    names = {"database_url": "DATABASE_URL", "kafka_bootstrap_servers": "KAFKA_BOOTSTRAP_SERVERS"}
    return Settings.model_validate({names.get(name, name): value for name, value in values.items()})


def by_what(findings: Sequence[Finding], what: str) -> Finding:
    return next(one for one in findings if one.what == what)


FINE = Checkup("180006", 0.01, 0.005, (5, 100))
MIGRATED = Status("stock", ["0001_x"], [])


def test_an_address_that_is_missing_is_named_and_nothing_breaks() -> None:
    found = asyncio.run(examine(settings()))
    assert worst(found) is Verdict.FAIL
    assert {one.says for one in found if one.what == "address"} >= {
        "KAFKA_BOOTSTRAP_SERVERS is not set", "DATABASE_URL is not set"
    }  # fmt: skip
    assert all(one.do for one in found if one.verdict in {Verdict.FAIL, Verdict.WARN})


def test_what_is_away_is_said_once_and_no_password_is_shown() -> None:
    config = settings(database_url=f"postgresql://vigil:verysecret@{NOWHERE}/vigil", kafka_bootstrap_servers=NOWHERE)
    found = asyncio.run(examine(config))
    away = [one for one in found if one.verdict is Verdict.FAIL]
    assert [one.area for one in away] == ["broker", "database", "recorder"]
    assert "verysecret" not in repr(found)


async def test_a_check_that_breaks_or_hangs_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(_: Settings) -> list[Finding]:
        raise RuntimeError("the name of a person")

    async def refuses(_: Settings) -> list[Finding]:
        raise VigilError("it is away")

    async def hangs(_: Settings) -> list[Finding]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr("vigil.doctor._WITHIN_S", 0.05)
    found = await examine(settings(), {"a": breaks, "b": refuses, "c": hangs})
    assert [(one.area, one.verdict) for one in found] == [(name, Verdict.FAIL) for name in "abc"]
    assert "person" not in repr(found)
    assert "RuntimeError" in found[0].says


async def test_topics_are_missed_counted_and_their_settings_compared(broker: EmbeddedBroker) -> None:
    with EmbeddedBroker() as own:
        config = settings(kafka_bootstrap_servers=own.bootstrap, partitions=2)
        before = await broker_check.check(config)
        assert by_what(before, "topics").verdict is Verdict.FAIL
        assert SAMPLES in by_what(before, "topics").says
        await create_topics(own.bootstrap, partitions=2)
        after = await broker_check.check(config)
        assert worst(after) is Verdict.OK
        assert len(after) == 2 + len(TOPICS)
        other = await broker_check.check(replace_partitions(config, 3))
        assert by_what(other, SAMPLES).verdict is Verdict.WARN


def replace_partitions(config: Settings, partitions: int) -> Settings:
    return config.model_copy(update={"partitions": partitions})


@pytest.mark.kafka
async def test_a_topic_whose_retention_was_changed_by_hand_is_seen(kafka: object) -> None:
    bootstrap = kafka.bootstrap  # type: ignore[attr-defined]
    await create_topics(bootstrap, partitions=1)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        found = await broker_check._settings(admin, TOPICS[:1])
    finally:
        await admin.close()
    assert found[SAMPLES]["retention.ms"] == TOPICS[0].config()["retention.ms"]
    told = broker_check._configured(TOPICS[0], {**found[SAMPLES], "retention.ms": "1000"})
    assert [one.says for one in told] == [f"retention.ms is 1000, expected {TOPICS[0].retention_ms}"]


def test_a_schema_that_waits_is_said_and_the_rest_is_left_alone(empty_database: str) -> None:
    config = settings(database_url=empty_database)
    found = asyncio.run(database_check(config))
    assert by_what(found, "schema").verdict is Verdict.FAIL
    assert by_what(found, "schema").do == "run: vigil db migrate"
    migrate(empty_database)
    after = asyncio.run(database_check(config))
    assert {one.what for one in after if one.verdict is not Verdict.OK} == {"newest beat"}, after
    assert by_what(after, "newest beat").verdict is Verdict.SKIP
    assert by_what(after, "last day").says == "nothing was rejected"


async def database_check(config: Settings) -> Sequence[Finding]:
    return await database.check(config)


def test_asking_changes_nothing_and_counts_what_is_there(database: str) -> None:
    seen = checkup(database, ["vigil_recorder", "nobody_at_all"])
    assert seen.roles == [("nobody_at_all", False, False), ("vigil_recorder", True, seen.roles[1][2])]
    assert abs(seen.ahead_s) < 5
    assert seen.devices == (0, 0, 0)
    assert seen.undelivered == 0
    assert seen.dirty == (0, None)
    assert seen.tokens == (0, 0, 0)
    assert seen.consents == (0, 0)


@pytest.mark.parametrize(
    ("seen", "what", "verdict"),
    [
        (replace(FINE, ahead_s=3.0), "database", Verdict.WARN),
        (replace(FINE, ahead_s=-300.0), "database", Verdict.FAIL),
        (replace(FINE, connections=(90, 100)), "connections", Verdict.WARN),
        (replace(FINE, roles=[("vigil_gateway", False, False)]), "roles", Verdict.WARN),
        (replace(FINE, progress=[(SAMPLES, 1.0, 4_000.0)]), SAMPLES, Verdict.WARN),
        (replace(FINE, progress=[(SAMPLES, 1.0, 1.5)]), SAMPLES, Verdict.OK),
        (replace(FINE, rejected=[("out_of_range", 3)]), "last day", Verdict.WARN),
        (replace(FINE, undelivered=1), "notifications", Verdict.FAIL),
        (replace(FINE, devices=(3, 1, 0)), "registry", Verdict.WARN),
        (replace(FINE, tokens=(3, 0, 0)), "tokens", Verdict.OK),
        (replace(FINE, tokens=(3, 1, 0)), "tokens", Verdict.WARN),
        (replace(FINE, consents=(3, 0)), "care", Verdict.OK),
        (replace(FINE, consents=(3, 1)), "care", Verdict.WARN),
    ],
)
def test_answers_are_judged(seen: Checkup, what: str, verdict: Verdict) -> None:
    found = by_what(list(database.findings(MIGRATED, seen, strict=True, required=False)), what)
    assert found.verdict is verdict
    assert bool(found.do) == (verdict is not Verdict.OK)


def test_strict_devices_without_a_device_is_looked_at() -> None:
    seen = replace(FINE, devices=(0, 0, 0))
    assert (
        by_what(list(database.findings(MIGRATED, seen, strict=True, required=False)), "registry").verdict
        is Verdict.WARN
    )
    assert (
        by_what(list(database.findings(MIGRATED, seen, strict=False, required=False)), "registry").verdict is Verdict.OK
    )


def test_lag_is_what_the_log_has_and_the_database_has_not() -> None:
    log = {(SAMPLES, 0): (100, 50_000), (SAMPLES, 1): (0, 10)}
    found = lag.findings(log, {(SAMPLES, 0): 90, (SAMPLES, 1): 12})
    assert by_what(found, "live").says == "49,900 records wait"  # what retention took is not waited for
    assert by_what(found, "live").verdict is Verdict.WARN
    assert by_what(found, "backfill").verdict is Verdict.OK


@pytest.mark.parametrize(("days", "verdict"), [(90, Verdict.OK), (5, Verdict.WARN), (-2, Verdict.FAIL)])
def test_a_certificate_that_ends_soon_is_seen(tmp_path: Path, days: int, verdict: Verdict) -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    file = tmp_path / "cert.pem"
    file.write_bytes(certificate(now - timedelta(days=30), now + timedelta(days=days, hours=1)))
    assert services.certificate(file, now.timestamp()).verdict is verdict


def test_a_certificate_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nothing")
    assert services.certificate(tmp_path / "cert.pem", 0).verdict is Verdict.FAIL


def certificate(start: datetime, end: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(start).not_valid_after(end).sign(key, hashes.SHA256())
    )  # fmt: skip
    return made.public_bytes(serialization.Encoding.PEM)


def test_a_folder_that_others_may_read_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "gateway"
    assert [one.verdict for one in services.folder(folder)] == [Verdict.SKIP]
    folder.mkdir(mode=0o700)
    assert by_what(list(services.folder(folder)), "folder").verdict is Verdict.OK
    folder.chmod(0o755)
    assert by_what(list(services.folder(folder)), "folder").do == f"chmod 700 {folder}"


def test_the_command_says_it_for_people_and_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vigil.commands.doctor.settings", settings)
    app = Typer()
    command.register(app)
    for people in (CliRunner().invoke(app, []), CliRunner().invoke(app, ["--strict"])):
        assert people.exit_code == 1
        assert "KAFKA_BOOTSTRAP_SERVERS is not set" in people.output
        assert "→" in people.output
    told = json.loads(CliRunner().invoke(app, ["--json"]).output)
    assert told["verdict"] == "fail"
    assert {"area", "what", "verdict", "says", "do"} == set(told["findings"][0])


@pytest.mark.parametrize(("age_s", "verdict"), [(12.0, Verdict.OK), (240.0, Verdict.OK), (3_600.0, Verdict.WARN)])
def test_a_heartbeat_that_stopped_is_to_be_looked_at(age_s: float, verdict: Verdict) -> None:
    found = list(database.findings(MIGRATED, replace(FINE, heartbeat=(age_s,)), strict=False, required=False))
    assert by_what(found, "newest beat").verdict is verdict
    assert not [
        one for one in database.findings(MIGRATED, FINE, strict=False, required=False) if one.area == "heartbeat"
    ]


RIGHT = 'version = 7\nlabel = "ward 4"\n'
WRONG = RIGHT + '[patient."p-17".limits.spo2_low.spo2]\nthreshold = 900\n'


def of_policy(**values: object) -> Finding:
    (found,) = asyncio.run(async_policy(settings(**values)))
    assert (found.area, found.what) == ("policies", "in force")
    assert bool(found.do) == (found.verdict in {Verdict.WARN, Verdict.FAIL})
    return found


async def async_policy(config: Settings) -> Sequence[Finding]:
    return await policy.check(config)


def put_in_force(url: str, body: str) -> None:
    """As an older release would have, whose bounds were wider."""
    query(
        url,
        "INSERT INTO policy_versions (version, label, sha256, body, applied_by, reason, changes)"
        " SELECT coalesce(max(version), 6) + 1, 'ward 4', repeat('0', 64), %s, 'u-1', 'r-1', '[]' FROM policy_versions",
        (body,),
    )


def test_the_policy_in_force_is_read_as_the_watch_reads_it(empty_database: str) -> None:
    assert of_policy().says == "default 1, the program's own: no database is set"
    assert of_policy(database_url=empty_database).do == "run: vigil db migrate"
    migrate(empty_database)
    assert of_policy(database_url=empty_database).says == "default 1, the program's own: none was ever applied"
    put_in_force(empty_database, RIGHT)
    found = of_policy(database_url=empty_database)
    assert found.verdict is Verdict.OK
    assert found.says.startswith("ward 4 v7 sha256:")
    put_in_force(empty_database, WRONG)
    found = of_policy(database_url=empty_database)
    assert found.verdict is Verdict.FAIL
    assert "version 8 of the database is refused: line 4: patient.*.limits.spo2_low.spo2" in found.says
    assert "p-17" not in repr(found)
    assert "vigil policy show" in found.do
    with login(empty_database, "vigil_gateway") as stranger:
        assert of_policy(database_url=stranger).verdict is Verdict.SKIP


def test_what_is_no_policy_at_all_quotes_nothing_of_it(database: str) -> None:
    put_in_force(database, RIGHT + '[patient."p-17"]\n[patient."p-17"]\n')
    found = of_policy(database_url=database)
    assert "refused: line 4: (file): syntax" in found.says
    assert "p-17" not in repr(found)


def test_a_policy_file_is_looked_at_instead_of_the_database(tmp_path: Path) -> None:
    file, nowhere = tmp_path / "mine.toml", f"postgresql://vigil@{NOWHERE}/vigil"
    assert of_policy(database_url=nowhere, policy_file=file).verdict is Verdict.FAIL
    file.write_text(RIGHT)
    found = of_policy(database_url=nowhere, policy_file=file)
    assert (found.verdict, found.says[:17]) == (Verdict.OK, "ward 4 v7 sha256:")
    file.write_text(WRONG)
    found = of_policy(database_url=nowhere, policy_file=file)
    assert found.verdict is Verdict.FAIL
    assert "VIGIL_POLICY_FILE is refused: line 4: patient.*" in found.says
    assert found.do.endswith(f"vigil policy check {file}")
    away = of_policy(database_url=nowhere)
    assert (away.verdict, "VIGIL_POLICY_COPY" in away.says) == (Verdict.WARN, True)
