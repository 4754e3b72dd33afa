"""What bleak, D-Bus and BlueZ say when something fails, sorted by what a person or the link can do about it.

No message repeats an address or a device's name: what a library says about a device holds both.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakDBusError,
    BleakGATTProtocolError,
)

from vitals.errors import VigilError


class Trouble(Enum):
    """Each with what to do about it."""

    NO_BLUETOOTH = "no Bluetooth here: org.bluez does not answer on the system bus; start bluetoothd (package bluez)"
    NO_ADAPTER = "no Bluetooth adapter with Low Energy is here: plug one in, or give this container access to it"
    POWERED_OFF = "the Bluetooth adapter is switched off: `bluetoothctl power on`, and `rfkill unblock bluetooth`"
    DENIED = "this user may not use Bluetooth: run as root or as a member of the group bluetooth"
    PAIRING = (
        "the device wants to be paired, or its key is no longer the one this machine has: put it into pairing mode, "
        "then `remove`, `pair` and `trust` it in bluetoothctl; the bridge connects by itself after that"
    )
    BUSY = "BlueZ is busy with this device already"
    LOST = "the connection did not come about, or broke"
    UNSUITABLE = "the device offers no characteristic that Vigil reads"


class BluetoothUnavailable(VigilError):
    """There is no Bluetooth to work with; the message says what to do."""


class LinkBroken(VigilError):
    """A connection failed or ended for this reason; the link tries again."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble


FATAL: Final = frozenset({Trouble.NO_BLUETOOTH, Trouble.NO_ADAPTER, Trouble.POWERED_OFF, Trouble.DENIED})
"""At the start, a person must see to these; later they are waited out like any other."""

_REASONS: Final = {
    BleakBluetoothNotAvailableReason.NO_BLUETOOTH: Trouble.NO_ADAPTER,
    BleakBluetoothNotAvailableReason.NO_BLE_CENTRAL_ROLE: Trouble.NO_ADAPTER,
    BleakBluetoothNotAvailableReason.POWERED_OFF: Trouble.POWERED_OFF,
    BleakBluetoothNotAvailableReason.DENIED_BY_USER: Trouble.DENIED,
    BleakBluetoothNotAvailableReason.DENIED_BY_SYSTEM: Trouble.DENIED,
    BleakBluetoothNotAvailableReason.DENIED_BY_UNKNOWN: Trouble.DENIED,
}
# Insufficient authentication, authorization, key size and encryption (Core 5.4, Vol 3, Part F, table 3.4).
_ATT_SECURITY: Final = frozenset({0x05, 0x08, 0x0C, 0x0F})
_PROCEDURE_IN_PROGRESS: Final = 0xFE
_DBUS: Final = {
    "org.freedesktop.DBus.Error.ServiceUnknown": Trouble.NO_BLUETOOTH,
    "org.freedesktop.DBus.Error.NameHasNoOwner": Trouble.NO_BLUETOOTH,
    "org.freedesktop.DBus.Error.NoReply": Trouble.NO_BLUETOOTH,
    "org.freedesktop.DBus.Error.AccessDenied": Trouble.DENIED,
    "org.bluez.Error.NotReady": Trouble.POWERED_OFF,
    "org.bluez.Error.AuthenticationFailed": Trouble.PAIRING,
    "org.bluez.Error.AuthenticationCanceled": Trouble.PAIRING,
    "org.bluez.Error.AuthenticationRejected": Trouble.PAIRING,
    "org.bluez.Error.AuthenticationTimeout": Trouble.PAIRING,
    "org.bluez.Error.NotAuthorized": Trouble.PAIRING,
    "org.bluez.Error.InProgress": Trouble.BUSY,
    "org.bluez.Error.AlreadyExists": Trouble.BUSY,
    "org.bluez.Error.AlreadyConnected": Trouble.BUSY,
}
_REFUSALS: Final = frozenset(f"org.bluez.Error.{word}" for word in ("NotPermitted", "NotAuthorized", "NotSupported"))
# `org.bluez.Error.Failed` and `NotPermitted` tell in words what they mean (BlueZ src/error.c, src/gatt-client.c).
_WORDS: Final = (
    (("not paired", "authentication", "encryption", "key-missing"), Trouble.PAIRING),
    (("already", "file exists", "eexist", "in progress", "notify acquired", "busy"), Trouble.BUSY),
    (("not powered", "not ready"), Trouble.POWERED_OFF),
)


def trouble_of(error: BaseException) -> Trouble:
    """Return what kind of trouble an error of bleak, D-Bus or the system is; `LOST` where nothing is known."""
    if isinstance(error, LinkBroken):
        return error.trouble
    if isinstance(error, BleakBluetoothNotAvailableError):
        return _REASONS.get(error.reason, Trouble.NO_ADAPTER)
    if isinstance(error, BleakGATTProtocolError):
        return _of_att(int(error.code))
    if isinstance(error, BleakDBusError):
        return _DBUS.get(error.dbus_error) or _of_words(error)
    if isinstance(error, PermissionError):
        return Trouble.DENIED
    if isinstance(error, (FileNotFoundError, ConnectionError, EOFError)):
        return Trouble.NO_BLUETOOTH  # the bus itself
    return Trouble.LOST


def is_answer(error: BaseException) -> bool:
    """Tell whether a device refused something: then it is there."""
    return isinstance(error, BleakGATTProtocolError) or (
        isinstance(error, BleakDBusError) and error.dbus_error in _REFUSALS
    )


def _of_att(code: int) -> Trouble:
    if code in _ATT_SECURITY:
        return Trouble.PAIRING
    return Trouble.BUSY if code == _PROCEDURE_IN_PROGRESS else Trouble.LOST


def _of_words(error: BleakDBusError) -> Trouble:
    told = " ".join(str(word) for word in error.args[1:]).lower()
    return next((trouble for words, trouble in _WORDS if any(word in told for word in words)), Trouble.LOST)
