"""What a sender that stops reading, sends slowly or was revoked meanwhile can hold up: nothing but itself."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from ingest.gateway.policy import GatewayPolicy, RatePolicy, StreamPolicy
from ingest.gateway.ports import Unavailable
from ingest.gateway.protocol import GatewayWebSocket
from tests.ingest.gateway.edge import FakeImporter, Running, World, request, running, until
from tests.ingest.gateway.test_app import arrow, refusal
from tests.ingest.gateway.test_waveform_route import body as waveform
from tests.ingest.gateway.test_waveform_route import chunk

FAST = RatePolicy(requests_per_s=1e4, requests_burst=1e4, samples_per_s=1e9, samples_burst=1e9)
LONG_S = 600.0
FAULTY = orjson.dumps({"seq": 1, "samples": [{"metric": "x"}] * 1_000}).decode()
"""A small message with a large answer."""


def policy(patience_s: float = LONG_S, stop_s: int = 20) -> GatewayPolicy:
    return GatewayPolicy(stop_s=stop_s, rate=FAST, stream=StreamPolicy(check_every_s=0.1, patience_s=patience_s))


@contextlib.contextmanager
def deaf(gateway: Running, token: str) -> Iterator[ClientConnection]:
    """Open a stream whose bridge reads nothing any more; the gateway has more for it than the network takes."""
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    small.connect(("127.0.0.1", gateway.port))
    with connect(
        f"ws://127.0.0.1:{gateway.port}/v1/stream", sock=small, subprotocols=[Subprotocol("vigil.v1")],
        additional_headers={"authorization": f"Bearer {token}"}, max_size=None, max_queue=1, compression=None,
        ping_interval=None, close_timeout=0.1,
    ) as stream:  # fmt: skip

        def send() -> None:
            with contextlib.suppress(ConnectionClosed, OSError):
                while True:
                    stream.send(FAULTY)

        sending = threading.Thread(target=send, daemon=True)
        sending.start()
        try:
            until(lambda: any(not one.writable.is_set() for one in sockets(gateway)))
            until(lambda: [one for one in gateway.app.state.streams._open if len(one._answering) == 8])
            yield stream
        finally:
            with contextlib.suppress(OSError):
                small.shutdown(socket.SHUT_RDWR)
            sending.join(10)


def sockets(gateway: Running) -> list[GatewayWebSocket]:
    return [one for one in list(gateway.server.server_state.connections) if isinstance(one, GatewayWebSocket)]


def test_a_bridge_that_reads_nothing_is_cut_off(tmp_path: Path) -> None:
    with running(World(tmp_path), policy(patience_s=1.0)) as gateway, deaf(gateway, gateway.world.token()):
        until(lambda: not gateway.app.state.streams._open)
        until(lambda: not sockets(gateway))
        assert gateway.app.state.door.held.bytes == 0


def test_a_revoked_bridge_that_reads_nothing_gives_its_place_back(tmp_path: Path) -> None:
    """Its answers alone would wait much longer."""
    world = World(tmp_path)
    with running(world, policy(patience_s=3.0)) as gateway:
        token = world.token()
        with deaf(gateway, token):
            world.revoke(token)
            until(lambda: not gateway.app.state.streams._open)
            until(lambda: not sockets(gateway))
            assert gateway.app.state.door.held.bytes == 0


@pytest.mark.alone
def test_a_stop_does_not_wait_for_who_reads_nothing(tmp_path: Path) -> None:
    with running(World(tmp_path), policy(stop_s=2)) as gateway, deaf(gateway, gateway.world.token()):
        began = time.monotonic()
        gateway.server.should_exit = True
        assert gateway.ended.wait(20)
        assert time.monotonic() - began < 5.0


@pytest.mark.alone
def test_a_stop_does_not_wait_for_what_never_becomes_safe(tmp_path: Path) -> None:
    world = World(tmp_path, hangs=threading.Event())
    with running(world, policy(stop_s=2)) as gateway:
        url = f"ws://127.0.0.1:{gateway.port}/v1/stream"
        with connect(url, additional_headers={"authorization": f"Bearer {world.token()}"}, close_timeout=0.1) as stream:
            stream.send(orjson.dumps({"seq": 1, **request()}).decode())
            until(lambda: [one for one in gateway.app.state.streams._open if one._answering])
            began = time.monotonic()
            gateway.server.should_exit = True
            assert gateway.ended.wait(20)
            assert time.monotonic() - began < 5.0


def test_streams_of_one_credential_are_bounded(tmp_path: Path) -> None:
    world = World(tmp_path)
    with (
        running(world, GatewayPolicy(stream=StreamPolicy(streams_of_one=2))) as gateway,
        contextlib.ExitStack() as all_,
    ):
        token, url = world.token(), f"ws://127.0.0.1:{gateway.port}/v1/stream"
        for one in (token, world.rotate(token), world.token("p-2")):
            all_.enter_context(connect(url, additional_headers={"authorization": f"Bearer {one}"}))
        with (
            pytest.raises(InvalidStatus) as caught,
            connect(url, additional_headers={"authorization": f"Bearer {token}"}),
        ):
            pass
        assert caught.value.response.status_code == 429
        assert int(caught.value.response.headers["retry-after"]) >= 1


@dataclass
class Slow:
    """A request of which only a part has been sent."""

    connection: socket.socket
    rest: bytes

    def end(self) -> httpx.Response:
        """Send the rest, and return the answer."""
        with self.connection, self.connection.makefile("rb") as answer:
            self.connection.sendall(self.rest)
            status = int(answer.readline().split()[1])
            headers = dict(line.decode().strip().lower().split(": ", 1) for line in iter(answer.readline, b"\r\n"))
            return httpx.Response(status, headers=headers, content=answer.read(int(headers["content-length"])))


def begun(
    gateway: Running, token: str, path: str = "/v1/samples", media_type: str = "application/json", body: bytes = b""
) -> Slow:
    """Send the head and half of the body."""
    body = body or orjson.dumps(request())
    connection = gateway.connect()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: {media_type}\r\n"
    half = len(body) // 2
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:half])
    return Slow(connection, body[half:])


def under_way(gateway: Running) -> int:
    found: Mapping[str, int] = gateway.app.state.door.under_way._of
    return sum(found.values())


def test_one_credential_does_not_take_every_place(tmp_path: Path) -> None:
    world = World(tmp_path)
    with running(world, GatewayPolicy(requests_of_one=3)) as gateway:
        token, other = world.token(), world.token("p-2")
        successor = world.rotate(token)
        slow = [begun(gateway, one) for one in (token, successor, token)]
        until(lambda: under_way(gateway) == 3)
        for one in (token, successor):
            with gateway.client(one) as client:
                answer = client.post("/v1/samples", json=request())
                assert refusal(answer) == (429, "too_many_requests")
                assert int(answer.headers["retry-after"]) >= 1
        with gateway.client(other) as client:
            assert client.post("/v1/samples", json=request()).status_code == 202
        assert [one.end().status_code for one in slow] == [202] * 3
        until(lambda: not len(gateway.app.state.door.under_way))
        with gateway.client(token) as client:
            assert client.post("/v1/samples", json=request()).status_code == 202
        begun(gateway, token).connection.close()  # who goes away gives the place back, too
        until(lambda: not len(gateway.app.state.door.under_way))


def test_eight_requests_at_once_are_served(tmp_path: Path) -> None:
    world = World(tmp_path)
    with running(world) as gateway:
        token = world.token()
        slow = [begun(gateway, token) for _ in range(8)]
        until(lambda: under_way(gateway) == 8)
        assert [one.end().status_code for one in slow] == [202] * 8


def test_a_rotation_resets_no_rate_and_makes_no_repeated_key_new(tmp_path: Path) -> None:
    world = World(tmp_path)
    rate = RatePolicy(requests_per_s=0.001, requests_burst=2.0)
    with running(world, GatewayPolicy(rate=rate)) as gateway:
        token, sent = world.token(), request()
        with gateway.client(token) as client:
            first = client.post("/v1/samples", json=sent, headers={"idempotency-key": "k-1"})
        with gateway.client(world.rotate(token)) as client:
            again = client.post("/v1/samples", json=sent, headers={"idempotency-key": "k-1"})
            assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
            assert refusal(client.post("/v1/samples", json=sent)) == (429, "too_many_requests")
    assert len(world.accepted) == 1


SENT = (
    ("/v1/samples", "application/json", b""),
    ("/v1/samples", "application/vnd.apache.arrow.stream", arrow(3)),
    ("/v1/waveforms", "application/vnd.apache.arrow.stream", waveform(chunk())),
    ("/v1/fhir", "application/json", b'{"resourceType": "Bundle", "type": "collection"}'),
    ("/v1/health-auto-export", "application/json", b'{"data": {"metrics": []}}'),
    ("/v1/healthkit/export", "application/zip", b"an export"),
)


@pytest.mark.parametrize(("path", "media_type", "body"), SENT)
def test_what_was_revoked_while_its_body_came_is_not_taken(
    tmp_path: Path, path: str, media_type: str, body: bytes
) -> None:
    world = World(tmp_path)
    with running(world) as gateway:
        devices = ("watch-1",) if path in {"/v1/samples", "/v1/waveforms"} else None
        token = world.token(devices=devices)
        slow = begun(gateway, token, path, media_type, body)
        until(lambda: under_way(gateway) == 1)
        world.revoke(token)
        time.sleep(0.3)  # so old may what is known be
        assert refusal(slow.end()) == (401, "unauthorized")
        assert not [*tmp_path.glob("uploads/*")]
    assert not world.accepted


def test_what_was_rotated_while_its_body_came_is_taken(tmp_path: Path) -> None:
    world = World(tmp_path)
    with running(world) as gateway:
        token = world.token()
        slow = begun(gateway, token)
        until(lambda: under_way(gateway) == 1)
        world.rotate(token)
        world.revoke(token)
        time.sleep(0.3)
        assert slow.end().status_code == 202


@dataclass
class Away(FakeImporter):
    """A broker that is away: the job waits."""

    tries: list[str] = field(default_factory=list)

    async def run(self, upload: object, progress: object) -> Mapping[str, object]:
        self.tries.append("")
        raise Unavailable("the broker is away")


def test_a_job_whose_sender_was_revoked_meanwhile_is_not_read(tmp_path: Path) -> None:
    world, importer = World(tmp_path), Away()
    world.importer = importer
    with running(world, GatewayPolicy(rate=FAST)) as gateway:
        token, other = world.token(devices=None), world.token(devices=None)
        with gateway.client(token) as client:
            answer = client.post("/v1/healthkit/export", content=b"zip", headers={"content-type": "application/zip"})
            assert answer.status_code == 202
            until(lambda: importer.tries)
        world.revoke(token)
        with gateway.client(other) as client:
            until(lambda: client.get(answer.headers["location"]).json()["state"] == "failed")
            assert client.get(answer.headers["location"]).json()["problem"]["code"] == "revoked"
        assert not [*tmp_path.glob("uploads/*")]
