"""A bridge's records through a gateway: what is refused never holds up what comes after, and nothing counts twice."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import structlog

from ingest.client import Aside, AsyncGatewayClient, Gateway, GatewayPublisher, RetryPolicy
from ingest.client.aside import part_of
from ingest.client.publisher import call_of
from ingest.gateway.app import create_app
from ingest.gateway.server import GatewayServer
from ingest.publisher import BrokerUnreachable, RecordRefused
from ingest.record import Record, decode, encode
from ingest.spool import Arrival, Place, Spool
from ingest.spool.arrival import ArrivalPolicy
from ingest.topics import SAMPLES, SAMPLES_BACKFILL, WAVEFORMS
from ingest.waveform_record import encode_chunk
from tests.ingest.client.test_retrying import TOKEN, Told, problem
from tests.ingest.gateway.edge import Running, World, running
from tests.stream.waveforms import chunks
from vitals.access import Kind
from vitals.batch import BatchHeader, sample_columns
from vitals.clock import US_PER_S, system_clock
from vitals.gate import DeviceRule, Gate
from vitals.ids import DeviceId, PatientId

SOON = RetryPolicy(first_s=0.01, longest_s=0.05, give_up_s=0.3)
QUICK = ArrivalPolicy(first_s=0.05, longest_s=0.1, look_every_s=0.05)


def record(bpm: float = 60, *, device: str = "strap-1", count: int = 1, ago_s: int = 2) -> Record:
    start = system_clock() - ago_s * US_PER_S - np.arange(count) * US_PER_S
    columns = sample_columns(start, np.ones(count, np.int16), np.full(count, bpm), received_us=system_clock())
    return encode(BatchHeader(PatientId("through-gateway"), DeviceId(device), "vigil-bridge", "ble"), columns)


def chunk(values: float = 0.0) -> Record:
    one = replace(chunks("ecg", 130.0, np.full((1, 130), values))[0], start_us=system_clock() - 2 * US_PER_S)
    header = BatchHeader(PatientId("through-gateway"), DeviceId("strap-1"), "vigil-bridge", "ble")
    return encode_chunk(header, replace(one, written_us=system_clock(), received_us=system_clock()))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def gateway(world: World) -> Iterator[Running]:
    with running(world) as one:
        yield one


@pytest.fixture
async def publisher(gateway: Running, world: World, tmp_path: Path) -> AsyncIterator[GatewayPublisher]:
    token = world.token(devices=("strap-1", "strap-2"), kind=Kind.BRIDGE)
    client = AsyncGatewayClient(Gateway(gateway.url, token), retry=SOON)
    one = GatewayPublisher(client, aside=Aside(tmp_path / "aside", every_s=0.2))
    await one.start()
    yield one
    await one.stop()


def values(world: World) -> list[float]:
    told = [decode(one.key, one.value, one.headers)[1] for one, topic, _ in world.accepted if topic != WAVEFORMS]
    return [float(value) for columns in told for value in columns.value]


async def until(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110  another thread's doing
            await asyncio.sleep(0.02)


async def test_samples_and_waveforms_arrive_as_the_wearers(publisher: GatewayPublisher, world: World) -> None:
    acks = [await publisher.send(record(60 + n), topic=SAMPLES) for n in range(5)]
    acks.append(await publisher.send(record(50, ago_s=3_600), topic=SAMPLES_BACKFILL))
    acks.append(await publisher.send(chunk(), topic=WAVEFORMS))
    await publisher.confirm(acks)
    assert sorted(values(world)) == [50, 60, 61, 62, 63, 64]
    assert {one.key for one, _, _ in world.accepted} == {b"p-1"}
    assert {dict(one.headers)["vigil-adapter"] for one, _, _ in world.accepted} == {b"ble"}
    topics = [topic for _, topic, _ in world.accepted]
    assert (topics.count(SAMPLES), topics.count(SAMPLES_BACKFILL), topics.count(WAVEFORMS)) == (5, 1, 1)


async def test_what_is_refused_for_good_is_said_and_done_with(publisher: GatewayPublisher, world: World) -> None:
    with structlog.testing.capture_logs() as logs:
        await publisher.confirm([await publisher.send(record(5_000), topic=SAMPLES)])
        await publisher.confirm([await publisher.send(chunk(1_000.0), topic=WAVEFORMS)])
    assert world.accepted == []
    refused = [one["refused"] for one in logs if one["event"] == "bridge_samples_refused"]
    assert refused == [{"out_of_range (never)": 1}, {"out_of_range (never)": 1}]


async def test_what_is_refused_for_now_is_put_aside_and_comes_later(publisher: GatewayPublisher, world: World) -> None:
    world.gate = Gate({"strap-2": DeviceRule()}, strict=True)
    await publisher.confirm([await publisher.send(record(61, count=3), topic=SAMPLES)])
    await publisher.confirm([await publisher.send(record(62, device="strap-2"), topic=SAMPLES)])
    assert values(world) == [62], "what nobody registered holds up nothing"
    world.gate = Gate({"strap-1": DeviceRule(), "strap-2": DeviceRule()}, strict=True)
    await until(lambda: sorted(values(world)) == [61, 61, 61, 62])


async def test_a_device_that_is_not_the_bridges_is_put_aside_too(publisher: GatewayPublisher, world: World) -> None:
    with structlog.testing.capture_logs() as logs:
        await publisher.confirm([await publisher.send(record(device="strap-9"), topic=SAMPLES)])
    assert "bridge_record_put_aside" in [one["event"] for one in logs]
    await publisher.confirm([await publisher.send(record(70), topic=SAMPLES)])
    assert values(world) == [70]


async def test_what_was_put_aside_outlives_the_bridge_and_a_full_folder(
    gateway: Running, world: World, tmp_path: Path
) -> None:
    token = world.token(devices=("strap-1",), kind=Kind.BRIDGE)
    world.gate = Gate(strict=True)
    room = len(record().value) * 3 // 2  # for one, not for two: what waits on stays where it is

    async def bridge(aside: Aside) -> GatewayPublisher:
        one = GatewayPublisher(AsyncGatewayClient(Gateway(gateway.url, token), retry=SOON), aside=aside)
        await one.start()
        return one

    first = await bridge(Aside(tmp_path / "aside", every_s=0.05, max_bytes=room))
    with structlog.testing.capture_logs() as logs:
        for bpm in (61, 62):
            await first.confirm([await first.send(record(bpm), topic=SAMPLES)])
    events = [one["event"] for one in logs]
    assert events.count("bridge_record_put_aside") == 1
    assert events.count("bridge_record_dropped") == 1
    await first.stop()
    with Spool(tmp_path / "aside") as spool:
        assert spool.state(system_clock()).count == 1
    world.gate = Gate({"strap-1": DeviceRule()}, strict=True)
    aside = Aside(tmp_path / "aside", every_s=0.05)
    second = await bridge(aside)
    await until(lambda: not aside.take())
    await second.stop()
    assert values(world) == [61]


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 500, 503])
async def test_what_means_the_bridge_itself_waits(status: int) -> None:
    told = Told(problem(status))
    client = AsyncGatewayClient(
        Gateway("https://gateway.example", TOKEN), retry=SOON, transport=httpx.MockTransport(told)
    )
    publisher = GatewayPublisher(client)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            ack = await publisher.send(record(), topic=SAMPLES)
            with pytest.raises(BrokerUnreachable):
                await publisher.confirm([ack])
    assert [one["event"] for one in logs] == ["bridge_not_let_in"], "once a minute, not once a record"
    assert not any("strap" in str(one) for one in logs)
    await publisher.stop()


@pytest.mark.parametrize(
    ("status", "code"), [(400, "bad_arrow"), (413, "too_large"), (413, "too_many"), (422, "empty")]
)
async def test_what_means_the_record_is_dropped_loudly(status: int, code: str) -> None:
    logs = await _refused(httpx.Response(status, json={"type": f"urn:vigil:problem:{code}", "code": code}))
    assert logs == [("bridge_record_dropped", "error")]


@pytest.mark.parametrize("status", [400, 413, 415, 422])
async def test_what_a_newer_gateway_may_read_is_put_aside(status: int, tmp_path: Path) -> None:
    told = {"type": "urn:vigil:problem:bad_columns", "code": "bad_columns"}
    aside = Aside(tmp_path / "aside", every_s=60)
    aside.open()
    assert await _refused(httpx.Response(status, json=told), aside) == [("bridge_record_put_aside", "warning")]


@pytest.mark.parametrize("status", [404, 405])
async def test_a_route_that_an_older_gateway_lacks_holds_up_its_own_topic_only(status: int) -> None:
    told = {"type": "urn:vigil:problem:not_found", "code": "not_found"}
    with pytest.raises(RecordRefused) as refused:
        await _refused(httpx.Response(status, json=told))
    assert refused.value.whole_topic


@pytest.mark.parametrize("status", [400, 413, 415, 422])
async def test_what_a_proxy_or_a_portal_says_is_no_verdict(status: int) -> None:
    """nginx takes 1 MiB unless told otherwise, and answers in HTML: a whole outage's spool would go into nothing."""
    with pytest.raises(BrokerUnreachable):
        await _refused(httpx.Response(status, html="<html><h1>413 Request Entity Too Large</h1></html>"))


