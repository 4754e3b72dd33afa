"""Links on bleak's real BlueZ backend: what a device says arrives, over everything that goes wrong in between."""

import asyncio
import time
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from ingest.ble import link
from ingest.ble.policy import Backoff, LinkPolicy
from tests.ingest.ble.world import (
    HURRY,
    THIRTY_SIX_SIX,
    Arrived,
    bluetoothd,
    bridged,
    measurement,
    silence,
    strap,
    thermometer,
)
from tests.services.bluez import BlueZ
from tests.services.peripheral import Error, Peripheral

pytestmark = pytest.mark.usefixtures("bus")

BAR_S = 10.0
"""After a drop, samples again within this time of the device being back (issue 5)."""


async def heard(daemon: BlueZ, device: Peripheral, arrived: Arrived, bpm: int) -> None:
    """One heart rate goes all the way."""
    await daemon.until(lambda: device["2A37"].subscribed)
    assert daemon.notify(device["2A37"], measurement(bpm))
    await daemon.until(lambda: bpm in arrived.values("heart_rate", f"dev-{device.address[-2:]}"))


@pytest.mark.parametrize("acquire", [False, True], ids=["StartNotify", "AcquireNotify"])
async def test_what_a_strap_says_arrives(acquire: bool) -> None:
    device = strap()
    async with bluetoothd(device) as daemon, bridged(device, policy=replace(HURRY, acquire=acquire)) as arrived:
        await daemon.until(lambda: device["2A37"].subscribed)
        for bpm in (60, 61, 62):
            daemon.notify(device["2A37"], measurement(bpm, contact=True, rr_s=(0.5,)))
        await daemon.until(lambda: len(arrived.values("heart_rate")) == 3)
        assert arrived.values("heart_rate") == [60, 61, 62]
        assert arrived.values("rr_interval") == [500, 500, 500]
        assert arrived.values("wear_state") == [1, 1, 1]
        daemon.notify(device["2A37"], measurement(63, contact=False))
        await daemon.until(lambda: arrived.values("wear_state") == [1, 1, 1, 0])
        (topic, header, samples) = arrived.records[-1]
        assert (topic, header.patient_id, header.device_id, header.adapter) == ("vigil.samples", "p1", "dev-01", "ble")
        assert samples.quality[0] == 0


async def test_battery_and_information_are_read_and_the_serial_number_is_not() -> None:
    device = strap(battery=80)
    with capture_logs() as logs:
        async with bluetoothd(device) as daemon, bridged(device) as arrived:
            await daemon.until(lambda: arrived.values("battery") == [80])
            await daemon.until(lambda: device["2A19"].subscribed)
            daemon.notify(device["2A19"], bytes([79]))
            await daemon.until(lambda: arrived.values("battery") == [80, 79])
    (about,) = [entry for entry in logs if entry["event"] == "ble_device_information"]
    assert (about["maker"], about["model"], about["firmware"]) == ("Acme", "Strap 10", "fw2")
    assert device["2A25"].reads == 0


@pytest.mark.parametrize("acquire", [False, True], ids=["StartNotify", "AcquireNotify"])
async def test_a_device_that_drops_is_heard_again(acquire: bool) -> None:
    device = strap()
    async with bluetoothd(device) as daemon, bridged(device, policy=replace(HURRY, acquire=acquire)) as arrived:
        for cycle in range(3):
            await heard(daemon, device, arrived, 60 + cycle)
            daemon.drop(device)
        await heard(daemon, device, arrived, 70)
        assert device.connections == 4
        assert arrived.values("heart_rate") == [60, 61, 62, 70]


async def test_with_the_policy_of_operation_a_device_that_is_back_is_heard_within_ten_seconds() -> None:
    device = strap()
    async with bluetoothd(device) as daemon, bridged(device, policy=LinkPolicy()) as arrived:
        await heard(daemon, device, arrived, 60)
        device.in_range = False
        daemon.drop(device)
        device.connect_errors += [("Failed", "Software caused connection abort")] * 3
        await asyncio.sleep(1)
        device.in_range, back_s = True, time.monotonic()
        await heard(daemon, device, arrived, 61)
        assert time.monotonic() - back_s < BAR_S


