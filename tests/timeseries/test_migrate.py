"""Migrations on stock PostgreSQL and on TimescaleDB: once each, in order, never twice, never edited."""

import threading
from pathlib import Path

import psycopg
import pytest

from tests.timeseries.making import query
from timeseries import migrate as module
from timeseries.migrate import MigrationChanged, WrongMode, migrate, migrations, plan, status
from vitals.catalogue import METRICS


def names(mode: str) -> list[str]:
    return [f"{one.number:04d}_{one.name}" for one in migrations(mode)]


@pytest.mark.parametrize("mode", ["stock", "timescale"])
def test_no_number_is_given_twice_and_they_run_in_order(mode: str) -> None:
    numbers = [one.number for one in migrations(mode)]
    assert numbers == sorted(set(numbers))
    assert {one.mode for one in migrations(mode)} == {None, mode}


def test_stock_from_nothing_and_again(empty_database: str) -> None:
    assert status(empty_database).pending == names("stock")
    assert migrate(empty_database, dry_run=True) == names("stock")
    assert query(empty_database, "SELECT to_regclass('samples')") == [(None,)], "a dry run changes nothing"
    assert migrate(empty_database) == names("stock")
    assert migrate(empty_database) == []
    found = status(empty_database)
    assert (found.mode, found.applied, found.pending) == ("stock", names("stock"), [])


def test_the_unique_identity_is_one(database: str) -> None:
    migrate(database)
    insert = (
        "INSERT INTO samples VALUES (now(), now(), now(), %s, 1, 1, 0, 1, 1, 0, 0, 0) "
        "ON CONFLICT (patient_key, metric_key, origin_key, time, duration_ms) DO NOTHING"
    )
    with psycopg.connect(database) as connection:
        connection.execute(insert, (1.0,))
        assert connection.execute(insert, (2.0,)).rowcount == 0


def test_the_catalogue_in_the_table_is_the_codes(database: str) -> None:
    migrate(database)
    _assert_catalogue(database)
    query(database, "UPDATE metrics SET unit = 'furlong', low = -1 WHERE code = 'heart_rate'")
    assert migrate(database) == []
    _assert_catalogue(database)


def _assert_catalogue(url: str) -> None:
    rows = query(
        url, "SELECT metric_key, code, loinc, unit, kind, retention_class, low, high, cadence_s FROM metrics ORDER BY 1"
    )
    assert rows == [
        (m.number, m.code, m.loinc, m.unit, m.kind.value, m.retention.value, m.low, m.high, m.cadence_s)
        for m in sorted(METRICS, key=lambda m: m.number)
    ]


def test_an_edited_migration_is_refused_and_nothing_runs(database: str) -> None:
    migrate(database)
    query(database, "UPDATE schema_migrations SET checksum = 'of another text' WHERE number = 2")
    for call in (migrate, status):
        with pytest.raises(MigrationChanged, match="0002_samples"):
            call(database)


def test_a_schema_of_the_other_mode_is_refused(database: str) -> None:
    migrate(database)
    query(database, "UPDATE schema_migrations SET mode = 'timescale'")
    with pytest.raises(WrongMode, match="stock"):
        migrate(database)


def test_a_migration_that_fails_leaves_nothing_of_itself(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    good = migrations("stock")
    bad = module.Migration(len(good) + 1, "bad", None, "CREATE TABLE half (x int); SELECT 1 / 0;")
    monkeypatch.setattr(module, "migrations", lambda mode: [*good, bad])
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty_database)
    assert query(empty_database, "SELECT to_regclass('half')") == [(None,)]
    monkeypatch.undo()
    assert migrate(empty_database) == [], "the good ones before it are kept, and no lock is left"


def test_a_file_whose_name_says_no_number_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "sql" / "migrations"
    folder.mkdir(parents=True)
    (folder / "hotfix.sql").write_text("SELECT 1")
    monkeypatch.setattr("timeseries.migrate.resources.files", lambda _: tmp_path)
    with pytest.raises(ValueError, match=r"hotfix\.sql is no migration"):
        migrations("stock")


def test_migrators_at_the_same_time_run_each_migration_once(empty_database: str) -> None:
    ran: list[list[str]] = []
    failed: list[BaseException] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        try:
            ran.append(migrate(empty_database))
        except BaseException as error:  # noqa: BLE001 - reported by the assertion below
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(ran) == [[], [], [], names("stock")]


