"""Runs the Bluetooth bridge and shows what a scan heard."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from bleak.uuids import uuidstr_to_str
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from devices.gatt import SERVICES
from devices.polar.control import Measurement
from ingest.ble.bridge import bridge
from ingest.ble.finder import Finder, Found, check
from ingest.ble.plan import short
from ingest.ble.policy import LinkPolicy
from ingest.ble.session import Wearable
from ingest.client import Aside, AsyncGatewayClient, Gateway, GatewayPublisher, RetryPolicy
from ingest.publisher import Publisher
from ingest.spool import Arrival, Sink, Spool
from vigil import logs
from vigil.settings import MissingSetting, Settings, settings
from vitals.errors import VigilError
from vitals.ids import PatientId, device_id, patient_id

log = structlog.get_logger(__name__)

_ADDRESS: Final = re.compile(r"(?:[0-9A-F]{2}:){5}[0-9A-F]{2}")
_BROKER_S: Final = 5.0
# The spool takes what comes meanwhile, and tries again by itself: better soon than long.
_GATEWAY_TRIES: Final = RetryPolicy(first_s=0.2, longest_s=1.0, give_up_s=2.0)
_THROUGH_GATEWAY: Final = "through-gateway"
"""Whose records a bridge keeps on disk that does not know its wearer: the gateway does."""


class BadDevice(VigilError):
    """A `--device` is not ADDRESS=DEVICE_ID, or names one twice; the message tells which, not what it says."""


def wearables(given: Sequence[str], zone: str | None = None) -> list[Wearable]:
    """Read `ADDRESS=DEVICE_ID` words. Raises `BadDevice`, and `VigilError` for a zone nobody knows."""
    where = None if zone is None else _zone(zone)
    worn = [_wearable(number, word, where) for number, word in enumerate(given, 1)]
    if len({one.address for one in worn}) < len(worn) or len({one.device_id for one in worn}) < len(worn):
        raise BadDevice("each --device needs an address and an id of its own")
    return worn


def _wearable(number: int, word: str, zone: ZoneInfo | None) -> Wearable:
    address, _, name = word.partition("=")
    if _ADDRESS.fullmatch(address.upper()) is None or not name:
        raise BadDevice(f"--device number {number} must be ADDRESS=DEVICE_ID, such as 00:11:22:33:44:55=strap-1")
    return Wearable(address.upper(), device_id(name), zone)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise VigilError("--zone is no zone of the IANA database, such as Europe/Berlin") from None


def streams(names: Sequence[str]) -> tuple[Measurement, ...]:
    """Read the names of Polar's streams. Raises `VigilError`."""
    known = {one.name.lower(): one for one in Measurement}
    if not set(names) <= set(known):
        raise VigilError(f"--stream must be one of {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names))


def gateway(url: str, token_file: Path | None, config: Settings) -> Gateway:
    """Return the gateway to send through. Raises `MissingSetting` without a token, `GatewayError`, `VigilError`."""
    if token_file is not None:
        try:
            return Gateway(url, token_file.read_text(encoding="ascii").strip())
        except (OSError, UnicodeDecodeError):
            raise VigilError("--token-file is no file with a token in it") from None
    if config.gateway_token is None:
        raise MissingSetting("VIGIL_GATEWAY_TOKEN", "vgl_... (or --token-file FILE)")
    return Gateway(url, config.gateway_token.get_secret_value())


def run(
    worn: Sequence[Wearable],
    patient: str | None,
    spool: Path,
    *,
    silence_s: float,
    polar: tuple[Measurement, ...] = (),
    adapter: str | None = None,
    through: Gateway | None = None,
) -> None:
    """Bridge until SIGINT or SIGTERM, to the broker, or through a gateway, which knows who wears what.

    Raises `MissingSetting` without a broker's address, `VigilError` without a wearer, `BluetoothUnavailable` without
    Bluetooth, `SpoolUnusable`. A broker or gateway that is away is no error: the spool takes what comes.
    """
    from prometheus_client import start_http_server

    config = settings()
    if (patient is None) == (through is None):
        raise VigilError(
            "say either --patient, whose samples go to the broker, or --gateway, which knows whose they are"
        )
    whose = patient_id(patient or _THROUGH_GATEWAY)
    if through is None:
        config.broker()
    policy = LinkPolicy(silence_s=silence_s, polar=polar)
    logs.configure(level=config.log_level, fmt=config.log_format, service="ble-bridge")
    if config.metrics_port is not None:
        start_http_server(config.metrics_port, config.metrics_host)
    asyncio.run(_bridge(config, worn, whose, spool, policy, adapter, through))


async def _bridge(
    config: Settings,
    worn: Sequence[Wearable],
    whose: PatientId,
    spool: Path,
    policy: LinkPolicy,
    adapter: str | None,
    through: Gateway | None,
) -> None:
    await check(adapter)
    asyncio.get_running_loop().set_exception_handler(_background_error)
    async with Arrival(_sink(config, spool, through), Spool(spool)) as way_in:
        await _until_told(bridge(worn, whose, way_in, policy=policy, finder=Finder(adapter=adapter)))


def _sink(config: Settings, spool: Path, through: Gateway | None) -> Sink:
    if through is None:
        return Publisher(config.broker(), timeout_s=_BROKER_S)
    client = AsyncGatewayClient(through, retry=_GATEWAY_TRIES, timeout_s=2 * _BROKER_S)
    return GatewayPublisher(client, aside=Aside(spool / "aside"))


def _background_error(_loop: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
    """Log a library's background error by its type: what it says may hold an address."""
    log.error("ble_background_error", error=type(about.get("exception")).__name__)


async def _until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run until it ends by itself, which is an error, or a signal comes; then wait until it has cleared up."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    task, waiting = asyncio.ensure_future(work), asyncio.ensure_future(told.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        task.result()
    task.cancel()
    await asyncio.gather(task, waiting, return_exceptions=True)


def as_json(found: Found) -> dict[str, object]:
    """Return a device for programs: no name, for what is piped is soon logged."""
    return {"address": found.address, "rssi_dbm": found.rssi_dbm, "services": [short(one) for one in found.services]}


def show(found: Sequence[Found]) -> None:
    """Print a table, the strongest signal first."""
    console = Console()
    if not found:
        console.print("nothing heard: is the device awake, worn, and connected to nobody else?")
        return
    table = Table("address", "name", "signal", "services")
    for one in found:
        table.add_row(one.address, escape(_printable(one.name or "")), f"{one.rssi_dbm} dBm", in_words(one.services))
    console.print(table)


def in_words(services: Sequence[str]) -> str:
    """Return services by name, those first of which Vigil reads something."""
    ours = [SERVICES[short(one)].name for one in services if short(one) in SERVICES]
    others = [uuidstr_to_str(one) for one in services if short(one) not in SERVICES]
    return ", ".join([*ours, *(word for word in others if word != "Unknown")])


def _printable(name: str) -> str:
    """A name is whatever a stranger's device sends."""
    return "".join(sign if sign.isprintable() else "?" for sign in name)
