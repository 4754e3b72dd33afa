"""The client against a gateway that runs: every call, the stream, TLS with certificates, a token that ends."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from ingest.client import (
    AsyncGatewayClient,
    Forbidden,
    Gateway,
    GatewayClient,
    GatewayRefused,
    GatewayUnreachable,
    NotSignedIn,
    RetryPolicy,
    Sample,
    TryLater,
    Wire,
)  # fmt: skip
from ingest.client.samples import columns_of
from ingest.client.stream import SUBPROTOCOL
from ingest.gateway.policy import GatewayPolicy, RatePolicy
from ingest.gateway.server import Tls
from ingest.record import decode
from ingest.spool import Place, SpoolFull
from ingest.topics import DELETIONS
from tests.ingest.client.certificates import Authority
from tests.ingest.gateway.edge import Running, World, running, until
from vitals.access import Kind
from vitals.clock import system_clock
from vitals.gate import Binding, DeviceRule, Gate

SOON = RetryPolicy(first_s=0.01, longest_s=0.05, give_up_s=3.0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def gateway(world: World) -> Iterator[Running]:
    with running(world) as one:
        yield one


def samples(count: int = 3) -> list[Sample]:
    now = datetime.now(UTC)
    return [Sample("heart_rate", now - timedelta(seconds=n + 1), 60.0 + n) for n in range(count)]


def to(gateway: Running, token: str) -> Gateway:
    return Gateway(gateway.url, token)


def test_every_call_of_a_phone(gateway: Running, world: World) -> None:
    token = world.token()
    with GatewayClient(to(gateway, token)) as client:
        client.check()
        client.check(ready=True)
        sent = client.send(samples(), anchors={"heart_rate": "YW5jaG9y"}, deletions=[uuid4()])
        assert (sent.received, sent.accepted, sent.deletions, sent.anchors) == (3, 3, 1, ("heart_rate",))
        assert sent.safe is Place.BROKER
        as_arrow = client.send(samples(), wire=Wire.ARROW, source_app="my-app")
        assert as_arrow.accepted == 3
        me = client.me()
        assert (me.kind, me.devices, me.batch, me.hint) == ("device", ("watch-1",), 500, "send")
        assert me.anchors == {"heart_rate": "YW5jaG9y"}
        assert me.last_samples is not None
        assert me.last_samples[0].metric == "heart_rate"
        made = client.rotate()
        assert made.token.startswith("vgl_")
    told = [record for record, topic, _ in world.accepted if topic != DELETIONS]
    heads = [decode(one.key, one.value, one.headers)[0] for one in told]
    assert [(one.patient_id, one.device_id, one.source_app) for one in heads] == [
        ("p-1", "watch-1", "gateway"), ("p-1", "watch-1", "my-app"),
    ]  # fmt: skip
    assert [topic for _, topic, _ in world.accepted].count(DELETIONS) == 1


def test_verdicts_come_back_by_index(gateway: Running, world: World) -> None:
    now_us = system_clock()
    worn = Binding("p-1", now_us - 2 * 3_600_000_000, now_us - 1_800_000_000)
    world.gate = Gate({"watch-1": DeviceRule(bindings=(worn,))})
    mixed = [replace(one, start=one.start - timedelta(hours=1)) for one in samples(2)]
    mixed += [mixed[0], samples(1)[0]]  # of the last nobody has said yet who wore the watch
    mixed.append(Sample("heart_rate", datetime.now(UTC), 5_000))
    with GatewayClient(to(gateway, world.token())) as client:
        sent = client.send(mixed, anchors={"heart_rate": "x"})
    assert (sent.received, sent.accepted, sent.duplicates, sent.rejected) == (5, 2, 1, 2)
    assert {one.index: (one.status.value, one.reason) for one in sent.outcomes} == {
        2: ("duplicate", ""), 3: ("rejected", "other_wearer"), 4: ("rejected", "out_of_range"),
    }  # fmt: skip
    assert sent.later == (3,)
    assert sent.anchors == ()


def test_refusals_are_errors_with_their_code(gateway: Running, world: World) -> None:
    token = world.token()
    with GatewayClient(to(gateway, token), retry=SOON) as client:
        with pytest.raises(Forbidden) as refused:
            client.send(samples(), device="another")
        assert refused.value.code == "other_device"
        assert refused.value.request_id
        world.fails = SpoolFull("full")
        with pytest.raises(TryLater) as later:
            client.send(samples())
        assert later.value.code == "spool_full"
        world.fails = None
        world.revoke(token)
        until(lambda: _refused(client))
    with GatewayClient(Gateway("http://127.0.0.1:1", token), retry=SOON) as client, pytest.raises(GatewayUnreachable):
        client.check()


def _refused(client: GatewayClient) -> bool:
    try:
        client.me()
    except NotSignedIn:
        return True
    return False


def test_a_rate_is_waited_for(world: World) -> None:
    slow = GatewayPolicy(rate=RatePolicy(requests_per_s=2, requests_burst=1))
    with running(world, slow) as gateway, GatewayClient(to(gateway, world.token())) as client:
        assert [client.send(samples(1)).accepted for _ in range(3)] == [1, 1, 1]


def test_an_export_is_uploaded_and_its_job_followed(gateway: Running, world: World, tmp_path: Path) -> None:
    file = tmp_path / "export.zip"
    file.write_bytes(b"PK" + bytes(700_000))
    heard: list[tuple[int, int]] = []
    token = world.token(devices=None, kind=Kind.BRIDGE)
    with GatewayClient(to(gateway, token)) as client:
        job = client.upload_export(file, progress=lambda done, total: heard.append((done, total)))
        assert heard[-1] == (700_002, 700_002)
        ended = client.wait_for(job.job_id, within_s=20, every_s=0.05)
        assert (ended.state, ended.over) == ("succeeded", True)
        with pytest.raises(GatewayRefused) as unknown:
            client.job("no/such job")
        assert unknown.value.status == 404
    with GatewayClient(to(gateway, world.token())) as phone, pytest.raises(Forbidden) as refused:
        phone.upload_export(file)
    assert refused.value.code == "not_for_this_token"


async def test_the_async_client_uploads_too(gateway: Running, world: World, tmp_path: Path) -> None:
    file = tmp_path / "export.xml"
    file.write_bytes(b"<x/>" * 1_000)
    async with AsyncGatewayClient(to(gateway, world.token(devices=None, kind=Kind.BRIDGE))) as client:
        await client.check(ready=True)
        job = await client.upload_export(file)
        ended = await client.wait_for(job.job_id, within_s=20, every_s=0.05)
        assert ended.total_bytes == 4_000
        assert (await client.me()).kind == "bridge"
        assert (await client.rotate()).token
        assert (await client.send(samples(2), device="watch-1")).accepted == 2


async def test_a_stream_answers_each_message_for_itself(gateway: Running, world: World) -> None:
    one = AsyncGatewayClient(to(gateway, world.token()))
    async with one as client, client.stream(device="watch-1", source_app="bridge") as stream:
        sent = await asyncio.gather(*(stream.send(samples(n)) for n in range(1, 6)))
        assert [one.accepted for one in sent] == [1, 2, 3, 4, 5]
        refused = await stream.send([Sample("heart_rate", datetime.now(UTC), 5_000)])
        assert (refused.accepted, refused.reasons) == (0, {"out_of_range": 1})
        world.fails = SpoolFull("full")
        with pytest.raises(TryLater, match="spool_full"):
            await stream.send(samples())
        world.fails = None
        assert (await stream.send(columns_of(samples(2), system_clock()))).accepted == 2


async def test_a_stream_says_whose_it_is_inside_and_not_in_its_address() -> None:
    """Addresses stand in the log of every proxy on the way."""
    heard: list[tuple[str, list[str | bytes]]] = []

    async def hear(socket: ServerConnection) -> None:
        path = "" if socket.request is None else socket.request.path
        heard.append((path, [message async for message in socket]))

    async with serve(hear, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL]) as server:
        host, port = next(iter(server.sockets)).getsockname()
        async with AsyncGatewayClient(Gateway(f"http://{host}:{port}", "t")) as client:
            async with client.stream(device="watch-1", source_app="bridge"):
                pass
            async with client.stream():
                pass
    assert [path for path, _ in heard] == ["/v1/stream"] * 2
    assert [[orjson.loads(one) for one in messages] for _, messages in heard] == [
        [{"device": "watch-1", "source_app": "bridge"}], [],
    ]  # fmt: skip


async def test_a_revoked_token_ends_its_stream(gateway: Running, world: World) -> None:
    token = world.token()
    async with AsyncGatewayClient(to(gateway, token)) as client, client.stream(device="watch-1") as stream:
        assert (await stream.send(samples(1))).accepted == 1
        world.revoke(token)

        async def send_on() -> None:
            async with asyncio.timeout(20):
                while True:
                    await stream.send(samples(1))
                    await asyncio.sleep(0.05)

        for _ in range(2):
            with pytest.raises(NotSignedIn):
                await send_on()


async def test_a_stream_that_is_not_let_in(gateway: Running) -> None:
    stranger = AsyncGatewayClient(to(gateway, "vgl_aaaaaaaaaaaaaaaa_" + "x" * 43))
    with pytest.raises(NotSignedIn):
        async with stranger.stream(device="watch-1"):
            pass
    nobody = AsyncGatewayClient(Gateway("http://127.0.0.1:1", "t"))
    with pytest.raises(GatewayUnreachable):
        async with nobody.stream():
            pass
    await stranger.close()
    await nobody.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def test_over_tls_the_gateways_certificate_is_checked(world: World, authority: Authority) -> None:
    chain, key = authority.issue("gateway")
    with running(world, tls=Tls(chain, key, client_ca=authority.file)) as gateway:
        url = f"https://127.0.0.1:{gateway.port}"
        token = world.token()
        with GatewayClient(Gateway(url, token, authority=authority.file)) as client:
            assert client.send(samples()).accepted == 3
        with GatewayClient(Gateway(url, token), retry=SOON) as client, pytest.raises(GatewayUnreachable):
            client.send(samples())


async def test_a_token_may_be_bound_to_a_client_certificate(world: World, authority: Authority) -> None:
    chain, key = authority.issue("gateway")
    mine = authority.issue("bridge")
    token = world.token(certificate=authority.fingerprint(mine[0]))
    with running(world, tls=Tls(chain, key, client_ca=authority.file)) as gateway:
        url = f"https://127.0.0.1:{gateway.port}"
        with_it = Gateway(url, token, authority=authority.file, certificate=mine)
        async with AsyncGatewayClient(with_it) as client, client.stream() as stream:
            assert (await client.send(samples())).accepted == 3
            assert (await stream.send(samples())).accepted == 3
        async with AsyncGatewayClient(Gateway(url, token, authority=authority.file)) as client:
            with pytest.raises(NotSignedIn):
                await client.send(samples())
