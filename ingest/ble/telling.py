"""Edge: what links tell of themselves: log events without names or addresses, and metrics without devices."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import structlog
from prometheus_client import Counter, Gauge

from ingest.ble.plan import INFORMATION
from ingest.ble.troubles import Trouble
from vitals.ids import DeviceId

log = structlog.get_logger(__name__)

_CONNECTED: Final = Gauge("vigil_ble_connected_devices", "devices that are connected and subscribed to")
_EVENTS: Final = Counter("vigil_ble_events", "what links told", ["event"])
_NOTIFICATIONS: Final = Counter("vigil_ble_notifications", "notifications received")
_MALFORMED: Final = Counter("vigil_ble_malformed_notifications", "notifications that break their rules", ["uuid"])
_LONGEST: Final = 48


class Event(StrEnum):
    """What can happen to a link; the value is the log event."""

    CONNECTED = "ble_connected"
    LOST = "ble_lost"
    SILENT = "ble_silent"
    FAILED = "ble_connect_failed"
    PAIRING = "ble_pairing_needed"
    UNAVAILABLE = "ble_unavailable"
    UNSUITABLE = "ble_nothing_offered"
    REFUSED = "ble_subscription_refused"
    STORED = "ble_stored_read"
    STORED_FAILED = "ble_stored_failed"
    INFORMATION = "ble_device_information"
    MALFORMED = "ble_malformed"
    UNDELIVERED = "ble_undelivered"
    DISCARDED = "ble_discarded"
    STREAMS = "ble_streams_started"
    BROKEN = "ble_link_broken"
    STOPPED = "ble_stopped"


_ERRORS: Final = frozenset({Event.PAIRING, Event.DISCARDED, Event.BROKEN, Event.UNDELIVERED})
_NEWS: Final = frozenset({Event.CONNECTED, Event.STORED, Event.INFORMATION, Event.STREAMS, Event.STOPPED})
_OF_TROUBLE: Final[Mapping[Trouble, Event]] = {
    Trouble.PAIRING: Event.PAIRING,
    Trouble.NO_BLUETOOTH: Event.UNAVAILABLE,
    Trouble.NO_ADAPTER: Event.UNAVAILABLE,
    Trouble.POWERED_OFF: Event.UNAVAILABLE,
    Trouble.DENIED: Event.UNAVAILABLE,
    Trouble.UNSUITABLE: Event.UNSUITABLE,
}


class Teller:
    """Tells of one device by its pseudonymous id."""

    def __init__(self, device: DeviceId) -> None:
        self._device = device
        self._connected = False

    def tell(self, event: Event, **details: object) -> None:
        """Log and count an event."""
        _EVENTS.labels(event).inc()
        level = "error" if event in _ERRORS else "info" if event in _NEWS else "warning"
        getattr(log, level)(str(event), device=self._device, **details)

    def connected(self, now: bool) -> None:
        """Keep the count of connected devices."""
        _CONNECTED.inc(int(now) - int(self._connected))
        self._connected = now

    def trouble(self, trouble: Trouble, *, again_in_s: float) -> None:
        """Say why there is no connection, and when it is tried again."""
        self.tell(_OF_TROUBLE.get(trouble, Event.FAILED), why=trouble.value, again_in_s=round(again_in_s, 1))

    def information(self, read: Mapping[str, bytes]) -> None:
        """Say what the device says of itself, by UUID: maker, model and firmware, no serial number and no name."""
        words = {word: printable(read[uuid]) for uuid, word in INFORMATION.items() if uuid in read}
        if words:
            self.tell(Event.INFORMATION, **words)

    def malformed(self, counts: Tally[str]) -> None:
        """Say how many notifications were broken, by characteristic."""
        for uuid, count in counts.items():
            _MALFORMED.labels(uuid).inc(count)
        if counts:
            self.tell(Event.MALFORMED, counts=dict(counts))

    @staticmethod
    def heard(notifications: int) -> None:
        """Count notifications."""
        _NOTIFICATIONS.inc(notifications)


def printable(octets: bytes) -> str:
    """Return a device's string as one short line: what it sends goes into logs and must not break out of them."""
    text = octets[: 4 * _LONGEST].decode("utf-8", errors="replace").strip("\0 ")
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:_LONGEST]
