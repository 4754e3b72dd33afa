"""A Bluetooth device as tests see it: what it offers, and which errors it, or BlueZ for it, answers with next."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

ADAPTER: Final = "/org/bluez/hci0"

Error = tuple[str, str]
"""A D-Bus error: its name behind `org.bluez.Error.`, and its text."""


def full(uuid16: str) -> str:
    """A 16-bit UUID, or a whole one, as BlueZ writes it."""
    return uuid16.lower() if "-" in uuid16 else f"0000{uuid16.lower()}-0000-1000-8000-00805f9b34fb"


@dataclass
class Characteristic:
    """One characteristic of a peripheral; `on_write` is called with what a client writes."""

    uuid16: str
    flags: tuple[str, ...]
    value: bytes = b""
    on_write: Callable[[bytes], None] | None = None
    read_errors: list[Error] = field(default_factory=list)
    notify_errors: list[Error] = field(default_factory=list)
    write_errors: list[Error] = field(default_factory=list)
    writes: list[bytes] = field(default_factory=list)
    reads: int = 0
    path: str = ""
    subscriber: str | None = None
    acquired: socket.socket | None = None

    @property
    def subscribed(self) -> bool:
        return self.subscriber is not None or self.acquired is not None


@dataclass
class Peripheral:
    """A device within or out of range; its services, by UUID, are resolved `resolve_s` after it is connected."""

    address: str
    services: dict[str, list[Characteristic]]
    name: str = "Anna's strap"
    in_range: bool = True
    resolve_s: float = 0.0
    connect_errors: list[Error] = field(default_factory=list)
    connected: bool = False
    connections: int = 0
    bonded: bool = False

    @property
    def path(self) -> str:
        return f"{ADAPTER}/dev_{self.address.replace(':', '_')}"

    @property
    def characteristics(self) -> list[Characteristic]:
        return [one for members in self.services.values() for one in members]

    def __getitem__(self, uuid16: str) -> Characteristic:
        return next(one for one in self.characteristics if one.uuid16 == uuid16)
