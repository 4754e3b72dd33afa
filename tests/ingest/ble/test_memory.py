"""Records that a device kept while nobody was there: asked for, resumed where it broke off, put where they belong."""

import asyncio
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from ingest.topics import SAMPLES_BACKFILL
from tests.ingest.ble.world import HURRY, bluetoothd, bridged, wearable
from tests.services.bluez import BlueZ
from tests.services.peripheral import Characteristic, Peripheral
from vitals.clock import US_PER_S

pytestmark = pytest.mark.usefixtures("bus")

ALL = bytes.fromhex("0101")
SUCCESS, NONE_FOUND, NO_OPERATOR = (bytes.fromhex(f"060001{code}") for code in ("01", "06", "04"))
AHEAD = timedelta(hours=2, seconds=40)
"""The meter's wall clock: a zone of two hours, and 40 s fast."""


def wall(moment: datetime) -> bytes:
    """A Date Time (2A08) of the meter's wall clock."""
    local = moment + AHEAD
    return struct.pack("<H5B", local.year, local.month, local.day, local.hour, local.minute, local.second)


def glucose(number: int, moment: datetime) -> bytes:
    """100 mg/dL (GLS 1.0, §3.1): concentration in kg/L, SFLOAT 100e-5, capillary whole blood from a finger."""
    return struct.pack("<BH", 0x02, number) + wall(moment) + struct.pack("<HB", 0xB064, 0x11)


@dataclass
class Meter:
    """A glucose meter: record number -> when; told oldest first, once broken off after `broken_after` records."""

    records: dict[int, datetime]
    broken_after: int | None = None
    knows: bytes = ALL + b"\x03"
    peripheral: Peripheral = field(init=False)
    daemon: BlueZ | None = None

    def __post_init__(self) -> None:
        self.peripheral = Peripheral(
            "AA:BB:CC:DD:EE:01",
            {
                "1808": [
                    Characteristic("2A18", ("notify",)),
                    Characteristic("2A52", ("write", "indicate"), on_write=self._asked),
                ],
                "1805": [Characteristic("2A2B", ("read",), wall(datetime.now(UTC)) + bytes(3))],
            },
        )

    @property
    def asked(self) -> list[bytes]:
        return self.peripheral["2A52"].writes

    def _asked(self, request: bytes) -> None:
        assert self.daemon is not None
        if request[:1] != b"\x01":
            return
        if request[1] not in self.knows:
            self.daemon.notify(self.peripheral["2A52"], NO_OPERATOR)
            return
        first = 0 if request == ALL else int.from_bytes(request[3:5], "little")
        told = 0
        for number, moment in self.records.items():
            if number < first:
                continue
            if told == self.broken_after:
                self.broken_after = None
                asyncio.get_running_loop().call_later(0.3, self.daemon.drop, self.peripheral)
                return
            self.daemon.notify(self.peripheral["2A18"], glucose(number, moment))
            told += 1
        self.daemon.notify(self.peripheral["2A52"], SUCCESS if told else NONE_FOUND)


def history(count: int) -> dict[int, datetime]:
    """Records of the last days, one every four hours, the newest an hour old."""
    now = datetime.now(UTC).replace(microsecond=0)
    return {number: now - timedelta(hours=1 + 4 * (count - number)) for number in range(1, count + 1)}


async def test_all_records_come_with_their_times_set_right_on_the_backfill_lane() -> None:
    meter = Meter(history(20))
    async with bluetoothd(meter.peripheral) as daemon, bridged(meter.peripheral) as arrived:
        meter.daemon = daemon
        await daemon.until(lambda: len(arrived.values("glucose", topic=SAMPLES_BACKFILL)) == 20)
        assert arrived.values("glucose", topic=SAMPLES_BACKFILL) == pytest.approx([100] * 20)
        starts_us = arrived.starts_us("glucose", topic=SAMPLES_BACKFILL)
        wanted_us = [round(moment.timestamp() * US_PER_S) for moment in meter.records.values()]
        assert starts_us == pytest.approx(wanted_us, abs=3 * US_PER_S), "the clock's offset is measured at connecting"
        assert arrived.values("clock_offset") == pytest.approx([40], abs=3)
        assert meter.asked == [ALL]