@pytest.mark.timescale
def test_timescaledb_from_nothing_and_again(wasm: str) -> None:
    assert migrate(wasm, prepare_threshold=None) == names("timescale")
    assert migrate(wasm, prepare_threshold=None) == []
    _assert_catalogue(wasm)
    hypertables = query(
        wasm,
        "SELECT hypertable_name, num_dimensions, compression_enabled FROM timescaledb_information.hypertables "
        "WHERE hypertable_schema = current_schema()",
    )
    assert set(hypertables) >= {
        (name, 1, True)
        for name in ("samples", "vitals_1m_history", "vitals_15m_history", "vitals_1h_history", "waveforms")
    }
    interval = query(
        wasm,
        "SELECT column_name, time_interval::text FROM timescaledb_information.dimensions "
        "WHERE hypertable_schema = current_schema() AND hypertable_name IN ('samples', 'waveforms') "
        "ORDER BY hypertable_name",
    )
    assert interval == [("time", "7 days"), ("time", "1 day")]
    continuous = query(
        wasm,
        "SELECT view_name, materialized_only FROM timescaledb_information.continuous_aggregates "
        "WHERE view_schema = current_schema() ORDER BY 1",
    )
    assert continuous == [("vitals_15m", False), ("vitals_1h", False), ("vitals_1m", False)]


@pytest.mark.timescale
def test_timescaledb_has_its_policies(wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    jobs = query(
        wasm,
        "SELECT hypertable_name, proc_name, config->>'compress_after', config->>'start_offset', config->>'end_offset' "
        "FROM timescaledb_information.jobs WHERE hypertable_schema = current_schema()",
    )
    refresh = "policy_refresh_continuous_aggregate"
    assert set(jobs) >= {
        ("samples", "policy_compression", "7 days", None, None),
        ("vitals_1m", refresh, None, "7 days", "00:01:00"),
        ("vitals_15m", refresh, None, "7 days", "00:15:00"),
        ("vitals_1h", refresh, None, "7 days", "01:00:00"),
        ("vitals_1m_history", "policy_compression", "7 days", None, None),
        ("vitals_15m_history", "policy_compression", "7 days", None, None),
        ("vitals_1h_history", "policy_compression", "7 days", None, None),
    }
    columnstore = query(
        wasm,
        "SELECT segmentby, orderby FROM timescaledb_information.hypertable_columnstore_settings "
        "WHERE hypertable::text ~ 'samples$'",
    )
    assert columnstore == [("patient_key,metric_key,origin_key", '"time",duration_ms')]


@pytest.mark.timescale
def test_the_columnstore_keeps_the_identity_unique(wasm: str) -> None:
    """The policy's work, done by its own job; afterwards the same identity is still refused, another one taken."""
    migrate(wasm, prepare_threshold=None)
    old = "2024-06-01 12:00:00+00"
    insert = f"INSERT INTO samples VALUES ('{old}', now(), now(), 60, 1, %s, 0, 1, 1, 0, 0, 0)"
    query(wasm, insert, (1,))
    (job,) = query(
        wasm,
        "SELECT job_id FROM timescaledb_information.jobs "
        "WHERE proc_name = 'policy_compression' AND hypertable_schema = current_schema() "
        "AND hypertable_name = 'samples'",
    )
    query(wasm, "CALL run_job(%s)", job)
    compressed = query(
        wasm, "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_schema = current_schema()"
    )
    assert compressed == [(True,)]
    with pytest.raises(psycopg.errors.UniqueViolation):
        query(wasm, insert, (1,))
    query(wasm, insert, (2,))
    assert query(wasm, "SELECT count(*) FROM samples") == [(2,)]
    query(wasm, "UPDATE samples SET value = 61 WHERE origin_key = 1")
    assert query(wasm, "SELECT value FROM samples ORDER BY origin_key") == [(61,), (60,)]


def test_every_migration_says_when_it_may_run_and_what_it_locks() -> None:
    for mode in ("stock", "timescale"):
        for one in migrations(mode):
            if one.number > 11:
                assert "\n-- phase: " in one.sql, one.label
                assert "\n-- locks: " in one.sql, one.label
            assert one.notes["phase"] in {"pre", "post"}


def test_before_a_deployment_only_what_the_old_release_bears(
    tmp_path: Path, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sql" / "migrations"
    folder.mkdir(parents=True)
    (folder / "0001_add.sql").write_text("CREATE TABLE metrics (a int);")
    (folder / "0002_add.sql").write_text("-- phase: pre\n-- locks: nothing\nCREATE TABLE b (a int);")
    (folder / "0003_take.sql").write_text("-- phase: post\n-- locks: b\nDROP TABLE b;")
    (folder / "0004_add.sql").write_text("-- phase: pre\nCREATE TABLE c (a int);")
    monkeypatch.setattr("timeseries.migrate.resources.files", lambda _: tmp_path)
    monkeypatch.setattr("timeseries.migrate._mirror_catalogue", lambda _: None)
    monkeypatch.setattr("timeseries.migrate._grant", lambda _: None)
    assert [one.notes["locks"] for one in plan(empty_database)] == ["see the file", "nothing", "b", "see the file"]
    assert migrate(empty_database, before_deploy=True) == ["0001_add", "0002_add"]
    assert migrate(empty_database, before_deploy=True) == []
    assert migrate(empty_database) == ["0003_take", "0004_add"]
