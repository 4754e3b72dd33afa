"""Edge: the channels that carry a notification to its recipient. They say how it went; they never raise for it.

A webhook's receiver gets JSON (`message`), may be sent the same notification again and tells by `notification_id`, and
can check `X-Vigil-Signature: sha256=<hex>`: HMAC-SHA-256, keyed with the shared secret, over the ASCII timestamp of
`X-Vigil-Timestamp` (seconds), a full stop, and the body.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import httpx
from tenacity import AsyncRetrying, retry_if_result, stop_after_attempt, wait_random_exponential

from alerts.notification import Notification, Outcome
from alerts.wording import NOTICE
from vitals.clock import US_PER_S, Clock, system_clock
from vitals.errors import VigilError
from vitals.synthetic import PATIENT as SYNTHETIC

SIGNATURE_HEADER: Final = "X-Vigil-Signature"
TIMESTAMP_HEADER: Final = "X-Vigil-Timestamp"


class BadChannel(VigilError):
    """A channel cannot work as it is configured; the message names what is wrong and quotes no address."""


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt: how it ended, when (us UTC), and a word why (`http 503`); never an address or a secret."""

    outcome: Outcome
    at_us: int
    detail: str


class Channel(Protocol):
    """A way to a recipient."""

    async def deliver(self, notification: Notification) -> tuple[Try, ...]:
        """Try to deliver, a bounded number of times; the last of the attempts says how it ended."""

    async def close(self) -> None:
        """Let go of connections and files."""


def message(notification: Notification) -> bytes:
    """Return what a recipient gets: the notification, its sentence first, the notice last, as one line of JSON."""
    alert = notification.alert
    late = "Delayed message. " if notification.delayed else ""
    said: dict[str, Any] = {
        "text": f"{late}{alert.priority.value.capitalize()} priority, {alert.kind}: {alert.sentence}",
        **notification.model_dump(mode="json"),
        "notice": NOTICE,
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """Return the value of `SIGNATURE_HEADER`."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class WebhookChannel:
    """POSTs to one URL. 2xx is delivered; all else, a redirect too, is tried again after a jittered, growing pause.

    Raises `BadChannel` for a URL that is not http or https. No proxy and no credentials are taken from the
    environment; redirects are not followed (a patient's data goes where the operator said, nowhere else) and the
    answer's body is not read.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str | None = None,
        timeout_s: float = 5.0,
        attempts: int = 4,
        backoff_s: float = 0.5,
        max_backoff_s: float = 10.0,
        clock: Clock = system_clock,
    ) -> None:
        self._url = _checked(url)
        self._secret = None if secret is None else secret.encode()
        self._clock = clock
        self._attempts = attempts
        self._pause = wait_random_exponential(multiplier=backoff_s, max=max_backoff_s)
        self._client = httpx.AsyncClient(timeout=timeout_s, follow_redirects=False, trust_env=False)
        # httpx logs every URL at INFO, and a webhook's URL often is its secret.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)

    async def deliver(self, notification: Notification) -> tuple[Try, ...]:
        """Send the notification; see `Channel.deliver`."""
        tries: list[Try] = []
        body = message(notification)
        retrying = AsyncRetrying(
            retry=retry_if_result(lambda outcome: outcome is not Outcome.DELIVERED),
            stop=stop_after_attempt(self._attempts),
            wait=self._pause,
            retry_error_callback=lambda _: None,
        )

        async def once() -> Outcome:
            tries.append(await self._post(body, notification.notification_id))
            return tries[-1].outcome

        await retrying(once)
        return tuple(tries)

    async def _post(self, body: bytes, notification_id: str) -> Try:
        try:
            async with self._client.stream(
                "POST", self._url, content=body, headers=self._headers(body, notification_id)
            ) as answer:
                outcome = Outcome.DELIVERED if answer.is_success else Outcome.FAILED
                return Try(outcome, self._clock(), f"http {answer.status_code}")
        except httpx.TimeoutException:
            return Try(Outcome.FAILED, self._clock(), "timeout")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return Try(Outcome.FAILED, self._clock(), type(error).__name__)

    def _headers(self, body: bytes, notification_id: str) -> dict[str, str]:
        timestamp = str(self._clock() // US_PER_S)
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": notification_id,
            TIMESTAMP_HEADER: timestamp,
        }
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = sign(self._secret, timestamp, body)
        return headers

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise BadChannel("a webhook's URL must begin with http:// or https:// and name a host")
    return url


class LogChannel:
    """Appends a line of JSON to a local file that only its owner can read, and waits until the disk has it."""

    def __init__(self, path: Path, *, clock: Clock = system_clock) -> None:
        self._path = path
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()

    async def deliver(self, notification: Notification) -> tuple[Try, ...]:
        """Write the notification; see `Channel.deliver`."""
        line = message(notification) + b"\n"
        async with self._one_at_a_time:
            return (await _tried(lambda: asyncio.to_thread(_append, self._path, line), self._clock),)

    async def close(self) -> None:
        """Nothing is kept open."""


class HeartbeatChannel:
    """Takes what is of the synthetic patient: it was delivered as far as Vigil itself delivers, and nobody is told."""

    def __init__(self, *, clock: Clock = system_clock) -> None:
        self._clock = clock

    async def deliver(self, notification: Notification) -> tuple[Try, ...]:
        """Note that it came; see `Channel.deliver`. What is of anybody else is not taken: nobody would read it."""
        if notification.alert.patient_id != SYNTHETIC:
            return (Try(Outcome.FAILED, self._clock(), "not of the synthetic patient"),)
        return (Try(Outcome.DELIVERED, self._clock(), "passed"),)

    async def close(self) -> None:
        """Nothing is kept open."""


async def _tried(action: Callable[[], Awaitable[None]], clock: Clock) -> Try:
    try:
        await action()
    except OSError as error:
        return Try(Outcome.FAILED, clock(), f"file: {type(error).__name__}")
    return Try(Outcome.DELIVERED, clock(), "written")


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    try:
        os.fchmod(handle, 0o600)  # it may have been there before, with the rights of another umask
        view = memoryview(line)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)
