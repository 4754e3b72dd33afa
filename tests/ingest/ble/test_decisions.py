"""The pure middle of the link: pauses, watchdog, plan, batches, memories, and what errors mean."""

import struct
from collections.abc import Mapping

import pytest
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakDBusError,
    BleakError,
    BleakGATTProtocolError,
)
from hypothesis import given
from hypothesis import strategies as st

from devices.gatt.session import DeviceSession
from ingest.ble.frames import PAST_US, Notification, next_stamp_us, to_batch, told_already
from ingest.ble.plan import Offer, plan, short
from ingest.ble.policy import (
    Backoff,
    BatchPolicy,
    Heard,
    LinkPolicy,
    Step,
    attempts_after,
    batch_wait_s,
    delay_s,
    next_step,
)
from ingest.ble.stored import Answer, Resume, advanced, answer, request
from ingest.ble.telling import printable
from ingest.ble.troubles import LinkBroken, Trouble, trouble_of
from tests.ingest.ble.world import measurement
from tests.services.peripheral import full
from vitals.catalogue import BY_CODE

T0 = 1_717_243_200_000_000


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_to_their_bound_and_never_beyond(attempt: int, draw: float) -> None:
    backoff = Backoff(first_s=0.25, longest_s=4.0, jitter=0.5)
    pause_s = delay_s(backoff, attempt, draw)
    assert pause_s == 0 if attempt == 0 else 0.125 <= pause_s <= 4.0
    assert delay_s(backoff, attempt + 1, 0) >= delay_s(backoff, attempt, 0)


def test_pauses_double() -> None:
    assert [delay_s(Backoff(0.25, 4.0), n, 0) for n in range(8)] == [0, 0.25, 0.5, 1, 2, 4, 4, 4]
    assert delay_s(Backoff(0.25, 4.0, jitter=0.5), 5, 0.5) == 3


def test_only_a_connection_that_held_begins_the_count_anew() -> None:
    assert attempts_after(4, 9.9) == 5
    assert attempts_after(4, 10.0) == 0


def test_a_batch_closes_by_time_or_by_size() -> None:
    policy = BatchPolicy(within_s=1.0, frames=500)
    assert batch_wait_s(policy, 100.0, 1, 100.0) == 1.0
    assert batch_wait_s(policy, 100.0, 499, 100.75) == 0.25
    assert batch_wait_s(policy, 100.0, 499, 101.0) == 0
    assert batch_wait_s(policy, 100.0, 500, 100.0) == 0


@pytest.mark.parametrize(
    ("stream_s", "answer_s", "now_s", "streams", "can_ask", "expected"),
    [
        (0, 0, 10, True, True, (Step.WAIT, 20)),
        (0, 0, 29.9, True, False, (Step.WAIT, pytest.approx(0.1))),
        (0, 0, 30, True, True, (Step.TEAR_DOWN, 0)),
        (280, 0, 299, True, True, (Step.WAIT, 1)),  # the battery's turn comes first
        (280, 0, 300, True, True, (Step.ASK, 0)),
        (280, 0, 300, True, False, (Step.WAIT, 10)),
        (0, 0, 29, False, True, (Step.WAIT, 1)),
        (0, 0, 30, False, True, (Step.ASK, 0)),  # no stream: asked as often as a stream would be missed
        (0, 0, 1_000, False, False, (Step.WAIT, 30)),
    ],
)
def test_the_watchdog(
    stream_s: float, answer_s: float, now_s: float, streams: bool, can_ask: bool, expected: tuple[Step, float]
) -> None:
    policy = LinkPolicy(silence_s=30, battery_every_s=300)
    assert next_step(policy, Heard(stream_s, answer_s), now_s, streams=streams, can_ask=can_ask) == expected


def offers(services: Mapping[str, Mapping[str, str]]) -> list[Offer]:
    """Characteristics of services, with what may be done with them."""
    return [
        Offer(handle, uuid if "-" in uuid else full(uuid), full(service), frozenset(properties.split()))
        for handle, (service, uuid, properties) in enumerate(
            (service, uuid, properties) for service, members in services.items() for uuid, properties in members.items()
        )
    ]


def uuids(some: tuple[Offer, ...]) -> list[str]:
    return [short(one.uuid) for one in some]


