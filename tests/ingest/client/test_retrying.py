"""What a client sends again, with which key and after how long, and what it never shows."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import orjson
import pytest

from ingest.client import (
    AsyncGatewayClient,
    Forbidden,
    Gateway,
    GatewayClient,
    GatewayError,
    GatewayRefused,
    GatewayUnreachable,
    NotSignedIn,
    RetryPolicy,
    Sample,
    TryLater,
)  # fmt: skip
from ingest.client.plain import retry_after_s
from tests.ingest.client.test_bodies import BERLIN

TOKEN = "vgl_aaaaaaaaaaaaaaaa_" + "S" * 43
GATEWAY = Gateway("https://gateway.example", TOKEN)
SOON = RetryPolicy(first_s=0.001, longest_s=0.002, give_up_s=0.5)
ONE = [Sample("heart_rate", BERLIN, 72)]
ACCEPTED = {
    "request_id": "r1", "received": 1, "accepted": 1, "duplicates": 0, "rejected": 0, "reasons": {}, "outcomes": [],
    "deletions": 0, "anchors": [], "safe": "broker",
}  # fmt: skip
Answers = Callable[[int], httpx.Response | Exception]


class Told:
    """A transport that answers from a list, and remembers what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, retry: RetryPolicy = SOON) -> GatewayClient:
        return GatewayClient(GATEWAY, retry=retry, transport=httpx.MockTransport(self))


def ok() -> httpx.Response:
    return httpx.Response(202, json=ACCEPTED)


def problem(status: int, code: str = "some_code", **headers: str) -> httpx.Response:
    body = {"type": f"urn:vigil:problem:{code}", "title": "No", "status": status, "detail": "why", "code": code}
    return httpx.Response(status, json=body, headers=headers)


@pytest.mark.parametrize("status", [408, 409, 429, 502, 503, 504])
def test_what_may_pass_later_is_sent_again_with_the_same_key(status: int) -> None:
    told = Told(problem(status), httpx.ReadTimeout("slow"), httpx.ConnectError("gone"), ok())
    with told.client() as client:
        assert client.send(ONE, device="d").accepted == 1
    assert len(told.asked) == 4
    assert len({request.headers["idempotency-key"] for request in told.asked}) == 1
    assert len({request.content for request in told.asked}) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, GatewayRefused), (401, NotSignedIn), (403, Forbidden), (404, GatewayRefused), (413, GatewayRefused),
     (415, GatewayRefused), (422, GatewayRefused), (500, GatewayRefused)],
)  # fmt: skip
def test_what_stays_wrong_is_said_once(status: int, kind: type[GatewayRefused]) -> None:
    told = Told(problem(status))
    with told.client() as client, pytest.raises(kind) as refused:
        client.send(ONE, device="d")
    assert len(told.asked) == 1
    assert (refused.value.status, refused.value.code) == (status, "some_code")


def test_where_nothing_was_accepted_each_sample_has_its_outcome() -> None:
    outcome = {"index": 0, "status": "rejected", "reason": "out_of_range", "retry": "never", "field": "value"}
    members = ACCEPTED | {"accepted": 0, "rejected": 1, "reasons": {"out_of_range": 1}, "outcomes": [outcome]}
    told = Told(httpx.Response(422, json=members | {"status": 422, "code": "nothing_accepted"}))
    with told.client() as client:
        sent = client.send(ONE, device="d")
    assert (sent.accepted, sent.rejected, sent.safe, sent.outcomes[0].field) == (0, 1, None, "value")


def test_retry_after_is_waited_for() -> None:
    told = Told(problem(429, **{"Retry-After": "1"}), ok())
    began = time.monotonic()
    with told.client(RetryPolicy(first_s=0.001, longest_s=0.002, give_up_s=5)) as client:
        client.send(ONE, device="d")
    assert 1 <= time.monotonic() - began < 4


@pytest.mark.alone
def test_a_wait_beyond_all_patience_is_not_begun() -> None:
    told = Told(problem(503, "spool_full", **{"Retry-After": "600"}))
    began = time.monotonic()
    with told.client() as client, pytest.raises(TryLater) as later:
        client.send(ONE, device="d")
    assert time.monotonic() - began < 0.5
    assert (later.value.retry_after_s, later.value.code, len(told.asked)) == (600, "spool_full", 1)


