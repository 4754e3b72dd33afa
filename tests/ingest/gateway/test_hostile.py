"""Senders that mean harm, or are broken: each gets the right answer, memory stays bounded, the others are served."""

from __future__ import annotations

import gzip
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import psutil
import pytest
from backports import zstd

from ingest.gateway.policy import GatewayPolicy, LockoutPolicy, RatePolicy
from tests.ingest.gateway.edge import Running, World, answer_of, request, running, until

MIB = 1 << 20
JSON = {"content-type": "application/json"}
POLICY = GatewayPolicy(
    head_s=1.0, keep_alive_s=2.0, body_s=4.0, body_grace_s=1.0, linger_s=1.0, connections=60,
    rate=RatePolicy(requests_per_s=1_000.0, requests_burst=1_000.0),
    lockout=LockoutPolicy(free_failures=5, first_s=0.4, longest_s=1.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(World(tmp_path_factory.mktemp("gateway")), POLICY) as gateway:
        yield gateway


@pytest.fixture
def gateway(served: Running) -> Iterator[Running]:
    """The server of the module, which lives and serves others when a test is over."""
    yield served
    with served.client(served.world.token()) as client:
        answer = client.post("/v1/samples", json=request())
        while answer.status_code == 429:  # behind an address that a test had locked
            time.sleep(0.1)
            answer = client.post("/v1/samples", json=request())
        assert answer.status_code == 202
    until(lambda: served.app.state.door.held.bytes == 0)


@pytest.fixture
def memory() -> Iterator[None]:
    """The test may not make this process, which the server is part of, grow by more than a few bodies."""
    process = psutil.Process()
    before, most, over = process.memory_info().rss, [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            most[0] = max(most[0], process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    over.set()
    thread.join()
    assert most[0] - before < 128 * MIB


def head(token: str, *fields: str, method: str = "POST", path: str = "/v1/samples") -> bytes:
    lines = (f"{method} {path} HTTP/1.1", "host: gateway", f"authorization: Bearer {token}", *fields, "", "")
    return "\r\n".join(lines).encode("latin-1")


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def code_of(answer: bytes) -> tuple[int, str]:
    assert b"application/problem+json" in answer
    return status_of(answer), orjson.loads(answer[answer.index(b"\r\n\r\n") + 4 :])["code"]


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def exchange(gateway: Running, *parts: bytes) -> bytes:
    with gateway.connect() as connection:
        for part in parts:
            connection.sendall(part)
        return answer_of(connection)


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_bombs(gateway: Running, encoding: str, pack: object) -> None:
    bomb = pack(bytes(200 * MIB))  # type: ignore[operator]
    nested = pack(pack(pack(bytes(64 * MIB))))  # type: ignore[operator]
    with gateway.client(gateway.world.token()) as client:
        headers = {**JSON, "content-encoding": encoding}
        assert code(client.post("/v1/samples", content=bomb, headers=headers))[0] == 413
        assert code(client.post("/v1/samples", content=bomb * 20, headers=headers))[0] == 413
        assert code(client.post("/v1/samples", content=nested, headers=headers)) == (400, "bad_json")
        twice = [("content-type", "application/json"), ("content-encoding", f"{encoding}, {encoding}")]
        assert code(client.post("/v1/samples", content=nested, headers=twice)) == (415, "content_encoding")


@pytest.mark.usefixtures("memory")
@pytest.mark.alone
def test_a_gigabyte_declared_is_refused_before_it_is_sent(gateway: Running) -> None:
    token = gateway.world.token()
    began = time.monotonic()
    with gateway.connect() as connection:
        connection.sendall(head(token, "content-type: application/json", f"content-length: {1 << 30}"))
        answer = connection.recv(65_536)
        assert code_of(answer) == (413, "too_large")
    with gateway.connect() as connection:
        fields = ("content-type: application/json", "content-length: 1073741824", "expect: 100-continue")
        connection.sendall(head(token, *fields))
        assert status_of(connection.recv(65_536)) == 413  # and no 100
        assert connection.recv(65_536) == b""
    body = orjson.dumps(request())
    with gateway.connect() as connection:
        fields = ("content-type: application/json", f"content-length: {len(body)}", "expect: 100-continue")
        connection.sendall(head(token, *fields))
        assert status_of(connection.recv(65_536)) == 100
        connection.sendall(body)
        assert status_of(connection.recv(65_536)) == 202
    assert time.monotonic() - began < 1.0
    for length in ("99999999999999999999999", "-1", "1e9", "0x10", "1, 2"):
        assert (
            status_of(exchange(gateway, head(token, "content-type: application/json", f"content-length: {length}")))
            == 400
        )


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("declared", [True, False])
def test_a_gigabyte_sent_is_cut_off(gateway: Running, declared: bool) -> None:
    sent, piece = 0, bytes(MIB)
    length = f"content-length: {1 << 30}" if declared else "transfer-encoding: chunked"
    with gateway.connect() as connection:
        connection.sendall(head(gateway.world.token(), "content-type: application/json", length))
        try:
            while sent < 1 << 30:
                connection.sendall(piece if declared else b"%x\r\n" % MIB + piece + b"\r\n")
                sent += MIB
        except OSError:
            pass
        assert sent < 100 * MIB
        assert code_of(connection.recv(65_536)) == (413, "too_large")


def test_a_body_refused_unread_leaves_the_connection_usable_if_it_is_short(gateway: Running) -> None:
    token = gateway.world.token()
    body = b"x" * 100_000
    with gateway.connect() as connection:
        connection.sendall(head(token, "content-type: text/plain", f"content-length: {len(body)}"))
        assert code_of(connection.recv(65_536)) == (415, "media_type")
        connection.sendall(body + head(token, method="GET", path="/healthz"))
        assert status_of(connection.recv(65_536)) == 200
    with gateway.connect() as connection:
        connection.sendall(head(token, "content-type: text/plain", f"content-length: {len(body)}"))
        assert code_of(connection.recv(65_536)) == (415, "media_type")
        connection.sendall(body)
        connection.settimeout(POLICY.head_s + 2.0)
        assert connection.recv(65_536) == b""  # and is not kept for ever


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize(
    "body",
    [b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"[" * (8 * MIB),
     b'{"samples":[' + b"[],".join([b""] * 2_000_000) + b"[]]}"],
    ids=["lists", "objects", "open", "many"],
)  # fmt: skip
def test_deep_and_crowded_json(gateway: Running, body: bytes) -> None:
    with gateway.client(gateway.world.token()) as client:
        assert code(client.post("/v1/samples", content=body, headers=JSON))[0] in {400, 413}


@pytest.mark.parametrize(
    "body",
    ['{"samples":[]}'.encode("utf-16"), '{"samples":[]}'.encode("utf-32"), b'\xef\xbb\xbf{"samples":[]}', b"\xff\xfe",
     b'{"device":"\xc3\x28"}', b'{"device":"\\ud800"}', b"", b"\0", b'{"samples":NaN}', b"PK\x03\x04",
     b"{" + b"\0" * 99],
)  # fmt: skip
def test_wrong_encodings(gateway: Running, body: bytes) -> None:
    with gateway.client(gateway.world.token()) as client:
        for content_type in ("application/json", 'application/json; charset="UTF-8"'):
            answer = client.post("/v1/samples", content=body, headers={"content-type": content_type})
            assert code(answer)[0] == 400
        headers = {"content-type": "application/vnd.apache.arrow.stream"}
        assert code(client.post("/v1/samples", content=body, headers=headers))[0] in {400, 422}
        for encoding in ("gzip", "zstd"):
            packed = {**JSON, "content-encoding": encoding}
            assert code(client.post("/v1/samples", content=body, headers=packed)) == (400, "body_not_readable")


@pytest.mark.alone
def test_a_slow_head_is_cut_off(gateway: Running) -> None:
    began = time.monotonic()
    with gateway.connect() as slow, gateway.connect() as silent:
        slow.sendall(b"POST /v1/samples HTTP/1.1\r\n")
        for _ in range(40):
            time.sleep(0.05)
            try:
                slow.sendall(b"x-a: 1\r\n")
            except OSError:
                break
        assert code_of(answer_of(slow)) == (408, "too_slow")
        assert answer_of(silent) == b""
    assert 0.9 < time.monotonic() - began < 3.5


@pytest.mark.alone
def test_a_slow_body_is_cut_off(gateway: Running) -> None:
    began = time.monotonic()
    with gateway.connect() as connection:
        connection.sendall(head(gateway.world.token(), "content-type: application/json", "content-length: 5000"))
        for _ in range(60):
            time.sleep(0.05)
            try:
                connection.sendall(b" ")
            except OSError:
                break
        assert code_of(answer_of(connection)) == (408, "too_slow")
    assert 0.9 < time.monotonic() - began < 4.0


def test_connections_left_half_open_are_cleared(gateway: Running) -> None:
    with gateway.client(gateway.world.token()) as client:
        assert client.get("/healthz").status_code == 200
    idle = [gateway.connect() for _ in range(40)]
    for at, connection in enumerate(idle):
        if at % 2:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert status_of(connection.recv(65_536)) == 200
        if at % 4 == 0:
            connection.shutdown(socket.SHUT_WR)
    with gateway.client(gateway.world.token()) as client:
        assert client.post("/v1/samples", json=request()).status_code == 202
    for connection in idle:
        connection.settimeout(5.0)
        assert connection.recv(65_536) == b""  # closed by the server: no head within its time, or nothing after one
        connection.close()


def test_a_stream_on_a_used_connection_outlives_the_time_of_a_head(gateway: Running) -> None:
    fields = ("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13",
              "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
    with gateway.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert status_of(connection.recv(65_536)) == 200
        connection.sendall(head(gateway.world.token(), *fields, method="GET", path="/v1/stream"))
        assert status_of(connection.recv(65_536)) == 101
        connection.settimeout(POLICY.head_s + 0.5)
        with pytest.raises(TimeoutError):
            connection.recv(65_536)


def test_too_many_connections(gateway: Running) -> None:
    many = [gateway.connect() for _ in range(POLICY.connections + 5)]
    try:
        refused = [status_of(connection.recv(65_536)) for connection in many[-3:]]
    finally:
        for connection in many:
            connection.close()
    assert refused == [503, 503, 503]


def test_a_thiefs_and_a_dead_token(gateway: Running) -> None:
    stolen = gateway.world.token(certificate="ab" * 32)
    with gateway.client(stolen) as client:
        assert code(client.post("/v1/samples", json=request())) == (401, "unauthorized")
    token = gateway.world.token()
    with gateway.client(token) as client:
        assert client.post("/v1/samples", json=request()).status_code == 202
        gateway.world.revoke(token)
        deadline = time.monotonic() + 1.0
        while (answer := client.post("/v1/samples", json=request())).status_code == 202:
            assert time.monotonic() < deadline
        assert code(answer) == (401, "unauthorized")


def test_guessing_is_locked_out_and_good_credentials_are_not(tmp_path: Path) -> None:
    with running(World(tmp_path), POLICY) as gateway:
        guess(gateway)


def guess(gateway: Running) -> None:
    known = gateway.world.token()
    new = gateway.world.token()
    with gateway.client() as client, gateway.client(known) as phone, gateway.client(new) as other:
        assert phone.get("/v1/devices/me").status_code == 200
        answers = [
            client.post("/v1/samples", json=request(), headers={"authorization": f"Bearer vgl_{'a' * 16}_{at:043}"})
            for at in range(12)
        ]
        assert {code(one) for one in answers[:4]} == {(401, "unauthorized")}
        assert code(answers[-1]) == (429, "locked_out")
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert phone.get("/v1/devices/me").status_code == 200
        assert other.get("/v1/devices/me").status_code == 200, "a phone that was just paired behind the same address"


@pytest.mark.usefixtures("memory")
def test_heads_and_addresses_that_are_too_long(gateway: Running) -> None:
    token = gateway.world.token()
    assert code_of(exchange(gateway, head(token, method="GET", path="/" + "a" * 6_000))) == (414, "url_too_long")
    assert code_of(exchange(gateway, head(token, "x-a: " + "a" * 40_000))) == (431, "head_too_large")
    assert code_of(exchange(gateway, head(token, *("x-a: b" for _ in range(9_000))))) == (431, "head_too_large")
    sent = 0
    with gateway.connect() as connection:
        connection.sendall(b"POST /v1/samples HTTP/1.1\r\nx-a: ")
        try:
            while sent < 200 * MIB:
                connection.sendall(b"a" * MIB)
                sent += MIB
        except OSError:
            pass
    assert sent < 50 * MIB


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("filler", [b"x-a: ", b"1;"], ids=["trailer", "chunk extension"])
def test_no_memory_for_what_is_no_body(gateway: Running, filler: bytes) -> None:
    sent = 0
    opening = b"2\r\n{}\r\n" + (b"0\r\n" if filler == b"x-a: " else b"") + filler
    with gateway.connect() as connection:
        fields = ("content-type: application/json", "transfer-encoding: chunked")
        connection.sendall(head(gateway.world.token(), *fields) + opening)
        try:
            while sent < 200 * MIB:
                connection.sendall(b"a" * MIB)
                sent += MIB
        except OSError:
            pass
        assert sent < 50 * MIB


def test_a_trailer_is_no_header(gateway: Running) -> None:
    token = gateway.world.token()
    body = orjson.dumps(request())
    raw = b"%x\r\n" % len(body) + body + b"\r\n0\r\nauthorization: Bearer " + token.encode() + b"\r\n\r\n"
    lines = (b"POST /v1/samples HTTP/1.1", b"host: x", b"content-type: application/json", b"transfer-encoding: chunked")
    with gateway.connect() as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + raw)
        assert status_of(connection.recv(65_536)) == 401


@pytest.mark.parametrize(
    "fields",
    [
        ("content-length: 4", "transfer-encoding: chunked"),
        ("transfer-encoding: chunked", "content-length: 4"),
        ("content-length: 4", "content-length: 5"),
        ("content-length: 4", "content-length: 4"),
        ("transfer-encoding: identity",),
        ("transfer-encoding: chunked, identity",),
        ("transfer-encoding: xchunked",),
        ("transfer-encoding : chunked",),
        ("content-length: +4",),
        ("content-length: 4\r\n folded: 1",),
        ("bad header",),
        ("x\0y: 1",),
    ],
)
def test_smuggling(gateway: Running, fields: tuple[str, ...]) -> None:
    hidden = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    raw = head(gateway.world.token(), "content-type: application/json", *fields) + b"0\r\n\r\n" + hidden
    answer = exchange(gateway, raw)
    assert status_of(answer) == 400
    assert len(re.findall(rb"HTTP/1.1 [0-9]{3} ", answer)) == 1


@pytest.mark.parametrize(
    "raw",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
     b"GET http://[ HTTP/1.1\r\nhost: x\r\n\r\n", b"GET / HTTP/1.1\nhost: x\n\n", b"\0" * 50,
     b"GE T / HTTP/1.1\r\n\r\n",
     b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_request(gateway: Running, raw: bytes) -> None:
    with gateway.connect() as connection:
        connection.sendall(raw)
        answer = connection.recv(65_536)
    assert status_of(answer) in {400, 404, 405}
    assert b"application/problem+json" in answer


@pytest.mark.usefixtures("memory")
def test_thousands_of_requests_sent_ahead(gateway: Running) -> None:
    one = b"GET /v1/devices/me HTTP/1.1\r\nhost: x\r\n\r\n"
    with gateway.connect() as connection:
        try:
            for _ in range(100):
                connection.sendall(one * 1_000)
        except OSError:
            return
        assert answer_of(connection).count(b"HTTP/1.1 ") < 2_000


def test_names_with_newlines_do_not_come_back(gateway: Running) -> None:
    token = gateway.world.token()
    for bad in ("a%0d%0aset-cookie:%20x=1", "a\tb", "\x7f", "é", "x" * 65, "<script>"):
        fields = (f"x-request-id: {bad}", "connection: close")
        answer = exchange(gateway, head(token, *fields, method="GET", path="/healthz"))
        assert bad.encode("latin-1") not in answer
    injected = head(token, "x-request-id: a\r\nset-cookie: x=1", "connection: close", method="GET", path="/healthz")
    assert b"set-cookie" not in exchange(gateway, injected)
    with gateway.client(token) as client:
        got = client.get("/v1/nothing/%0d%0aset-cookie:x=1?a=%00", headers={"idempotency-key": "k"})
        assert got.status_code == 404
        assert "set-cookie" not in got.headers


def test_forwarded_addresses_are_not_believed(gateway: Running) -> None:
    with gateway.client() as client:
        codes = set()
        for at in range(POLICY.lockout.free_failures + 2):
            headers = {"authorization": f"Bearer vgl_{'b' * 16}_{at:043}", "x-forwarded-for": f"198.51.100.{at}"}
            codes.add(client.get("/v1/devices/me", headers=headers).status_code)
    assert 429 in codes  # all of them count for the address that they came from


def test_a_trusted_proxy_tells_who_is_behind_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = World(tmp_path_factory.mktemp("gateway"))
    with running(world, POLICY, trusted_proxies=("127.0.0.1",)) as gateway, gateway.client() as client:
        for at in range(12):
            headers = {"authorization": f"Bearer vgl_{'b' * 16}_{at:043}", "x-forwarded-for": f"198.51.100.{at}"}
            assert client.get("/v1/devices/me", headers=headers).status_code == 401
