"""WebSocket /v1/stream: messages, their answers, and every way it ends."""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from ingest.gateway.policy import GatewayPolicy, RatePolicy, StreamPolicy
from ingest.record import decode
from ingest.spool import SpoolFull
from tests.ingest.gateway.edge import Running, World, request, running, sample, until
from tests.ingest.gateway.test_app import arrow

POLICY = GatewayPolicy(
    stream=StreamPolicy(window=4, idle_s=30.0, check_every_s=0.2, most_bytes=1 << 20, streams=5),
    rate=RatePolicy(requests_per_s=1_000.0, requests_burst=1_000.0),
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(World(tmp_path_factory.mktemp("gateway")), POLICY) as gateway:
        yield gateway


@pytest.fixture
def gateway(served: Running) -> Iterator[Running]:
    served.world.accepted, served.world.fails, served.world.hangs = [], None, None
    yield served
    until(lambda: served.app.state.door.held.bytes == 0)


def opened(gateway: Running, token: str, query: str = "", **headers: str) -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{gateway.port}/v1/stream{query}", subprotocols=[Subprotocol("vigil.v1")],
        additional_headers={"authorization": f"Bearer {token}", **headers}, max_size=None,
    )  # fmt: skip


def send(stream: ClientConnection, **message: object) -> None:
    stream.send(orjson.dumps(message).decode())


def told(stream: ClientConnection) -> dict[str, Any]:
    answer: dict[str, Any] = orjson.loads(stream.recv(timeout=10))
    return answer


def closed(stream: ClientConnection, within_s: float = 5.0) -> int:
    with pytest.raises(ConnectionClosed) as caught:  # noqa: PT012  answers may come before
        while True:
            stream.recv(timeout=within_s)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


def problem(answer: dict[str, Any]) -> tuple[int, str]:
    assert answer["problem"]["instance"].startswith("urn:vigil:request:")
    return answer["problem"]["status"], answer["problem"]["code"]


def test_text_and_binary_messages_are_answered_each_with_its_seq(gateway: Running) -> None:
    with opened(gateway, gateway.world.token(devices=("watch-1", "watch-2"))) as stream:
        assert stream.subprotocol == "vigil.v1"
        send(stream, seq=7, **request(2, device="watch-1"))
        answer = told(stream)
        assert (answer["seq"], answer["accepted"], answer["safe"]) == (7, 2, "broker")
        send(stream, device="watch-2", source_app="bridge-1")
        stream.send(struct.pack(">Q", 2**63) + arrow(4))
        answer = told(stream)
        assert (answer["seq"], answer["accepted"]) == (2**63, 4)
        send(stream, seq=9, **request(1))
        assert told(stream)["seq"] == 9
        names = [dict(record.headers) for record, _, _ in gateway.world.accepted]
        assert [one["vigil-device"] for one in names] == [b"watch-1", b"watch-2", b"watch-2"]
        assert [one["vigil-source-app"] for one in names] == [b"gateway", b"bridge-1", b"bridge-1"]
        assert len({one["vigil-request-id"] for one in names}) == 3
        assert len({one["traceparent"].split(b"-")[1] for one in names}) == 1


def test_who_may_stand_in_the_address(gateway: Running) -> None:
    token = gateway.world.token(devices=("watch-1", "watch-2"))
    with opened(gateway, token, "?device=watch-2&source_app=b", **{"vigil-adapter": "ble"}) as stream:
        stream.send(struct.pack(">Q", 1) + arrow(1))
        assert told(stream)["accepted"] == 1
    record = gateway.world.accepted[0][0]
    header, _ = decode(record.key, record.value, list(record.headers))
    assert (header.device_id, header.source_app, header.adapter) == ("watch-2", "b", "ble")


def test_faults_are_told_and_the_stream_goes_on(gateway: Running) -> None:
    with opened(gateway, gateway.world.token()) as stream:
        for message, code in (("[", "bad_json"), ("[]", "bad_field"), ('{"seq":-1}', "bad_field"),
                              ('{"samples":[]}', "bad_field"), ('{"seq":1.5}', "bad_field")):  # fmt: skip
            stream.send(message)
            answer = told(stream)
            assert (answer["seq"], problem(answer)[1]) == (None, code)
        stream.send(b"\0" * 8)
        assert problem(told(stream)) == (400, "bad_arrow")
        stream.send(b"\0" * 7 + b"\5" + b"rubbish")
        answer = told(stream)
        assert (answer["seq"], problem(answer)[0]) == (5, 400)
        send(stream, seq=1)
        assert problem(told(stream)) == (422, "empty")
        send(stream, seq=2, samples=[sample(value=99_999)])
        answer = told(stream)
        assert problem(answer) == (422, "nothing_accepted")
        assert answer["problem"]["outcomes"][0]["retry"] == "never"
        gateway.world.fails = SpoolFull("full")
        send(stream, seq=3, **request())
        assert problem(told(stream)) == (503, "spool_full")
        gateway.world.fails = None
        send(stream, seq=4, **request())
        assert told(stream)["accepted"] == 1


@pytest.mark.alone
def test_a_revoked_token_ends_an_open_stream(gateway: Running) -> None:
    token = gateway.world.token()
    with opened(gateway, token) as stream:
        send(stream, seq=1, **request())
        assert told(stream)["accepted"] == 1
        gateway.world.revoke(token)
        began = time.monotonic()
        assert closed(stream) == 4401
        assert time.monotonic() - began < 2.0
    with pytest.raises(InvalidStatus) as caught, opened(gateway, token):
        pass
    assert caught.value.response.status_code == 401
    assert caught.value.response.headers["content-type"] == "application/problem+json"
    assert caught.value.response.headers["www-authenticate"] == "Bearer"


