"""An org.bluez for tests: bleak's own BlueZ backend talks to it over a private D-Bus, and radios are left out.

It keeps to what bluetoothd does where a client can tell: a second StartDiscovery of one client is refused, RSSI goes
when discovery stops, services appear after the connection, a value is told only to who subscribed, and a killed daemon
takes its objects along without a word. Faults are scripted: errors wait in lists and are used up one by one.
"""

import asyncio
import itertools
import select
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from tests.services.peripheral import ADAPTER, Characteristic, Error, Peripheral, full

_PROPERTIES: Final = "org.freedesktop.DBus.Properties"
_OBJECTS: Final = "org.freedesktop.DBus.ObjectManager"
_DEVICE: Final = "org.bluez.Device1"
_CHARACTERISTIC: Final = "org.bluez.GattCharacteristic1"
_ADVERTISE_EVERY_S: Final = 0.05
Properties = dict[str, Variant]
Handler = Callable[[Message], Message | Awaitable[Message | None] | None]


class BlueZ:
    """bluetoothd with one adapter. `start` and `kill` may follow each other as often as a test likes."""

    def __init__(self, *peripherals: Peripheral, powered: bool = True, adapter: bool = True) -> None:
        self.peripherals = {one.path: one for one in peripherals}
        self.powered, self.has_adapter = powered, adapter
        self.hangs = False  # calls get no answer, as from a daemon that is stopped (SIGSTOP)
        self.calls: list[tuple[str, str]] = []
        self._objects: dict[str, dict[str, Properties]] = {}
        self._scanning: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._bus: MessageBus | None = None
        self._handlers: dict[str, Handler] = {
            "GetManagedObjects": lambda call: _reply(call, "a{oa{sa{sv}}}", [self._objects]),
            "SetDiscoveryFilter": _reply,
            "StartDiscovery": self._start_discovery,
            "StopDiscovery": self._stop_discovery,
            "Set": _reply,
            "Pair": self._pair,
            "Connect": self._connect,
            "Disconnect": self._disconnect,
            "ReadValue": self._read,
            "WriteValue": self._write,
            "StartNotify": self._start_notify,
            "StopNotify": self._stop_notify,
            "AcquireNotify": self._acquire_notify,
        }

    @property
    def scanning(self) -> bool:
        """Whether any client has asked for discovery."""
        return bool(self._scanning)

    async def start(self) -> None:
        """Take the name org.bluez. Devices are forgotten, as bluetoothd forgets those without a bond."""
        self._bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
        self._bus.add_message_handler(self._on_message)
        await self._bus.request_name("org.bluez")
        await self._bus.call(
            Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="AddMatch",
                signature="s",
                body=["type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged'"],
            )
        )
        if self.has_adapter:
            self._add(ADAPTER, {"org.bluez.Adapter1": self._adapter()})
        self._spawn(self._advertise())

    async def kill(self) -> None:
        """Vanish in the middle of things: no goodbye to anybody."""
        bus, self._bus = self._bus, None
        if bus is None:
            return
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        bus.disconnect()
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        for peripheral in self.peripherals.values():
            self._hang_up(peripheral)
        self._objects.clear()
        self._scanning.clear()

    def notify(self, characteristic: Characteristic, payload: bytes) -> bool:
        """Tell a value, as the device would; False where nobody subscribed."""
        if characteristic.acquired is not None:
            try:
                characteristic.acquired.send(payload)
            except BrokenPipeError:  # the client has closed it: it does not listen any more
                return False
        elif characteristic.subscriber is not None and characteristic.path in self._objects:
            self._set(characteristic.path, _CHARACTERISTIC, Value=Variant("ay", payload))
        else:
            return False
        return True

    def drop(self, peripheral: Peripheral) -> None:
        """The radio link is gone."""
        if not peripheral.connected or self._bus is None:
            return
        self._hang_up(peripheral)
        self._set(peripheral.path, _DEVICE, ServicesResolved=Variant("b", False))
        self._set(peripheral.path, _DEVICE, Connected=Variant("b", False))
        for path in sorted((path for path in self._objects if path.startswith(f"{peripheral.path}/")), reverse=True):
            interfaces = list(self._objects.pop(path))
            self._signal("/", _OBJECTS, "InterfacesRemoved", "oas", [path, interfaces])

    def hold(self, peripheral: Peripheral) -> None:
        """Connected already, for a client that is no more."""
        peripheral.connected = True
        self._add(peripheral.path, {_DEVICE: _device(peripheral, -60)})
        del self._objects[peripheral.path][_DEVICE]["RSSI"]
        self._add_services(peripheral)

    async def until(self, condition: Callable[[], object], timeout_s: float = 10.0) -> None:
        """Poll until a condition holds. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    # What a client calls.

    def _on_message(self, message: Message) -> Message | bool | None:
        if message.message_type is MessageType.SIGNAL and message.member == "NameOwnerChanged":
            self._forget_client(*message.body)
            return None
        handler = self._handlers.get(message.member or "")
        if message.message_type is not MessageType.METHOD_CALL or handler is None or message.destination is None:
            return None
        if (message.path or "").startswith(f"{ADAPTER}") and message.path not in self._objects:
            return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownObject", "no such object")
        self.calls.append((message.path or "", message.member or ""))
        if self.hangs:
            return True
        answered = handler(message)
        if isinstance(answered, Message):
            return answered
        if answered is not None:
            self._spawn(self._answer(answered))
        return True

    async def _answer(self, answer: Awaitable[Message | None]) -> None:
        if (message := await answer) is not None and self._bus is not None:
            await self._bus.send(message)

    def _start_discovery(self, call: Message) -> Message:
        if not self.powered:
            return _error(call, ("NotReady", "Resource Not Ready"))
        if call.sender in self._scanning:
            return _error(call, ("InProgress", "Operation already in progress"))
        self._scanning.add(call.sender or "")
        return _reply(call)

    def _stop_discovery(self, call: Message) -> Message:
        if call.sender not in self._scanning:
            return _error(call, ("Failed", "No discovery started"))
        self._scanning.discard(call.sender or "")
        for path in self.peripherals:
            if path in self._objects and self._objects[path][_DEVICE].pop("RSSI", None) is not None:
                self._signal(path, _PROPERTIES, "PropertiesChanged", "sa{sv}as", [_DEVICE, {}, ["RSSI"]])
        return _reply(call)

    async def _pair(self, call: Message) -> Message:
        self.peripherals[call.path or ""].bonded = True
        return _reply(call)

    async def _connect(self, call: Message) -> Message | None:
        peripheral = self.peripherals[call.path or ""]
        await asyncio.sleep(0.01)
        if peripheral.connect_errors:
            return _error(call, peripheral.connect_errors.pop(0))
        if not peripheral.in_range:
            return _error(call, ("Failed", "Software caused connection abort"))
        peripheral.connected, peripheral.connections = True, peripheral.connections + 1
        self._set(peripheral.path, _DEVICE, Connected=Variant("b", True))
        self._spawn(self._resolve(peripheral))
        return _reply(call)

    async def _resolve(self, peripheral: Peripheral) -> None:
        await asyncio.sleep(peripheral.resolve_s)
        self._add_services(peripheral)

    def _add_services(self, peripheral: Peripheral) -> None:
        handles = itertools.count(1)
        for uuid16, members in peripheral.services.items():
            service = f"{peripheral.path}/service{next(handles):04x}"
            about = {"UUID": _s(full(uuid16)), "Primary": Variant("b", True), "Device": Variant("o", peripheral.path)}
            self._add(service, {"org.bluez.GattService1": about})
            for one in members:
                handle = next(handles)
                one.path = f"{service}/char{handle:04x}"
                self._add(one.path, {_CHARACTERISTIC: _characteristic(one, service, handle)})
        self._set(peripheral.path, _DEVICE, ServicesResolved=Variant("b", True))

    def _disconnect(self, call: Message) -> Message:
        self.drop(self.peripherals[call.path or ""])
        return _reply(call)

    def _read(self, call: Message) -> Message:
        one = self._at(call)
        one.reads += 1
        if one.read_errors:
            return _error(call, one.read_errors.pop(0))
        self.notify(one, one.value)  # BlueZ tells a value that was read to who subscribed as well
        return _reply(call, "ay", [one.value])

    def _write(self, call: Message) -> Message:
        one = self._at(call)
        one.writes.append(bytes(call.body[0]))
        if one.write_errors:
            return _error(call, one.write_errors.pop(0))
        if one.on_write is not None:
            asyncio.get_running_loop().call_soon(one.on_write, one.writes[-1])
        return _reply(call)

    def _start_notify(self, call: Message) -> Message:
        one = self._at(call)
        if one.notify_errors:
            return _error(call, one.notify_errors.pop(0))
        one.subscriber = call.sender
        self._set(one.path, _CHARACTERISTIC, Notifying=Variant("b", True))
        return _reply(call)

    def _stop_notify(self, call: Message) -> Message:
        one = self._at(call)
        if one.subscriber is None:
            return _error(call, ("Failed", "No notify session started"))
        one.subscriber = None
        self._set(one.path, _CHARACTERISTIC, Notifying=Variant("b", False))
        return _reply(call)

    async def _acquire_notify(self, call: Message) -> Message | None:
        one = self._at(call)
        if one.notify_errors:
            return _error(call, one.notify_errors.pop(0))
        one.acquired, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:  # sent, it is the client's
            if self._bus is not None:
                await self._bus.send(Message.new_method_return(call, "hq", [0, 247], unix_fds=[theirs.fileno()]))
        return None

    # What becomes of it.

    def _at(self, call: Message) -> Characteristic:
        return next(
            one
            for peripheral in self.peripherals.values()
            for one in peripheral.characteristics
            if one.path == call.path
        )

    async def _advertise(self) -> None:
        for rssi in itertools.cycle((-60, -61)):
            if self._scanning:
                for peripheral in self.peripherals.values():
                    if peripheral.in_range and not peripheral.connected:
                        self._hear(peripheral, rssi)
            await asyncio.sleep(_ADVERTISE_EVERY_S)

    def _hear(self, peripheral: Peripheral, rssi: int) -> None:
        if peripheral.path in self._objects:
            self._set(peripheral.path, _DEVICE, RSSI=Variant("n", rssi))
        else:
            self._add(peripheral.path, {_DEVICE: _device(peripheral, rssi)})

    def _hang_up(self, peripheral: Peripheral) -> None:
        peripheral.connected = False
        for one in peripheral.characteristics:
            one.subscriber = None
            if one.acquired is not None:
                one.acquired.close()
                one.acquired = None

    def _forget_client(self, name: str, _before: str, after: str) -> None:
        """A client that is gone neither scans nor listens; its devices stay connected, as with bluetoothd."""
        if after:
            return
        self._scanning.discard(name)
        for peripheral in self.peripherals.values():
            for one in peripheral.characteristics:
                if one.subscriber == name:
                    one.subscriber = None

    def _adapter(self) -> Properties:
        return {
            "Address": _s("00:00:00:00:00:01"),
            "Name": _s("test"),
            "Alias": _s("test"),
            "Powered": Variant("b", self.powered),
            "Discovering": Variant("b", False),
            "Roles": Variant("as", ["central"]),
        }

    def _add(self, path: str, interfaces: dict[str, Properties]) -> None:
        self._objects[path] = interfaces
        self._signal("/", _OBJECTS, "InterfacesAdded", "oa{sa{sv}}", [path, interfaces])

    def _set(self, path: str, interface: str, **changed: Variant) -> None:
        self._objects[path][interface].update(changed)
        self._signal(path, _PROPERTIES, "PropertiesChanged", "sa{sv}as", [interface, changed, []])

    def _signal(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        if self._bus is None or self._bus._sock is None:
            return
        # dbus-fast ends a connection whose socket is full. The other end, another process, always makes room.
        if not select.select([], [self._bus._sock], [], 10)[1]:
            raise TimeoutError("dbus-daemon does not read")
        self._bus.send(Message.new_signal(path, interface, member, signature, body))

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _reply(call: Message, signature: str = "", body: list[Any] | None = None) -> Message:
    return Message.new_method_return(call, signature, body or [])


def _error(call: Message, error: Error) -> Message:
    return Message.new_error(call, f"org.bluez.Error.{error[0]}", error[1])


def _s(text: str) -> Variant:
    return Variant("s", text)


def _device(peripheral: Peripheral, rssi: int) -> Properties:
    return {
        "Address": _s(peripheral.address),
        "AddressType": _s("random"),
        "Name": _s(peripheral.name),
        "Alias": _s(peripheral.name),
        "Adapter": Variant("o", ADAPTER),
        "Paired": Variant("b", peripheral.bonded),
        "Trusted": Variant("b", peripheral.bonded),
        "Connected": Variant("b", peripheral.connected),
        "ServicesResolved": Variant("b", False),
        "UUIDs": Variant("as", [full(uuid16) for uuid16 in peripheral.services]),
        "RSSI": Variant("n", rssi),
    }


def _characteristic(one: Characteristic, service: str, handle: int) -> Properties:
    return {
        "UUID": _s(full(one.uuid16)),
        "Service": Variant("o", service),
        "Value": Variant("ay", b""),
        "Notifying": Variant("b", False),
        "NotifyAcquired": Variant("b", False),
        "Flags": Variant("as", list(one.flags)),
        "MTU": Variant("q", 247),
        "Handle": Variant("q", handle),
    }
