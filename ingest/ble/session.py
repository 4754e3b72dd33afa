"""Edge: one connection on bleak, from connecting to leaving: prepared, watched, and ended in good order.

bleak goes on saying "connected" after bluetoothd died, so nothing here rests on that word: a device that streams must
be heard, any other must answer a question now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from zoneinfo import ZoneInfo

from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.exc import BleakError

from devices.errors import MalformedFrame
from devices.polar.control import UUID as POLAR_CONTROL
from ingest.ble.courier import Courier
from ingest.ble.finder import ERRORS, Finder
from ingest.ble.frames import Notification, told_already
from ingest.ble.memory import Memory
from ingest.ble.plan import BATTERY, CONTROL_POINT, STORED, STREAMS, Offer, Plan, plan, short
from ingest.ble.polar import ControlPoint, Started
from ingest.ble.policy import Heard, LinkPolicy, Step, next_step
from ingest.ble.telling import Event, Teller
from ingest.ble.troubles import LinkBroken, Trouble, is_answer, trouble_of
from vitals.ids import DeviceId

_BUSY_TRIES: Final = 6
_BUSY_PAUSE_S: Final = 0.05
_LAST_RECORDS_S: Final = 0.2  # with AcquireNotify the end may overtake the last record: each has a socket of its own


@dataclass(frozen=True, slots=True)
class Wearable:
    """A device to bridge: where it is, and the pseudonymous id its samples carry."""

    address: str
    device_id: DeviceId
    zone: ZoneInfo | None = None
    """The zone its wall clock is kept in, where it is known: a stored record without any time is refused."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What outlives a device's connections."""

    wearable: Wearable
    finder: Finder
    courier: Courier
    teller: Teller
    memory: Memory
    policy: LinkPolicy


class Silent(LinkBroken):
    """The device was not heard for `silence_s` though it is said to be connected."""


