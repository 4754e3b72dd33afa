"""Edge: one open stream of a live bridge.

The credential is looked at before each message and each second, so that a revocation ends the stream. A message is read
only while fewer than the window wait for their answer: a bridge that is faster than the broker is slowed down by TCP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from ingest.gateway.door import certificate_of, door_of
from ingest.gateway.messages import Hello, Message, message_of
from ingest.gateway.policy import StreamPolicy
from ingest.gateway.problems import Code, Refused, document
from ingest.gateway.sign_in import bearer
from ingest.gateway.taking import Names, Taken, adapter_of, make_safe, read_and_judge
from ingest.gateway.trace import request_id, traceparent
from vitals.access import Principal
from vitals.clock import US_PER_S

PROTOCOL: Final = "vigil.v1"
REVOKED, FORBIDDEN, IDLE, TOO_LARGE, TOO_FAST = 4401, 4403, 4408, 4413, 4429
GOING_AWAY, LATER, _INTERNAL = 1012, 1013, 1011
_PATIENCE: Final = 100
"""So many messages in a row that come too fast are answered; then the stream ends."""

Refuse = Callable[[WebSocket, Exception, Names | None], Refused]
"""Counts and logs what ends a message, and returns it as a refusal."""


class Ended(Exception):
    """A stream is to be closed with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Stream:
    """One open stream."""

    def __init__(self, socket: WebSocket, principal: Principal, policy: StreamPolicy, refused: Refuse) -> None:
        self._socket = socket
        self._principal = principal
        self._policy = policy
        self._refused = refused
        self._door = door_of(socket)
        self._token = bearer(socket.headers.get("authorization")) or ""
        self._window = asyncio.Semaphore(policy.window)
        self._who = Hello.of(socket.query_params)
        self._adapter = adapter_of(socket)
        self._answering: set[asyncio.Task[None]] = set()
        self._stopping, self._stopped = asyncio.Event(), asyncio.Event()
        self._too_fast = 0

    async def run(self) -> None:
        """Serve it until either side ends it. What is under way is made safe in any case, told where that helps."""
        offered = self._socket.scope["subprotocols"]
        await self._socket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
        try:
            await self._end(await self._until_ended(self._read(), self._watch(), self._told()))
        finally:
            for task in self._answering:  # some are left only where this is cancelled
                task.cancel()
            self._stopped.set()

    async def _end(self, code: int) -> None:
        """Close, after the answers where they help; who takes neither in time is cut off."""
        try:
            async with asyncio.timeout(self._policy.patience_s):
                if code in {GOING_AWAY, IDLE}:
                    await self._answered()
                with suppress(RuntimeError, WebSocketDisconnect, OSError):  # the other side may be gone
                    await self._socket.close(code)
        except TimeoutError:
            self.abort()
        await self._answered()

    async def _answered(self) -> None:
        if self._answering:
            await asyncio.wait(self._answering)

    @property
    def holder(self) -> str:
        """Whose stream it is."""
        return self._principal.holder

    def abort(self) -> None:
        """Cut the other side off; what is under way is made safe all the same."""
        found = (self._socket.scope.get("extensions") or {}).get("vigil.abort")
        if found is not None:
            found["now"]()

    async def stop(self) -> None:
        """Read no more, answer what came, close."""
        self._stopping.set()
        await self._stopped.wait()

    async def _until_ended(self, *jobs: Coroutine[Any, Any, None]) -> int:
        tasks = [asyncio.ensure_future(job) for job in jobs]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        error = next(iter(done)).exception()
        if isinstance(error, Ended):
            return error.code
        if isinstance(error, Exception) and not isinstance(error, WebSocketDisconnect):
            self._refused(self._socket, error, None)
        return _INTERNAL

    async def _told(self) -> None:
        await self._stopping.wait()
        raise Ended(GOING_AWAY)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._policy.check_every_s)
            await self._check()

    async def _check(self) -> None:
        """Look at the credential again. Raises `Ended`."""
        try:
            credential = await self._door.sign_in.find(self._token, certificate_of(self._socket))
        except Refused as error:
            raise Ended(LATER) from error
        if credential is None:
            raise Ended(REVOKED)
        self._principal = credential.principal

    async def _read(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._policy.idle_s):
                    await self._window.acquire()
                    frame = await self._socket.receive()
            except TimeoutError as error:
                raise Ended(IDLE) from error
            if frame["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(frame.get("code", 1005))
            text = frame.get("text")
            await self._take(frame["bytes"] if text is None else text.encode(), binary=text is None)

    async def _take(self, raw: bytes, *, binary: bool) -> None:
        """Read a message; its answer comes when it is safe, and gives its place in the window back."""
        if len(raw) > self._policy.most_bytes:
            raise Ended(TOO_LARGE)
        await self._check()
        names = Names(request_id(()), traceparent([self._socket.state.traceparent]))
        try:
            self._count()
            self._door.held.take(len(raw))
        except Refused as error:
            self._window.release()
            await self._problem(None, error, names)
            if self._too_fast > _PATIENCE:
                raise Ended(TOO_FAST) from error
            return
        await self._take_held(raw, names, binary=binary)

    async def _take_held(self, raw: bytes, names: Names, *, binary: bool) -> None:
        seq, handed_over = None, False
        try:
            message = await self._opened(raw, binary=binary)
            if isinstance(message, Hello):
                self._who = message
                return
            seq = message.seq
            read = partial(message.read, self._who)
            taken = await read_and_judge(
                self._socket, self._principal, read, len(raw), self._adapter, names, arrow=binary
            )
            task = asyncio.create_task(self._answer(seq, taken, raw, names))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
            handed_over = True
        except Exception as error:
            if await self._problem(seq, error, names) == 403:
                raise Ended(FORBIDDEN) from error
        finally:
            if not handed_over:
                self._done(raw)

    def _count(self) -> None:
        door = self._door
        wait_s = door.rates.request(self._principal.holder, door.parts.clock() / US_PER_S)
        if wait_s <= 0:
            self._too_fast = 0
            return
        self._too_fast += 1
        raise Refused(429, Code.TOO_MANY_REQUESTS, "this credential sends too many messages", retry_after_s=wait_s)

    async def _opened(self, raw: bytes, *, binary: bool) -> Hello | Message:
        if not binary and len(raw) > self._door.policy.thread_bytes:
            return await asyncio.to_thread(message_of, raw, binary=False)
        return message_of(raw, binary=binary)

    def _done(self, raw: bytes) -> None:
        self._door.held.give(len(raw))
        self._window.release()

    async def _answer(self, seq: int, taken: Taken, raw: bytes, names: Names) -> None:
        try:
            told = await make_safe(self._socket, self._principal, taken, names)
            await self._send({"seq": seq, **told})
        except Exception as error:  # noqa: BLE001  the sender hears of it
            await self._problem(seq, error, names)
        finally:
            self._done(raw)

    async def _problem(self, seq: int | None, error: Exception, names: Names) -> int:
        """Tell why a message was refused; return the status."""
        refused = self._refused(self._socket, error, names)
        await self._send({"seq": seq, "problem": document(refused, names.request_id)})
        return refused.status

    async def _send(self, content: dict[str, object]) -> None:
        with suppress(RuntimeError, WebSocketDisconnect, OSError):  # the other side may be gone
            await self._socket.send_text(orjson.dumps(content).decode())
