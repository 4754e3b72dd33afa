"""What each role may do, by trying: its own work goes through, everything else is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql

from tests.timeseries.making import Partition, S, query, rows
from timeseries.migrate import migrate
from timeseries.model import Rejected
from timeseries.store import SampleStore
from vitals.quality import Flag

ROLES = (
    "vigil_recorder", "vigil_watch", "vigil_dispatch", "vigil_console", "vigil_quarantine", "vigil_reader",
    "vigil_views", "vigil_gateway",
)  # fmt: skip


@pytest.fixture
def migrated(database: str) -> str:
    return database


@contextmanager
def login(url: str, *roles: str) -> Iterator[str]:
    """The address as a new user sees it who is a member of `roles`."""
    name = f"user_{uuid4().hex[:10]}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'tried'").format(sql.Identifier(name)))
        for role in roles:
            admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(name)))
        parts = urlsplit(url)
        yield parts._replace(netloc=f"{name}:tried@{parts.hostname}:{parts.port}").geturl()
        for statement in ("DROP OWNED BY {}", "DROP ROLE {}"):
            admin.execute(sql.SQL(statement).format(sql.Identifier(name)))


def refused(url: str, statement: str) -> bool:
    try:
        query(url, statement)
    except errors.InsufficientPrivilege:
        return True
    return False


async def store_everything(url: str) -> None:
    """Whatever a recorder ever does: new, again, corrected, deleted, rejected samples, new keys, a new epoch."""
    lane = Partition()
    async with SampleStore(url) as store:
        await store.resolve_keys(["p1"], [("d1", "app")])
        samples = rows(4)
        corrected = rows(4, value=61, written_at=samples["time"] + 60 * S)
        deleted = rows(1, flags=int(Flag.TOMBSTONE), value=0, written_at=samples["time"][:1] + 120 * S)
        for batch in (samples, samples, corrected, deleted):
            await store.write(lane.batch(batch, [Rejected(0, 99, "range")]))
            lane.stored()
        mark = (await store.watermarks([lane.topic]))[lane.topic, lane.partition]
        await store.begin_epoch(mark, 0)


async def test_the_recorder_does_all_its_work_and_nothing_else(migrated: str) -> None:
    with login(migrated, "vigil_recorder") as url:
        await store_everything(url)
        assert query(migrated, "SELECT count(*), sum(value) FROM samples") == [(4, 3 * 61.0)]
        for forbidden in (
            "DELETE FROM samples", "TRUNCATE samples", "DROP TABLE samples", "DELETE FROM sample_revisions",
            "UPDATE quarantine SET reason = 'x'", "SELECT 1 FROM alerts", "SELECT 1 FROM data.samples",
            "INSERT INTO reader_scopes (role_name, granted_by) VALUES ('vigil_recorder', 'me')",
            "UPDATE lifecycle_policies SET drop_after = '1 day'", "DELETE FROM legal_holds",
            "CREATE TABLE mine (a int)",
        ):  # fmt: skip
            assert refused(url, forbidden), forbidden


async def test_the_others_do_their_work_and_nothing_else(migrated: str) -> None:
    await store_everything(migrated)
    allowed = {
        "vigil_watch": ["SELECT limits FROM care_profiles", "SELECT code FROM metrics"],
        "vigil_dispatch": ["SELECT 1 FROM alerts", "UPDATE alerts SET state = state", "SELECT 1 FROM notifications"],
        "vigil_console": [
            "SELECT 1 FROM vitals_1h_all", "SELECT value FROM latest",
            "UPDATE alerts SET acknowledged_by = 'a', acknowledged_at = now()",
        ],
        "vigil_quarantine": [
            "SELECT reason FROM quarantine", "UPDATE quarantine SET replayed_at = now()",
            "DELETE FROM quarantine_outbox",
        ],
        "vigil_reader": ["SELECT 1 FROM data.samples", "SELECT 1 FROM data.user_analytics"],
    }  # fmt: skip
    for role, statements in allowed.items():
        with login(migrated, role) as url:
            for statement in statements:
                query(url, statement)
            assert refused(url, "INSERT INTO samples SELECT * FROM samples"), role
            assert refused(url, "DELETE FROM alerts"), role
            assert refused(url, "UPDATE patients SET patient_id = 'x'"), role
            assert refused(url, "SELECT 1 FROM sample_revisions"), role
            assert refused(url, "SELECT 1 FROM samples") is (role != "vigil_console"), role
            if role == "vigil_console":
                assert refused(url, "UPDATE alerts SET state = 'cleared', cleared_at = now()")
                assert refused(url, "SELECT 1 FROM quarantine_records")


def test_a_stranger_may_nothing(migrated: str) -> None:
    with login(migrated) as url:
        tables = query(migrated, """SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname IN ('public', 'data') AND c.relkind IN ('r', 'v', 'm')""")  # fmt: skip
        assert len(tables) > 40
        assert [name for (name,) in tables if not refused(url, f"SELECT 1 FROM {name} LIMIT 1")] == []


async def test_a_reader_sees_what_its_role_was_granted(migrated: str) -> None:
    async with SampleStore(migrated) as store:
        await store.resolve_keys(["p1", "p2"], [("d1", "app")])
        await store.write(Partition().batch(rows(6, patient_key=[1, 1, 1, 2, 2, 2], metric_key=[1, 1, 21, 1, 1, 21])))
    classes = dict(query(migrated, "SELECT metric_key, retention_class FROM metrics WHERE metric_key IN (1, 21)"))
    assert classes[1] != classes[21]
    seen = "SELECT patient_id, count(*) FROM data.samples GROUP BY 1 ORDER BY 1"
    with login(migrated, "vigil_reader") as everything:
        assert query(everything, seen) == [("p1", 3), ("p2", 3)]
    role = f"study_{uuid4().hex[:8]}"
    query(migrated, f"CREATE ROLE {role}; GRANT vigil_views TO {role}")
    with login(migrated, role) as study:
        assert query(study, seen) == []
        query(migrated, "INSERT INTO reader_scopes (role_name, patient_id, retention_class, granted_by) "
                        "VALUES (%s, 'p1', %s, 'test')", (role, classes[1]))  # fmt: skip
        assert query(study, seen) == [("p1", 2)]
        assert query(study, "SELECT patient_id FROM data.patients") == [("p1",)]
        assert query(study, "SELECT count(*) FROM data.user_analytics") == [(0,)]
        # A function of the reader's own that tells all it is shown: the barrier shows it nothing more.
        query(study, "SELECT set_config('told.all', '', false)")
        told = """CREATE FUNCTION pg_temp.tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
            BEGIN PERFORM set_config('told.all', coalesce(current_setting('told.all', true), '') || $1 || ' ', false);
            RETURN true; END $$"""
        with psycopg.connect(study, autocommit=True) as connection:
            connection.execute(told)
            connection.execute("SELECT count(*) FROM data.samples WHERE pg_temp.tell(patient_id)")
            heard = connection.execute("SELECT current_setting('told.all')").fetchone()
        assert heard is not None
        assert set(heard[0].split()) == {"p1"}
    query(migrated, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_nobody_can_log_in_as_a_role_and_granting_again_changes_nothing(migrated: str) -> None:
    assert migrate(migrated) == []
    found = query(migrated, "SELECT rolname, rolcanlogin, rolsuper FROM pg_roles WHERE rolname LIKE 'vigil\\_%'")
    assert {row for row in found if row[0] in ROLES} == {(role, False, False) for role in ROLES}
