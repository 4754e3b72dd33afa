"""Edge: the gateway's client for programs that await."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx
from tenacity import AsyncRetrying

from ingest.client import calls, results
from ingest.client.address import Gateway
from ingest.client.calls import Call, Wire
from ingest.client.errors import GatewayUnreachable
from ingest.client.plain import CHUNK_BYTES, Progress, headers_of, reply_of, timeouts
from ingest.client.results import Job, Me, NewToken, Reply, Sent
from ingest.client.retrying import RetryPolicy, how
from ingest.client.samples import Samples
from ingest.client.stream import Stream, connected
from vitals.clock import Clock, system_clock


class AsyncGatewayClient:
    """`GatewayClient` for asyncio; several tasks may use one at the same time. It raises the same."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        retry: RetryPolicy | None = None,
        timeout_s: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._gateway, self._retry, self._clock = gateway, retry or RetryPolicy(), clock
        self._tls = gateway.tls()
        self._http = httpx.AsyncClient(
            base_url=gateway.base,
            headers=gateway.headers(),
            timeout=timeouts(timeout_s),
            transport=transport,
            verify=self._tls,
        )

    def __repr__(self) -> str:
        """Without the token."""
        return f"AsyncGatewayClient({self._gateway.host})"

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def send(
        self,
        samples: Samples = (),
        *,
        device: str | None = None,
        source_app: str | None = None,
        deletions: Sequence[UUID] = (),
        anchors: Mapping[str, str] | None = None,
        wire: Wire | None = None,
    ) -> Sent:
        """Send samples, then ids of deleted ones, then anchors: see `GatewayClient.send`."""
        return await self._driven(
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

    async def me(self) -> Me:
        """Return what the gateway knows of this token."""
        return results.me_of(await self.ask(calls.ME))

    async def rotate(self) -> NewToken:
        """Return a new token with the same scope: see `GatewayClient.rotate`."""
        return results.token_of(await self.ask(calls.ROTATE))

    async def check(self, *, ready: bool = False) -> None:
        """Return if the gateway lives (`ready`: and can take samples)."""
        results.well(await self.ask(calls.READY if ready else calls.ALIVE))

    async def upload_export(self, file: Path, *, progress: Progress = lambda _done, _total: None) -> Job:
        """Upload an Apple Health export and return the job that reads it."""
        return results.job_of(await self.ask(calls.upload(file), progress))

    async def job(self, job_id: str) -> Job:
        """Return how far a job is."""
        return results.job_of(await self.ask(calls.job(job_id)))

    async def wait_for(
        self, job_id: str, *, within_s: float, every_s: float = 1.0, progress: Progress = lambda _done, _total: None
    ) -> Job:
        """Return a job once it is over, or as it is after `within_s`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while not (job := await self.job(job_id)).over and loop.time() < until:
            progress(job.done_bytes, job.total_bytes)
            await asyncio.sleep(every_s)
        progress(job.done_bytes, job.total_bytes)
        return job

    @asynccontextmanager
    async def stream(self, *, device: str | None = None, source_app: str | None = None) -> AsyncIterator[Stream]:
        """Open a WebSocket for live samples. Raises `GatewayRefused` or `GatewayUnreachable`."""
        async with connected(self._gateway, self._tls, device=device, source_app=source_app, clock=self._clock) as one:
            yield one

    async def ask(self, call: Call, progress: Progress = lambda _done, _total: None) -> Reply:
        """Make a call, again where that may help, and return the last answer, whatever it says."""
        try:
            reply: Reply = await AsyncRetrying(**how(self._retry, call))(self._once, call, progress)
        except httpx.TransportError as error:
            raise GatewayUnreachable(f"no gateway answers at {self._gateway.host}: {type(error).__name__}") from error
        return reply

    async def _once(self, call: Call, progress: Progress) -> Reply:
        content = call.content if isinstance(call.content, bytes) else _chunks(call.content, progress)
        answer = await self._http.request(call.method, call.path, content=content, headers=headers_of(call))
        return reply_of(answer)

    async def _driven(self, plan: Generator[Call, Reply, Sent]) -> Sent:
        try:
            call = next(plan)
            while True:
                call = plan.send(await self.ask(call))
        except StopIteration as over:
            sent: Sent = over.value
            return sent


async def _chunks(file: Path, progress: Progress) -> AsyncIterator[bytes]:
    total, done = (await asyncio.to_thread(file.stat)).st_size, 0
    with await asyncio.to_thread(file.open, "rb") as opened:
        while piece := await asyncio.to_thread(opened.read, CHUNK_BYTES):
            yield piece
            done += len(piece)
            progress(done, total)
