"""A bus, a bluetoothd, and a place where records arrive."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from bleak.backends.bluezdbus.manager import get_global_bluez_manager
from bleak.backends.bluezdbus.version import BlueZFeatures
from bleak.exc import BleakError

from tests.services import Unavailable
from tests.services.dbus import SystemBus


@pytest.fixture(scope="session")
def bus_address() -> Iterator[str]:
    """A private bus; skips with the reason where there is no dbus-daemon, and fails in CI."""
    # Not below pytest's folder: a socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="vigil-dbus-") as folder:
        server = SystemBus(Path(folder))
        try:
            server.start()
        except Unavailable as error:
            if os.environ.get("CI"):
                pytest.fail(str(error), pytrace=False)
            pytest.skip(str(error))
        with server:
            yield server.address


@pytest.fixture
async def bus(bus_address: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The bus as this test's system bus; bleak's connection to it is closed behind the test."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus_address)
    monkeypatch.setattr(BlueZFeatures, "checked_bluez_version", True)  # else it runs bluetoothctl
    yield bus_address
    await _close_bleak()


async def _close_bleak() -> None:
    """bleak keeps one connection a loop and never closes it."""
    try:
        manager = await get_global_bluez_manager()
    except (BleakError, OSError):  # nobody answers as org.bluez: it has closed it itself
        return
    watcher = manager._bus_watcher_task
    if manager._bus is not None:
        manager._bus.disconnect()
    if watcher is not None:
        await asyncio.wait({watcher}, timeout=5)
