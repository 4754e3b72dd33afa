"""Acknowledging: an identified person and an act."""

from datetime import timedelta

import httpx

from alerts.event import Priority, State
from tests.console.conftest import NOW, Visit
from tests.console.looking import form_token, piece, words
from tests.console.world import World, alert

EVENT = alert("p-1", NOW - timedelta(minutes=3), priority=Priority.HIGH)
PATH = f"/alerts/{EVENT.alert_id}/acknowledge"


def world() -> World:
    return World(patients=["p-1"], alerts=[EVENT])


async def press(client: httpx.AsyncClient, path: str = PATH, **changes: str) -> httpx.Response:
    token = form_token((await client.get("/")).text)
    fields = {"form_token": token, "actor": "n-417", "priority": "high"} | changes
    return await client.post(path, data={name: value for name, value in fields.items() if value})


async def test_a_person_acknowledges(visit: Visit) -> None:
    async with visit(world()) as client:
        answer = await press(client)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/?notice=done"
        shown = words(piece((await client.get("/")).text, EVENT.alert_id))
    assert "Acknowledged by n-417 , 03:12:44 UTC" in shown
    assert "Acknowledge as" not in shown


async def test_the_console_remembers_who_acts(visit: Visit) -> None:
    async with visit(world()) as client:
        token = form_token((await client.get("/")).text)
        await client.post("/operator", data={"form_token": token, "actor": "n-417"})
        page = (await client.get("/")).text
        assert "Acknowledge as n-417" in words(page)
        answer = await press(client, actor="", patient="p-1")
        assert answer.headers["location"] == "/patients/p-1?notice=done"


async def test_who_came_first_stays(visit: Visit) -> None:
    async with visit(world()) as client:
        await press(client)
        answer = await press(client, actor="n-500")
        assert answer.headers["location"] == "/?notice=already"
        assert "n-417" in piece((await client.get("/")).text, EVENT.alert_id)


async def test_what_nobody_saw_is_not_acknowledged(visit: Visit) -> None:
    over = alert("p-2", NOW - timedelta(minutes=5), state=State.CLEARED, changed_at=NOW)
    both = World(patients=["p-1"], alerts=[EVENT, over])
    async with visit(both) as client:
        risen = await press(client, priority="low")
        cleared = await press(client, f"/alerts/{over.alert_id}/acknowledge", priority="medium")
        unknown = await press(client, f"/alerts/{'0' * 32}/acknowledge")
        assert risen.headers["location"] == cleared.headers["location"] == "/?notice=changed"
        assert unknown.headers["location"] == "/?notice=unknown"
        assert "Acknowledged by" not in piece((await client.get("/")).text, EVENT.alert_id)


async def test_nobody_in_particular_cannot(visit: Visit) -> None:
    async with visit(world()) as client:
        for actor in ("", "Anna Smith", "<b>", "x" * 65):
            answer = await press(client, actor=actor)
            assert answer.headers["location"] == "/?notice=actor"


async def test_a_link_cannot(visit: Visit) -> None:
    async with visit(world()) as client:
        assert (await client.get(PATH)).status_code == 405
        assert (await client.head(PATH)).status_code == 405


async def test_another_site_cannot(visit: Visit) -> None:
    async with visit(world()) as client:
        token = form_token((await client.get("/")).text)
        fields = {"form_token": token, "actor": "n-417", "priority": "high"}
        for site in ("cross-site", "same-site", "none"):
            assert (await client.post(PATH, data=fields, headers={"sec-fetch-site": site})).status_code == 403
        del client.headers["sec-fetch-site"]
        for origin in ({}, {"origin": "null"}, {"origin": "http://evil.example"}):
            assert (await client.post(PATH, data=fields, headers=origin)).status_code == 403
        wrong = fields | {"form_token": "0" * 64}
        assert (await client.post(PATH, data=wrong, headers={"origin": "http://127.0.0.1"})).status_code == 403
        assert (await client.post(PATH, data=fields, headers={"origin": "http://127.0.0.1"})).status_code == 303


async def test_a_form_of_another_session_is_refused(visit: Visit) -> None:
    async with visit(world()) as client:
        token = form_token((await client.get("/")).text)
        client.cookies.clear()
        assert (await press(client, form_token=token)).status_code == 403


async def test_no_large_or_strange_body(visit: Visit) -> None:
    async with visit(world()) as client:
        await client.get("/")
        assert (await client.post(PATH, data={"actor": "x" * 5_000})).status_code == 413
        assert (await client.post(PATH, json={"actor": "n-417"})).status_code == 415
        form = {"content-type": "application/x-www-form-urlencoded"}
        assert (await client.post(PATH, content=b"\xff\xfe", headers=form)).status_code == 415
        assert (await client.post(PATH, content=b"a=1&" * 50, headers=form)).status_code == 415
