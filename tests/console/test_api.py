"""The JSON API and the two health questions."""

from datetime import timedelta

import pytest

from alerts.event import State
from tests.console.conftest import NOW, Visit, visiting
from tests.console.world import FakeReader, Sample, World, alert

WORLD_SAMPLES = [Sample("p-1", "heart_rate", NOW - timedelta(seconds=5 * k + 1), 60 + k % 10) for k in range(600)]


async def test_patients_with_their_newest_values(visit: Visit) -> None:
    async with visit(World(patients=["p-2"], samples=WORLD_SAMPLES)) as client:
        body = (await client.get("/api/patients")).json()
    assert body["total"] == 2
    assert [one["patient_id"] for one in body["patients"]] == ["p-1", "p-2"]
    assert body["patients"][0]["latest"][0]["value"] == 60
    assert body["patients"][0]["latest"][0]["time"] == "2026-07-24T03:12:43Z"
    assert body["patients"][1]["latest"] == []


@pytest.mark.parametrize(
    ("length", "step_s", "made_from"),
    [({"minutes": 12}, 1, "samples"), ({"hours": 26}, 300, "minutes"), ({"days": 14}, 900, "quarters of an hour"),
     ({"days": 60}, 3_600, "hours"), ({"days": 365}, 21_600, "hours"), ({"days": 3_650}, 604_800, "hours")],
)  # fmt: skip
async def test_a_range_is_read_from_the_level_that_fits_it(
    visit: Visit, length: dict[str, int], step_s: int, made_from: str
) -> None:
    world = World(samples=[Sample("p-1", "heart_rate", NOW - timedelta(minutes=k), 60 + k % 10) for k in range(1, 9)])
    start = (NOW - timedelta(**length)).isoformat()
    async with visit(world) as client:
        query = {"metric": "heart_rate", "from": start, "to": NOW.isoformat()}
        body = (await client.get("/api/patients/p-1/series", params=query)).json()
    assert (body["step_s"], body["made_from"]) == (step_s, made_from)
    assert timedelta(**length).total_seconds() / step_s <= 1_500
    assert sum(bucket["n"] for bucket in body["series"][0]["buckets"]) == 8


async def test_open_alerts(visit: Visit) -> None:
    at = NOW - timedelta(minutes=1)
    events = [alert("p-1", at), alert("p-2", at, state=State.CLEARED, changed_at=NOW)]
    async with visit(World(alerts=events)) as client:
        body = (await client.get("/api/alerts")).json()
    assert body["total"] == 1
    keys = {"alert_id", "patient_id", "kind", "priority", "rule", "rule_version", "metric", "opened_at", "state",
            "evidence", "sentence"}  # fmt: skip
    assert keys <= body["alerts"][0].keys()
    assert body["alerts"][0]["evidence"]["threshold"] == 120


async def test_a_series(visit: Visit) -> None:
    async with visit(World(samples=WORLD_SAMPLES)) as client:
        query = {"metric": "heart_rate", "from": "2026-07-24T03:00:00Z", "to": "2026-07-24T03:12:44Z"}
        body = (await client.get("/api/patients/p-1/series", params=query)).json()
        last_hour = (await client.get("/api/patients/p-1/series?metric=heart_rate")).json()
        offset = query | {"from": "2026-07-24T05:00:00+02:00"}
        same = (await client.get("/api/patients/p-1/series", params=offset)).json()
    assert (body["unit"], body["step_s"]) == ("/min", 1)
    assert sum(bucket["n"] for bucket in body["series"][0]["buckets"]) == 153
    assert last_hour["step_s"] == 5
    assert sum(bucket["n"] for bucket in last_hour["series"][0]["buckets"]) == 600
    assert same == body


async def test_a_long_range_has_as_many_values_in_fewer_points(visit: Visit) -> None:
    async with visit(World(samples=WORLD_SAMPLES)) as client:
        query = {"metric": "heart_rate", "from": "2026-07-23T03:12:44Z", "to": "2026-07-24T03:12:44Z"}
        body = (await client.get("/api/patients/p-1/series", params=query)).json()
    buckets = body["series"][0]["buckets"]
    assert body["step_s"] == 60
    assert len(buckets) <= 52
    assert sum(bucket["n"] for bucket in buckets) == 600
    assert (min(bucket["low"] for bucket in buckets), max(bucket["high"] for bucket in buckets)) == (60, 69)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("metric=nonsense", "metric is not in the catalogue"),
        ("", "not valid: metric"),
        ("metric=heart_rate&from=yesterday", "not valid: from"),
        ("metric=heart_rate&from=2026-07-24T03:00:00", "not valid: from"),
        ("metric=heart_rate&from=2026-07-24T03:00:00Z&to=2026-07-24T02:00:00Z", "from must lie before to"),
        ("metric=heart_rate&from=1999-07-24T03:00:00Z", "at most 10 years"),
    ],
)
async def test_bad_questions_are_named_not_quoted(query: str, says: str) -> None:
    async with visiting(FakeReader(World(samples=WORLD_SAMPLES))) as client:
        answer = await client.get(f"/api/patients/p-1/series?{query}")
    assert answer.status_code == 422
    assert says in answer.json()["error"]
    for given in ("nonsense", "yesterday"):
        assert given not in answer.text


async def test_unknown_people(visit: Visit) -> None:
    async with visit(World()) as client:
        for who in ("nobody", "Anna%20Smith"):
            answer = await client.get(f"/api/patients/{who}/series?metric=heart_rate")
            assert (answer.status_code, answer.json()) == (404, {"error": "There is no such page here."})


async def test_health(visit: Visit) -> None:
    async with visit(World()) as client:
        assert (await client.get("/healthz")).json() == {"status": "alive"}
        assert (await client.get("/readyz")).json() == {"status": "ready"}


async def test_without_a_database_the_console_lives_and_says_so() -> None:
    async with visiting(FakeReader(World(down=True))) as client:
        assert (await client.get("/healthz")).status_code == 200
        for path in ("/readyz", "/api/patients", "/api/alerts", "/", "/patients/p-1"):
            answer = await client.get(path)
            assert answer.status_code == 503
            assert "The database does not answer" in answer.text
            assert "SQLSTATE" not in answer.text
