"""Peripherals whose values bumble encodes, a bridge in this process, and what arrives of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from bumble.gatt import TemplateService
from bumble.profiles.battery_service import BatteryService
from bumble.profiles.device_information_service import DeviceInformationService
from bumble.profiles.heart_rate_service import HeartRateService

from ingest.ble.bridge import bridge
from ingest.ble.finder import Finder
from ingest.ble.policy import Backoff, BatchPolicy, LinkPolicy
from ingest.ble.session import Wearable
from ingest.record import Record, decode
from ingest.topics import SAMPLES, SAMPLES_BACKFILL, WAVEFORMS
from ingest.waveform_record import decode_chunk
from tests.services.bluez import BlueZ
from tests.services.peripheral import Characteristic, Peripheral
from vitals.batch import BatchHeader, SampleColumns
from vitals.catalogue import BY_CODE
from vitals.ids import device_id, patient_id
from vitals.waveform import WaveformChunk

HURRY = LinkPolicy(
    connect_s=3.0,
    prepare_s=5.0,
    leave_s=1.0,
    pairing_pause_s=0.1,
    stored_silence_s=2.0,
    backoff=Backoff(first_s=0.05, longest_s=0.3),
    batch=BatchPolicy(within_s=0.05),
)
PATIENT = patient_id("p1")


def measurement(bpm: int, *, contact: bool | None = None, rr_s: tuple[float, ...] | None = None) -> bytes:
    """A heart rate notification as bumble encodes it."""
    return bytes(HeartRateService.HeartRateMeasurement(bpm, contact, None, rr_s))


def strap(number: int = 1, *, battery: int = 80) -> Peripheral:
    """A heart rate strap with battery and device information, its table as bumble builds it."""
    heart_rate = HeartRateService(
        read_heart_rate_measurement=lambda _: HeartRateService.HeartRateMeasurement(60),
        body_sensor_location=HeartRateService.BodySensorLocation.CHEST,
    )
    level = BatteryService(lambda _: battery)
    about = DeviceInformationService("Acme", "Strap 10", "SN-123456", "hw1", "fw2")
    services = {"180D": from_bumble(heart_rate), "180F": from_bumble(level), "180A": from_bumble(about)}
    peripheral = Peripheral(f"AA:BB:CC:DD:EE:{number:02X}", services)
    peripheral["2A19"].value = level.battery_level_characteristic.encode_value(battery)
    peripheral["2A38"].value = bytes([HeartRateService.BodySensorLocation.CHEST])
    return peripheral


THIRTY_SIX_SIX = bytes.fromhex("006e0100ff")
"""A temperature of 36.6 degrees Celsius (2A1C): flags 0, FLOAT with mantissa 366 and exponent -1."""


def thermometer() -> Peripheral:
    """A device that measures when somebody wants it to, and so says nothing for long."""
    level = from_bumble(BatteryService(lambda _: 50))
    peripheral = Peripheral("AA:BB:CC:DD:EE:01", {"1809": [Characteristic("2A1C", ("indicate",))], "180F": level})
    peripheral["2A19"].value = b"\x32"
    return peripheral


def from_bumble(service: TemplateService) -> list[Characteristic]:
    """bumble's characteristics as the double's."""
    return [
        Characteristic(
            one.uuid.to_hex_str().upper(),
            tuple(str(flag.name).lower().replace("_", "-") for flag in type(one.properties) if flag & one.properties),
            one.value if isinstance(one.value, bytes) else b"",
        )
        for one in service.characteristics
    ]


def wearable(peripheral: Peripheral) -> Wearable:
    """The device under the pseudonym that its samples carry."""
    return Wearable(peripheral.address, device_id(f"dev-{peripheral.address[-2:]}"))


@dataclass
class Arrived:
    """A way in that keeps everything."""

    records: list[tuple[str, BatchHeader, SampleColumns]] = field(default_factory=list)
    chunks: list[WaveformChunk] = field(default_factory=list)

    async def accept(self, record: Record, *, topic: str = SAMPLES, later: str = SAMPLES_BACKFILL) -> object:
        await asyncio.sleep(0)
        if topic == WAVEFORMS:
            self.chunks.append(decode_chunk(record.key, record.value, record.headers)[1])
            return topic
        self.records.append((topic, *decode(record.key, record.value, record.headers)))
        return topic

    def values(self, metric: str, device: str = "dev-01", topic: str = SAMPLES) -> list[float]:
        """What arrived of a metric from a device, in the order in which it arrived."""
        return [float(value) for value in self._of(metric, device, topic, "value")]

    def starts_us(self, metric: str, device: str = "dev-01", topic: str = SAMPLES) -> list[int]:
        """When that was measured."""
        return [int(start) for start in self._of(metric, device, topic, "start_us")]

    def _of(self, metric: str, device: str, topic: str, column: str) -> list[Any]:
        number = BY_CODE[metric].number
        parts = [
            getattr(samples, column)[samples.metric == number]
            for where, header, samples in self.records
            if header.device_id == device and where == topic
        ]
        return list(np.concatenate(parts)) if parts else []


@asynccontextmanager
async def bridged(
    *peripherals: Peripheral,
    policy: LinkPolicy = HURRY,
    arrived: Arrived | None = None,
    wearables: Sequence[Wearable] = (),
) -> AsyncIterator[Arrived]:
    """A bridge of these, stopped as SIGTERM stops it."""
    arrived = arrived or Arrived()
    finder = Finder(slice_s=1.0, backoff=policy.backoff)
    wearables = wearables or [wearable(one) for one in peripherals]
    running = asyncio.create_task(bridge(wearables, PATIENT, arrived, policy=policy, finder=finder))
    try:
        yield arrived
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled(), "the bridge ended by itself"


@asynccontextmanager
async def bluetoothd(*peripherals: Peripheral) -> AsyncIterator[BlueZ]:
    """A daemon that is there for as long as the block runs."""
    daemon = BlueZ(*peripherals)
    await daemon.start()
    try:
        yield daemon
    finally:
        await daemon.kill()


def silence(policy: LinkPolicy, seconds: float) -> LinkPolicy:
    """The same policy, told to notice silence after so long."""
    return replace(policy, silence_s=seconds)
