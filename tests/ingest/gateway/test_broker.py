"""The gateway with a real broker and a real spool: what was answered 202 is there, broker or none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ingest.gateway.app import create_app
from ingest.gateway.policy import GatewayPolicy, RatePolicy
from ingest.gateway.server import GatewayServer
from ingest.publisher import Publisher
from ingest.record import Record, decode
from ingest.spool import Arrival, Spool, SpoolPolicy, SpoolState
from ingest.spool.arrival import ArrivalPolicy
from ingest.topics import SAMPLES, SAMPLES_BACKFILL
from tests.ingest.gateway.edge import World, request, sample
from tests.services.topics import read
from vigil.embedded.broker import EmbeddedBroker
from vitals.clock import system_clock

POLICY = GatewayPolicy(requests_of_one=50, rate=RatePolicy(requests_per_s=1e4, requests_burst=1e4))


@contextlib.asynccontextmanager
async def served(bootstrap: str, world: World, policy: SpoolPolicy | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Serve with an arrival of its own, and sign in."""
    spool = Spool(world.folder, policy)
    hurry = ArrivalPolicy(first_s=0.1, longest_s=0.5, look_every_s=0.2)
    async with Arrival(Publisher(bootstrap, timeout_s=2), spool, policy=hurry) as way_in:

        async def state() -> SpoolState:
            return await asyncio.to_thread(spool.state, system_clock())

        server = GatewayServer(create_app(replace(world.parts(), way_in=way_in, spool_state=state), POLICY), port=0)
        serving = asyncio.create_task(server.serve())
        try:
            async with asyncio.timeout(20):
                while not server.started:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            headers = {"authorization": f"Bearer {world.token()}"}
            base_url = f"http://127.0.0.1:{server.port}"
            async with httpx.AsyncClient(base_url=base_url, headers=headers, timeout=20) as client:
                yield client
        finally:
            server.should_exit = True
            await serving


async def make_topics(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1) for name in (SAMPLES, SAMPLES_BACKFILL)])
    await admin.close()


def values(raw: list[bytes], key: bytes = b"p-1") -> list[float]:
    """Return the values of all samples, in order."""
    headers = [("vigil-schema", b"1"), ("vigil-device", b"d"), ("vigil-source-app", b"s"), ("vigil-adapter", b"a")]
    records = [Record(key, value, tuple(headers)) for value in raw]
    return [float(one) for record in records for one in decode(record.key, record.value, record.headers)[1].value]


async def test_a_202_is_in_the_broker_or_on_the_disk_and_in_the_broker_later(tmp_path: Path) -> None:
    world = World(tmp_path)
    with EmbeddedBroker() as own:
        await make_topics(own.bootstrap)
        async with served(own.bootstrap, world) as client:
            body = {"samples": [sample(1, value=60), sample(3_600, value=61)]}
            answer = await client.post("/v1/samples", json=body)
            assert (answer.status_code, answer.json()["safe"]) == (202, "broker")
            assert values(await read(own.bootstrap, SAMPLES, 1)) == [60.0]
            assert values(await read(own.bootstrap, SAMPLES_BACKFILL, 1)) == [61.0]
            own.kill()
            posts = [client.post("/v1/samples", json={"samples": [sample(1, value=70 + at)]}) for at in range(20)]
            answers = await asyncio.gather(*posts)
            assert {(one.status_code, one.json()["safe"]) for one in answers} == {(202, "spool")}
            assert (await client.get("/readyz")).status_code == 200
            me = (await client.get("/v1/devices/me")).json()
            assert me["backlog"]["spooled_records"] == 20
            assert me["backlog"]["hint"] == "send live data first"
        own.start()
        await make_topics(own.bootstrap)
        async with served(own.bootstrap, world) as client:
            late = values(await read(own.bootstrap, SAMPLES_BACKFILL, 20))
            assert sorted(set(late)) == [70.0 + at for at in range(20)]
            answer = await client.post("/v1/samples", json=request())
            assert answer.json()["safe"] == "broker"


async def test_without_broker_and_room_nothing_is_promised(tmp_path: Path) -> None:
    with EmbeddedBroker() as own:
        nobody = own.bootstrap
    async with served(nobody, World(tmp_path), SpoolPolicy(max_bytes=4_000)) as client:
        codes = []
        for _ in range(6):
            answer = await client.post("/v1/samples", json=request())
            codes.append((answer.status_code, answer.json().get("code"), "retry-after" in answer.headers))
        assert codes[0] == (202, None, False)
        assert codes[-1] == (503, "spool_full", True)
