"""Edge: Polar's own streams (ECG, acceleration, PPG, beat intervals), which say nothing before they are started.

They cost the sensor's battery and much room, so a bridge starts those it was told to and no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bleak import BleakClient

from devices.polar import control as point
from devices.polar.control import Answer, Features, Measurement, Setting, Settings
from ingest.ble.plan import Offer

ENOUGH_HZ: Final = 50.0
"""The slowest rate that is fast enough is chosen: above it a stream costs battery and tells no vital sign more."""


@dataclass(frozen=True, slots=True)
class Started:
    """A stream that runs: its rate (None where the sensor tells times instead), and the factor of its values."""

    measurement: Measurement
    rate_hz: float | None
    factor: float


class ControlPoint:
    """One sensor's control point: what is asked is answered by indication, in order."""

    def __init__(self, client: BleakClient, offer: Offer, answers: asyncio.Queue[bytes]) -> None:
        self._client, self._offer, self._answers = client, offer, answers

    async def start(self, wanted: Iterable[Measurement]) -> list[Started]:
        """Start those of the wanted streams that the sensor has and agrees to. Raises what bleak raises.

        A sensor that does not answer is no error: whoever calls bounds the time.
        """
        has = point.decode(bytes(await self._client.read_gatt_char(self._offer.handle)))
        offered = has.measurements if isinstance(has, Features) else ()
        begun = [await self._start(one) for one in wanted if one in offered]
        return [one for one in begun if one is not None]

    async def _start(self, measurement: Measurement) -> Started | None:
        # Beat intervals have no settings, and some firmware refuses to be asked.
        told = {} if measurement is Measurement.BEAT_INTERVALS else await self._ask(point.get_settings(measurement))
        if told is None:
            return None
        chosen = choose(told)
        started = await self._ask(point.start(measurement, chosen))
        if started is None:
            return None
        rate_hz = chosen.get(Setting.SAMPLE_RATE_HZ)
        return Started(measurement, None if rate_hz is None else float(rate_hz), started.get(Setting.FACTOR, (1.0,))[0])

    async def _ask(self, request: bytes) -> Settings | None:
        """Write a request and return what its answers say; None where it is refused."""
        await self._client.write_gatt_char(self._offer.handle, request, response=True)
        parts: list[Answer] = []
        while not parts or parts[-1].more:
            said = point.decode(await self._answers.get())
            if isinstance(said, Answer) and bytes((said.op_code, said.measurement)) == request[:2]:
                parts.append(said)
        return point.settings(parts) if parts[-1].ok else None


def choose(offered: Settings) -> Mapping[Setting, int]:
    """Choose of what a stream can be set to: the slowest rate that is fast enough, else the most."""
    chosen = {setting: int(max(values)) for setting, values in offered.items() if values and setting in _CHOICES}
    rates = [rate for rate in offered.get(Setting.SAMPLE_RATE_HZ, ()) if rate >= ENOUGH_HZ]
    return {**chosen, Setting.SAMPLE_RATE_HZ: int(min(rates))} if rates else chosen


_CHOICES: Final = frozenset(
    {Setting.SAMPLE_RATE_HZ, Setting.RESOLUTION_BITS, Setting.RANGE, Setting.RANGE_MILLI, Setting.CHANNELS}
)