def test_anothers_device_ends_it(gateway: Running) -> None:
    with opened(gateway, gateway.world.token()) as stream:
        send(stream, seq=1, **request(device="watch-9"))
        assert problem(told(stream)) == (403, "other_device")
        assert closed(stream) == 4403
    assert not gateway.world.accepted


def test_a_message_that_is_too_large_ends_it(gateway: Running) -> None:
    with opened(gateway, gateway.world.token()) as stream:
        stream.send(b"x" * ((1 << 20) + 1))
        assert closed(stream) == 4413
    with opened(gateway, gateway.world.token()) as stream:
        # Of a frame of 3 MB the head alone: a client that hears of its end while it still sends may lose what was said.
        stream.socket.sendall(struct.pack("!BBQ4x", 0x82, 0x80 | 127, 3 << 20))
        assert closed(stream) == 1009


def test_no_more_is_read_than_the_window_while_nothing_is_safe(gateway: Running) -> None:
    gateway.world.hangs = threading.Event()
    with opened(gateway, gateway.world.token()) as stream:
        for seq in range(50):
            send(stream, seq=seq, **request())
        with pytest.raises(TimeoutError):
            stream.recv(timeout=0.3)
        (open_stream,) = gateway.app.state.streams._open
        assert len(open_stream._answering) == POLICY.stream.window
        gateway.world.hangs.set()
        assert sorted(told(stream)["seq"] for _ in range(50)) == list(range(50))


def test_bad_beginnings(gateway: Running) -> None:
    token = gateway.world.token()
    url = f"ws://127.0.0.1:{gateway.port}/v1/stream"
    for headers, query, subprotocol, status in (
        ({}, "", "vigil.v1", 401),
        ({"authorization": f"Bearer {token}"}, "", "other", 400),
        ({"authorization": f"Bearer {token}"}, "?device=a%20name", "vigil.v1", 422),
        ({"authorization": f"Bearer {token}", "vigil-adapter": "no"}, "", "vigil.v1", 422),
    ):
        with (
            pytest.raises(InvalidStatus) as caught,
            connect(
                url + query,
                subprotocols=[Subprotocol(subprotocol)],
                additional_headers=headers,
            ),
        ):
            pass
        assert caught.value.response.status_code == status
        assert orjson.loads(caught.value.response.body)["status"] == status
        assert "x-request-id" in caught.value.response.headers
    with pytest.raises(InvalidStatus) as caught, connect(f"ws://127.0.0.1:{gateway.port}/v1/nothing"):
        pass
    assert caught.value.response.status_code in {403, 404}


def test_streams_are_bounded(gateway: Running) -> None:
    token = gateway.world.token()
    until(lambda: not gateway.app.state.streams._open)
    with contextlib.ExitStack() as streams:
        for _ in range(5):
            streams.enter_context(opened(gateway, token))
        with pytest.raises(InvalidStatus) as caught, opened(gateway, token):
            pass
        assert caught.value.response.status_code == 503
    until(lambda: not gateway.app.state.streams._open)


def test_an_idle_stream_ends(tmp_path: Path) -> None:
    policy = GatewayPolicy(stream=StreamPolicy(idle_s=0.5))
    with running(World(tmp_path), policy) as gateway, opened(gateway, gateway.world.token()) as stream:
        send(stream, seq=1, **request())
        assert told(stream)["accepted"] == 1
        assert closed(stream) == 4408


def test_too_fast_for_long_ends_it(tmp_path: Path) -> None:
    policy = GatewayPolicy(rate=RatePolicy(requests_per_s=0.1, requests_burst=3.0))
    with running(World(tmp_path), policy) as gateway, opened(gateway, gateway.world.token()) as stream:
        for seq in range(4):
            send(stream, seq=seq, **request())
        answers = [told(stream) for _ in range(4)]
        slow = [one for one in answers if "problem" in one]
        assert {problem(one) for one in slow} == {(429, "too_many_requests")}
        assert slow[0]["problem"]["retry_after_s"] >= 1
        for seq in range(110):
            send(stream, seq=seq)
        assert closed(stream) == 4429


def test_a_stop_answers_what_was_sent_and_says_that_it_goes(tmp_path: Path) -> None:
    world = World(tmp_path, hangs=threading.Event())
    with running(world) as gateway, opened(gateway, world.token()) as stream:
        send(stream, seq=1, **request())
        until(lambda: [one for one in gateway.app.state.streams._open if one._answering])
        gateway.server.should_exit = True
        time.sleep(0.3)
        assert world.hangs is not None
        world.hangs.set()
        assert told(stream)["accepted"] == 1
        assert closed(stream) == 1012
        assert gateway.ended.wait(10)


def test_what_was_sent_before_the_bridge_went_is_safe(gateway: Running) -> None:
    gateway.world.hangs = threading.Event()
    with opened(gateway, gateway.world.token(), **{"x-request-id": "bridge-7"}) as stream:
        assert stream.response is not None
        assert stream.response.headers["x-request-id"] == "bridge-7"
        send(stream, seq=1, **request())
        until(lambda: [one for one in gateway.app.state.streams._open if one._answering])
    gateway.world.hangs.set()
    until(lambda: gateway.world.accepted)


def test_rubbish_instead_of_frames(gateway: Running) -> None:
    token = gateway.world.token()
    with opened(gateway, token) as stream:
        stream.socket.sendall(b"\xff" * 100)
        assert closed(stream) == 1002
    with opened(gateway, token) as stream:
        stream.send(b"\xff\xfe", text=True)
        assert closed(stream) == 1007
