"""The synthetic patient in the database: stored like anybody, seen by no reader, and its ids lent to nobody."""

from datetime import UTC, datetime

import psycopg
import pytest

from tests.timeseries.making import Partition, query, rows
from tests.timeseries.test_roles import login, refused
from timeseries.access_tokens import TokenRefused, Tokens, Wanted
from timeseries.beat_reader import BeatReader
from timeseries.checkup import checkup
from timeseries.migrate import migrate
from timeseries.model import StoreUnavailable
from timeseries.registry import Description, Registry, RegistryRefused
from timeseries.rollup import refresh
from timeseries.store import SampleStore
from vigil.heartbeat_token import TokenUnavailable, new
from vitals.access import token_id_of
from vitals.clock import system_clock
from vitals.synthetic import DEVICE, PATIENT, SOURCE_APP

VIEWS = """SELECT table_name FROM information_schema.columns
    WHERE table_schema = 'data' AND column_name = 'patient_id' ORDER BY 1"""


async def stored(url: str, at_us: int) -> None:
    """Three samples of a person, two of the synthetic patient, the newer of it measured at `at_us`."""
    async with SampleStore(url) as store:
        await store.resolve_keys(["p1", PATIENT], [("d1", "app"), (DEVICE, SOURCE_APP)])
        patient = dict(query(url, "SELECT patient_id, patient_key FROM patients"))
        app = dict(query(url, "SELECT source_app, origin_key FROM origins"))
        keys, origin = [patient["p1"]] * 3 + [patient[PATIENT]] * 2, [app["app"]] * 3 + [app[SOURCE_APP]] * 2
        times = [at_us - 60_000_000 * (4 - number) for number in range(5)]
        await store.write(Partition().batch(rows(5, patient_key=keys, origin_key=origin, time=times)))


async def test_its_samples_are_stored_and_no_view_of_the_data_team_shows_them(database: str) -> None:
    await stored(database, 1_717_243_200_000_000)
    assert refresh(database) > 0
    whole = "SELECT count(*) FROM current_samples WHERE patient_id = 'vigil-synthetic'"
    assert query(database, whole) == [(2,)]
    names = [name for (name,) in query(database, VIEWS)]
    assert {"patients", "samples", "vitals_1m", "vitals_15m", "vitals_1h", "vitals_1d", "alerts"} <= set(names)
    with login(database, "vigil_reader") as reader:
        assert query(reader, "SELECT patient_id, count(*) FROM data.samples GROUP BY 1") == [("p1", 3)]
        assert query(reader, "SELECT DISTINCT patient_id FROM data.vitals_1m") == [("p1",)]
        assert query(reader, "SELECT patient_id FROM data.patients") == [("p1",)]
        for name in names:
            shown = query(reader, f"SELECT count(*) FROM data.{name} WHERE patient_id = 'vigil-synthetic'")
            assert shown == [(0,)], name


async def test_the_heartbeat_s_role_sees_its_own_newest_sample_and_nothing_else(database: str) -> None:
    with login(database, "vigil_heartbeat") as url:
        async with BeatReader(url) as reader:
            assert await reader.newest_us() is None
            await stored(database, 1_717_243_200_000_000)
            assert await reader.newest_us() == 1_717_243_200_000_000
        for forbidden in ("SELECT 1 FROM latest", "SELECT 1 FROM samples", "SELECT 1 FROM patients",
                          "SELECT 1 FROM access_tokens", "INSERT INTO patients (patient_id) VALUES ('x')"):  # fmt: skip
            assert refused(url, forbidden), forbidden


async def test_a_database_that_is_away_or_not_migrated_is_no_answer(empty_database: str) -> None:
    async with BeatReader("postgresql://vigil:x@127.0.0.1:1/vigil") as reader:
        with pytest.raises(StoreUnavailable):
            await reader.newest_us()
    async with BeatReader(empty_database) as reader:
        with pytest.raises(StoreUnavailable):
            await reader.newest_us()
        migrate(empty_database)
        assert await reader.newest_us() is None


def test_only_the_heartbeat_gets_a_token_of_it(empty_database: str) -> None:
    with pytest.raises(TokenUnavailable, match="vigil db migrate"):
        new(empty_database)
    migrate(empty_database)
    text = new(empty_database)
    assert query(empty_database, "SELECT token_id, patient_id, kind FROM access_overview") == [
        (token_id_of(text), PATIENT, "bridge")
    ]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        tokens, registry = Tokens(connection, "nurse-1"), Registry(connection, "nurse-1")
        for wanted in (
            Wanted(PATIENT), Wanted("p1", synthetic=True), Wanted(PATIENT, subject=("https://issuer.example", "x")),
        ):  # fmt: skip
            with pytest.raises(TokenRefused, match="synthetic patient"):
                tokens.create(wanted)
        registry.register(DEVICE, Description(device_type="chest_strap"))
        registry.register("d1", Description(device_type="chest_strap"))
        now = datetime.now(UTC)
        for device, patient in (("d1", PATIENT), (DEVICE, "p1")):
            with pytest.raises(RegistryRefused, match="synthetic patient"):
                registry.bind(device, patient, now)
        with pytest.raises(TokenRefused, match="synthetic patient"):
            tokens.create(Wanted(devices=(DEVICE,)))
    assert query(empty_database, "SELECT count(*) FROM access_tokens") == [(1,)]


async def test_the_doctor_looks_at_the_newest_beat_and_misses_no_consent_of_it(empty_database: str) -> None:
    assert checkup(empty_database, []).heartbeat is None
    migrate(empty_database)
    assert checkup(empty_database, []).heartbeat == (None,)
    await stored(empty_database, system_clock() - 5_000_000)
    seen = checkup(empty_database, [])
    assert seen.heartbeat is not None
    assert seen.heartbeat[0] is not None
    assert 5 <= seen.heartbeat[0] < 60
    assert seen.consents == (0, 1)  # the person has none
