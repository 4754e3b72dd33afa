"""The gateway over HTTP: a real server on loopback, behind it rooms that can be broken."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import orjson
import pytest
from backports import zstd
from prometheus_client import REGISTRY

from ingest.gateway.app import create_app
from ingest.gateway.policy import GatewayPolicy, RatePolicy
from ingest.gateway.server import GatewayServer, NotGuarded, Tls, check_binding
from ingest.record import decode, encode
from ingest.spool import Place, SpoolFull, SpoolState, SpoolUnusable
from ingest.topics import SAMPLES, SAMPLES_BACKFILL
from tests.ingest.gateway.edge import Running, World, request, running, sample, until
from vitals.access import Kind
from vitals.batch import BatchHeader, sample_columns
from vitals.catalogue import number_of
from vitals.clock import system_clock
from vitals.errors import VigilError
from vitals.gate import Binding, DeviceRule, DeviceState, Gate
from vitals.ids import DeviceId, PatientId

ARROW = "application/vnd.apache.arrow.stream"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    rate = RatePolicy(samples_per_s=2_000.0, samples_burst=60_000.0)
    policy = GatewayPolicy(rate=rate, thread_bytes=16_384, arrow_thread_bytes=16_384)
    with running(World(tmp_path_factory.mktemp("gateway")), policy) as gateway:
        yield gateway


@pytest.fixture
def gateway(served: Running) -> Running:
    """The server of the module, with everything behind it mended."""
    fresh = World(served.world.folder)
    world = served.world
    for name in ("accepted", "fails", "hangs", "place", "access_away", "gate_away", "spool", "gate"):
        setattr(world, name, getattr(fresh, name))
    world.books.reset()
    return served


def arrow(count: int = 3) -> bytes:
    start = np.full(count, system_clock(), np.int64) - np.arange(count) * 1_000_000
    metric = np.full(count, number_of("heart_rate"), np.int16)
    columns = sample_columns(start, metric, np.full(count, 70.0), received_us=system_clock())
    return encode(BatchHeader(PatientId("x"), DeviceId("x"), "x", "x"), columns).value


def problem_of(answer: httpx.Response) -> dict[str, object]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, object] = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["type"] == f"urn:vigil:problem:{problem['code']}"
    assert problem["instance"] == f"urn:vigil:request:{answer.headers['x-request-id']}"
    assert {"title", "detail"} <= problem.keys()
    return problem


def refusal(answer: httpx.Response) -> tuple[int, object]:
    return answer.status_code, problem_of(answer)["code"]


def test_json_is_taken_and_the_patient_comes_from_the_credential(gateway: Running) -> None:
    with gateway.client(gateway.world.token(patient="p-7")) as client:
        answer = client.post("/v1/samples", json=request(3))
    assert answer.status_code == 202
    assert answer.json() | {"request_id": ""} == {
        "request_id": "", "received": 3, "accepted": 3, "duplicates": 0, "rejected": 0, "reasons": {}, "outcomes": [],
        "deletions": 0, "anchors": [], "safe": "broker",
    }  # fmt: skip
    ((record, topic, later),) = gateway.world.accepted
    header, columns = decode(record.key, record.value, list(record.headers))
    assert (header.patient_id, header.device_id, header.adapter) == ("p-7", "watch-1", "gateway")
    assert len(columns) == 3
    assert (topic, later) == (SAMPLES, SAMPLES_BACKFILL)


def test_arrow_is_taken_large_and_small(gateway: Running) -> None:
    with gateway.client(gateway.world.token()) as client:
        headers = {"content-type": ARROW, "vigil-source-app": "bridge-1", "vigil-adapter": "ble"}
        small = client.post("/v1/samples", content=arrow(), headers=headers)
        large = client.post("/v1/samples", content=arrow(9_000), headers=headers)  # read in a thread
    assert (small.status_code, small.json()["accepted"]) == (202, 3)
    assert (large.status_code, large.json()["received"]) == (202, 9_000)
    record = gateway.world.accepted[0][0]
    header, _ = decode(record.key, record.value, list(record.headers))
    assert (header.source_app, header.adapter) == ("bridge-1", "ble")


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_compressed_bodies_are_taken(gateway: Running, encoding: str, pack: object) -> None:
    with gateway.client(gateway.world.token()) as client:
        for count in (1, 2_000):
            body = pack(orjson.dumps(request(count)))  # type: ignore[operator]
            headers = {"content-type": "application/json", "content-encoding": encoding}
            answer = client.post("/v1/samples", content=body, headers=headers)
            assert (answer.status_code, answer.json()["received"]) == (202, count)


def test_names_come_back_and_go_with_the_samples(gateway: Running) -> None:
    with gateway.client(gateway.world.token()) as client:
        headers = {"x-request-id": "phone-17", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        answer = client.post("/v1/samples", json=request(), headers=headers)
        made = client.post("/v1/samples", json=request(), headers={"x-request-id": "a name", "traceparent": "no"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "phone-17"
    assert answer.headers["traceparent"].startswith(f"00-{TRACE}-")
    sent = dict(gateway.world.accepted[0][0].headers)
    assert sent["vigil-request-id"] == b"phone-17"
    assert sent["traceparent"].decode() == answer.headers["traceparent"]
    assert made.headers["x-request-id"] == made.json()["request_id"] != "a name"
    assert TRACE not in made.headers["traceparent"]


def test_who_is_not_known_hears_one_and_the_same(gateway: Running) -> None:
    world = gateway.world
    expired = world.token(expires_us=system_clock() - 1)
    revoked = world.token()
    world.revoke(revoked)
    good = world.token()
    time.sleep(0.25)  # the server looks at credentials this often
    heard = set()
    for header in ({}, {"authorization": f"Bearer {expired}"}, {"authorization": f"Bearer {revoked}"},
                   {"authorization": f"Bearer {good[:-1]}!"}, {"authorization": f"Basic {good}"},
                   {"authorization": good}, {"authorization": "Bearer " + "x" * 9_000}):  # fmt: skip
        with gateway.client() as client:
            answer = client.post("/v1/samples", json=request(), headers=header)
        assert refusal(answer) == (401, "unauthorized")
        heard.add((answer.headers["www-authenticate"], str(problem_of(answer)["detail"])))
    assert len(heard) == 1
    with gateway.client() as client:
        twice = [("authorization", f"Bearer {good}"), ("authorization", f"Bearer {good}")]
        assert client.post("/v1/samples", json=request(), headers=twice).status_code == 401
    assert not world.accepted


def test_anothers_device_and_a_patient_in_the_body(gateway: Running) -> None:
    with gateway.client(gateway.world.token()) as client:
        assert refusal(client.post("/v1/samples", json=request(device="watch-2"))) == (403, "other_device")
        named = client.post("/v1/samples", json=request(patient="p-2"))
        assert named.status_code == 422
        assert "p-2" not in named.text
        headers = {"content-type": ARROW, "vigil-device": "watch-2"}
        assert refusal(client.post("/v1/samples", content=arrow(), headers=headers)) == (403, "other_device")
        headers = {"content-type": ARROW, "vigil-adapter": "apple-export"}
        assert client.post("/v1/samples", content=arrow(), headers=headers).status_code == 422
    with gateway.client(gateway.world.token(devices=("a", "b"))) as client:
        assert refusal(client.post("/v1/samples", json=request())) == (422, "device_missing")
    assert not gateway.world.accepted


def test_each_sample_has_its_verdict(gateway: Running) -> None:
    samples = [sample(1), sample(2, value=9_999), sample(3, metric="mood"), {"metric": "heart_rate"}, sample(4)]
    with gateway.client(gateway.world.token()) as client:
        told = client.post("/v1/samples", json={"samples": [*samples, samples[0]]}).json()
        assert (told["accepted"], told["duplicates"], told["rejected"]) == (2, 1, 3)
        assert [one["index"] for one in told["outcomes"]] == [1, 2, 3, 5]
        nothing = client.post("/v1/samples", json={"samples": [sample(1, value=9_999)]})
    assert refusal(nothing) == (422, "nothing_accepted")
    assert nothing.json()["outcomes"][0]["retry"] == "never"


def test_what_the_registry_says_counts(gateway: Running) -> None:
    bindings = (Binding("p-1", 0, 2**62),)
    gateway.world.gate = Gate({"watch-1": DeviceRule(DeviceState.SUSPENDED, bindings=bindings)}, strict=True)
    time.sleep(0.25)
    with gateway.client(gateway.world.token()) as client:
        answer = client.post("/v1/samples", json=request(anchors={"heart_rate": "a1"}))
    assert refusal(answer) == (422, "nothing_accepted")
    assert answer.json()["outcomes"][0]["retry"] == "later"
    assert gateway.world.books.told == {}
    gateway.world.gate = Gate()
    time.sleep(0.25)


def test_anchors_are_confirmed_when_all_is_safe(gateway: Running) -> None:
    token = gateway.world.token()
    with gateway.client(token) as client:
        answer = client.post("/v1/samples", json=request(anchors={"heart_rate": "a1"}))
        assert answer.json()["anchors"] == ["heart_rate"]
        assert client.get("/v1/devices/me").json()["anchors"] == {"heart_rate": "a1"}
        gateway.world.fails = SpoolFull("full")
        assert client.post("/v1/samples", json=request(anchors={"heart_rate": "a2"})).status_code == 503
    assert gateway.world.books.told == {token.split("_")[1]: {"heart_rate": "a1"}}


def test_a_broken_way_in_is_never_a_202(gateway: Running) -> None:
    with gateway.client(gateway.world.token()) as client:
        for error, code in ((SpoolFull("full"), "spool_full"), (SpoolUnusable("bad disk"), "not_safe")):
            gateway.world.fails = error
            answer = client.post("/v1/samples", json=request())
            assert refusal(answer) == (503, code)
            assert int(answer.headers["retry-after"]) > 0
        gateway.world.fails = RuntimeError("p-1 at home with watch-1")
        answer = client.post("/v1/samples", json=request())
        assert refusal(answer) == (500, "internal")
        assert "p-1" not in answer.text
        gateway.world.fails = None
        gateway.world.place = Place.SPOOL
        assert client.post("/v1/samples", json=request()).json()["safe"] == "spool"


def test_an_outage_of_the_database_changes_nothing_for_an_hour(gateway: Running) -> None:
    token = gateway.world.token()
    with gateway.client(token) as client:
        assert client.post("/v1/samples", json=request()).status_code == 202
        gateway.world.access_away = gateway.world.gate_away = gateway.world.books.away = True
        time.sleep(0.25)
        assert client.post("/v1/samples", json=request()).status_code == 202
        me = client.get("/v1/devices/me").json()
        assert (me["last_samples"], me["anchors"]) == (None, None)
        assert refusal(client.post("/v1/tokens/rotate")) == (503, "not_answering")
        assert client.get("/readyz").status_code == 200
    gateway.world.access_away = gateway.world.gate_away = False


def test_credentials_never_seen_are_503(tmp_path: Path) -> None:
    world = World(tmp_path, access_away=True)
    with running(world) as gateway, gateway.client(world.token()) as client:
        answer = client.post("/v1/samples", json=request())
        assert refusal(answer) == (503, "credentials_unknown")
        assert "retry-after" in answer.headers
        assert refusal(client.get("/readyz")) == (503, "not_ready")
        assert client.get("/healthz").json() == {"status": "alive"}
        world.access_away, world.gate_away = False, True
        time.sleep(0.25)
        assert refusal(client.post("/v1/samples", json=request())) == (503, "registry_unknown")


def test_ready_means_room(gateway: Running) -> None:
    with gateway.client() as client:
        assert client.get("/readyz").json() == {"status": "ready"}
        for state in (SpoolUnusable("x"), SpoolState(1, 1 << 30, 3.0), SpoolState(1, 10, 8 * 86_400.0)):
            gateway.world.spool = state
            assert refusal(client.get("/readyz")) == (503, "not_ready")


def test_what_the_server_knows(gateway: Running) -> None:
    token = gateway.world.token(devices=("b", "a"))
    gateway.world.spool = SpoolState(7, 100, 12.5)
    with gateway.client(token) as client:
        me = client.get("/v1/devices/me").json()
    assert me["token"]["id"] == token.split("_")[1]
    assert me["devices"] == ["a", "b"]
    assert me["last_samples"][0]["start"] == "2023-11-14T22:13:20Z"
    assert me["send"]["batch"] == 500
    assert me["backlog"] == {"spooled_records": 7, "oldest_age_s": 12.5, "hint": "send live data first"}
    assert token.split("_")[1] in gateway.world.books.uses


def test_a_bridge_of_a_patient_sees_what_the_patient_wears(gateway: Running) -> None:
    worn = {name: DeviceRule(bindings=(Binding(who, 0, 2**62),)) for name, who in (("w-1", "p-1"), ("w-2", "p-2"))}
    gateway.world.gate = Gate(worn)
    time.sleep(0.25)
    with gateway.client(gateway.world.token(devices=None, kind=Kind.BRIDGE)) as client:
        assert client.get("/v1/devices/me").json()["devices"] == ["w-1"]
        assert refusal(client.post("/v1/samples", json=request(device="w-2"))) == (403, "other_device")
    gateway.world.gate = Gate()
    time.sleep(0.25)


def test_a_new_token_for_an_old(gateway: Running) -> None:
    token = gateway.world.token()
    gateway.world.books.make = lambda: gateway.world.token(expires_us=1_900_000_000_000_000)
    with gateway.client(token) as client:
        answer = client.post("/v1/tokens/rotate")
    assert answer.json()["expires"] == "2030-03-17T17:46:40Z"
    assert answer.headers["cache-control"] == "no-store"
    with gateway.client(answer.json()["token"]) as client:
        assert client.post("/v1/samples", json=request()).status_code == 202
    assert gateway.world.books.rotated == [token.split("_")[1]]


def test_a_token_that_cannot_be_rotated_is_not_asked_to_come_back(gateway: Running) -> None:
    def refuse() -> str:
        raise VigilError("it was rotated 20 times within an hour")

    gateway.world.books.make = refuse
    with gateway.client(gateway.world.token()) as client:
        answer = client.post("/v1/tokens/rotate")
    assert refusal(answer) == (403, "not_for_this_token")
    assert "retry-after" not in answer.headers


def test_the_same_key_and_body_get_the_same_answer(gateway: Running) -> None:
    body = request(2)
    with gateway.client(gateway.world.token()) as client, gateway.client(gateway.world.token()) as other:
        first = client.post("/v1/samples", json=body, headers={"idempotency-key": "k1"})
        packed = {"idempotency-key": "k1", "content-encoding": "gzip", "content-type": "application/json"}
        raw = first.request.content
        again = client.post("/v1/samples", content=gzip.compress(raw), headers=packed)
        assert (again.status_code, again.content) == (202, first.content)
        assert again.headers["idempotent-replayed"] == "true"
        assert "idempotent-replayed" not in first.headers
        assert len(gateway.world.accepted) == 1
        changed = client.post("/v1/samples", json=request(3), headers={"idempotency-key": "k1"})
        assert refusal(changed) == (422, "idempotency_key_reused")
        mine = other.post("/v1/samples", content=raw, headers={**packed, "content-encoding": "identity"})
        assert "idempotent-replayed" not in mine.headers
        gateway.world.fails = SpoolFull("full")
        assert client.post("/v1/samples", json=body, headers={"idempotency-key": "k2"}).status_code == 503
        gateway.world.fails = None
        retried = client.post("/v1/samples", json=body, headers={"idempotency-key": "k2"})
        assert (retried.status_code, "idempotent-replayed" in retried.headers) == (202, False)
        for bad in ("", "a b", "x" * 256):
            got = client.post("/v1/samples", json=body, headers={"idempotency-key": bad})
            assert refusal(got) == (400, "idempotency_key_invalid")


def test_a_key_that_is_under_way_waits(gateway: Running) -> None:
    gateway.world.hangs = threading.Event()
    body, token = request(), gateway.world.token()

    def post() -> httpx.Response:
        with gateway.client(token) as client:
            return client.post("/v1/samples", json=body, headers={"idempotency-key": "k9"})

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(post) for _ in range(2)]
        deadline = time.monotonic() + 10
        while not any(one.done() for one in both) and time.monotonic() < deadline:
            time.sleep(0.01)
        gateway.world.hangs.set()
        answers = sorted((one.result() for one in both), key=lambda one: one.status_code)
    assert [one.status_code for one in answers] == [202, 409]
    assert refusal(answers[1]) == (409, "idempotency_key_under_way")


def test_replies_outlive_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path)
    token, body = world.token(), request()
    answers = []
    for _ in range(2):
        with running(world) as gateway, gateway.client(token) as client:
            answers.append(client.post("/v1/samples", json=body, headers={"idempotency-key": "k"}))
    assert answers[0].content == answers[1].content
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert len(world.accepted) == 1


def test_rates_are_per_credential(gateway: Running) -> None:
    with gateway.client(gateway.world.token()) as client, gateway.client(gateway.world.token()) as other:
        answers = [client.get("/v1/devices/me") for _ in range(200)]
        slow = [one for one in answers if one.status_code == 429]
        assert refusal(slow[0]) == (429, "too_many_requests")
        assert 1 <= int(slow[0].headers["retry-after"]) <= 2
        assert other.get("/v1/devices/me").status_code == 200
        headers = {"content-type": ARROW}
        codes = [other.post("/v1/samples", content=arrow(10_000), headers=headers) for _ in range(8)]
        assert refusal(codes[-1]) == (429, "too_many_samples")


def test_every_error_of_the_framework_is_a_problem(gateway: Running) -> None:
    with gateway.client(gateway.world.token()) as client:
        assert refusal(client.get("/nothing/here?secret=1")) == (404, "not_found")
        assert refusal(client.get("/v1/samples/")) == (404, "not_found")
        wrong = client.delete("/v1/samples")
        assert refusal(wrong) == (405, "method_not_allowed")
        assert wrong.headers["allow"] == "POST"
        assert client.put("/v1/jobs/x").headers["allow"] == "DELETE, GET"
        assert refusal(client.post("/v1/samples", content=b"{}")) == (415, "media_type")
        for content_type, code in (("text/json", "media_type"), ("application/json; charset=utf-16", "charset"),
                                   ("application/json; charset=latin-1", "charset"),
                                   ("x" * 300, "media_type")):  # fmt: skip
            got = client.post("/v1/samples", content=b"{}", headers={"content-type": content_type})
            assert refusal(got) == (415, code)
        got = client.post(
            "/v1/samples", content=b"{}", headers={"content-type": "application/json", "content-encoding": "br"}
        )
        assert refusal(got) == (415, "content_encoding")
        assert "gzip" in got.headers["accept-encoding"]


def test_too_many_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, hangs=threading.Event())
    tokens = [world.token() for _ in range(6)]

    def post(gateway: Running, token: str) -> int:
        with gateway.client(token) as client:
            answer = client.post("/v1/samples", json=request())
            if answer.status_code == 503:
                assert refusal(answer) == (503, "busy")
                assert "retry-after" in answer.headers
                assert client.get("/healthz").status_code == 200
                assert world.hangs is not None
                world.hangs.set()
            return answer.status_code

    with running(world, GatewayPolicy(requests=3)) as gateway, ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda token: post(gateway, token), tokens))
    assert codes.count(503) >= 1
    assert codes.count(202) >= 3


def test_a_stop_lets_requests_under_way_finish(tmp_path: Path) -> None:
    world = World(tmp_path, hangs=threading.Event())
    token = world.token()
    with running(world) as gateway, ThreadPoolExecutor(1) as pool, gateway.client(token) as client:
        answer = pool.submit(client.post, "/v1/samples", json=request())
        while not world.books.uses:
            time.sleep(0.01)
        gateway.server.should_exit = True
        time.sleep(0.3)
        assert not answer.done()
        assert not gateway.ended.is_set()
        assert world.hangs is not None
        world.hangs.set()
        assert answer.result().status_code == 202
        assert gateway.ended.wait(10)


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals come to the main thread")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_and_what_is_around_can_still_be_closed(tmp_path: Path, number: int) -> None:
    server = GatewayServer(create_app(World(tmp_path).parts()), port=0)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        os.kill(os.getpid(), number)
        await serving


def test_no_clear_text_beyond_this_machine(gateway: Running) -> None:
    tls = Tls(Path("cert"), Path("key"))
    for host in ("0.0.0.0", "::", "192.0.2.1", "gateway.example"):
        with pytest.raises(NotGuarded, match="TLS"):
            check_binding(host, None, ())
        check_binding(host, tls, ())
        check_binding(host, None, ("192.0.2.7",))
    for host in ("127.0.0.1", "::1", "[::1]", "localhost"):
        check_binding(host, None, ())
    with pytest.raises(NotGuarded, match="named"):
        check_binding("0.0.0.0", tls, ("*",))
    with pytest.raises(NotGuarded):
        GatewayServer(gateway.app, host="0.0.0.0", port=0)


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_what_comes_is_counted_without_a_name(gateway: Running) -> None:
    names = ("accepted", "rejected", "duplicate")
    before = [counted("vigil_gateway_samples_total", outcome=name) for name in names]
    refused = counted("vigil_gateway_refused_total", code="not_found")
    answered = counted("vigil_gateway_requests_total", route="/v1/samples", status="202")
    one = sample(1)
    with gateway.client(gateway.world.token()) as client:
        client.post("/v1/samples", json={"samples": [one, one, sample(2, value=9_999)]})
        client.get("/v1/somebody/p-1")
    until(lambda: counted("vigil_gateway_refused_total", code="not_found") == refused + 1)
    assert [counted("vigil_gateway_samples_total", outcome=name) for name in names] == [one + 1 for one in before]
    until(lambda: counted("vigil_gateway_requests_total", route="/v1/samples", status="202") == answered + 1)
    assert counted("vigil_gateway_request_seconds_count", route="/v1/samples") > 0
    routes = {one.labels["route"] for metric in REGISTRY.collect() for one in metric.samples if "route" in one.labels}
    assert routes <= {*gateway.app.openapi()["paths"], "/v1/openapi.json", "/v1/stream", "none"}


def test_nothing_of_a_person_is_logged(gateway: Running, capsys: pytest.CaptureFixture[str]) -> None:
    token = gateway.world.token(patient="p-secret", devices=("w-secret",))
    with gateway.client(token) as client:
        client.post("/v1/samples", json=request())
        client.post("/v1/samples", json=request(device="w-other"))
        client.get("/v1/jobs/w-secret")
        gateway.world.fails = ValueError("p-secret")
        client.post("/v1/samples", json=request())
        client.get("/v1/devices/me", headers={"authorization": token})
    printed = "".join(capsys.readouterr())
    assert "gateway_refused" in printed
    assert "gateway_broken" in printed
    assert token.split("_")[1] in printed
    for word in ("p-secret", "w-secret", "w-other", token[20:]):
        assert word not in printed


def test_anchors_that_a_refused_request_confirms_are_noted(tmp_path: Path) -> None:
    sent = {"samples": [sample(value=99_999)], "anchors": {"heart_rate": "a1"}}
    with running(World(tmp_path)) as gateway, gateway.client(gateway.world.token()) as client:
        answer = client.post("/v1/samples", json=sent)
        assert (answer.status_code, answer.json()["anchors"]) == (422, ["heart_rate"])
        assert client.get("/v1/devices/me").json()["anchors"] == {"heart_rate": "a1"}


def test_no_anchor_gets_past_what_no_consent_lets_in(tmp_path: Path) -> None:
    """A phone that is paired before its consent is noted tells its history again once it is."""
    world = World(tmp_path, gate=Gate(require_consent=True))
    with running(world) as gateway, gateway.client(world.token()) as client:
        answer = client.post("/v1/samples", json=request(anchors={"heart_rate": "a1"}))
        assert (answer.status_code, answer.json()["anchors"], answer.json()["reasons"]) == (422, [], {"no_consent": 1})
        assert client.get("/v1/devices/me").json()["anchors"] == {}
