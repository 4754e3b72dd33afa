"""The gateway wired together from its settings: the door in `ingest.gateway`, and the rooms behind it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final, TypeVar

import structlog

from ingest.gateway.app import create_app
from ingest.gateway.oidc import Oidc
from ingest.gateway.parts import Parts
from ingest.gateway.policy import GatewayPolicy, RatePolicy
from ingest.gateway.ports import LastSample, Unavailable
from ingest.gateway.server import GatewayServer, NotGuarded, Tls, check_binding
from ingest.publisher import Publisher
from ingest.spool import Arrival, Spool, SpoolPolicy, SpoolState
from timeseries.access import AccessReader
from timeseries.access_books import AccessBooks
from timeseries.gate import GateReader
from timeseries.model import StoreRefused, StoreUnavailable
from vigil.gateway_import import ExportImporter
from vigil.sessions import note_records
from vigil.settings import Settings
from vitals.access import Principal
from vitals.clock import system_clock

log = structlog.get_logger(__name__)
T = TypeVar("T")

_BROKER_S: Final = 4.0
"""A broker that takes longer counts as away, and the spool takes what comes."""
_REQUESTS_BURST_S: Final = 6.0
_SAMPLES_BURST_S: Final = 20.0
"""A token may save up its rate for so long: a phone that was away sends much at once."""
_SAY_EVERY_S: Final = 60.0


async def gateway(config: Settings) -> None:
    """Serve until told to stop; database and broker may be away.

    Raises `MissingSetting`, `NotGuarded`, `SpoolUnusable`.
    """
    check_exposure(config)
    async with AsyncExitStack() as stack:
        policy = policy_of(config)
        app = create_app(await parts_of(config, policy, stack), policy)
        server = GatewayServer(
            app,
            host=config.gateway_host,
            port=config.gateway_port,
            tls=tls_of(config),
            trusted_proxies=proxies_of(config),
        )
        log.info("gateway_starting", host=config.gateway_host, port=config.gateway_port)
        _outlive_signals()
        await server.serve()
    log.info("gateway_stopped")


def _outlive_signals() -> None:
    """Let the server's end by a signal not be the process's: uvicorn raises it again when it has stopped.

    What is behind the door closes after it: what it noted is written, what waits stays in the spool.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: None)


def policy_of(config: Settings) -> GatewayPolicy:
    """Return the limits, with those that are set."""
    rate = RatePolicy(
        requests_per_s=config.gateway_requests_per_s,
        requests_burst=_REQUESTS_BURST_S * config.gateway_requests_per_s,
        samples_per_s=config.gateway_samples_per_s,
        samples_burst=_SAMPLES_BURST_S * config.gateway_samples_per_s,
    )
    return GatewayPolicy(
        requests=config.gateway_requests_at_once,
        upload_bytes=config.gateway_upload_bytes,
        rate=rate,
        spool=SpoolPolicy(max_bytes=config.gateway_spool_bytes),
    )


async def parts_of(config: Settings, policy: GatewayPolicy, stack: AsyncExitStack) -> Parts:
    """Open what is behind the door; `stack` closes it. Raises `MissingSetting`, `SpoolUnusable`."""
    url, broker, folder = config.database(), config.broker(), config.gateway_folder
    key, oidc = config.pseudonym_key(), config.oidc()
    await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
    spool = Spool(folder / "spool", policy.spool)
    way_in = await stack.enter_async_context(Arrival(Publisher(broker, timeout_s=_BROKER_S), spool))
    books = await stack.enter_async_context(AccessBooks(url, failed=_BooksBehind()))
    access = await stack.enter_async_context(AccessReader(url))
    gate = await stack.enter_async_context(
        GateReader(url, strict=config.strict_devices, require_consent=config.require_consent)
    )

    async def spool_state() -> SpoolState:
        return await asyncio.to_thread(spool.state, system_clock())

    return Parts(
        access=_answering(access.current),
        gate=_answering(gate.current),
        way_in=way_in,
        spool_state=spool_state,
        books=GatewayBooks(books),
        notes=note_records,
        importer=ExportImporter(broker, key),
        hash_key=key,
        folder=folder,
        zone=config.gateway_zone,
        oidc=None if oidc is None else Oidc(*oidc),
    )


def check_exposure(config: Settings) -> None:
    """Raise `NotGuarded` where tokens would cross a network in the clear, or where half of TLS is set."""
    check_binding(config.gateway_host, tls_of(config), proxies_of(config))


def tls_of(config: Settings) -> Tls | None:
    """Return the gateway's certificate, None without. Raises `NotGuarded`."""
    cert, key, authority = config.gateway_tls_cert, config.gateway_tls_key, config.gateway_client_ca
    if cert is not None and key is not None:
        for file in filter(None, (cert, key, authority)):
            if not file.is_file():
                raise NotGuarded(f"there is no file {file}: TLS needs its certificates")
        return Tls(cert, key, authority)
    if cert is not None or key is not None or authority is not None:
        raise NotGuarded(
            "TLS needs both VIGIL_GATEWAY_TLS_CERT and VIGIL_GATEWAY_TLS_KEY; client certificates need TLS"
        )
    return None


def proxies_of(config: Settings) -> list[str]:
    """Return the addresses and networks of trusted proxies."""
    return [one.strip() for one in config.gateway_trusted_proxies.split(",") if one.strip()]


class GatewayBooks:
    """`timeseries.access_books` in the gateway's words (`ingest.gateway.ports.Books`)."""

    def __init__(self, books: AccessBooks) -> None:
        self._books = books

    def used(self, token_id: str, now_us: int) -> None:
        """Note that a token was used."""
        self._books.used(token_id, now_us)

    def anchored(self, token_id: str, anchors: Mapping[str, str]) -> None:
        """Note how far a client has come."""
        self._books.anchored(token_id, anchors)

    def not_consented(self, adapter: str, counts: Mapping[int, int]) -> None:
        """Note how many samples were refused for want of consent."""
        self._books.not_consented(adapter, counts)

    async def anchors(self, token_id: str) -> Mapping[str, str]:
        """Return how far a client has come. Raises `Unavailable`."""
        return await _answered(self._books.anchors(token_id))

    async def last_samples(self, principal: Principal) -> Sequence[LastSample]:
        """Return the newest stored samples. Raises `Unavailable`."""
        rows = await _answered(self._books.last_samples(principal))
        return [LastSample(row.device_id, row.metric, row.start_us, row.received_us) for row in rows]

    async def rotate(self, token_id: str, now_us: int) -> str:
        """Return a new token. Raises `Unavailable`, and `TokenRefused` where asking again soon does not help."""
        return await _answered(self._books.rotate(token_id, now_us))


async def _answered(asked: Awaitable[T]) -> T:
    try:
        return await asked
    except (StoreUnavailable, StoreRefused) as error:
        raise Unavailable(str(error)) from error


def _answering(ask: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    async def asking() -> T:
        return await _answered(ask())

    return asking


class _BooksBehind:
    """Says once a minute that what the gateway notes is not written yet."""

    def __init__(self) -> None:
        self._said_s = -_SAY_EVERY_S

    def __call__(self, why: str) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._said_s >= _SAY_EVERY_S:
            self._said_s = now_s
            log.warning("gateway_books_behind", error=why)
