"""Edge: live samples over one WebSocket: sent as they come, each message answered by its number."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from ingest.client.address import Gateway
from ingest.client.calls import who
from ingest.client.errors import Forbidden, GatewayError, GatewayRefused, GatewayUnreachable, NotSignedIn, TryLater
from ingest.client.results import Reply, Sent, refusal, sent_of
from ingest.client.samples import Samples, arrow_body, columns_of
from vitals.batch import SampleColumns
from vitals.clock import Clock

SUBPROTOCOL: Final = Subprotocol("vigil.v1")
_OPEN_S: Final = 10.0
_ANSWER_S: Final = 30.0
_CLOSED: Final[dict[int, tuple[type[GatewayRefused], str, str]]] = {
    4401: (NotSignedIn, "unauthorized", "the token is expired or revoked"),
    4403: (Forbidden, "forbidden", "the token may not do this"),
    4408: (TryLater, "idle", "nothing was sent for too long"),
    4413: (GatewayRefused, "too_large", "a message was too large"),
    4429: (TryLater, "rate", "too much at once"),
}


class Stream:
    """An open stream. Several tasks may send at the same time; each is answered for what it sent."""

    def __init__(self, socket: ClientConnection, clock: Clock) -> None:
        self._socket, self._clock = socket, clock
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._over: GatewayError | None = None

    async def send(self, samples: Samples) -> Sent:
        """Send one message of at most 10,000 samples and return what became of them.

        Raises `GatewayRefused` for a message, or a stream, that the gateway refuses, `GatewayUnreachable` where the
        stream broke: whether the message arrived is not known then; sending it again stores nothing twice.
        """
        columns = samples if isinstance(samples, SampleColumns) else columns_of(list(samples), self._clock())
        number = next(self._numbers)
        answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answered
        try:
            if self._over is not None:
                raise self._over
            with contextlib.suppress(ConnectionClosed):  # `hear` knows why, and says so
                await self._socket.send(number.to_bytes(8, "big") + arrow_body(columns))
            async with asyncio.timeout(_ANSWER_S):
                return _sent(await answered)
        except TimeoutError as error:
            raise GatewayUnreachable("the stream's gateway does not answer") from error
        finally:
            self._waiting.pop(number, None)

    async def hear(self) -> None:
        """Hand out answers until the stream ends; then tell all who wait why."""
        try:
            async for message in self._socket:
                self._answer(message)
        except ConnectionClosed:
            pass
        finally:
            code = self._socket.close_code
            kind, word, detail = _CLOSED.get(code or 0, (None, "", ""))
            self._over = (
                GatewayUnreachable("the stream ended") if kind is None else kind((code or 0) - 4000, word, detail)
            )
            for one in self._waiting.values():
                if not one.done():
                    one.set_exception(self._over)

    def _answer(self, message: str | bytes) -> None:
        told = orjson.loads(message)
        waiting = self._waiting.get(told.get("seq", 0)) if isinstance(told, dict) else None
        if waiting is not None and not waiting.done():
            waiting.set_result(told)


@asynccontextmanager
async def connected(
    gateway: Gateway,
    tls: ssl.SSLContext,
    *,
    device: str | None,
    source_app: str | None,
    clock: Clock,
) -> AsyncIterator[Stream]:
    """Open a stream; close it in good order."""
    named = {name.removeprefix("vigil-").replace("-", "_"): value for name, value in who(device, source_app).items()}
    try:
        socket = await connect(
            gateway.stream_url,
            ssl=tls if gateway.is_tls else None,
            additional_headers={"authorization": f"Bearer {gateway.token}"},
            subprotocols=[SUBPROTOCOL],
            open_timeout=_OPEN_S,
            compression=None,
        )
    except InvalidStatus as error:
        answer = error.response
        raise refusal(Reply(answer.status_code, bytes(answer.body or b""))) from None
    except (InvalidHandshake, OSError) as error:  # a TimeoutError is an OSError
        raise GatewayUnreachable(f"no gateway answers at {gateway.host}: {type(error).__name__}") from error
    stream = Stream(socket, clock)
    answers = asyncio.create_task(stream.hear())
    try:
        if named:  # not in the address, which proxies log
            with contextlib.suppress(ConnectionClosed):  # `hear` knows why, and tells whoever sends
                await socket.send(orjson.dumps(named).decode())
        yield stream
    finally:
        await socket.close()
        await asyncio.gather(answers, return_exceptions=True)


def _sent(told: dict[str, Any]) -> Sent:
    problem = told.get("problem")
    if not isinstance(problem, dict):
        return sent_of(Reply(202, orjson.dumps(told)))
    return sent_of(Reply(int(problem.get("status", 0)), orjson.dumps(problem)))
