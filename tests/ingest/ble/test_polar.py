"""Polar's own streams: started where they were asked for, and nothing lost where the sensor refuses."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from structlog.testing import capture_logs

from devices.polar.control import Measurement, Setting
from ingest.ble.polar import choose
from tests.ingest.ble.world import HURRY, bluetoothd, bridged, measurement, strap
from tests.services.bluez import BlueZ
from tests.services.peripheral import Characteristic, Peripheral
from vigil.ble import streams
from vitals.errors import VigilError

SERVICE, CONTROL, DATA = (f"FB005C8{n}-02E7-F387-1CAD-8ACD2D8DF0C8" for n in "012")
GET_ECG, START_ECG = bytes.fromhex("0100"), bytes.fromhex("0200 000182 00 01010e00")
ECG_SETTINGS = bytes.fromhex("f001000000 00018200 01010e00")
"""Of an H10: 130 Hz and 14 bits, nothing to choose (Polar's SDK, PmdSetting)."""


class H10:
    """A strap that streams ECG and beat intervals when it is told to, or answers otherwise."""

    def __init__(self, answers: dict[bytes, list[bytes]]) -> None:
        self.control = Characteristic(
            CONTROL, ("read", "write", "indicate"), bytes.fromhex("0f09" + "00" * 15), on_write=self._asked
        )
        self.data = Characteristic(DATA, ("notify",))
        self.peripheral: Peripheral = strap()
        self.peripheral.services[SERVICE] = [self.control, self.data]
        self.daemon: BlueZ | None = None
        self._answers = answers

    def _asked(self, request: bytes) -> None:
        assert self.daemon is not None
        for answer in self._answers.get(request, []):
            self.daemon.notify(self.control, answer)


AGREES = {GET_ECG: [ECG_SETTINGS], START_ECG: [bytes.fromhex("f002000000")]}
ECG = replace(HURRY, polar=(Measurement.ECG,))


def ecg_frame(time_ns: int, microvolts: list[int]) -> bytes:
    """A PMD frame: type, time of the last sample, frame type 0, int24 each."""
    return struct.pack("<BQB", 0, time_ns, 0) + b"".join(one.to_bytes(3, "little", signed=True) for one in microvolts)


@pytest.mark.usefixtures("bus")
async def test_an_ecg_is_started_and_becomes_waveforms() -> None:
    sensor = H10(AGREES)
    with capture_logs() as logs:
        async with bluetoothd(sensor.peripheral) as daemon, bridged(sensor.peripheral, policy=ECG) as arrived:
            sensor.daemon = daemon
            await daemon.until(lambda: any(entry["event"] == "ble_streams_started" for entry in logs))
            assert sensor.control.writes == [GET_ECG, START_ECG]
            daemon.notify(sensor.data, ecg_frame(600_000_000_000_000_000, [-1_500, 0, 250]))
            daemon.notify(sensor.peripheral["2A37"], measurement(60))
            await daemon.until(lambda: arrived.chunks and arrived.values("heart_rate") == [60])
            (chunk,) = arrived.chunks
            assert chunk.rate_hz == 130
            assert (np.ravel(chunk.values) * chunk.scale).tolist() == pytest.approx([-1.5, 0, 0.25]), "millivolts"


@pytest.mark.usefixtures("bus")
@pytest.mark.parametrize(
    "answers",
    [{GET_ECG: [bytes.fromhex("f0010003 00")]}, {GET_ECG: [ECG_SETTINGS], START_ECG: [b"\xf0\x02"]}, {}],
    ids=["refused", "nonsense", "silent"],
)
async def test_a_sensor_that_refuses_keeps_its_link(answers: dict[bytes, list[bytes]]) -> None:
    sensor = H10(answers)
    with capture_logs() as logs:
        policy = replace(ECG, prepare_s=1.0)
        async with bluetoothd(sensor.peripheral) as daemon, bridged(sensor.peripheral, policy=policy) as arrived:
            sensor.daemon = daemon
            await daemon.until(lambda: sensor.peripheral["2A37"].subscribed)
            await daemon.until(lambda: any(entry["event"] == "ble_connected" for entry in logs))
            daemon.notify(sensor.peripheral["2A37"], measurement(60))
            await daemon.until(lambda: arrived.values("heart_rate") == [60])
            assert sensor.peripheral.connections == 1
    (told,) = [entry for entry in logs if entry["event"] == "ble_streams_started"]
    assert (told["started"], told["refused"]) == ([], ["ecg"])


@pytest.mark.usefixtures("bus")
async def test_nothing_is_started_that_nobody_asked_for() -> None:
    sensor = H10(AGREES)
    async with bluetoothd(sensor.peripheral) as daemon, bridged(sensor.peripheral) as arrived:
        await daemon.until(lambda: sensor.peripheral["2A37"].subscribed)
        daemon.notify(sensor.peripheral["2A37"], measurement(60))
        await daemon.until(lambda: arrived.values("heart_rate") == [60])
        assert (sensor.control.writes, sensor.data.subscribed) == ([], False)


def test_the_slowest_rate_that_is_enough_is_chosen() -> None:
    offered = {Setting.SAMPLE_RATE_HZ: (25.0, 50.0, 100.0), Setting.RESOLUTION_BITS: (16.0,), Setting.RANGE: (2.0, 8.0)}
    assert choose(offered) == {Setting.SAMPLE_RATE_HZ: 50, Setting.RESOLUTION_BITS: 16, Setting.RANGE: 8}
    assert choose({Setting.SAMPLE_RATE_HZ: (28.0, 44.0), Setting.FACTOR: (0.2,)}) == {Setting.SAMPLE_RATE_HZ: 44}
    assert choose({}) == {}


def test_streams_by_name() -> None:
    assert streams(["ecg", "beat_intervals", "ecg"]) == (Measurement.ECG, Measurement.BEAT_INTERVALS)
    with pytest.raises(VigilError, match="ecg, ppg, acceleration, beat_intervals"):
        streams(["eeg"])
