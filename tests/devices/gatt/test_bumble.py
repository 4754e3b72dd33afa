"""Values as bumble, a Bluetooth stack of its own, encodes them (it has these three services and no other of ours)."""

import pytest
from bumble.profiles.battery_service import BatteryService
from bumble.profiles.device_information_service import DeviceInformationService
from bumble.profiles.heart_rate_service import HeartRateService
from hypothesis import given
from hypothesis import strategies as st

from devices.gatt import CHARACTERISTICS, SERVICES, characteristic, decode_json, heart_rate


@given(
    bpm=st.integers(0, 65_535),
    contact=st.none() | st.booleans(),
    energy=st.none() | st.integers(0, 65_535),
    rr=st.none() | st.lists(st.integers(1, 65_535), min_size=1, max_size=20),
)
def test_heart_rate(bpm: int, contact: bool | None, energy: int | None, rr: list[int] | None) -> None:
    seconds = None if rr is None else [ticks / 1_024 for ticks in rr]
    payload = bytes(HeartRateService.HeartRateMeasurement(bpm, contact, energy, seconds))
    assert heart_rate.decode(payload) == heart_rate.HeartRateMeasurement(bpm, contact, energy, tuple(rr or ()))


@pytest.mark.parametrize("location", list(HeartRateService.BodySensorLocation))
def test_body_sensor_location(location: HeartRateService.BodySensorLocation) -> None:
    assert decode_json("2A38", bytes((location,)))["location"] == location.name.lower()


def test_device_information_and_battery_are_found_by_the_uuids_that_bumble_gives_them() -> None:
    service = DeviceInformationService(
        manufacturer_name="Maker", model_number="M-1", serial_number="S-2", hardware_revision="3",
        firmware_revision="4.0", software_revision="5.1",
    )  # fmt: skip
    told: dict[str, object] = {}
    for one in service.characteristics:
        uuid = one.uuid.to_hex_str()
        if uuid in CHARACTERISTICS:
            told |= decode_json(uuid, bytes(one.value))  # type: ignore[arg-type]
            assert characteristic(uuid) in SERVICES[service.uuid.to_hex_str()].characteristics
    words = ("manufacturer", "model", "serial_number", "hardware", "firmware", "software")
    assert [told[word] for word in words] == ["Maker", "M-1", "S-2", "3", "4.0", "5.1"]
    battery = BatteryService(lambda _connection: 77)
    (level,) = battery.characteristics
    assert characteristic(level.uuid.to_hex_str()) in SERVICES[battery.uuid.to_hex_str()].characteristics