async def test_a_connection_that_fails_is_tried_again() -> None:
    device = strap()
    device.connect_errors += [
        ("Failed", "Software caused connection abort"),
        ("InProgress", "Operation already in progress"),
        ("Failed", "le-connection-refused"),
        ("NotReady", "Resource Not Ready"),
    ]
    with capture_logs() as logs:
        async with bluetoothd(device) as daemon, bridged(device) as arrived:
            await heard(daemon, device, arrived, 60)
    told = [entry["event"] for entry in logs if entry["event"].startswith("ble_")]
    assert told[:4] == ["ble_connect_failed", "ble_connect_failed", "ble_connect_failed", "ble_unavailable"]
    assert told[4:] == ["ble_device_information", "ble_connected", "ble_stopped"]


async def test_services_that_resolve_late_are_waited_for() -> None:
    device = strap()
    device.resolve_s = 1.5
    async with bluetoothd(device) as daemon, bridged(device) as arrived:
        await heard(daemon, device, arrived, 60)
        assert device.connections == 1


async def test_services_that_come_too_late_cost_a_connection_and_not_the_link() -> None:
    device = strap()
    device.resolve_s = 30
    async with bluetoothd(device) as daemon, bridged(device, policy=replace(HURRY, connect_s=0.5)) as arrived:
        await daemon.until(lambda: device.connections == 2)
        device.resolve_s = 0
        await heard(daemon, device, arrived, 60)


async def test_a_device_without_anything_for_us_is_named_and_asked_again() -> None:
    device = strap()
    services, device.services = device.services, {"180A": device.services["180A"]}
    with capture_logs() as logs:
        async with bluetoothd(device) as daemon, bridged(device) as arrived:
            await daemon.until(lambda: device.connections == 2)
            device.services = services
            await heard(daemon, device, arrived, 60)
    assert "ble_nothing_offered" in {entry["event"] for entry in logs}


@pytest.mark.parametrize(
    "error",
    [
        ("InProgress", "Operation already in progress"),
        ("AlreadyExists", "Already Exists"),
        ("Failed", "File exists (EEXIST)"),
        ("NotPermitted", "Notify acquired"),
    ],
    ids=["InProgress", "AlreadyExists", "EEXIST", "acquired"],
)
async def test_a_subscription_that_is_in_its_own_way_is_cleared_and_made(error: Error) -> None:
    device = strap()
    device["2A37"].notify_errors += [error, error]
    async with bluetoothd(device) as daemon, bridged(device) as arrived:
        await heard(daemon, device, arrived, 60)
        assert device.connections == 1
        assert (device["2A37"].path, "StopNotify") in daemon.calls


async def test_one_subscription_refused_leaves_the_others() -> None:
    device = strap()
    device["2A19"].notify_errors += [("NotSupported", "Operation is not supported")]
    with capture_logs() as logs:
        async with bluetoothd(device) as daemon, bridged(device) as arrived:
            await heard(daemon, device, arrived, 60)
    assert [entry["uuid"] for entry in logs if entry["event"] == "ble_subscription_refused"] == ["2A19"]


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("connect", ("AuthenticationFailed", "Authentication Failed")),
        ("connect", ("AuthenticationCanceled", "Authentication Canceled")),
        ("connect", ("Failed", "br-connection-key-missing")),
        ("notify", ("NotPermitted", "Not paired")),
        ("notify", ("NotAuthorized", "Operation Not Authorized")),
        ("notify", ("Failed", "Operation failed with ATT error: 0x05")),
        ("notify", ("Failed", "Operation failed with ATT error: 0x0f")),
    ],
)
async def test_a_missing_bond_is_said_with_what_to_do_and_waited_for(where: str, error: Error) -> None:
    device = strap()
    (device.connect_errors if where == "connect" else device["2A37"].notify_errors).extend([error] * 2)
    with capture_logs() as logs:
        async with bluetoothd(device) as daemon, bridged(device) as arrived:
            await heard(daemon, device, arrived, 60)
    told = [entry for entry in logs if entry["event"] == "ble_pairing_needed"]
    assert len(told) == 2
    assert all("bluetoothctl" in entry["why"] and entry["log_level"] == "error" for entry in told)


async def test_a_burst_arrives_whole_and_in_order() -> None:
    device = strap()
    async with bluetoothd(device) as daemon, bridged(device) as arrived:
        await daemon.until(lambda: device["2A37"].subscribed)
        sent = [30 + n % 220 for n in range(2_000)]
        for bpm in sent:
            daemon.notify(device["2A37"], measurement(bpm))
        await daemon.until(lambda: len(arrived.values("heart_rate")) == len(sent), 20)
        assert arrived.values("heart_rate") == sent
        starts = arrived.starts_us("heart_rate")
        assert len(set(starts)) == len(sent), "two measurements at one time would be one sample"
        assert starts == sorted(starts)


