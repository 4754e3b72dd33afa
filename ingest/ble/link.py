"""Edge: one device's link: found, held for as long as it holds, and built anew whenever it breaks.

A connection begins with a scan even where the device is known, because what BlueZ's client remembers may be of a daemon
that is no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Final
from zoneinfo import ZoneInfo

from bleak.backends.device import BLEDevice

from ingest.ble.finder import ERRORS
from ingest.ble.policy import attempts_after, delay_s
from ingest.ble.session import Parts, Session, Silent
from ingest.ble.telling import Event
from ingest.ble.troubles import LinkBroken, Trouble, trouble_of
from vitals.clock import to_datetime

_UNHEARD_S: Final = 10.0


class Link:
    """Keeps one device connected for as long as `run` runs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def run(self) -> None:
        """Connect again and again until cancelled; then say goodbye to the device."""
        loop = asyncio.get_running_loop()
        attempts = 0
        parts = self._parts
        device = await parts.finder.left_connected(parts.wearable.address)
        while True:
            device = device or await self._found()
            if parts.wearable.zone is not None:
                parts.courier.zone(_zone_offset_min(parts.wearable.zone, parts.courier.stamp_us()))
            began_s = loop.time()
            pause_s = await self._once(device, attempts)
            attempts, device = attempts_after(attempts, loop.time() - began_s), None
            await asyncio.sleep(pause_s)

    async def _found(self) -> BLEDevice:
        """Return the device once it is heard; where it is not, because BlueZ holds it connected, once that is known."""
        finder, address = self._parts.finder, self._parts.wearable.address
        told: Trouble | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_UNHEARD_S):
                    return await finder.find(address)
            if (device := await finder.left_connected(address)) is not None:
                return device
            if finder.trouble not in {None, told}:
                self._parts.teller.trouble(finder.trouble, again_in_s=self._parts.policy.backoff.longest_s)
            told = finder.trouble

    async def _once(self, device: BLEDevice, attempts: int) -> float:
        """Hold one connection to its end and return how long to pause before the next."""
        policy, teller = self._parts.policy, self._parts.teller
        pause_s = delay_s(policy.backoff, attempts + 1, random.random())  # noqa: S311  jitter is no secret
        try:
            await Session(device, self._parts).run()
        except Silent:
            teller.tell(Event.SILENT, after_s=policy.silence_s, again_in_s=round(pause_s, 1))
        except (LinkBroken, *ERRORS) as error:
            trouble = trouble_of(error)
            if trouble is Trouble.PAIRING:
                pause_s = policy.pairing_pause_s
            teller.trouble(trouble, again_in_s=pause_s)
        except Exception as error:  # noqa: BLE001  one device's bug must not end the others; its text may hold an address
            teller.tell(Event.BROKEN, error=type(error).__name__, again_in_s=round(pause_s, 1))
        else:
            teller.tell(Event.LOST, again_in_s=round(pause_s, 1))
        return pause_s


def _zone_offset_min(zone: ZoneInfo, now_us: int) -> int:
    offset = to_datetime(now_us).astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)
