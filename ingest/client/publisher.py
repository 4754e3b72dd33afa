"""Edge: a bridge's records through the gateway: what stands in for `ingest.publisher.Publisher` in its `Arrival`.

A record counts as acknowledged once the gateway has it safe, or has refused it for good: what it refuses for now (a
device that nobody registered yet) is put aside on disk and sent again, so that it never holds up what comes after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections import Counter as Counts
from typing import Any, Final

import structlog
from prometheus_client import Counter

from ingest.client.aside import ALL, Aside, Left
from ingest.client.calls import ALIVE, ARROW, Call
from ingest.client.errors import GatewayUnreachable
from ingest.client.results import Reply, Sent, is_problem, refusal, sent_of
from ingest.client.waiting import AsyncGatewayClient
from ingest.gateway.parsed import Retry, Status
from ingest.gateway.problems import Code
from ingest.gateway.verdicts import Refusal
from ingest.publisher import BrokerUnreachable, RecordRefused, confirmed
from ingest.record import Record
from ingest.spool import Spooled
from ingest.topics import SAMPLES, SAMPLES_BACKFILL, WAVEFORMS

log = structlog.get_logger(__name__)

_RECORDS: Final = Counter("vigil_bridge_records", "records given to the gateway, by what became of them", ["fate"])
_REFUSED: Final = Counter("vigil_bridge_refused_samples", "samples that the gateway refused", ["reason", "retry"])
_PATHS: Final = {SAMPLES: "/v1/samples", SAMPLES_BACKFILL: "/v1/samples", WAVEFORMS: "/v1/waveforms"}
_FOR_GOOD: Final = frozenset({Refusal.BAD_ARROW, Refusal.EMPTY, Refusal.TOO_MANY, Code.TOO_LARGE})
"""What no other gateway would take either: such a record is done with, or it would stop the spool for ever."""
_OF_THE_RECORD: Final = frozenset({400, 413, 415, 422})
"""Answers of a gateway (not of a proxy or a portal before it) that mean this one record; a newer one may take it."""
_OF_THE_ROUTE: Final = frozenset({404, 405})
"""Answers of an older gateway to what it does not know: waveforms wait then, and samples go on."""
_SAY_EVERY_S: Final = 60.0
_STOP_S: Final = 5.0


class GatewayPublisher:
    """Sends records, `at_once` at a time. `aside` keeps what is refused for now; without it that is dropped too."""

    def __init__(self, client: AsyncGatewayClient, *, aside: Aside | None = None, at_once: int = 4) -> None:
        self._client, self._aside = client, aside
        self._turn = asyncio.Semaphore(at_once)
        self._tasks: set[asyncio.Task[None]] = set()
        self._again: asyncio.Task[None] | None = None
        self._said_at = -_SAY_EVERY_S

    async def start(self) -> None:
        """Look whether the gateway lives. Raises `BrokerUnreachable`."""
        try:
            reply = await self._client.ask(ALIVE)
        except GatewayUnreachable as error:
            raise BrokerUnreachable(str(error)) from error
        if reply.status != 200:
            self._say(reply)
            raise BrokerUnreachable(f"the gateway answers {reply.status} when asked whether it lives")
        if self._aside is not None and self._again is None:
            await asyncio.to_thread(self._aside.open)
            self._again = asyncio.create_task(self._again_for_ever(self._aside))

    async def stop(self) -> None:
        """Wait for what is under way, then close the connections."""
        again, self._again = self._again, None
        if again is not None:
            again.cancel()
            await asyncio.gather(again, return_exceptions=True)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_STOP_S)
        await self._client.close()
        if self._aside is not None:
            await asyncio.to_thread(self._aside.close)

    async def send(self, record: Record, *, topic: str) -> asyncio.Future[Any]:
        """Begin to send a record; waits while too many are under way."""
        await self._turn.acquire()
        task = asyncio.create_task(self._deliver(record, topic))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def confirm(self, acks: list[asyncio.Future[Any]]) -> None:
        """Wait until the gateway has answered for every record. Raises `BrokerUnreachable` if it has not for one."""
        await confirmed(acks)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._turn.release()
        self._tasks.discard(task)

    async def _deliver(self, record: Record, topic: str) -> None:
        """Return once the record is no longer the bridge's to send. Raises `BrokerUnreachable` while it is."""
        left = await self._try(record, topic)
        if left is not None:
            await self._put_aside(record, topic, left)

    async def _try(self, record: Record, topic: str, salt: bytes = b"") -> Left | None:
        """Send a record and return what is left of it for later, None for nothing. Raises `BrokerUnreachable`."""
        try:
            reply = await self._client.ask(call_of(record, topic, salt))
        except GatewayUnreachable as error:
            raise BrokerUnreachable(str(error)) from error
        sent = outcome_of(reply)
        if sent is not None:
            return _settled(sent)
        code = refusal(reply).code if is_problem(reply) else ""
        if code in _FOR_GOOD:
            _RECORDS.labels("dropped").inc()
            log.error("bridge_record_dropped", status=reply.status, code=code)
            return None
        if code == Refusal.OTHER_DEVICE or (code and reply.status in _OF_THE_RECORD):
            return ALL
        self._say(reply)
        if code and reply.status in _OF_THE_ROUTE:
            raise RecordRefused(f"the gateway has no route for {topic}", whole_topic=True)
        raise BrokerUnreachable(f"the gateway answers {reply.status}")

    async def _put_aside(self, record: Record, topic: str, left: Left) -> None:
        kept = self._aside is not None and await asyncio.to_thread(self._aside.put, record, topic, left)
        _RECORDS.labels("put_aside" if kept else "dropped").inc()
        if kept:
            log.warning("bridge_record_put_aside", samples=len(left) or None)
        else:
            log.error("bridge_record_dropped", status=403, code="refused_for_now")

    async def _again_for_ever(self, aside: Aside) -> None:
        """Send what was put aside again, all of it in turn, every so often."""
        while True:
            await asyncio.sleep(aside.every_s)
            try:
                for one in await asyncio.to_thread(aside.take):
                    await self._again_once(aside, one)
            except BrokerUnreachable:
                continue
            except Exception:
                log.exception("bridge_aside_broken")

    async def _again_once(self, aside: Aside, one: Spooled) -> None:
        """Send one again. What must wait on goes behind the others; where there is no room, it stays where it is."""
        # A new key each time: with the old one the gateway repeats what it said.
        left = await self._try(one.record, one.topic, secrets.token_bytes(16))
        if left is None or await asyncio.to_thread(aside.put, one.record, one.topic, left):
            await asyncio.to_thread(aside.drop, one)

    def _say(self, reply: Reply) -> None:
        """Say loudly, once a minute, that the gateway wants none of it: somebody has to do something."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._said_at >= _SAY_EVERY_S:
            self._said_at = now_s
            log.error("bridge_not_let_in", status=reply.status, code=refusal(reply).code)


def _settled(sent: Sent) -> Left | None:
    """Count and say what was refused, and return what is left for later."""
    refused = [one for one in sent.outcomes if one.status is Status.REJECTED]
    reasons = Counts((one.reason, (one.retry or Retry.NEVER).value) for one in refused)
    for (reason, retry), count in reasons.items():
        _REFUSED.labels(reason, retry).inc(count)
    if refused:
        told = {f"{reason} ({retry})": count for (reason, retry), count in reasons.items()}
        log.warning("bridge_samples_refused", accepted=sent.accepted, refused=told)
    _RECORDS.labels("sent" if sent.accepted or sent.duplicates else "refused").inc()
    if not sent.later:
        return None
    return ALL if sent.more_outcomes else sent.later


def call_of(record: Record, topic: str, salt: bytes = b"") -> Call:
    """Return the call of a record. Its Idempotency-Key follows from its bytes: also after a restart it is the same."""
    given = dict(record.headers)
    digest = hashlib.sha256(salt + record.value)
    headers = {"content-type": ARROW}
    for name in ("vigil-device", "vigil-source-app", "vigil-adapter"):
        value = given.get(name)
        if value is not None:
            headers[name] = value.decode("ascii")
            digest.update(b"\0" + value)
    headers["idempotency-key"] = digest.hexdigest()
    return Call("POST", _PATHS[topic], headers, record.value)


def outcome_of(reply: Reply) -> Sent | None:
    """Return what became of a record's samples, None where the answer is about something else."""
    if reply.status == 202:
        return sent_of(reply)
    if reply.status == 422 and b'"accepted"' in reply.body:
        with contextlib.suppress(Exception):
            return sent_of(reply)
    return None