async def test_without_a_clock_to_read_the_zone_that_was_told_places_them() -> None:
    meter = Meter(history(3))
    del meter.peripheral.services["1805"]
    worn = [replace(wearable(meter.peripheral), zone=ZoneInfo("Etc/GMT-2"))]
    async with (
        bluetoothd(meter.peripheral) as daemon,
        bridged(meter.peripheral, wearables=worn) as arrived,
    ):
        meter.daemon = daemon
        await daemon.until(lambda: len(arrived.values("glucose", topic=SAMPLES_BACKFILL)) == 3)
        wanted_us = [round((moment.timestamp() + 40) * US_PER_S) for moment in meter.records.values()]
        assert arrived.starts_us("glucose", topic=SAMPLES_BACKFILL) == wanted_us


async def test_a_download_that_broke_off_goes_on_behind_the_last_safe_record() -> None:
    meter = Meter(history(30), broken_after=12)
    async with bluetoothd(meter.peripheral) as daemon, bridged(meter.peripheral) as arrived:
        meter.daemon = daemon
        await daemon.until(lambda: len(arrived.values("glucose", topic=SAMPLES_BACKFILL)) == 30)
        assert meter.asked == [ALL, bytes.fromhex("010301") + (13).to_bytes(2, "little")]
        daemon.drop(meter.peripheral)
        await daemon.until(lambda: len(meter.asked) == 3)
        assert meter.asked[2] == bytes.fromhex("010301") + (31).to_bytes(2, "little"), "nothing is asked for twice"


async def test_a_meter_that_knows_all_or_nothing_is_asked_for_all() -> None:
    meter = Meter(history(5), broken_after=2, knows=ALL)
    async with bluetoothd(meter.peripheral) as daemon, bridged(meter.peripheral) as arrived:
        meter.daemon = daemon
        await daemon.until(lambda: len(set(arrived.starts_us("glucose", topic=SAMPLES_BACKFILL))) >= 5)
        assert meter.asked == [ALL, bytes.fromhex("0103010300"), ALL]


@pytest.mark.parametrize(
    "fault",
    [
        lambda meter: meter.peripheral["2A52"].write_errors.append(("Failed", "Operation failed with ATT error: 0x80")),
        lambda meter: setattr(meter.peripheral["2A52"], "on_write", lambda _: None),
    ],
    ids=["write error", "no answer"],
)
async def test_a_download_that_fails_is_said_and_the_link_stays(fault: Callable[[Meter], None]) -> None:
    meter = Meter(history(3))
    fault(meter)
    with capture_logs() as logs:
        async with bluetoothd(meter.peripheral) as daemon, bridged(meter.peripheral, policy=HURRY) as arrived:
            meter.daemon = daemon
            began_s = time.monotonic()
            await daemon.until(lambda: any(entry["event"] == "ble_stored_failed" for entry in logs))
            assert time.monotonic() - began_s < HURRY.stored_silence_s + 2
            daemon.notify(meter.peripheral["2A18"], glucose(99, datetime.now(UTC)))
            await daemon.until(lambda: arrived.values("glucose") == pytest.approx([100]))
            assert meter.peripheral.connections == 1


async def test_a_procedure_left_over_is_broken_off_first() -> None:
    meter = Meter(history(2))
    meter.peripheral["2A52"].write_errors.append(("Failed", "Operation failed with ATT error: 0xfe"))
    async with bluetoothd(meter.peripheral) as daemon, bridged(meter.peripheral) as arrived:
        meter.daemon = daemon
        await daemon.until(lambda: len(arrived.values("glucose", topic=SAMPLES_BACKFILL)) == 2)
        assert meter.asked == [ALL, bytes.fromhex("0300"), ALL]


async def test_an_oximeters_memory_is_asked_for_as_well() -> None:
    now = datetime.now(UTC) - timedelta(hours=3)
    spot = bytes.fromhex("01 6100 4e00") + wall(now)  # 97 %, 78 /min, at a time (PLXS 1.0, §3.2)
    control = Characteristic("2A52", ("write", "indicate"))
    record = Characteristic("2A5E", ("indicate",))
    clock = Characteristic("2A2B", ("read",), wall(datetime.now(UTC)) + bytes(3))
    device = Peripheral("AA:BB:CC:DD:EE:01", {"1822": [record, control], "1805": [clock]})
    async with bluetoothd(device) as daemon, bridged(device) as arrived:

        def tell(_: bytes) -> None:
            daemon.notify(record, spot)
            daemon.notify(control, SUCCESS)

        control.on_write = tell
        await daemon.until(lambda: arrived.values("spo2", topic=SAMPLES_BACKFILL) == [97])
        assert arrived.values("pulse_rate", topic=SAMPLES_BACKFILL) == [78]
        assert control.writes == [ALL]
