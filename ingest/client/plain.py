"""Edge: the gateway's client for programs that wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

import httpx
from tenacity import Retrying

from ingest.client import calls, results
from ingest.client.address import Gateway
from ingest.client.calls import Call, Wire
from ingest.client.errors import GatewayUnreachable
from ingest.client.results import Job, Me, NewToken, Reply, Sent
from ingest.client.retrying import RetryPolicy, how
from ingest.client.samples import Samples
from vitals.clock import Clock, system_clock

CHUNK_BYTES: Final = 1 << 18

Progress = Callable[[int, int], None]
"""Hears how much is done of how much: bytes while uploading, then bytes read by the gateway."""


class GatewayClient:
    """Sends samples and asks what became of them. One connection is kept; use it as a context manager, or `close` it.

    Every method raises `GatewayUnreachable` when nothing answered in time, `NotSignedIn`, `Forbidden`, `TryLater` or
    another `GatewayRefused` for what the gateway refuses. What failed may be said again: nothing is stored twice.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        retry: RetryPolicy | None = None,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._gateway, self._retry, self._clock = gateway, retry or RetryPolicy(), clock
        self._http = httpx.Client(
            base_url=gateway.base,
            headers=gateway.headers(),
            timeout=timeouts(timeout_s),
            transport=transport,
            verify=gateway.tls(),
        )

    def __repr__(self) -> str:
        """Without the token."""
        return f"GatewayClient({self._gateway.host})"

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(
        self,
        samples: Samples = (),
        *,
        device: str | None = None,
        source_app: str | None = None,
        deletions: Sequence[UUID] = (),
        anchors: Mapping[str, str] | None = None,
        wire: Wire | None = None,
    ) -> Sent:
        """Send samples, then ids of deleted ones, then anchors, and return what became of each.

        In batches (`calls.BATCH`), each safe before the next is sent; columns travel as Arrow, `Sample`s as JSON unless
        `wire` says otherwise. `device` may be left out where the token has exactly one.
        """
        return self._driven(
            calls.sending(
                samples,
                device=device,
                source_app=source_app,
                deletions=deletions,
                anchors=anchors or {},
                wire=wire,
                now_us=self._clock(),
            )
        )

    def me(self) -> Me:
        """Return what the gateway knows of this token: its devices, their newest samples, its anchors."""
        return results.me_of(self.ask(calls.ME))

    def rotate(self) -> NewToken:
        """Return a new token with the same scope. Keep it, then go on with it in a new client.

        This client's token ends when the new one is first used, in a day at the latest.
        """
        return results.token_of(self.ask(calls.ROTATE))

    def check(self, *, ready: bool = False) -> None:
        """Return if the gateway lives (`ready`: and can take samples)."""
        results.well(self.ask(calls.READY if ready else calls.ALIVE))

    def upload_export(self, file: Path, *, progress: Progress = lambda _done, _total: None) -> Job:
        """Upload an Apple Health export and return the job that reads it."""
        return results.job_of(self.ask(calls.upload(file), progress))

    def job(self, job_id: str) -> Job:
        """Return how far a job is."""
        return results.job_of(self.ask(calls.job(job_id)))

    def wait_for(
        self,
        job_id: str,
        *,
        within_s: float,
        every_s: float = 1.0,
        progress: Progress = lambda _done, _total: None,
    ) -> Job:
        """Return a job once it is over, or as it is after `within_s`."""
        until = time.monotonic() + within_s
        while not (job := self.job(job_id)).over and time.monotonic() < until:
            progress(job.done_bytes, job.total_bytes)
            time.sleep(every_s)
        progress(job.done_bytes, job.total_bytes)
        return job

    def ask(self, call: Call, progress: Progress = lambda _done, _total: None) -> Reply:
        """Make a call, again where that may help, and return the last answer, whatever it says."""
        try:
            reply: Reply = Retrying(**how(self._retry, call))(self._once, call, progress)
        except httpx.TransportError as error:
            raise GatewayUnreachable(f"no gateway answers at {self._gateway.host}: {type(error).__name__}") from error
        return reply

    def _once(self, call: Call, progress: Progress) -> Reply:
        content = call.content if isinstance(call.content, bytes) else chunks(call.content, progress)
        answer = self._http.request(call.method, call.path, content=content, headers=headers_of(call))
        return reply_of(answer)

    def _driven(self, plan: Generator[Call, Reply, Sent]) -> Sent:
        try:
            call = next(plan)
            while True:
                call = plan.send(self.ask(call))
        except StopIteration as over:
            sent: Sent = over.value
            return sent


def timeouts(answer_s: float) -> httpx.Timeout:
    """Return how long an answer, a write or a connection may take: a gateway whose broker is gone answers late."""
    return httpx.Timeout(answer_s, connect=min(5.0, answer_s))


def headers_of(call: Call) -> dict[str, str]:
    """Return a call's headers, with the length of a file."""
    size = {} if isinstance(call.content, bytes) else {"content-length": str(call.content.stat().st_size)}
    return {**call.headers, **size}


def chunks(file: Path, progress: Progress) -> Iterator[bytes]:
    """Yield a file in pieces."""
    total, done = file.stat().st_size, 0
    with file.open("rb") as opened:
        while piece := opened.read(CHUNK_BYTES):
            yield piece
            done += len(piece)
            progress(done, total)


def reply_of(answer: httpx.Response) -> Reply:
    """Return a response as it matters."""
    given: Mapping[str, Any] = answer.headers
    return Reply(
        answer.status_code,
        answer.content,
        str(given.get("x-request-id", ""))[: results.MOST_WORDS],
        retry_after_s(given.get("retry-after")),
    )


def retry_after_s(told: str | None) -> float | None:
    """Return a Retry-After in seconds; a date is as good as none: clocks differ."""
    return float(told) if told is not None and told.isdecimal() and len(told) < 7 else None