def test_the_plan_for_a_strap() -> None:
    todo = plan(
        offers(
            {
                "180D": {"2A37": "notify", "2A38": "read", "2A39": "write"},
                "180F": {"2A19": "read notify"},
                "180A": {"2A29": "read", "2A25": "read", "2A23": "read"},
                "1801": {"2A05": "indicate"},
            }
        )
    )
    assert uuids(todo.subscribe) == ["2A37", "2A19"]
    assert uuids(todo.measured) == ["2A37"]
    assert sorted(uuids(todo.read)) == ["2A19", "2A29", "2A38"], "no serial number, and nothing that nobody decodes"
    assert todo.streams
    assert todo.ask is not None
    assert short(todo.ask.uuid) == "2A19"
    assert todo.controls == ()


def test_the_plan_asks_each_memory_through_the_control_point_of_its_own_service() -> None:
    todo = plan(
        offers(
            {
                "1808": {"2A18": "notify", "2A34": "notify", "2A52": "write indicate"},
                "1822": {"2A5F": "notify", "2A52": "write indicate"},
                "181F": {"2AA7": "notify", "2A52": "indicate"},
            }
        )
    )
    assert [(one.service, uuid) for one, uuid in todo.controls] == [(full("1808"), "2A18")]
    assert "2A52" not in uuids(todo.subscribe)
    assert uuids(todo.subscribe) == ["2A18", "2A34", "2A5F", "2AA7"]


def test_a_clock_is_read_before_what_it_times() -> None:
    todo = plan(offers({"181F": {"2AAA": "read", "2AA7": "notify"}, "1805": {"2A2B": "read"}}))
    assert uuids(todo.read) == ["2A2B", "2AAA"]


def test_a_device_that_offers_nothing_of_ours() -> None:
    todo = plan(offers({"FFF0": {"FFF1": "notify", "0000fee7-1234-1000-8000-00805f9b34fb": "notify"}}))
    assert (todo.subscribe, todo.read, todo.ask, todo.streams) == ((), (), None, False)


def test_a_device_with_its_battery_only_is_of_use() -> None:
    assert uuids(plan(offers({"180F": {"2A19": "notify"}})).measured) == ["2A19"]


def test_a_batch_keeps_order_and_counts_what_is_broken() -> None:
    told = [measurement(60), b"", measurement(61), b"\x01\x00", measurement(62, contact=False)]
    batch = to_batch(DeviceSession(), [Notification("2A37", one, T0 + n) for n, one in enumerate(told)])
    assert batch.malformed == {"2A37": 2}
    assert batch.past is None
    assert batch.live is not None
    heart_rate = batch.live.metric == BY_CODE["heart_rate"].number
    assert batch.live.value[heart_rate].tolist() == [60, 61, 62]
    assert batch.live.start_us[heart_rate].tolist() == [T0, T0 + 2, T0 + 4]
    assert batch.live.quality[heart_rate].tolist() == [1, 1, 0]


def test_what_is_old_at_arrival_is_history() -> None:
    long_ago = struct.pack("<BHH5BHB", 0x02, 1, 2024, 6, 1, 12, 0, 0, 0xB064, 0x11)
    session = DeviceSession()
    session.read("2A2B", struct.pack("<H8B", 2024, 6, 1, 13, 0, 0, 6, 0, 0), T0)
    batch = to_batch(
        session, [Notification("2A18", long_ago, T0, stored=True), Notification("2A37", measurement(60), T0)]
    )
    assert batch.live is not None
    assert batch.past is not None
    assert batch.live.metric.tolist() == [BY_CODE["heart_rate"].number]
    assert batch.past.metric.tolist() == [BY_CODE["glucose"].number]
    assert T0 - batch.past.start_us[0] == 3_600_000_000 > PAST_US


def test_no_notifications_are_no_batch() -> None:
    batch = to_batch(DeviceSession(), [])
    assert (batch.live, batch.past, batch.waveforms) == (None, None, ())


def test_no_two_notifications_come_at_one_time() -> None:
    assert next_stamp_us(T0, 0) == T0
    assert next_stamp_us(T0, T0) == T0 + 1
    assert next_stamp_us(T0 - 5, T0) == T0 + 1, "a clock that was set back"


def test_a_battery_level_is_told_once() -> None:
    assert told_already("2A19", b"\x50", b"\x50")
    assert not told_already("2A19", b"\x4f", b"\x50")
    assert not told_already("2A37", b"\x50", b"\x50"), "a heart rate that repeats is a heart rate"


def test_where_a_download_begins() -> None:
    assert request(None, 0, 100) == bytes.fromhex("0101")
    assert request(Resume(258, since_s=50), 149, 100) == bytes.fromhex("0103010301")
    assert request(Resume(258, since_s=50), 150, 100) == bytes.fromhex("0101"), "once a day all: it may count anew"
    assert request(Resume(0xFFFF, since_s=50), 51, 100) == bytes.fromhex("0101")


