"""Tokens on PostgreSQL: made, rotated without a gap, revoked at once; what the gateway reads and keeps of them."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.services.databases import copied_database
from tests.timeseries.making import query
from timeseries.access import AccessReader, TokenRefused, Tokens, Wanted, access_of
from timeseries.access_books import MOST_TYPES, AccessBooks
from timeseries.access_tokens import MOST_ROTATIONS
from timeseries.erasure import erase
from timeseries.migrate import migrate
from timeseries.model import StoreUnavailable
from timeseries.registry import Description, Registry
from vigil.embedded.postgres import EmbeddedPostgres
from vitals.access import Access, Kind, Principal, new_token, token_id_of
from vitals.clock import from_datetime, system_clock
from vitals.gate import DeviceState
from vitals.ids import DeviceId, InvalidId, PatientId

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SUBJECT = ("https://issuer.example", "ward-7")


@pytest.fixture(scope="module")
def furnished(postgres: EmbeddedPostgres, schema: str) -> Iterator[str]:
    """Watch `w1` on p1, strap `s1` on p2, a scale `k1` that nobody wears: a database to copy."""
    with copied_database(postgres.url, schema) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            furnish(connection)
        yield url.rpartition("/")[2]


@pytest.fixture
def database(postgres: EmbeddedPostgres, furnished: str) -> Iterator[str]:
    with copied_database(postgres.url, furnished) as url:
        yield url


@pytest.fixture
def tokens(database: str) -> Iterator[Tokens]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield Tokens(connection, "nurse-1")


def furnish(connection: psycopg.Connection[Any]) -> None:
    registry = Registry(connection, "nurse-1")
    for device in ("w1", "s1", "k1"):
        registry.register(device, Description(device_type="watch"))
    registry.bind("w1", "p1", NOON)
    registry.bind("s1", "p2", NOON)


@asynccontextmanager
async def reading(url: str, **how: Any) -> AsyncIterator[AccessReader]:
    async with AccessReader(url, **how) as reader:
        yield reader


async def opens(reader: AccessReader, text: str | None) -> Principal | None:
    assert text is not None
    found = (await reader.current()).by_token(text, system_clock())
    return None if found is None else found.principal


async def within(seconds: float, reader: AccessReader, text: str | None, *, stands: bool) -> float:
    """Seconds until a token opens, or opens no more, `seconds` at most."""
    began = time.monotonic()
    while (await opens(reader, text) is not None) != stands:
        assert time.monotonic() - began < seconds, "it took too long"
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def answers(reader: AccessReader, expected: bool) -> None:
    """Wait until credentials are known, or not known."""
    deadline = time.monotonic() + 20
    while True:
        try:
            await reader.current()
            known = True
        except StoreUnavailable:
            known = False
        if known == expected:
            return
        assert time.monotonic() < deadline, "it took too long"
        await asyncio.sleep(0.02)


def what(url: str, token_id: str) -> list[Any]:
    return query(url, f"SELECT what, who FROM access_events WHERE token_id = '{token_id}' ORDER BY event_id")


async def test_each_scope_is_read_as_it_was_made(tokens: Tokens, database: str) -> None:
    device = tokens.create(Wanted(patient="p1", devices=("w1",)))
    phone = tokens.create(Wanted(patient="p9"))
    ward = tokens.create(Wanted(devices=("w1", "s1", "k1"), note="ward-7", certificate_sha256="ab" * 32))
    platform = tokens.create(Wanted(patient="p1", subject=SUBJECT))
    assert (phone.patient_is_new, device.patient_is_new, platform.text) == (True, False, None)
    async with reading(database) as reader:
        access = await reader.current()
        assert await opens(reader, device.text) == Principal(
            device.token_id, Kind.DEVICE, PatientId("p1"), frozenset({DeviceId("w1")}), device.token_id
        )
        assert await opens(reader, phone.text) == Principal(
            phone.token_id, Kind.BRIDGE, PatientId("p9"), None, phone.token_id
        )
        found = access.tokens[ward.token_id]
        assert found.principal == Principal(
            ward.token_id, Kind.BRIDGE, None, frozenset(map(DeviceId, ("w1", "s1", "k1"))), ward.token_id
        )
        assert (found.certificate_sha256, found.expires_us) == ("ab" * 32, from_datetime(ward.expires_at))
        subject = access.by_subject(*SUBJECT, system_clock())
        assert subject is not None
        assert (subject.principal.kind, subject.principal.patient_id) == (Kind.PLATFORM, "p1")
        assert access.by_subject("https://other.example", SUBJECT[1], system_clock()) is None
        tokens.revoke(platform.token_id, "ticket 7")
        deadline = time.monotonic() + 3
        while (await reader.current()).by_subject(*SUBJECT, system_clock()) is not None:
            assert time.monotonic() < deadline, "however long its issuer's tokens last"
            await asyncio.sleep(0.01)
    assert what(database, ward.token_id) == [("created", "nurse-1")]


def test_what_cannot_be_is_refused_and_leaves_nothing(tokens: Tokens, database: str) -> None:
    tokens.create(Wanted(patient="p1", subject=SUBJECT))
    before = query(database, "SELECT count(*) FROM access_tokens"), query(database, "SELECT count(*) FROM patients")
    refused = [
        Wanted(),
        Wanted(patient="p1", devices=("unheard-of",)),
        Wanted(devices=("unheard-of",)),
        Wanted(patient="p1", devices=("s1",)),  # worn by p2
        Wanted(patient="p1", devices=("k1",)),  # worn by nobody
        Wanted(patient="p9", devices=("w1",)),  # and p9 is not added on the way
        Wanted(patient="p1", devices=("w1", "w1")),
        Wanted(patient="p1", kind=Kind.DEVICE),
        Wanted(devices=("w1",), kind=Kind.DEVICE),
        Wanted(patient="p1", kind=Kind.PLATFORM),
        Wanted(patient="p1", subject=SUBJECT),  # that subject has one
        Wanted(patient="p1", subject=SUBJECT, kind=Kind.BRIDGE),
        Wanted(patient="p1", lasts=timedelta(days=731)),
        Wanted(patient="p1", lasts=timedelta(0)),
    ]
    for one in refused:
        with pytest.raises(TokenRefused):
            tokens.create(one)
    for named in (
        Wanted(patient="Erika M"),
        Wanted(devices=("Erika's watch",)),
        Wanted(patient="p1", note="for Erika"),
    ):
        with pytest.raises(InvalidId):
            tokens.create(named)
    with psycopg.connect(database) as connection, pytest.raises(InvalidId):
        Tokens(connection, "Dr. House!")
    for call in (lambda: tokens.rotate("a" * 16), lambda: tokens.revoke("a" * 16, "lost")):
        with pytest.raises(TokenRefused):
            call()
    after = query(database, "SELECT count(*) FROM access_tokens"), query(database, "SELECT count(*) FROM patients")
    assert after == before


def test_a_retired_device_gets_no_token(tokens: Tokens, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        Registry(connection, "nurse-1").set_state("w1", DeviceState.RETIRED, "ticket 7")
    with pytest.raises(TokenRefused, match="retired"):
        tokens.create(Wanted(devices=("w1",)))


@pytest.mark.alone
async def test_a_revocation_counts_within_a_second(tokens: Tokens, database: str) -> None:
    made = [tokens.create(Wanted(patient="p1")) for _ in range(6)]
    async with reading(database) as reader:
        for one in made:
            await within(3, reader, one.text, stands=True)
        took = []
        for one in made:
            assert await asyncio.to_thread(tokens.revoke, one.token_id, "ticket 7") == [one.token_id]
            took.append(await within(3, reader, one.text, stands=False))
        assert median(took) < 0.5, "the database tells at once: nobody waits for the look each second"
    assert what(database, made[0].token_id) == [("created", "nurse-1"), ("revoked", "nurse-1")]


async def test_without_notifications_the_look_each_second_counts(tokens: Tokens, database: str) -> None:
    """Behind a pooler that shares sessions nothing is heard."""
    query(database, "CREATE OR REPLACE FUNCTION access_moved() RETURNS trigger LANGUAGE plpgsql AS "
                    "$$ BEGIN UPDATE access_version SET version = access_version.version + 1 "
                    "RETURNING access_version.version INTO NEW.version; RETURN NEW; END $$")  # fmt: skip
    one = tokens.create(Wanted(patient="p1"))
    async with reading(database, every_s=0.2) as reader:
        await within(3, reader, one.text, stands=True)
        tokens.revoke(one.token_id, "ticket 7")
        await within(3, reader, one.text, stands=False)


def test_a_revocation_is_for_good(tokens: Tokens, database: str) -> None:
    one = tokens.create(Wanted(patient="p1"))
    tokens.revoke(one.token_id, "ticket 7")
    with pytest.raises(TokenRefused, match="stands no more"):
        tokens.revoke(one.token_id, "again")
    with pytest.raises(TokenRefused, match="ended"):
        tokens.rotate(one.token_id)
    for statement in (
        "UPDATE access_tokens SET revoked_at = NULL", "UPDATE access_tokens SET revoked_at = now() + interval '1 day'",
        "UPDATE access_tokens SET expires_at = expires_at + interval '1 day'",
        "UPDATE access_tokens SET patient_key = 2", "UPDATE access_tokens SET device_keys = '{1}'",
        "UPDATE access_tokens SET secret_sha256 = sha256('x')", "DELETE FROM access_tokens",
        "TRUNCATE access_tokens CASCADE",
        "DELETE FROM access_events", "TRUNCATE access_events",
    ):  # fmt: skip
        with pytest.raises(errors.RestrictViolation):
            query(database, statement)


async def test_a_token_is_rotated_without_a_gap(tokens: Tokens, database: str) -> None:
    old = tokens.create(Wanted(patient="p1", devices=("w1",), lasts=30 * DAY, certificate_sha256="cd" * 32))
    new = tokens.rotate(old.token_id)
    assert timedelta(0) < new.old_ends_at - datetime.now(UTC) <= DAY
    assert abs(new.expires_at - datetime.now(UTC) - 30 * DAY) < timedelta(minutes=1), "as long as the first"
    async with reading(database) as reader, AccessBooks(database, every_s=60) as books:
        await within(3, reader, new.text, stands=True)
        assert await opens(reader, old.text) is not None
        principal = await opens(reader, new.text)
        assert principal is not None
        assert (principal.holder, principal.only_device, principal.patient_id) == (old.token_id, "w1", "p1")
        assert (await reader.current()).tokens[new.token_id].certificate_sha256 == "cd" * 32
        books.used(old.token_id, system_clock())
        await books.write()
        assert await opens(reader, old.text) is not None, "its own use does not end it"
        books.used(new.token_id, system_clock())
        await books.write()
        await within(3, reader, old.text, stands=False)
        assert await opens(reader, new.text) is not None
    assert [row[0] for row in what(database, old.token_id)] == ["created", "rotated", "used_first", "revoked"]
    assert what(database, new.token_id) == [("created", "nurse-1"), ("used_first", "gateway")]


async def test_the_holder_rotates_again_where_the_answer_was_lost(tokens: Tokens, database: str) -> None:
    old = tokens.create(Wanted(patient="p1"))
    async with AccessBooks(database, every_s=60) as books, reading(database) as reader:
        lost = await books.rotate(old.token_id, system_clock())
        got = await books.rotate(old.token_id, system_clock())
        await within(3, reader, got, stands=True)
        assert await opens(reader, lost) is None
        assert await opens(reader, old.text) is not None
        third = await books.rotate(str(token_id_of(got)), system_clock())  # rotating is using: the first ends
        await within(3, reader, old.text, stands=False)
        await within(3, reader, third, stands=True)
        principal = await opens(reader, third)
        assert principal is not None
        assert principal.holder == old.token_id
        with pytest.raises(TokenRefused, match="ended"):
            await books.rotate(old.token_id, system_clock())
        platform = tokens.create(Wanted(patient="p1", subject=SUBJECT))
        with pytest.raises(TokenRefused, match="issuer"):
            await books.rotate(platform.token_id, system_clock())
    assert ("created", "gateway") in what(database, str(token_id_of(third)))


async def test_nobody_fills_the_table_by_rotating(tokens: Tokens, database: str) -> None:
    one = tokens.create(Wanted(patient="p1"))
    async with AccessBooks(database, every_s=60) as books:
        for _ in range(MOST_ROTATIONS):
            await books.rotate(one.token_id, system_clock())
        with pytest.raises(TokenRefused, match="within an hour"):
            await books.rotate(one.token_id, system_clock())
    assert query(database, "SELECT count(*) FROM access_tokens") == [(1 + MOST_ROTATIONS,)]


def test_an_overlap_of_nothing_ends_the_old_one_at_once(tokens: Tokens) -> None:
    old = tokens.create(Wanted(patient="p1"))
    new = tokens.rotate(old.token_id, timedelta(0))
    states = {one.token_id: (one.state, one.rotated_from, one.replaced_by) for one in tokens.tokens(everything=True)}
    assert states == {
        old.token_id: ("rotated", None, new.token_id), new.token_id: ("unused", old.token_id, None),
    }  # fmt: skip
    with pytest.raises(TokenRefused, match="30 days"):
        tokens.rotate(new.token_id, timedelta(days=31))


def test_who_revokes_one_revokes_what_it_was_rotated_to(tokens: Tokens) -> None:
    first = tokens.create(Wanted(patient="p1"))
    other = tokens.create(Wanted(patient="p1"))
    second = tokens.rotate(first.token_id)
    third = tokens.rotate(second.token_id)
    assert tokens.revoke(first.token_id, "lost") == sorted([first.token_id, second.token_id, third.token_id])
    assert [one.token_id for one in tokens.tokens()] == [other.token_id]
    assert {one.state for one in tokens.tokens("p1", everything=True)} == {"revoked", "unused"}


async def test_only_what_changed_is_read_and_the_rest_stays(tokens: Tokens) -> None:
    rows = [(True, one, one, "bridge", "p1", None, True, bytes(32), NOON, None, None, None, None) for one in "abc"]
    later = [
        (True, "c", "c", "bridge", "p1", None, True, bytes(32), NOON, NOON, None, None, None),
        (False, "b", "b", "bridge", "p1", None, True, bytes(32), NOON, NOON, None, None, None),
        (True, "e", "e", "platform", "p1", None, True, None, NOON, None, None, *SUBJECT),
        (True, "x", "x", "of a later release", "p1", None, True, bytes(32), NOON, None, None, None, None),
    ]
    first = access_of(rows, Access())
    second = access_of(later, first)
    assert first.tokens.keys() == {"a", "b", "c"}, "who holds the older snapshot keeps it"
    assert second.tokens.keys() == {"a", "c"}
    assert second.tokens["a"] is first.tokens["a"]
    assert second.tokens["c"].revoked_us == from_datetime(NOON)
    replaced = [
        (True, "f", "f", "platform", "p2", None, True, None, NOON, None, None, *SUBJECT),
        (False, "e", "e", "platform", "p1", None, True, None, NOON, NOON, None, *SUBJECT),
    ]
    for order in (replaced, replaced[::-1]):
        third = access_of(order, second)
        assert third.subjects[SUBJECT].principal.token_id == "f"
    assert access_of([replaced[1]], second).subjects == {}


async def test_versions_are_seen_in_their_order(tokens: Tokens, database: str) -> None:
    """One that is made first and committed last must not slip by: the second waits for the first."""
    first = new_token()
    insert = ("INSERT INTO access_tokens (token_id, lineage, kind, patient_key, secret_sha256, created_by, expires_at) "
              "VALUES (%s, %s, 'bridge', 1, %s, 'x', now() + interval '1 day')")  # fmt: skip
    async with reading(database) as reader:
        await reader.current()
        with psycopg.connect(database) as slow:
            slow.execute(insert, (first.token_id, first.token_id, first.secret_sha256))
            second = asyncio.create_task(asyncio.to_thread(tokens.create, Wanted(patient="p1")))
            done, _ = await asyncio.wait({second}, timeout=0.3)
            assert not done
            slow.commit()
        await within(3, reader, (await second).text, stands=True)
        await within(3, reader, first.text, stands=True)


async def test_use_is_noted_and_moves_no_version(tokens: Tokens, database: str) -> None:
    one = tokens.create(Wanted(patient="p1"))
    version = query(database, "SELECT version FROM access_version")
    async with AccessBooks(database, every_s=0.05) as books:
        for seconds in (1, 3, 2):
            books.used(one.token_id, from_datetime(NOON + timedelta(seconds=seconds)))
            await books.write()
        books.used("b" * 16, system_clock())  # of another database, say
        await books.write()
    (token,) = tokens.tokens()
    assert (token.last_used_at, token.state) == (NOON + timedelta(seconds=3), "active")
    assert [row[0] for row in what(database, one.token_id)] == ["created", "used_first"]
    assert query(database, "SELECT version FROM access_version") == version


async def test_anchors_survive_rotation_and_stay_bounded(tokens: Tokens, database: str) -> None:
    old, other = tokens.create(Wanted(patient="p1")), tokens.create(Wanted(patient="p2"))
    async with AccessBooks(database, every_s=60) as books:
        assert await books.anchors(old.token_id) == {}
        books.anchored(old.token_id, {"heart_rate": "a1", "steps": "s1"})
        books.anchored(
            old.token_id, {"heart_rate": "a2", "": "x", "bad\x00": "x", "half": "\ud800", "long": "x" * 4_097}
        )
        assert await books.anchors(old.token_id) == {"heart_rate": "a2", "steps": "s1"}
        new = await books.rotate(old.token_id, system_clock())
        new_id = str(token_id_of(new))
        books.anchored(new_id, {"heart_rate": "a3"})
        assert await books.anchors(new_id) == await books.anchors(old.token_id) == {"heart_rate": "a3", "steps": "s1"}
        assert await books.anchors(other.token_id) == {}
        for start in range(0, MOST_TYPES + 200, 100):
            books.anchored(other.token_id, {f"t{number}": "x" for number in range(start, start + 100)})
            await books.write()
        assert len(await books.anchors(other.token_id)) == MOST_TYPES
        books.anchored(other.token_id, {"t0": "y"})
        assert (await books.anchors(other.token_id))["t0"] == "y"


async def test_refusals_are_counted_by_day_adapter_and_metric(tokens: Tokens, database: str) -> None:
    clock = iter([NOON, NOON, NOON + DAY]).__next__
    async with AccessBooks(database, every_s=60, clock=lambda: from_datetime(clock())) as books:
        books.not_consented("gateway", {1: 5, 2: 1})
        books.not_consented("gateway", {1: 2})
        await books.write()
        books.not_consented("gateway", {1: 4})
    rows = query(database, "SELECT day::text, adapter, metric_key, samples FROM not_consented ORDER BY 1, 2, 3")
    assert rows == [("2026-03-01", "gateway", 1, 7), ("2026-03-01", "gateway", 2, 1), ("2026-03-02", "gateway", 1, 4)]


async def test_one_bad_note_costs_only_its_own_kind(tokens: Tokens, database: str) -> None:
    one = tokens.create(Wanted(patient="p1"))
    said: list[str] = []
    async with AccessBooks(database, every_s=60, failed=said.append) as books:
        books.used(one.token_id, system_clock())
        books.not_consented("gateway", {1_000_000: 1})  # no metric's number
    assert len(said) == 1
    assert tokens.tokens()[0].last_used_at is not None


async def test_the_newest_samples_of_the_scope_are_told(tokens: Tokens, database: str) -> None:
    query(database, """
        WITH o AS (INSERT INTO origins (device_key, source_app)
                   SELECT device_key, app FROM devices, (VALUES ('a'), ('b')) AS apps (app)
                   RETURNING origin_key, device_key, ascii(source_app) AS s)
        INSERT INTO latest
        SELECT p.patient_key, 1, origin_key, '2026-03-01 12:00+00'::timestamptz + make_interval(secs => s),
               '2026-03-01 13:00+00', 60, 1, 0
        FROM o JOIN devices USING (device_key)
        JOIN patients p ON p.patient_id = CASE device_id WHEN 's1' THEN 'p2' ELSE 'p1' END""")  # fmt: skip
    newest = from_datetime(NOON + timedelta(seconds=ord("b")))
    async with AccessBooks(database) as books:

        def told(patient: str | None, *devices: str) -> Any:
            scope = frozenset(map(DeviceId, devices)) or None
            return books.last_samples(Principal("a" * 16, Kind.BRIDGE, patient and PatientId(patient), scope))  # type: ignore[arg-type]

        assert [(one.device_id, one.metric, one.start_us) for one in await told("p1")] == [
            ("k1", "heart_rate", newest), ("w1", "heart_rate", newest),
        ]  # fmt: skip
        assert [one.device_id for one in await told("p1", "w1")] == ["w1"]
        assert [one.device_id for one in await told(None, "s1", "k1")] == ["k1", "s1"]
        assert await told("p1", "s1") == []
        assert await told("nobody") == []


async def test_a_database_that_is_behind_is_waited_for(database: str) -> None:
    query(database, "ALTER TABLE access_tokens RENAME TO not_yet")
    async with AccessReader(database, every_s=0.05) as reader, AccessBooks(database, every_s=60) as books:
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await reader.current()
            with pytest.raises(StoreUnavailable):
                await books.anchors("a" * 16)
            with pytest.raises(StoreUnavailable):
                await books.rotate("a" * 16, system_clock())
        query(database, "ALTER TABLE not_yet RENAME TO access_tokens")
        await answers(reader, True)
        assert (await reader.current()).tokens == {}
        await books.write()


async def test_notes_outlive_an_outage_and_credentials_come_back() -> None:
    """A server of its own is stopped and started: what was noted meanwhile is written, what was revoked is known."""
    # Not below pytest's folder: see tests/conftest.py.
    with (
        tempfile.TemporaryDirectory(prefix="vigil-postgres-") as folder,
        EmbeddedPostgres(Path(folder) / "data") as server,
    ):
        migrate(server.url)
        with psycopg.connect(server.url, autocommit=True) as connection:
            furnish(connection)
            one = Tokens(connection, "nurse-1").create(Wanted(patient="p1"))
        async with (
            AccessReader(server.url, every_s=0.1, fresh_s=0.5) as reader,
            AccessBooks(server.url, every_s=0.1) as books,
        ):
            await within(5, reader, one.text, stands=True)
            await asyncio.to_thread(server.stop)
            books.used(one.token_id, system_clock())
            books.anchored(one.token_id, {"steps": "s1"})
            books.not_consented("gateway", {1: 3})
            await answers(reader, False)
            with pytest.raises(StoreUnavailable):
                await books.write()
            books.not_consented("gateway", {1: 4})
            await asyncio.to_thread(server.start)
            with psycopg.connect(server.url, autocommit=True) as connection:
                Tokens(connection, "nurse-1").revoke(one.token_id, "ticket 7")
            await answers(reader, True)  # it may have read before the revocation: that counts within a second
            await within(3, reader, one.text, stands=False)
        assert query(server.url, "SELECT sum(samples) FROM not_consented") == [(7,)]
        assert query(server.url, "SELECT anchor FROM sync_anchors") == [("s1",)]
        assert query(server.url, "SELECT last_used_at IS NOT NULL FROM access_tokens") == [(True,)]


LOCKED = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def test_the_last_answer_stands_until_a_new_connection_has_all_of_the_next(tokens: Tokens, database: str) -> None:
    """The connection breaks, and the next one hangs in the middle of reading: nobody is turned away meanwhile."""
    one = tokens.create(Wanted(patient="p1"))
    async with reading(database, every_s=0.05, fresh_s=30.0) as reader:
        await within(5, reader, one.text, stands=True)
        with psycopg.connect(database) as slow:
            slow.execute("LOCK TABLE access_tokens IN ACCESS EXCLUSIVE MODE")
            query(
                database,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event = 'ClientRead' AND pid <> pg_backend_pid()"
                " AND query NOT LIKE 'LOCK%'",
            )
            for _ in range(100):
                waiting = query(database, LOCKED)
                assert await opens(reader, one.text) is not None
                if waiting != [(0,)]:
                    break
                await asyncio.sleep(0.05)
            assert waiting != [(0,)], "the reader reads anew"
            for _ in range(10):
                assert await opens(reader, one.text) is not None
                await asyncio.sleep(0.02)
        await within(5, reader, one.text, stands=True)


async def test_memory_is_bounded_while_the_database_is_away() -> None:
    books = AccessBooks("postgresql://nobody@127.0.0.1:1/none", every_s=60)
    for number in range(120_000):
        books.used(f"t{number}", number)
    for number in range(3_000):
        books.anchored("a" * 16, {f"type{number}": "x"})
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await books.write()
    assert len(books._notes.used) == 100_000
    assert "t119999" in books._notes.used
    assert len(books._notes.anchors) == 2_000
    assert ("a" * 16, "type2999") in books._notes.anchors


async def test_who_is_erased_is_locked_out_and_forgotten(tokens: Tokens, database: str) -> None:
    phone, watch = tokens.create(Wanted(patient="p1")), tokens.create(Wanted(patient="p1", devices=("w1",)))
    other, ward = tokens.create(Wanted(patient="p2")), tokens.create(Wanted(devices=("w1", "s1")))
    everybody = (phone, watch, other, ward)
    async with AccessBooks(database, every_s=60) as books, reading(database) as reader:
        for one in everybody:
            await within(3, reader, one.text, stands=True)
            books.anchored(one.token_id, {"steps": "s1"})
        await books.write()
        await asyncio.to_thread(erase, database, None, "p1", "nurse-1", "ticket 7")
        for one in (phone, watch):
            await within(3, reader, one.text, stands=False)
        assert [bool(await opens(reader, one.text)) for one in (other, ward)] == [True, True]
        assert [await books.anchors(one.token_id) for one in everybody] == [{}, {}, {"steps": "s1"}, {"steps": "s1"}]
    assert what(database, phone.token_id)[-1] == ("revoked", "nurse-1")


async def test_nothing_stored_holds_a_secret(tokens: Tokens, database: str) -> None:
    made = tokens.create(Wanted(patient="p1", devices=("w1",)))
    rotated = tokens.rotate(made.token_id)
    async with AccessBooks(database, every_s=60) as books:
        books.used(rotated.token_id, system_clock())
        third = await books.rotate(rotated.token_id, system_clock())
        books.anchored(made.token_id, {"steps": "s1"})
    tokens.revoke(made.token_id, "ticket 7")
    names = query(
        database,
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
    )
    dump = "".join(str(query(database, f"SELECT t::text FROM {name} t")) for (name,) in names)
    assert made.token_id in dump
    for text in (made.text, rotated.text, third):
        assert text is not None
        secret = text[-43:]
        assert secret not in dump
        assert secret.encode().hex() not in dump
        assert secret not in repr((made, rotated))


async def test_the_same_on_timescaledb(wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    with psycopg.connect(wasm, prepare_threshold=None, autocommit=True) as connection:
        furnish(connection)
        tokens = Tokens(connection, "nurse-1")
        old, gone = tokens.create(Wanted(patient="p1", devices=("w1",))), tokens.create(Wanted(patient="p2"))
        new = tokens.rotate(old.token_id)
        tokens.revoke(gone.token_id, "ticket 7")
    # One after the other: all connections share the one session there, and a slow one would hold up the rest.
    patient: dict[str, Any] = {"within_s": 60, "prepare_threshold": None}
    async with reading(wasm, fresh_s=60, wait_s=60, **patient) as reader:
        assert await opens(reader, old.text) is not None
        assert await opens(reader, gone.text) is None
    async with AccessBooks(wasm, every_s=60, **patient) as books:
        books.used(new.token_id, system_clock())
        books.anchored(new.token_id, {"steps": "s1"})
        books.not_consented("gateway", {1: 3})
        assert await books.anchors(old.token_id) == {"steps": "s1"}
        assert await books.last_samples(Principal("a" * 16, Kind.BRIDGE, PatientId("p1"))) == []
    async with reading(wasm, fresh_s=60, wait_s=60, **patient) as reader:
        assert await opens(reader, old.text) is None
        assert await opens(reader, new.text) is not None