class Session:
    """One connection, from connecting to leaving."""

    def __init__(self, device: BLEDevice, parts: Parts) -> None:
        self._finder, self._courier, self._teller = parts.finder, parts.courier, parts.teller
        self._memory, self._policy = parts.memory, parts.policy
        self._gone = asyncio.Event()
        self._client = BleakClient(
            device, disconnected_callback=lambda _: self._gone.set(), timeout=parts.policy.connect_s
        )
        self._subscribed: list[int] = []
        self._asking: set[str] = set()
        self._answers: dict[str, asyncio.Queue[bytes]] = {
            uuid: asyncio.Queue() for uuid in (CONTROL_POINT, POLAR_CONTROL)
        }
        self._battery: bytes | None = None
        self._heard = Heard(0.0, 0.0)
        self._stored: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Return when the device disconnects. Raises `Silent`, `LinkBroken`, and what bleak raises."""
        try:
            async with self._finder.quiet(), asyncio.timeout(self._policy.connect_s + 1):
                await self._client.connect()
            async with asyncio.timeout(self._policy.prepare_s):
                todo = await self._prepare()
            self._teller.connected(True)
            self._teller.tell(Event.CONNECTED, subscribed=[short(one.uuid) for one in todo.subscribe])
            self._stored = asyncio.create_task(self._memories(todo.controls))
            await self._watch(todo)
        finally:
            self._teller.connected(False)
            await self._leave()

    async def _prepare(self) -> Plan:
        """Read before subscribing: BlueZ tells a value that is read as a notification too."""
        todo = plan(_offers(self._client))
        if not todo.subscribe:
            raise LinkBroken(Trouble.UNSUITABLE)
        self._teller.information({short(one.uuid): await self._read(one) for one in todo.read})
        refused = {one: await self._subscribe(one) for one in todo.subscribe}
        for control, _ in todo.controls:
            await self._subscribe(control)
        if all(refused[one] for one in todo.measured):
            raise LinkBroken(refused[todo.measured[0]] or Trouble.LOST)
        if todo.polar is not None and self._policy.polar:
            await self._start_polar(*todo.polar)
        return todo

    async def _start_polar(self, control: Offer, data: Offer) -> None:
        """Start the streams that were asked for; a sensor that refuses keeps its link."""
        begun: list[Started] = []
        if await self._subscribe(control) is None and await self._subscribe(data) is None:
            point = ControlPoint(self._client, control, self._answers[POLAR_CONTROL])
            with contextlib.suppress(*ERRORS, MalformedFrame):
                async with asyncio.timeout(self._policy.prepare_s / 2):
                    begun = await point.start(self._policy.polar)
        for one in begun:
            if one.rate_hz is not None:
                self._courier.started(one.measurement, one.rate_hz, one.factor)
        names = {one.name.lower() for one in self._policy.polar}
        started = {one.measurement.name.lower() for one in begun}
        self._teller.tell(Event.STREAMS, started=sorted(started), refused=sorted(names - started))

    async def _read(self, offer: Offer) -> bytes:
        """Read a value, and deliver it where it is a measurement; one that the device keeps to itself is empty."""
        try:
            payload = bytes(await self._client.read_gatt_char(offer.handle))
        except ERRORS as error:
            if trouble_of(error) is Trouble.NO_BLUETOOTH or not self._client.is_connected:
                raise
            return b""
        self._take(offer, payload)
        return payload

    async def _subscribe(self, offer: Offer) -> Trouble | None:
        """Subscribe, also where BlueZ says that it is at it already. Returns why it was refused, None where not."""
        trouble = Trouble.LOST
        for attempt in range(_BUSY_TRIES):
            try:
                await self._client.start_notify(
                    offer.handle,
                    lambda _, payload: self._notified(offer, bytes(payload)),
                    bluez={"use_start_notify": not self._policy.acquire},
                )
            except ERRORS as error:
                trouble = trouble_of(error)
                if trouble is not Trouble.BUSY:
                    break
                await self._unsubscribe(offer.handle)
                await asyncio.sleep(_BUSY_PAUSE_S * 2**attempt)
            else:
                self._subscribed.append(offer.handle)
                return None
        if trouble is Trouble.NO_BLUETOOTH or not self._client.is_connected:
            raise LinkBroken(trouble)
        self._teller.tell(Event.REFUSED, uuid=short(offer.uuid), why=trouble.value)
        return trouble

    def _notified(self, offer: Offer, payload: bytes) -> None:
        now_s = asyncio.get_running_loop().time()
        uuid = short(offer.uuid)
        if uuid in STREAMS:
            self._heard = replace(self._heard, stream_s=now_s)
        if uuid in self._answers:
            self._answers[uuid].put_nowait(payload)
            return
        if uuid in STORED:
            self._memory.heard()
        self._take(offer, payload)

    def _take(self, offer: Offer, payload: bytes) -> None:
        uuid = short(offer.uuid)
        if told_already(uuid, payload, self._battery):
            return
        if uuid == BATTERY:
            self._battery = payload
        stored = offer.service in self._asking
        self._courier.add(Notification(uuid, payload, self._courier.stamp_us(), stored))

    async def _watch(self, todo: Plan) -> None:
        loop = asyncio.get_running_loop()
        self._heard = Heard(max(self._heard.stream_s, loop.time()), loop.time())
        while not self._gone.is_set():
            step, wait_s = next_step(
                self._policy, self._heard, loop.time(), streams=todo.streams, can_ask=todo.ask is not None
            )
            if step is Step.TEAR_DOWN:
                raise Silent(Trouble.LOST)
            if step is Step.ASK and todo.ask is not None:
                await self._ask(todo.ask, self._heard.stream_s + self._policy.silence_s if todo.streams else None)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):  # wait_for may swallow being cancelled (cpython#86296)
                    await self._gone.wait()

    async def _ask(self, offer: Offer, silent_at_s: float | None) -> None:
        """Read a value. Raises `Silent` where no answer comes, for a stream before it would be missed itself."""
        loop = asyncio.get_running_loop()
        self._battery = None  # what is asked for is news, even the same
        bounds_s = (loop.time() + min(self._policy.prepare_s, self._policy.silence_s), silent_at_s)
        try:
            async with asyncio.timeout_at(min(one for one in bounds_s if one is not None)):
                self._take(offer, bytes(await self._client.read_gatt_char(offer.handle)))
        except TimeoutError:
            raise Silent(Trouble.LOST) from None
        except ERRORS as error:
            if not is_answer(error):
                raise
        self._heard = replace(self._heard, answer_s=loop.time())

    async def _memories(self, controls: Sequence[tuple[Offer, str]]) -> None:
        """Have the device's memories told, one after the other."""
        for control, uuid in controls:
            self._asking.add(control.service)
            try:
                await self._memory.download(self._client, control, self._answers[CONTROL_POINT], self._teller, uuid)
                await asyncio.sleep(_LAST_RECORDS_S)
            except ERRORS as error:
                self._teller.tell(Event.STORED_FAILED, why=trouble_of(error).value)
            finally:
                self._asking.discard(control.service)

    async def _leave(self) -> None:
        """Unsubscribe and disconnect as far as anybody answers, within `leave_s`, also when cancelled."""
        if self._stored is not None:
            self._stored.cancel()
            (ended,) = await asyncio.gather(self._stored, return_exceptions=True)
            if isinstance(ended, Exception):
                self._teller.tell(Event.BROKEN, error=type(ended).__name__)
        if not self._gone.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._policy.leave_s):
                    for handle in self._subscribed:
                        await self._unsubscribe(handle)
        with contextlib.suppress(*ERRORS):
            async with asyncio.timeout(self._policy.leave_s):
                await self._client.disconnect()

    async def _unsubscribe(self, handle: int) -> None:
        with contextlib.suppress(BleakError, EOFError, AssertionError):
            await self._client.stop_notify(handle)


def _offers(client: BleakClient) -> list[Offer]:
    def offer(one: BleakGATTCharacteristic) -> Offer:
        return Offer(one.handle, one.uuid, one.service_uuid, frozenset(one.properties))

    return [offer(one) for one in client.services.characteristics.values()]