def test_nobody_there_is_said_in_the_end() -> None:
    with (
        Told(httpx.ConnectError("refused")).client() as client,
        pytest.raises(GatewayUnreachable, match=r"gateway\.example"),
    ):
        client.send(ONE, device="d")


def test_a_rotation_that_may_have_happened_is_not_repeated() -> None:
    told = Told(httpx.ReadTimeout("slow"), httpx.Response(200, json={"token": "x", "expires": "2027-01-01T00:00:00Z"}))
    with told.client() as client:
        with pytest.raises(GatewayUnreachable):
            client.rotate()
        assert len(told.asked) == 1
        made = client.rotate()
    assert made.token == "x"
    assert "x" not in repr(made).replace("expires", "")


def test_a_failure_in_the_midst_leaves_what_was_sent_before_safe_and_says_so() -> None:
    told = Told(ok(), problem(401))
    with told.client() as client, pytest.raises(NotSignedIn):
        client.send(ONE * 501, device="d")
    assert len(told.asked) == 2


@pytest.mark.parametrize("body", [b"<html>no gateway</html>", b"[1]", b""])
@pytest.mark.parametrize("status", [202, 418])
def test_an_answer_of_something_else_is_no_success(status: int, body: bytes) -> None:
    told = Told(httpx.Response(status, content=body))
    with told.client() as client, pytest.raises(GatewayError, match="is this the gateway's address"):
        client.send(ONE, device="d")


async def test_the_async_client_does_the_same_for_many_at_once() -> None:
    told = Told(problem(503), httpx.ReadError("cut"), ok())
    async with AsyncGatewayClient(GATEWAY, retry=SOON, transport=httpx.MockTransport(told)) as client:
        sent = await asyncio.gather(*(client.send(ONE, device="d") for _ in range(10)))
    assert {one.accepted for one in sent} == {1}
    assert len({request.headers["idempotency-key"] for request in told.asked}) == 10
    assert len(told.asked) == 12


def test_the_token_is_in_no_repr_log_or_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = Told(problem(503), httpx.ConnectError("refused"), problem(403))
    with told.client() as client:
        with pytest.raises(Forbidden) as refused:
            client.send(ONE, device="d")
        shown = [repr(client), repr(GATEWAY), str(refused.value), repr(refused.value), caplog.text]
    assert told.asked[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert not any(TOKEN in text or "S" * 43 in text for text in shown)


@pytest.mark.parametrize(
    "url",
    ["http://gateway.example", "ftp://gateway.example", "gateway.example", "https://user:pw@gateway.example",
     "https://gateway.example/?a=b", "https://"],
)  # fmt: skip
def test_addresses_that_are_none_or_would_show_the_token(url: str) -> None:
    with pytest.raises(GatewayError):
        Gateway(url, TOKEN)


def test_addresses_on_this_machine_may_be_plain() -> None:
    assert Gateway("http://127.0.0.1:8090/", TOKEN).base == "http://127.0.0.1:8090"
    assert Gateway("http://localhost:8090", TOKEN).stream_url == "ws://localhost:8090/v1/stream"
    assert Gateway("http://inside:8090", TOKEN, in_the_clear=True).host == "inside:8090"
    assert Gateway("https://gateway.example/vigil/", TOKEN).stream_url == "wss://gateway.example/vigil/v1/stream"
    with pytest.raises(GatewayError):
        Gateway("https://gateway.example", "two\nlines")


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(GatewayError, match="PEM"):
        Gateway("https://gateway.example", TOKEN, authority=tmp_path / "ca.pem").tls()


def test_redirects_are_not_followed_with_the_token() -> None:
    told = Told(httpx.Response(307, headers={"location": "https://elsewhere.example/v1/samples"}))
    with told.client() as client, pytest.raises(GatewayRefused):
        client.send(ONE, device="d")
    assert len(told.asked) == 1


def test_retry_after_of_others() -> None:
    assert [retry_after_s(one) for one in (None, "3", "", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", "9" * 9)] == [
        None, 3.0, None, None, None, None,
    ]  # fmt: skip


def test_an_answer_without_a_code_is_a_refusal_all_the_same() -> None:
    told = Told(httpx.Response(403, content=orjson.dumps({"detail": "nginx\x1b[31m" + "x" * 999})))
    with told.client() as client, pytest.raises(Forbidden) as refused:
        client.me()
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 300
