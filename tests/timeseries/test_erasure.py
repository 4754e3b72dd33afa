"""A person's data leave every table and the archive; everybody else's stay, and a hold is above it."""

from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from typer.testing import CliRunner

from tests.timeseries.lifecycle_world import DAY, METRICS, START
from tests.timeseries.making import query
from tests.timeseries.test_lifecycle_raw import filled
from timeseries.archive_erase import UnderHold
from timeseries.archive_storage import open_storage
from timeseries.archive_table import UnknownPatient
from timeseries.archive_verify import verify
from timeseries.consent import Consents, Purpose
from timeseries.erasure import NoArchive, erase
from timeseries.gate import GateReader
from timeseries.lifecycle_archive import LifecycleArchive
from timeseries.store import SampleStore
from vigil.cli import app
from vigil.settings import settings
from vitals.batch import BatchHeader
from vitals.catalogue import BY_CODE
from vitals.clock import system_clock
from vitals.gate import CATEGORIES, Gate
from vitals.ids import DeviceId, PatientId

# These name a person and stay: that there was a hold, a consent, a token, an erasure, and the archive's commitment.
KEPT = {
    "patients", "legal_holds", "erasures", "archive_leaves", "restores", "consents", "consent_events", "access_tokens",
    "access_overview",
}  # fmt: skip
BESIDE = """
CREATE VIEW p AS SELECT p FROM generate_series(1, 3) p;
INSERT INTO care_profiles (patient_key, version, valid_from, limits, created_by, reason)
    SELECT p, 1, now(), '{}', 'u', 'r' FROM p;
INSERT INTO annotations (annotation_key, patient_key, from_time, to_time, kind, source, label)
    SELECT 'n' || p, p, now(), now(), 'report', 'app', 'word' FROM p;
INSERT INTO device_bindings (device_key, patient_key, valid_from, valid_to, bound_by)
    SELECT 1, p, timestamptz '2024-01-01' + p * INTERVAL '1 day', timestamptz '2024-01-02' + p * INTERVAL '1 day', 'u'
    FROM p;
INSERT INTO latest SELECT p, 1, 1, now(), now(), 60, 1, 0 FROM p;
INSERT INTO feature_state (patient_key, origin_key, metric_key, channel, state) SELECT p, 1, 35, 'main', '' FROM p;
INSERT INTO alert_evidence (alert_id, patient_key, from_time, to_time, snapshot)
    SELECT 'a' || p, p, now(), now(), '{}' FROM p;
INSERT INTO alerts (alert_id, patient_id, kind, priority, rule, rule_version, metric, device_id, source_app, state,
        opened_at, raised_at, changed_at, measured_at, retrospective, individualised, evidence, sentence)
    SELECT 'a' || p, 'p' || p, 'technical', 'low', 'r', 1, 'spo2', 'd', 'app', 'raised',
           now(), now(), now(), now(), false, false, '{}', 'Low.' FROM p;
INSERT INTO notifications
        (notification_id, alert_id, patient_id, state, priority, recipient, channel, created_at, delayed)
    SELECT 'm' || p, 'a' || p, 'p' || p, 'raised', 'low', 'r', 'log', now(), false FROM p;
INSERT INTO delivery_attempts (notification_id, attempted_at, attempt, outcome, detail)
    SELECT 'm' || p, now(), 1, 'delivered', 'ok' FROM p;
INSERT INTO quarantine_records (topic, partition, epoch, "offset", patient_id, key, headers, value)
    SELECT 't', 0, 0, p, CASE WHEN p <> 2 THEN 'p' || p END, convert_to('p' || p, 'UTF8'), '[]', '' FROM p;
INSERT INTO quarantine (topic, partition, epoch, "offset", index, reason) SELECT 't', 0, 0, p, 0, 'future' FROM p;
INSERT INTO reader_scopes (role_name, patient_id, granted_by) SELECT 'study', 'p' || p, 'u' FROM p;
INSERT INTO consents (patient_key, category, purpose, valid_from, on_withdrawal, document, recorded_by)
    SELECT p, 'vital', 'care', now(), 'keep', 'c', 'u' FROM p;
INSERT INTO access_tokens (token_id, lineage, kind, patient_key, secret_sha256, created_by, expires_at)
    SELECT t, t, 'bridge', p, sha256('x'), 'u', now() + INTERVAL '1 day'
    FROM p, repeat((ARRAY['a', 'b', 'c'])[p], 16) t;
INSERT INTO sync_anchors SELECT repeat((ARRAY['a', 'b', 'c'])[p], 16), 'HeartRate', 'x', now() FROM p;
INSERT INTO sample_ids SELECT now(), now(), gen_random_uuid(), p, 1, 0, 1 FROM p;
INSERT INTO reviews (review_id, patient_key, rule, rule_version, metric, metrics, state, opened_at, raised_at,
        changed_at, review_by, policy, sentence, evidence)
    SELECT md5(p::text), p, 'activity_changed', 1, 'steps', '{steps}', 'raised', now(), now(), now(), 'c-7', '', 'S.',
           '{}' FROM p;
INSERT INTO review_looks SELECT p, now(), NULL, 0, 0, 28 FROM p;
INSERT INTO deletions_told (patient_key, sample_id, told_at, received_at, device_id, source_app, adapter)
    SELECT p, gen_random_uuid(), now(), now(), 'd', 'app', 'gateway' FROM p;
DROP VIEW p
"""