async def test_a_broken_notification_costs_itself() -> None:
    device = strap()
    with capture_logs() as logs:
        async with bluetoothd(device) as daemon, bridged(device) as arrived:
            await heard(daemon, device, arrived, 60)
            for payload in (b"\x01\x02", b"\x10\x40\x01", measurement(61)):
                daemon.notify(device["2A37"], payload)
            await daemon.until(lambda: arrived.values("heart_rate") == [60, 61])
            await daemon.until(lambda: any(entry["event"] == "ble_malformed" for entry in logs))
    counts: dict[str, int] = {}
    for entry in logs:
        if entry["event"] == "ble_malformed":
            counts = {uuid: counts.get(uuid, 0) + count for uuid, count in entry["counts"].items()}
    assert counts == {"2A37": 2}


@pytest.mark.alone
async def test_after_bluetoothd_dies_silence_is_noticed_in_time_and_its_successor_is_used() -> None:
    device = strap()
    policy = silence(HURRY, 1.0)
    with capture_logs() as logs:
        async with bluetoothd(device) as daemon, bridged(device, policy=policy) as arrived:
            await heard(daemon, device, arrived, 60)
            await daemon.kill()
            died_s = time.monotonic()
            await daemon.until(lambda: any(entry["event"] == "ble_silent" for entry in logs))
            assert time.monotonic() - died_s < policy.silence_s + 0.5
            await asyncio.sleep(0.5)
            await daemon.start()
            back_s = time.monotonic()
            await heard(daemon, device, arrived, 61)
            assert time.monotonic() - back_s < BAR_S


async def test_bluetoothd_dying_and_back_before_anybody_noticed_is_noticed_too() -> None:
    device = strap()
    async with bluetoothd(device) as daemon, bridged(device, policy=silence(HURRY, 1.0)) as arrived:
        await heard(daemon, device, arrived, 60)
        await daemon.kill()
        await daemon.start()
        await heard(daemon, device, arrived, 61)


async def test_a_bluetoothd_that_hangs_is_left_and_what_it_held_connected_is_taken_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "_UNHEARD_S", 0.5)
    device = strap()
    policy = replace(silence(HURRY, 0.5), leave_s=0.3)
    with capture_logs() as logs:
        async with bluetoothd(device) as daemon, bridged(device, policy=policy) as arrived:
            await heard(daemon, device, arrived, 60)
            daemon.hangs = True
            await daemon.until(lambda: any(entry["event"] == "ble_silent" for entry in logs))
            await daemon.until(lambda: not device["2A37"].subscribed)
            daemon.hangs = False
            await heard(daemon, device, arrived, 61)
            assert device.connections == 1, "it never heard that it was to disconnect"


async def test_bluetoothd_dying_while_everybody_looks_is_survived() -> None:
    device = strap()
    device.in_range = False
    async with bluetoothd(device) as daemon, bridged(device) as arrived:
        await daemon.until(lambda: ("/org/bluez/hci0", "StartDiscovery") in daemon.calls)
        await daemon.kill()
        await asyncio.sleep(0.5)
        device.in_range = True
        await daemon.start()
        await heard(daemon, device, arrived, 60)


@pytest.mark.alone
async def test_a_stream_that_stops_is_silence_even_while_the_battery_talks() -> None:
    device = strap()
    with capture_logs() as logs:
        async with bluetoothd(device) as daemon, bridged(device, policy=silence(HURRY, 0.6)) as arrived:
            await heard(daemon, device, arrived, 60)
            began_s, level = time.monotonic(), 0
            while device.connections == 1 and time.monotonic() - began_s < 5:
                daemon.notify(device["2A19"], bytes([level := level + 1]))
                await asyncio.sleep(0.05)
            assert 0.5 < time.monotonic() - began_s < 2
            await heard(daemon, device, arrived, 61)
    assert "ble_silent" in {entry["event"] for entry in logs}


@pytest.mark.alone
async def test_a_device_that_measures_now_and_then_is_asked_and_not_torn_down() -> None:
    device = thermometer()
    with capture_logs() as logs:
        async with bluetoothd(device) as daemon, bridged(device, policy=silence(HURRY, 0.3)) as arrived:
            await daemon.until(lambda: device["2A1C"].subscribed and device["2A19"].reads >= 4)
            assert device.connections == 1
            daemon.notify(device["2A1C"], THIRTY_SIX_SIX)
            await daemon.until(lambda: arrived.values("body_temperature") == [36.6])
            await daemon.kill()
            died_s = time.monotonic()
            await daemon.until(lambda: any(entry["event"] == "ble_unavailable" for entry in logs))
            assert time.monotonic() - died_s < 0.3 + 0.5
            await daemon.start()
            await daemon.until(lambda: device["2A1C"].subscribed)