def test_only_what_was_asked_for_and_is_safe_moves_the_beginning() -> None:
    def glucose(number: int) -> bytes:
        return b"\x00" + number.to_bytes(2, "little") + bytes(7)

    resume = advanced(None, [("2A18", glucose(7), True), ("2A18", glucose(8), True)], 10)
    assert resume == Resume(8, 10)
    assert advanced(resume, [("2A18", glucose(12), False)], 20) == resume, "9 to 11 may be in the memory still"
    assert advanced(resume, [("2A18", glucose(3), False)], 20) is None, "it counts anew"
    assert advanced(resume, [("2A18", b"\x00\x01", True), ("2A5E", bytes(9), True)], 20) == resume
    assert advanced(None, [("2AA7", bytes.fromhex("06 00 6400 2c01"), True)], 5) == Resume(300, 5)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        ("06000101", Answer.DONE),
        ("06000106", Answer.NO_RECORDS),
        ("06000104", Answer.UNSUPPORTED),
        ("06000109", Answer.UNSUPPORTED),
        ("06000108", Answer.FAILED),
        ("06000301", None),  # of an abort
        ("05000a00", None),  # a count
        ("0600", None),
        ("", None),
    ],
)
def test_how_a_download_ended(octets: str, expected: Answer | None) -> None:
    assert answer(bytes.fromhex(octets)) is expected


def of_bluez(name: str, text: str = "") -> BleakDBusError:
    return BleakDBusError(f"org.bluez.Error.{name}", [text])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (of_bluez("AuthenticationFailed"), Trouble.PAIRING),
        (of_bluez("AuthenticationRejected"), Trouble.PAIRING),
        (of_bluez("NotPermitted", "Not paired"), Trouble.PAIRING),
        (of_bluez("NotAuthorized"), Trouble.PAIRING),
        (BleakGATTProtocolError(0x05), Trouble.PAIRING),
        (BleakGATTProtocolError(0x0F), Trouble.PAIRING),
        (BleakGATTProtocolError(0x80), Trouble.LOST),
        (BleakGATTProtocolError(0xFE), Trouble.BUSY),
        (of_bluez("InProgress"), Trouble.BUSY),
        (of_bluez("AlreadyExists"), Trouble.BUSY),
        (of_bluez("Failed", "File exists"), Trouble.BUSY),
        (of_bluez("Failed", "le-connection-abort-by-local"), Trouble.LOST),
        (of_bluez("Failed"), Trouble.LOST),
        (of_bluez("NotReady"), Trouble.POWERED_OFF),
        (BleakDBusError("org.freedesktop.DBus.Error.ServiceUnknown", []), Trouble.NO_BLUETOOTH),
        (BleakDBusError("org.freedesktop.DBus.Error.UnknownObject", []), Trouble.LOST),
        (BleakDBusError("org.freedesktop.DBus.Error.AccessDenied", []), Trouble.DENIED),
        (BleakBluetoothNotAvailableError("", BleakBluetoothNotAvailableReason.NO_BLUETOOTH), Trouble.NO_ADAPTER),
        (BleakBluetoothNotAvailableError("", BleakBluetoothNotAvailableReason.POWERED_OFF), Trouble.POWERED_OFF),
        (BleakBluetoothNotAvailableError("", BleakBluetoothNotAvailableReason.DENIED_BY_SYSTEM), Trouble.DENIED),
        (BleakError("device 'dev_AA_BB' not found"), Trouble.LOST),
        (FileNotFoundError("/run/dbus/system_bus_socket"), Trouble.NO_BLUETOOTH),
        (ConnectionRefusedError(), Trouble.NO_BLUETOOTH),
        (PermissionError(), Trouble.DENIED),
        (TimeoutError(), Trouble.LOST),
        (LinkBroken(Trouble.UNSUITABLE), Trouble.UNSUITABLE),
    ],
)
def test_what_an_error_means(error: Exception, expected: Trouble) -> None:
    assert trouble_of(error) is expected


def test_what_a_device_says_of_itself_stays_on_its_line() -> None:
    assert printable(b"Strap 10\0\0") == "Strap 10"
    assert printable(b'x\n{"event": "forged"}\x1b[2J\xff') == 'x?{"event": "forged"}?[2J\ufffd'
    assert len(printable(b"a" * 512)) == 48
