"""The hub: one question for all pages, a bounded number of listeners, no stream left at the end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import console.live
from console.live import Hub, TooManyListeners
from tests.console.conftest import NOW, visiting
from tests.console.world import FakeReader, World, alert
from vitals.clock import from_datetime


class Counting(FakeReader):
    asked = 0

    async def version(self) -> str:
        self.asked += 1
        return await super().version()


@asynccontextmanager
async def running(reader: FakeReader, **settings: float) -> AsyncIterator[Hub]:
    limit = int(settings.get("max_listeners", 10))
    hub = Hub(reader, lambda: from_datetime(NOW), every_s=0.01, max_listeners=limit)
    task = asyncio.create_task(hub.run())
    yield hub
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def kind(event: str) -> str:
    return event.partition("event: ")[2].partition("\n")[0]


async def next_of(stream: AsyncIterator[str], wanted: str) -> str:
    while True:
        event = await asyncio.wait_for(anext(stream), 5)
        if kind(event) == wanted:
            return event


async def test_a_change_wakes_every_page() -> None:
    world = World()
    async with running(Counting(world)) as hub:
        streams = [hub.stream() for _ in range(3)]
        before = [(await next_of(stream, "changed")).removeprefix("retry: 3000\n\n") for stream in streams]
        world.alerts.append(alert("p-1", NOW))
        after = [await next_of(stream, "changed") for stream in streams]
    assert len(set(before)) == len(set(after)) == 1
    assert before != after
    data = json.loads(after[0].partition("data: ")[2])
    assert data["now"] == "2026-07-24T03:12:44+00:00"
    assert len(data["text"]) == 16


async def test_nobody_listens_nobody_asks() -> None:
    reader = Counting(World())
    async with running(reader) as hub:
        await asyncio.sleep(0.1)
        assert reader.asked == 0
        stream = hub.stream()
        await next_of(stream, "changed")
        await stream.aclose()
        assert hub.listeners == 0
        await asyncio.sleep(0.05)
        asked = reader.asked
        await asyncio.sleep(0.1)
        assert reader.asked == asked


async def test_silence_is_filled_with_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.live, "BEAT_S", 0.05)
    async with running(FakeReader(World())) as hub:
        stream = hub.stream()
        beat = await next_of(stream, "beat")
    assert beat.startswith(": ")


async def test_trouble_is_told_and_its_end_too() -> None:
    world = World()
    async with running(FakeReader(world)) as hub:
        stream = hub.stream()
        await next_of(stream, "changed")
        world.down = True
        assert "does not answer" in await next_of(stream, "trouble")
        world.down = False
        await next_of(stream, "changed")


async def test_listeners_are_bounded() -> None:
    async with running(FakeReader(World()), max_listeners=2) as hub:
        streams = [hub.stream() for _ in range(2)]
        for stream in streams:
            await anext(stream)
        with pytest.raises(TooManyListeners):
            hub.check_room()
        assert [event async for event in hub.stream()] == []
        await streams[0].aclose()
        hub.check_room()


async def test_one_page_too_many_is_told_so() -> None:
    async with visiting(FakeReader(World()), max_listeners=0) as client:
        answer = await client.get("/events")
    assert (answer.status_code, answer.json()) == (503, {"error": "too many pages are open"})


async def test_closing_ends_every_stream() -> None:
    async with running(FakeReader(World())) as hub:
        stream = hub.stream()
        await anext(stream)
        hub.close()
        async with asyncio.timeout(5):
            assert [kind(event) async for event in stream][-1:] in (["changed"], ["waiting"], [])
        assert hub.listeners == 0
