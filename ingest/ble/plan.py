"""What to ask of a device, decided from what it offers: pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from devices.gatt import CHARACTERISTICS
from devices.polar.control import UUID as POLAR_CONTROL
from devices.polar.data import UUID as POLAR_DATA

BATTERY: Final = "2A19"
CONTROL_POINT: Final = "2A52"
INFORMATION: Final = {"2A29": "maker", "2A24": "model", "2A26": "firmware"}
"""Device Information (180A) that is worth knowing. The serial number (2A25) names one device, so it is never read."""
_SERIAL: Final = "2A25"
STREAMS: Final = frozenset({"2A37", "2A5F", "2A53", "2A5B"})
"""Characteristics that notify about once a second while the device is worn: from these, silence means something."""
STORED: Final = frozenset({"2A18", "2A5E", "2AA7"})
"""Characteristics whose records a device keeps and sends when its record access control point asks for them."""
_TURNS: Final = {uuid: turn for turn, uuid in enumerate(CHARACTERISTICS)}
_BASE: Final = re.compile(r"0000([0-9a-f]{4})-0000-1000-8000-00805f9b34fb", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Offer:
    """One characteristic that a device has: its handle and UUID, its service's UUID, and what may be done with it."""

    handle: int
    uuid: str
    service: str
    properties: frozenset[str]

    @property
    def notifies(self) -> bool:
        """Whether it can be subscribed to."""
        return bool(self.properties & {"notify", "indicate"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What to subscribe to and to read once, which memories to ask for, and what to read for a sign of life.

    What is read once is in the order to read it in, all else in the device's own. `controls` are control points, each
    with the UUID of the records it is asked for.
    """

    subscribe: tuple[Offer, ...]
    read: tuple[Offer, ...]
    controls: tuple[tuple[Offer, str], ...]
    ask: Offer | None
    polar: tuple[Offer, Offer] | None = None
    """Control point and data of Polar's own service, where the device has it."""

    @property
    def measured(self) -> tuple[Offer, ...]:
        """What to subscribe to, without the battery where there is anything else: without these a link is no use."""
        return tuple(one for one in self.subscribe if short(one.uuid) != BATTERY) or self.subscribe

    @property
    def streams(self) -> bool:
        """Whether it notifies all the time, so that silence is a fault."""
        return any(short(one.uuid) in STREAMS for one in self.subscribe)


def short(uuid: str) -> str:
    """Return the four capital digits of a 16-bit UUID in any form, else the UUID itself, in capitals."""
    match = _BASE.fullmatch(uuid)
    return (match[1] if match else uuid).upper()


def plan(offers: Iterable[Offer]) -> Plan:
    """Decide what to do with what a device offers; handles are in the order the device has them."""
    by_handle = sorted(offers, key=lambda one: one.handle)
    measured = tuple(one for one in by_handle if one.notifies and _how(one.uuid) in {"notify", "indicate", "read"})
    records = {one.service: short(one.uuid) for one in measured if short(one.uuid) in STORED}
    readable = tuple(
        one
        for one in by_handle
        if "read" in one.properties
        and short(one.uuid) != _SERIAL
        and (_how(one.uuid) == "read" or short(one.uuid) == BATTERY)
    )
    controls = tuple(
        (one, records[one.service])
        for one in by_handle
        if short(one.uuid) == CONTROL_POINT and one.service in records and {"write", "indicate"} <= one.properties
    )
    own = {short(one.uuid): one for one in by_handle}
    polar = (own[POLAR_CONTROL], own[POLAR_DATA]) if POLAR_CONTROL in own and POLAR_DATA in own else None
    return Plan(measured, tuple(sorted(readable, key=_turn)), controls, _to_ask(readable), polar)


def _turn(offer: Offer) -> int:
    """Return when a value's turn to be read is: a clock before what it times. The registry is in that order."""
    return _TURNS.get(short(offer.uuid), len(_TURNS))


def _to_ask(readable: tuple[Offer, ...]) -> Offer | None:
    """Return what proves that the device answers: the battery, else anything that may be read."""
    return next((one for one in readable if short(one.uuid) == BATTERY), readable[0] if readable else None)


def _how(uuid: str) -> str | None:
    """Return how a standard characteristic is had; a maker's own stream says nothing before it is started."""
    known = CHARACTERISTICS.get(short(uuid))
    return None if known is None else known.how