def holds_of(url: str, patient: int) -> dict[str, int]:
    """How many rows name a patient, in every table that can."""
    columns = query(url, """SELECT c.relname::text, a.attname::text
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE n.nspname = current_schema() AND a.attname IN ('patient_key', 'patient_id')
          AND (c.relkind = 'r' OR c.relname ~ '^vitals_(1m|15m|1h)(_all)?$')""")  # fmt: skip
    assert len(columns) > 25
    found = {}
    for table, column in columns:
        value = patient if column == "patient_key" else f"p{patient}"
        ((found[table],),) = query(url, f"SELECT count(*) FROM {table} WHERE {column} = %s", (value,))
    return {table: count for table, count in found.items() if count}


def everything(url: str, archive: Any) -> Any:
    world = filled(url, archive)
    world.moment = START + 734 * DAY  # of eight days four are in the archive and gone from samples
    world.run()
    for patient in (1, 2, 3):
        world.write(world.samples(patient, METRICS[0], START + 8 * DAY, 4))
    for statement in BESIDE.split(";\n"):
        query(url, statement)
    return world


def one_leaves_and_the_others_stay(url: str, archive: LifecycleArchive) -> None:
    everything(url, archive)
    before = {patient: holds_of(url, patient) for patient in (1, 2, 3)}
    assert {"samples", "vitals_1h", "vitals_1h_all", "archive_leaves", "alerts", "annotations"} <= before[2].keys()
    gone = erase(url, archive, "p2", "dpo-1", "matter 17", prepare_threshold=None)
    assert not gone.still_coming
    assert gone.rows["samples"] == before[2]["samples"]
    assert gone.rows["archive"] > 0
    assert holds_of(url, 2).keys() <= KEPT
    assert {patient: holds_of(url, patient) for patient in (1, 3)} == {patient: before[patient] for patient in (1, 3)}
    assert query(url, "SELECT count(*) FROM quarantine UNION ALL SELECT count(*) FROM quarantine_outbox") == [
        (2,),
        (2,),
    ]
    assert query(url, "SELECT count(*) FROM delivery_attempts") == [(2,)]
    assert query(url, "SELECT patient_key, revoked_by FROM access_tokens ORDER BY 1") == [
        (1, None), (2, "dpo-1"), (3, None),
    ]  # fmt: skip
    assert query(url, "SELECT left(token_id, 1), what, who, why FROM access_events") == [
        ("b", "revoked", "dpo-1", "matter 17")
    ]
    assert query(url, "SELECT left(lineage, 1) FROM sync_anchors ORDER BY 1") == [("a",), ("c",)]
    ((who, why, finished),) = query(url, "SELECT who, why, finished_at IS NOT NULL FROM erasures")
    assert (who, why, finished) == ("dpo-1", "matter 17", True)
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        assert verify(connection, archive.storage, None, None, None).faults == []
    assert erase(url, archive, "p2", "dpo-1", "again", prepare_threshold=None).rows == {}


