"""The device registry on PostgreSQL, and what recorders read of it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.timeseries.making import query
from timeseries.gate import GateReader
from timeseries.migrate import migrate
from timeseries.model import StoreUnavailable
from timeseries.registry import Description, Registry, RegistryRefused
from vitals.clock import from_datetime
from vitals.gate import Binding, DeviceState
from vitals.ids import InvalidId

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STRAP = Description(device_type="chest_strap", model="H10", permitted=("heart_rate", "rr_interval"))
_FOREVER = (1 << 63) - 1


@pytest.fixture
def registry(database: str) -> Iterator[Registry]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield Registry(connection, "nurse-1")


def what(registry: Registry, device: str = "d1") -> list[Any]:
    return [event[1] for event in registry.history(device)[1]]


def test_a_device_lives_from_registration_to_retirement(registry: Registry) -> None:
    registry.register("d1", STRAP)
    registry.change("d1", Description(firmware="3.1.1", streams={"heart_rate": {"cadence_s": 1}}, permit_all=True))
    registry.bind("d1", "p1", NOON)
    registry.set_state("d1", DeviceState.SUSPENDED, "ticket 7")
    registry.set_state("d1", DeviceState.ACTIVE, "ticket 7")
    registry.release("d1", NOON + timedelta(days=1))
    registry.bind("d1", "p2", NOON + timedelta(days=1))
    registry.set_state("d1", DeviceState.RETIRED, "ticket 8")
    (one,) = registry.devices()
    assert (one.state, one.model, one.firmware, one.permitted_metrics) == ("retired", "H10", "3.1.1", None)
    assert (one.patient_id, one.streams) == ("p2", {"heart_rate": {"cadence_s": 1}})
    assert [row[:3] for row in registry.history("d1")[0]] == [
        ("p1", NOON, NOON + timedelta(days=1)), ("p2", NOON + timedelta(days=1), None),
    ]  # fmt: skip
    assert what(registry) == [
        "registered", "changed", "bound", "suspended", "resumed", "released", "bound", "retired",
    ]  # fmt: skip
    assert {event[2] for event in registry.history("d1")[1]} == {"nurse-1"}


def test_what_cannot_be_is_refused_and_changes_nothing(registry: Registry, database: str) -> None:
    registry.register("d1", STRAP)
    registry.bind("d1", "p1", NOON)
    refused: list[Callable[[], None]] = [
        lambda: registry.register("d1", STRAP),
        lambda: registry.register("d2", Description()),
        lambda: registry.register("d2", Description(device_type="watch", permitted=("pulse",))),
        lambda: registry.change("d9", Description(firmware="1")),
        lambda: registry.bind("d9", "p1", NOON),
        lambda: registry.bind("d1", "p2", NOON + timedelta(hours=1)),
        lambda: registry.release("d1", NOON - timedelta(days=1)),
        lambda: registry.set_state("d1", DeviceState.ACTIVE, "again"),
        lambda: registry.set_state("d1", DeviceState.SUSPENDED, " "),
    ]
    for one in refused:
        with pytest.raises(RegistryRefused):
            one()
    with pytest.raises(InvalidId):
        registry.bind("d1", "Erika Mustermann", NOON + timedelta(days=3))
    with psycopg.connect(database) as connection, pytest.raises(InvalidId):
        Registry(connection, "Dr. House!")
    assert what(registry) == ["registered", "bound"]
    assert [device.device_id for device in registry.devices()] == ["d1"]
    registry.set_state("d1", DeviceState.RETIRED, "ticket 1")
    for one in (lambda: registry.set_state("d1", DeviceState.ACTIVE, "x"), lambda: registry.bind("d1", "p1", NOON)):
        with pytest.raises(RegistryRefused):
            one()


def test_no_event_is_ever_deleted(registry: Registry, database: str) -> None:
    registry.register("d1", STRAP)
    for statement in ("DELETE FROM device_events", "TRUNCATE device_events"):
        with pytest.raises(errors.RestrictViolation):
            query(database, statement)


async def test_recorders_see_a_change_within_seconds(registry: Registry, database: str) -> None:
    async with GateReader(database, strict=False, every_s=0) as reader:
        assert (await reader.current()).is_open
        same = await reader.current()
        assert await reader.current() is same, "nothing changed: nothing is read again"
        registry.register("d1", STRAP)
        registry.bind("d1", "p1", NOON)
        rule = (await reader.current()).devices["d1"]
        assert rule.permitted is not None
        assert rule.permitted.tolist() == [1, 2]
        assert rule.bindings == (Binding("p1", from_datetime(NOON), _FOREVER),)
        registry.set_state("d1", DeviceState.SUSPENDED, "ticket 7")
        assert (await reader.current()).devices["d1"].state is DeviceState.SUSPENDED
    async with GateReader(database, strict=True) as cached:
        first = await cached.current()
        assert first.strict
        registry.set_state("d1", DeviceState.ACTIVE, "ticket 7")
        assert await cached.current() is first, "it looks every two seconds, not at every batch"


async def test_a_database_that_is_away_or_behind_is_waited_for(empty_database: str) -> None:
    async with GateReader(empty_database, strict=False) as reader:
        with pytest.raises(StoreUnavailable):
            await reader.current()
        migrate(empty_database)
        assert (await reader.current()).is_open


def test_the_overview_tells_when_a_device_was_last_heard(registry: Registry, database: str) -> None:
    registry.register("d1", STRAP)
    query(database, """
        WITH o AS (INSERT INTO origins (device_key, source_app)
                   SELECT device_key, 'app' FROM devices RETURNING origin_key)
        INSERT INTO latest SELECT 1, metric_key, origin_key, '2026-03-01 12:00+00', '2026-03-01 12:01+00', value, 1, 0
        FROM o, (VALUES (34, 81.0), (46, -2.5), (1, 60)) AS told (metric_key, value)""")  # fmt: skip
    (one,) = registry.devices()
    assert (one.last_measured_at, one.last_seen_at) == (NOON, NOON + timedelta(minutes=1))
    assert (one.battery_pct, one.clock_offset_s) == (81.0, -2.5)
