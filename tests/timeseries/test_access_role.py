"""The gateway's own role: what its rooms do to the database it may do, and nothing else."""

import psycopg
import pytest

from tests.timeseries.making import Partition, query, rows
from tests.timeseries.test_roles import login, refused
from timeseries.access import AccessReader, Tokens, Wanted
from timeseries.access_books import AccessBooks
from timeseries.gate import GateReader
from timeseries.registry import Description, Registry
from timeseries.store import SampleStore
from vitals.access import new_token, token_id_of
from vitals.clock import system_clock


@pytest.fixture
def migrated(database: str) -> str:
    return database


async def test_the_gateway_does_all_its_work_and_nothing_else(migrated: str) -> None:
    async with SampleStore(migrated) as store:
        await store.resolve_keys(["p1"], [("d1", "app")])
        await store.write(Partition().batch(rows(4)))
    with psycopg.connect(migrated, autocommit=True) as connection:
        Registry(connection, "nurse-1").register("d1", Description(device_type="watch"))
        made = Tokens(connection, "nurse-1").create(Wanted(patient="p1"))
    with login(migrated, "vigil_gateway") as url:
        async with GateReader(url, strict=True, require_consent=True) as gate:
            assert "d1" in (await gate.current()).devices
        async with AccessReader(url) as reader, AccessBooks(url, every_s=60) as books:
            found = (await reader.current()).by_token(str(made.text), system_clock())
            assert found is not None
            assert [one.metric for one in await books.last_samples(found.principal)] == ["heart_rate"]
            for turn in ("a1", "a2"):
                books.used(made.token_id, system_clock())
                books.anchored(made.token_id, {"heart_rate": turn})
                books.not_consented("gateway", {1: 2})
                await books.write()
            assert await books.anchors(made.token_id) == {"heart_rate": "a2"}
            new = await books.rotate(made.token_id, system_clock())
            again = await books.rotate(made.token_id, system_clock())
            books.used(str(token_id_of(again)), system_clock())
            await books.write()
        states = dict(query(migrated, "SELECT token_id, state FROM access_overview"))
        assert states == {made.token_id: "rotated", token_id_of(new): "rotated", token_id_of(again): "active"}
        assert query(migrated, "SELECT sum(samples) FROM not_consented") == [(4,)]
        for forbidden in (
            "SELECT 1 FROM samples", "SELECT 1 FROM sample_revisions", "SELECT 1 FROM waveforms",
            "SELECT 1 FROM alerts", "SELECT 1 FROM vitals_1h", "SELECT 1 FROM quarantine_records",
            "SELECT 1 FROM data.samples", "SELECT 1 FROM access_events", "DELETE FROM access_events",
            "UPDATE access_events SET who = 'x'",
            "DELETE FROM access_tokens", "UPDATE access_tokens SET expires_at = now()",
            "UPDATE access_tokens SET secret_sha256 = sha256('x')", "UPDATE access_tokens SET patient_key = 1",
            "UPDATE access_tokens SET device_keys = NULL", "UPDATE access_tokens SET revoked_by = 'x'",
            "DELETE FROM sync_anchors", "UPDATE sync_anchors SET lineage = 'x'", "DELETE FROM not_consented",
            "INSERT INTO patients (patient_id) VALUES ('x')", "UPDATE patients SET patient_id = 'x'",
            "INSERT INTO devices (device_id) VALUES ('x')", "UPDATE device_registry SET state = 'active'",
            "INSERT INTO device_bindings (device_key, patient_key, valid_from, bound_by) VALUES (1, 1, now(), 'x')",
            "UPDATE gate_version SET version = 0", "UPDATE consents SET document = 'x'", "DELETE FROM latest",
            "CREATE TABLE mine (a int)",
        ):  # fmt: skip
            assert refused(url, forbidden), forbidden
        with pytest.raises(psycopg.errors.RestrictViolation):
            query(url, "UPDATE access_tokens SET revoked_at = NULL")


SUCCESSOR = """
INSERT INTO access_tokens (token_id, lineage, rotated_from, kind, patient_key, device_keys, secret_sha256,
                           certificate_sha256, created_by, created_at, expires_at)
SELECT %(new)s, lineage, token_id, {kind}, {patient_key}, {device_keys}, %(hash)s, {certificate}, 'gateway',
       {created}, {created} + (expires_at - created_at) + {longer}
FROM access_tokens WHERE token_id = %(old)s
"""
SAME = {"kind": "kind", "patient_key": "patient_key", "device_keys": "device_keys", "created": "now()",
        "certificate": "certificate_sha256", "longer": "interval '0'"}  # fmt: skip
FIRST = """
INSERT INTO access_tokens (token_id, lineage, kind, patient_key, secret_sha256, created_by, expires_at)
SELECT %(new)s, %(new)s, 'bridge', patient_key, %(hash)s, 'gateway', now() + interval '1 day'
FROM patients WHERE patient_id = 'p2'
"""


def test_the_gateway_makes_no_token_but_a_successor_that_opens_the_same(migrated: str) -> None:
    with psycopg.connect(migrated, autocommit=True) as owner:
        tokens = Tokens(owner, "nurse-1")
        registry = Registry(owner, "nurse-1")
        for device in ("d1", "d2"):
            registry.register(device, Description(device_type="watch"))
        tokens.create(Wanted(patient="p2"))
        made = tokens.create(Wanted(patient="p1", devices=(), certificate_sha256="ab" * 32))
        ward = tokens.create(Wanted(devices=("d1",)))
        ended = tokens.create(Wanted(patient="p1"))
        tokens.revoke(ended.token_id, "lost")
        (other,) = owner.execute("SELECT patient_key FROM patients WHERE patient_id = 'p2'").fetchone() or ()

        def insert(url: str, statement: str, old: str) -> None:
            token = new_token()
            values = {"new": token.token_id, "hash": token.secret_sha256, "old": old}
            with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
                connection.execute(statement, values)

        with login(migrated, "vigil_gateway") as url:
            insert(url, SUCCESSOR.format_map(SAME), made.token_id)
            wider = [
                FIRST,
                *(SUCCESSOR.format_map(SAME | {field: value}) for field, value in (
                    ("kind", "'device'"), ("patient_key", str(other)), ("certificate", "NULL"),
                    ("certificate", f"'{'cd' * 32}'"), ("longer", "interval '1 second'"),
                    ("created", "now() + interval '300 days'"),
                )),
            ]  # fmt: skip
            for statement in wider:
                with pytest.raises((psycopg.errors.RestrictViolation, psycopg.errors.CheckViolation)):
                    insert(url, statement, made.token_id)
            (both,) = owner.execute("SELECT array_agg(device_key) FROM devices").fetchone() or ()
            for devices in (f"ARRAY{both}::integer[]", "NULL"):
                with pytest.raises(psycopg.errors.RestrictViolation):
                    insert(
                        url,
                        SUCCESSOR.format_map(SAME | {"device_keys": devices, "patient_key": str(other)}),
                        ward.token_id,
                    )
            with pytest.raises(psycopg.errors.RestrictViolation):
                insert(url, SUCCESSOR.format_map(SAME), ended.token_id)
        with pytest.raises(psycopg.errors.RestrictViolation):
            insert(migrated, SUCCESSOR.format_map(SAME | {"patient_key": str(other)}), made.token_id)
        insert(migrated, FIRST, "")
