import asyncio
import hashlib
import hmac
import json
import logging
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from alerts.channels import BadChannel, LogChannel, WebhookChannel
from alerts.episode import fold
from alerts.notification import Notification, Outcome
from alerts.routing import decide, default_policy
from tests.alerts.making import an_event, at

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def a_notification(*, now_s: float = 61) -> Notification:
    event = an_event()
    return decide(default_policy(webhook=True), fold(None, event), event, at(now_s))[0]


@asynccontextmanager
async def receiver(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/secret-path", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/secret-path"
    finally:
        await runner.cleanup()


async def test_fails_then_succeeds_signed_and_with_the_notice(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    requests: list[tuple[dict[str, str], bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        requests.append((dict(request.headers), await request.read()))
        return web.Response(status=503 if len(requests) < 3 else 204)

    notification = a_notification()
    async with receiver(answer) as url:
        channel = WebhookChannel(url, secret="s3cret", backoff_s=0.001)
        tries = await channel.deliver(notification)
        await channel.close()
    assert [(one.outcome, one.detail) for one in tries] == [
        (Outcome.FAILED, "http 503"), (Outcome.FAILED, "http 503"), (Outcome.DELIVERED, "http 204"),
    ]  # fmt: skip
    headers, body = requests[-1]
    signed = hmac.new(b"s3cret", headers["X-Vigil-Timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Vigil-Signature"] == f"sha256={signed}"
    assert headers["Idempotency-Key"] == notification.notification_id
    said = json.loads(body)
    assert said["text"] == "Medium priority, physiological: Heart rate above 130 /min."
    assert "not a medical device" in said["notice"]
    assert Notification.model_validate(said) == notification
    assert "secret-path" not in caplog.text


async def test_gives_up_after_its_attempts_without_raising() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=400)

    async with receiver(answer) as url:
        channel = WebhookChannel(url, attempts=3, backoff_s=0.001)
        tries = await channel.deliver(a_notification())
        await channel.close()
    assert [one.detail for one in tries] == ["http 400"] * 3


async def test_follows_no_redirect() -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with receiver(answer) as url:
        channel = WebhookChannel(url, attempts=1)
        assert [one.detail for one in await channel.deliver(a_notification())] == ["http 307"]
        await channel.close()
    assert seen == ["/secret-path"]


async def test_waits_only_so_long_and_reads_no_endless_answer() -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)

    async with receiver(hang) as url:
        channel = WebhookChannel(url, timeout_s=0.2, attempts=1)
        assert [one.detail for one in await channel.deliver(a_notification())] == ["timeout"]
        await channel.close()
    async with receiver(endless) as url:
        channel = WebhookChannel(url, timeout_s=5, attempts=1)
        assert [one.outcome for one in await channel.deliver(a_notification())] == [Outcome.DELIVERED]
        await channel.close()


async def test_a_receiver_that_is_not_there_is_a_failure_and_names_no_address() -> None:
    channel = WebhookChannel("http://127.0.0.1:1/secret-path", attempts=1)
    assert [(one.outcome, one.detail) for one in await channel.deliver(a_notification())] == [
        (Outcome.FAILED, "ConnectError")
    ]
    await channel.close()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "http:///hook", "http://[", "example.org/hook"])
def test_refuses_other_addresses_without_quoting_them(url: str) -> None:
    with pytest.raises(BadChannel) as caught:
        WebhookChannel(url)
    assert url not in str(caught.value)


async def test_log_appends_lines_that_only_the_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "alerts" / "log.jsonl"
    path.parent.mkdir()
    path.touch(0o644)
    channel = LogChannel(path)
    results = await asyncio.gather(*(channel.deliver(a_notification(now_s=2_000)) for _ in range(5)))
    assert [one.outcome for tries in results for one in tries] == [Outcome.DELIVERED] * 5
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_text().splitlines()
    assert len(lines) == 5
    assert json.loads(lines[0])["text"].startswith("Delayed message. ")


async def test_log_says_that_it_could_not_write(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for path in (tmp_path, tmp_path / "link"):
        assert [one.outcome for one in await LogChannel(path).deliver(a_notification())] == [Outcome.FAILED]
    assert not (tmp_path / "target").read_text()
