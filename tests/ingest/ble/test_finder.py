"""Scans: who is near, through which filters, and what is said where there is no Bluetooth."""

import asyncio

import pytest

from ingest.ble.finder import Filter, Finder, Found, check, scan
from ingest.ble.policy import Backoff
from ingest.ble.troubles import BluetoothUnavailable
from tests.ingest.ble.world import bluetoothd, strap
from tests.services.bluez import BlueZ
from tests.services.peripheral import full


async def test_a_scan_tells_who_is_near(bus: str) -> None:
    here, away = strap(1), strap(2)
    away.in_range = False
    async with bluetoothd(here, away):
        (found,) = await scan(0.3)
    assert (found.address, found.name) == (here.address, "Anna's strap")
    assert found.rssi_dbm in {-60, -61}
    assert found.services == tuple(full(uuid) for uuid in ("180D", "180F", "180A"))


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        (Filter(), True),
        (Filter(name="STRAP"), True),
        (Filter(name="watch"), False),
        (Filter(service="180d"), True),
        (Filter(service=full("180D")), True),
        (Filter(service="1822"), False),
        (Filter(addresses=frozenset({"aa:bb:cc:dd:ee:01"})), True),
        (Filter(addresses=frozenset({"AA:BB:CC:DD:EE:02"})), False),
        (Filter(name="anna", service="1822"), False),
    ],
)
def test_filters(wanted: Filter, passes: bool) -> None:
    assert wanted.matches(Found("AA:BB:CC:DD:EE:01", "Anna's strap", -60, (full("180D"),))) is passes


def test_a_device_without_a_name_has_none_to_match() -> None:
    nameless = Found("AA:BB:CC:DD:EE:01", None, -60, ())
    assert Filter().matches(nameless)
    assert not Filter(name="a").matches(nameless)


async def test_no_bluetoothd(bus: str) -> None:
    with pytest.raises(BluetoothUnavailable, match=r"org\.bluez does not answer"):
        await check()


async def test_no_bus(monkeypatch: pytest.MonkeyPatch, bus: str) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/at/all")
    with pytest.raises(BluetoothUnavailable, match=r"org\.bluez does not answer"):
        await check()


@pytest.mark.parametrize(
    ("daemon", "said"),
    [(BlueZ(powered=False), "switched off"), (BlueZ(adapter=False), "no Bluetooth adapter")],
    ids=["off", "none"],
)
async def test_an_adapter_that_is_off_or_not_there(bus: str, daemon: BlueZ, said: str) -> None:
    await daemon.start()
    try:
        with pytest.raises(BluetoothUnavailable, match=said):
            await check()
    finally:
        await daemon.kill()


async def test_many_who_look_share_one_scan(bus: str) -> None:
    straps = [strap(number) for number in range(1, 6)]
    async with bluetoothd(*straps) as daemon:
        finder = Finder(slice_s=1)
        running = asyncio.create_task(finder.run())
        found = await asyncio.wait_for(asyncio.gather(*(finder.find(one.address.lower()) for one in straps)), 5)
        assert [one.address for one in found] == [one.address for one in straps]
        assert finder.trouble is None, "a second scan of one process is refused (InProgress)"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert [member for _, member in daemon.calls].count("StartDiscovery") <= 5


async def test_while_a_link_connects_nobody_scans(bus: str) -> None:
    lost = strap()
    lost.in_range = False
    async with bluetoothd(lost) as daemon:
        finder = Finder(slice_s=60, backoff=Backoff())
        running = [asyncio.create_task(finder.run()), asyncio.create_task(finder.find(lost.address))]
        await daemon.until(lambda: daemon.scanning)
        async with finder.quiet():
            assert not daemon.scanning
            await asyncio.sleep(0.2)
            assert not daemon.scanning
        await daemon.until(lambda: daemon.scanning)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        assert not daemon.scanning, "left in good order"