async def _refused(answer: httpx.Response, aside: Aside | None = None) -> list[tuple[str, str]]:
    gateway = Gateway("https://gateway.example", TOKEN)
    client = AsyncGatewayClient(gateway, retry=SOON, transport=httpx.MockTransport(lambda _: answer))
    publisher = GatewayPublisher(client, aside=aside)
    with structlog.testing.capture_logs() as logs:
        try:
            await publisher.confirm([await publisher.send(record(), topic=SAMPLES)])
        finally:
            await publisher.stop()
    return [(one["event"], one["log_level"]) for one in logs]


async def test_an_arrival_spools_while_the_gateway_is_away_and_drains_to_it_later(world: World, tmp_path: Path) -> None:
    token = world.token(devices=("strap-1",), kind=Kind.BRIDGE)
    with running(world) as gateway:
        port = gateway.port
    url = f"http://127.0.0.1:{port}"
    sink = GatewayPublisher(AsyncGatewayClient(Gateway(url, token), retry=SOON), aside=Aside(tmp_path / "aside"))
    async with Arrival(sink, Spool(tmp_path / "spool"), policy=QUICK) as way_in:
        assert [await way_in.accept(record(60 + n)) for n in range(3)] == [Place.SPOOL] * 3
        server = GatewayServer(create_app(world.parts()), port=port)
        serving = asyncio.create_task(server._serve())
        await until(lambda: sorted(values(world)) == [60, 61, 62])
        await until(lambda: way_in.broker_up)
        assert await way_in.accept(record(70)) is Place.BROKER
        server.should_exit = True
        await serving
    assert sorted(values(world)) == [60, 61, 62, 70]


def test_a_record_has_one_key_for_ever() -> None:
    one = record(ago_s=5)
    keys = [call_of(one, topic).headers["idempotency-key"] for topic in (SAMPLES, SAMPLES_BACKFILL)]
    assert keys[0] == keys[1]
    other = Record(one.key, one.value, tuple((n, b"d" if n == "vigil-device" else v) for n, v in one.headers))
    assert call_of(other, SAMPLES).headers["idempotency-key"] != keys[0]
    assert call_of(one, SAMPLES, b"again").headers["idempotency-key"] != keys[0]


def test_a_part_of_a_record_is_a_record() -> None:
    header, columns = decode(*_of(part_of(record(count=5), (1, 3))))
    assert header.device_id == "strap-1"
    assert len(columns) == 2


def _of(one: Record) -> tuple[bytes, bytes, tuple[tuple[str, bytes], ...]]:
    return one.key, one.value, one.headers
