"""Edge: who is there. One scan for everybody who looks: BlueZ refuses a second one from the same process (InProgress).

A scan runs in slices, and not while a link connects: a slice that began before bluetoothd died would find nothing for
ever, and many adapters fail to connect while they scan.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from bleak import BleakAdapter, BleakScanner
from bleak.args.bluez import BlueZScannerArgs
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakError

from devices.gatt import SERVICES
from ingest.ble.plan import short
from ingest.ble.policy import Backoff, delay_s
from ingest.ble.troubles import FATAL, BluetoothUnavailable, Trouble, trouble_of

_SLICE_S: Final = 5.0
_HANGS_S: Final = 10.0  # a D-Bus call has no bound of its own: a bluetoothd that hangs never answers
_BACKOFF: Final = Backoff()
_NOT_HEARD_DBM: Final = -127  # what bleak says where BlueZ knows no signal strength: it remembers, it does not hear
ERRORS: Final = (BleakError, OSError, EOFError, TimeoutError, AssertionError)
"""What bleak and dbus-fast raise when something fails: bleak asserts that there is a reply."""


@dataclass(frozen=True, slots=True)
class Found:
    """A device that a scan heard. Its name is personal data: for a terminal, never for a log."""

    address: str
    name: str | None
    rssi_dbm: int
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """What a scan shall show; None and nothing mean anything. Names match in part, whatever the case."""

    name: str | None = None
    service: str | None = None
    addresses: frozenset[str] = frozenset()

    def matches(self, found: Found) -> bool:
        """Tell whether a device passes."""
        return (
            (self.name is None or self.name.casefold() in (found.name or "").casefold())
            and (self.service is None or short(self.service) in {short(one) for one in found.services})
            and (not self.addresses or found.address.upper() in {one.upper() for one in self.addresses})
        )


async def scan(seconds: float, wanted: Filter | None = None, *, adapter: str | None = None) -> list[Found]:
    """Scan and return what was heard, the strongest first. Raises `BluetoothUnavailable`."""
    heard: dict[str, Found] = {}

    def hear(device: BLEDevice, told: AdvertisementData) -> None:
        if told.rssi > _NOT_HEARD_DBM:
            heard[device.address] = Found(device.address, device.name, told.rssi, tuple(told.service_uuids))

    try:
        async with asyncio.timeout(seconds + _HANGS_S), _scanner(hear, adapter):
            await asyncio.sleep(seconds)
    except ERRORS as error:
        raise BluetoothUnavailable(_at_start(error).value) from error
    passing = [one for one in heard.values() if (wanted or Filter()).matches(one)]
    return sorted(passing, key=lambda one: (-one.rssi_dbm, one.address))


async def check(adapter: str | None = None) -> None:
    """Raise `BluetoothUnavailable` unless there is an adapter that scans."""
    await scan(0, adapter=adapter)


def _at_start(error: BaseException) -> Trouble:
    trouble = trouble_of(error)
    return trouble if trouble in FATAL or trouble is Trouble.BUSY else Trouble.NO_BLUETOOTH


class Finder:
    """Finds devices by address for any number of links."""

    def __init__(self, *, adapter: str | None = None, slice_s: float = _SLICE_S, backoff: Backoff = _BACKOFF) -> None:
        self._adapter, self._slice_s, self._backoff = adapter, slice_s, backoff
        self._connecting = 0
        self._wanted: dict[str, asyncio.Future[BLEDevice]] = {}
        self._somebody_looks = asyncio.Event()
        self._enough = asyncio.Event()
        self._radio = asyncio.Lock()
        self.trouble: Trouble | None = None
        """Why nothing can be found now."""

    async def find(self, address: str) -> BLEDevice:
        """Return the device as soon as it is heard, however long that takes."""
        future: asyncio.Future[BLEDevice] = asyncio.get_running_loop().create_future()
        self._wanted[address.upper()] = future
        self._somebody_looks.set()
        try:
            return await future
        finally:
            self._wanted.pop(address.upper(), None)

    async def left_connected(self, address: str) -> BLEDevice | None:
        """Return the device if BlueZ kept it connected after an earlier process was killed: then it is not heard."""
        try:
            async with asyncio.timeout(_HANGS_S):
                adapter = await BleakAdapter.get(bluez={} if self._adapter is None else {"adapter": self._adapter})
                connected = await adapter.get_connected_devices([*SERVICES, "1800", "1801"])
        except ERRORS:
            return None
        return next((one for one in connected if one.address.upper() == address.upper()), None)

    @contextlib.asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Hold the scan, and other links' connecting, for as long as the block runs."""
        self._connecting += 1
        self._enough.set()
        try:
            async with self._radio:
                yield
        finally:
            self._connecting -= 1

    async def run(self) -> None:
        """Scan while anybody looks, until cancelled."""
        attempt = 0
        while True:
            if not self._wanted:
                self._somebody_looks.clear()
                await self._somebody_looks.wait()
            try:
                async with self._radio:
                    await self._slice()
                attempt, self.trouble = 0, None
            except ERRORS as error:
                attempt, self.trouble = attempt + 1, trouble_of(error)
            # At least a moment between slices, so that who was found gets the radio.
            await asyncio.sleep(0.02 + delay_s(self._backoff, attempt, random.random()))  # noqa: S311  jitter

    async def _slice(self) -> None:
        if self._connecting:
            return
        self._enough.clear()
        async with asyncio.timeout(self._slice_s + _HANGS_S), _scanner(self._hear, self._adapter):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._slice_s):
                    await self._enough.wait()

    def _hear(self, device: BLEDevice, told: AdvertisementData) -> None:
        future = self._wanted.get(device.address.upper())
        if future is not None and not future.done() and told.rssi > _NOT_HEARD_DBM:
            future.set_result(device)
            self._enough.set()


def _scanner(hear: Callable[[BLEDevice, AdvertisementData], None], adapter: str | None) -> BleakScanner:
    bluez: BlueZScannerArgs = {} if adapter is None else {"adapter": adapter}
    return BleakScanner(hear, bluez=bluez)