async def test_a_device_that_refuses_to_tell_its_battery_is_there_all_the_same() -> None:
    device = thermometer()
    device["2A19"].read_errors += [
        ("NotPermitted", "Read not permitted"),
        ("NotAuthorized", "Operation Not Authorized"),
        ("Failed", "Operation failed with ATT error: 0x05"),
        ("NotPermitted", "Not paired"),
    ]
    async with bluetoothd(device) as daemon, bridged(device, policy=silence(HURRY, 0.2)) as arrived:
        await daemon.until(lambda: arrived.values("battery") == [50])
        assert device["2A19"].reads == 5
        assert device.connections == 1


async def test_several_devices_keep_apart_and_one_that_is_away_holds_up_nobody() -> None:
    here, there, away = strap(1), strap(2), strap(3)
    away.in_range = False
    async with bluetoothd(here, there, away) as daemon, bridged(here, there, away) as arrived:
        await heard(daemon, here, arrived, 60)
        await heard(daemon, there, arrived, 70)
        daemon.drop(here)
        await heard(daemon, here, arrived, 61)
        away.in_range = True
        await heard(daemon, away, arrived, 80)
        assert arrived.values("heart_rate", "dev-01") == [60, 61]
        assert arrived.values("heart_rate", "dev-02") == [70]
        assert arrived.values("heart_rate", "dev-03") == [80]


async def test_five_thousand_from_each_of_three_devices_at_once_in_order() -> None:
    count = 5_000
    devices = [strap(number) for number in (1, 2, 3)]
    policy = replace(HURRY, batch=LinkPolicy().batch)
    async with bluetoothd(*devices) as daemon, bridged(*devices, policy=policy) as arrived:
        await daemon.until(lambda: all(device["2A37"].subscribed for device in devices))
        sent = [30 + n * 7 % 220 for n in range(count)]
        for number, bpm in enumerate(sent):
            for device in devices:
                assert daemon.notify(device["2A37"], measurement(bpm))
            if number % 10 == 9:  # 10 of each, then the others' turn
                await asyncio.sleep(0.005)
        # One battery level each beside them.
        await daemon.until(lambda: sum(len(samples) for _, _, samples in arrived.records) >= 3 * (count + 1), 60)
        for device in devices:
            assert arrived.values("heart_rate", f"dev-{device.address[-2:]}") == sent


async def test_stopping_unsubscribes_disconnects_and_delivers_what_is_left() -> None:
    device = strap()
    arrived = Arrived()
    slow = replace(HURRY, batch=replace(HURRY.batch, within_s=60))
    async with bluetoothd(device) as daemon:
        async with bridged(device, policy=slow, arrived=arrived):
            await daemon.until(lambda: device["2A37"].subscribed)
            daemon.notify(device["2A37"], measurement(60))
            await asyncio.sleep(0.2)
            assert arrived.records == []
        assert arrived.values("heart_rate") == [60]
        assert (device["2A37"].path, "StopNotify") in daemon.calls
        assert (device.path, "Disconnect") in daemon.calls
        assert not device.connected


async def test_a_device_that_an_earlier_process_left_connected_is_taken_over() -> None:
    device = strap()
    async with bluetoothd(device) as daemon:
        daemon.hold(device)
        async with bridged(device) as arrived:
            await heard(daemon, device, arrived, 60)
            assert device.connections == 0, "it was connected, and nobody asked for it"


async def test_no_name_address_or_serial_number_is_in_any_log_or_record() -> None:
    device = strap()
    device.connect_errors += [("Failed", device.address)]
    device["2A37"].notify_errors += [("Failed", f"{device.name} {device.address}")]
    with capture_logs() as logs:
        async with bluetoothd(device) as daemon, bridged(device, policy=silence(HURRY, 0.8)) as arrived:
            await heard(daemon, device, arrived, 60)
            await daemon.kill()
            await daemon.until(lambda: any(entry["event"] == "ble_silent" for entry in logs))
            await asyncio.sleep(0.5)
    everything = repr(logs) + repr([header for _, header, _ in arrived.records])
    for secret in ("Anna", device.address, device.address.replace(":", "_"), "SN-123456"):
        assert secret not in everything
    assert Backoff().longest_s < BAR_S