async def test_what_is_still_on_its_way_is_not_stored_afterwards(database: str) -> None:
    """A gateway may hold it for days: it is let in no more, though no consent is required and none was noted."""
    async with SampleStore(database) as store:
        await store.resolve_keys(["p1", "p2"], [("d1", "app")])
    query(database, "INSERT INTO consents (patient_key, category, purpose, valid_from, on_withdrawal, document,"
                    " recorded_by) SELECT patient_key, category, 'care', now(), 'keep', 'c', 'u' FROM patients,"
                    " unnest('{vital, sleep}'::text[]) category WHERE patient_id = 'p2'")  # fmt: skip
    metric = np.array([BY_CODE[code].number for code in ("heart_rate", "steps", "sleep_stage")], np.int16)
    start_us = np.full(len(metric), system_clock() + 60_000_000)
    async with GateReader(database, strict=False, every_s=0) as reader:
        for patient in ("p1", "p2"):
            header = BatchHeader(PatientId(patient), DeviceId("d1"), "app", "gateway")

            def refused(gate: Gate, header: BatchHeader = header) -> set[tuple[str, bool]]:
                return {(str(reason), bool(which.all())) for reason, which in gate.judge(header, start_us, metric)}

            assert refused(await reader.current()) == ({("no_consent", False)} if patient == "p2" else set())
            erase(database, None, patient, "dpo-1", "matter 17")
            assert refused(await reader.current()) == {("no_consent", True)}
            erase(database, None, patient, "dpo-1", "matter 17, again")
        told = query(database, "SELECT patient_id, what, document, who FROM consent_events JOIN patients USING"
                               " (patient_key) ORDER BY event_id")  # fmt: skip
        assert told == [("p1", "refused", "erasure-1", "dpo-1"), ("p2", "withdrawn", "erasure-3", "dpo-1")]
        assert query(database, "SELECT count(*), bool_and(finished_at IS NOT NULL) FROM erasures") == [(4, True)]
        with psycopg.connect(database, autocommit=True) as connection:
            Consents(connection, "nurse-1").grant("p2", [one.value for one in CATEGORIES], Purpose.CARE, document="c-2")
        assert refused(await reader.current()) == set()


@pytest.fixture
def archive(tmp_path: Path) -> LifecycleArchive:
    return LifecycleArchive(open_storage(str(tmp_path / "archive")))


def test_stock(database: str, archive: LifecycleArchive) -> None:
    one_leaves_and_the_others_stay(database, archive)


@pytest.mark.timescale
def test_timescale(wasm: str, archive: LifecycleArchive) -> None:
    one_leaves_and_the_others_stay(wasm, archive)


def test_a_hold_an_unknown_patient_or_a_missing_archive_refuse_before_anything_goes(
    database: str, archive: LifecycleArchive
) -> None:
    world = everything(database, archive)
    before = {patient: holds_of(database, patient) for patient in (1, 2, 3)}
    world.hold(2)
    with pytest.raises(UnderHold):
        erase(database, archive, "p2", "dpo-1", "matter 17")
    with pytest.raises(UnknownPatient):
        erase(database, archive, "p9", "dpo-1", "matter 17")
    with pytest.raises(NoArchive):
        erase(database, None, "p1", "dpo-1", "matter 17")
    for patient in (1, 3):
        assert holds_of(database, patient) == before[patient]
    assert holds_of(database, 2) == before[2] | {"legal_holds": 1}
    assert query(database, "SELECT 1 FROM erasures") == []


@pytest.mark.parametrize("after", ["samples", "vitals_1h_history", "alerts", "quarantine"])
def test_broken_off_it_goes_on(database: str, archive: LifecycleArchive, after: str) -> None:
    everything(database, archive)
    there = holds_of(database, 2)["samples"]

    def breaks(table: str, _rows: int) -> None:
        if table == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        erase(database, archive, "p2", "dpo-1", "matter 17", done=breaks)
    gone = erase(database, archive, "p2", "dpo-1", "matter 17")
    assert gone.rows["samples"] == there, "what went before it was broken off is counted too"
    assert holds_of(database, 2).keys() <= KEPT
    assert query(database, "SELECT count(*), count(finished_at) FROM erasures") == [(1, 1)]


def test_a_hold_that_is_placed_meanwhile_keeps_what_is_left(database: str, archive: LifecycleArchive) -> None:
    world = everything(database, archive)

    def placed(table: str, _rows: int) -> None:
        if table == "samples":
            world.hold(2)

    with pytest.raises(UnderHold):
        erase(database, archive, "p2", "dpo-1", "matter 17", done=placed)
    left = holds_of(database, 2)
    assert "samples" not in left
    assert {"alerts", "archive_leaves", "vitals_1h_history"} <= left.keys()


def test_the_command_asks_and_says_what_went(
    database: str, archive: LifecycleArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything(database, archive)
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("VIGIL_ARCHIVE_URI", str(tmp_path / "archive"))
    settings.cache_clear()
    words = ["erase", "--patient", "p2", "--who", "dpo-1", "--why", "matter 17"]
    before = holds_of(database, 2)
    assert CliRunner().invoke(app, words, input="n\n").exit_code == 1
    assert holds_of(database, 2) == before
    said = CliRunner().invoke(app, [*words, "--yes"])
    settings.cache_clear()
    assert said.exit_code == 0
    assert "samples" in said.output
    assert "rows are erased" in said.output
    assert holds_of(database, 2).keys() <= KEPT
