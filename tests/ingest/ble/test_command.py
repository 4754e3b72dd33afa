"""`vigil ble` as people run it: a process of its own on the private bus, and a broker."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ingest.admin import create_topics
from ingest.record import Record, decode
from ingest.spool import Place, Spool, SpoolFull
from ingest.topics import SAMPLES
from tests.ingest.ble.world import bluetoothd, measurement, strap
from tests.ingest.gateway.edge import World, running
from tests.ingest.test_record import GOOD
from tests.services.topics import read
from vigil.ble import BadDevice, gateway, in_words, run, wearables
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.ports import HOST, free_port
from vigil.settings import MissingSetting, settings
from vitals.access import Kind
from vitals.catalogue import BY_CODE
from vitals.errors import VigilError

REPO = Path(__file__).resolve().parents[3]
_MAIN = "from vigil import cli; from vigil.commands import ble; cli.app.add_typer(ble.app, name='ble'); cli.main()"


async def vigil(*words: str, environment: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
    """The command, begun."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _MAIN,
        *words,
        cwd=REPO,
        env={**os.environ, "COLUMNS": "160", "NO_COLOR": "1", **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    """Its exit code, and what it said."""
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_a_scan_shows_a_table_with_names_and_json_without(bus: str) -> None:
    device = strap()
    async with bluetoothd(device):
        table, told = await asyncio.gather(
            vigil("ble", "scan", "--seconds", "0.5"), vigil("ble", "scan", "--seconds", "0.5", "--json")
        )
        (code, shown, _), (_, listed, log) = await asyncio.gather(ended(table), ended(told))
    assert code == 0
    for word in (device.address, "Anna's strap", "dBm", "Heart Rate, Battery, Device Information"):
        assert word in shown
    (found,) = json.loads(listed)
    assert found["address"] == device.address
    assert found["services"] == ["180D", "180F", "180A"]
    assert "Anna" not in listed + log


async def test_without_bluetooth_one_line_says_what_to_do(bus: str, tmp_path: Path) -> None:
    process = await vigil(
        *("ble", "bridge", "--device", "AA:BB:CC:DD:EE:01=strap-1", "--patient", "p1", "--spool", str(tmp_path / "s")),
        environment={"KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:1"},
    )
    code, _, told = await ended(process)
    assert code == 2
    assert told.startswith("error: no Bluetooth here: org.bluez does not answer")
    assert told.count("\n") == 1


def test_without_a_brokers_address_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    settings.cache_clear()
    with pytest.raises(MissingSetting, match="KAFKA_BOOTSTRAP_SERVERS"):
        run(wearables(["AA:BB:CC:DD:EE:01=strap-1"]), "p1", tmp_path, silence_s=30)
    settings.cache_clear()


async def test_samples_reach_the_broker_and_sigterm_leaves_everything_in_order(bus: str, tmp_path: Path) -> None:
    device = strap()
    with EmbeddedBroker() as own:
        await create_topics(own.bootstrap, partitions=1)
        async with bluetoothd(device) as daemon:
            process = await vigil(
                *("ble", "bridge", "--device", f"{device.address.lower()}=strap-1", "--patient", "p1"),
                *("--spool", str(tmp_path / "spool"), "--silence", "5"),
                environment={"KAFKA_BOOTSTRAP_SERVERS": own.bootstrap, "VIGIL_LOG_FORMAT": "json"},
            )
            await daemon.until(lambda: device["2A37"].subscribed, 20)
            for bpm in (60, 61, 62):
                daemon.notify(device["2A37"], measurement(bpm))
            values = await read(own.bootstrap, SAMPLES, 1)
            process.send_signal(signal.SIGTERM)
            code, _, log = await ended(process)
            assert (device["2A37"].path, "StopNotify") in daemon.calls
            assert (device.path, "Disconnect") in daemon.calls
            assert not device.connected
    assert code == 0
    told = [decode(GOOD.key, value, GOOD.headers)[1] for value in values]
    heart_rates = [v for one in told for v in one.value[one.metric == BY_CODE["heart_rate"].number]]
    assert heart_rates == [60, 61, 62]
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert events[-1] == "ble_stopped"
    assert "ble_connected" in events
    for secret in ("Anna", device.address, device.address.replace(":", "_"), "SN-123456"):
        assert secret not in log


def settled(world: World) -> list[float]:
    """The heart rates that a gateway has put where they are safe."""
    told = [decode(one.key, one.value, one.headers)[1] for one, _, _ in world.accepted]
    return [v for one in told for v in one.value[one.metric == BY_CODE["heart_rate"].number]]


class Counting(World):
    """Counts how often it is asked to keep a record."""

    asked = 0

    async def accept(self, record: Record, *, topic: str = "", later: str = "") -> Place:
        self.asked += 1
        return await super().accept(record, topic=topic, later=later)


async def test_through_a_gateway_it_needs_no_broker_and_no_patient(bus: str, tmp_path: Path) -> None:
    device, world = strap(), Counting(tmp_path / "gateway")
    world.folder.mkdir()
    token = tmp_path / "token.txt"
    token.write_text(world.token("p1", ("strap-1",), Kind.BRIDGE) + "\n")
    with running(world) as gateway:
        async with bluetoothd(device) as daemon:
            process = await vigil(
                *("ble", "bridge", "--device", f"{device.address}=strap-1", "--silence", "5"),
                *("--gateway", gateway.url, "--token-file", str(token), "--spool", str(tmp_path / "spool")),
                environment={"VIGIL_LOG_FORMAT": "json"},
            )
            await daemon.until(lambda: device["2A37"].subscribed, 20)
            for bpm in (60, 61):
                daemon.notify(device["2A37"], measurement(bpm))
            await daemon.until(lambda: settled(world) == [60, 61], 20)
            world.fails = SpoolFull("full")  # 503: the bridge keeps what comes
            daemon.notify(device["2A37"], measurement(62))
            await daemon.until(lambda: world.asked > 2, 20)
            assert settled(world) == [60, 61]
            world.fails = None
            await daemon.until(lambda: settled(world) == [60, 61, 62], 30)
            process.send_signal(signal.SIGTERM)
            code, _, log = await ended(process)
    assert code == 0
    assert {one.key for one, _, _ in world.accepted} == {b"p1"}
    assert {dict(one.headers)["vigil-adapter"] for one, _, _ in world.accepted} == {b"ble"}
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert "broker_away" in events
    for secret in ("Anna", device.address, token.read_text().strip()):
        assert secret not in log


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--patient", "p1", "--gateway", "https://gateway.example"), "say either --patient"),
        ((), "say either --patient"),
        (("--gateway", "http://gateway.example"), "use https"),
        (("--gateway", "https://gateway.example", "--token-file", "nowhere.txt"), "no file with a token"),
    ],
)
async def test_what_does_not_go_together_is_said_in_a_line(words: tuple[str, ...], says: str) -> None:
    process = await vigil(
        *("ble", "bridge", "--device", "AA:BB:CC:DD:EE:01=strap-1", *words), environment={"VIGIL_GATEWAY_TOKEN": "t"}
    )
    code, _, told = await ended(process)
    assert (code, told.count("\n")) == (2, 1), told
    assert says in told


def test_without_a_token_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIGIL_GATEWAY_TOKEN", raising=False)
    settings.cache_clear()
    with pytest.raises(MissingSetting, match="VIGIL_GATEWAY_TOKEN"):
        gateway("https://gateway.example", None, settings())
    settings.cache_clear()


async def test_where_nobody_listens_the_spool_takes_it_and_keeps_it_over_sigterm(bus: str, tmp_path: Path) -> None:
    device = strap()
    nobody = f"{HOST}:{free_port()}"
    async with bluetoothd(device) as daemon:
        process = await vigil(
            *("ble", "bridge", "--device", f"{device.address}=strap-1", "--patient", "p1"),
            *("--spool", str(tmp_path / "spool")),
            environment={"KAFKA_BOOTSTRAP_SERVERS": nobody, "VIGIL_LOG_FORMAT": "json"},
        )
        await daemon.until(lambda: device["2A37"].subscribed, 20)
        daemon.notify(device["2A37"], measurement(60))
        process.send_signal(signal.SIGTERM)
        code, _, log = await ended(process)
    assert code == 0
    assert "broker_away" in log
    with Spool(tmp_path / "spool") as spool:
        told = [decode(one.record.key, one.record.value, one.record.headers) for one in spool.take(10)]
    assert {(header.patient_id, header.device_id) for header, _ in told} == {("p1", "strap-1")}
    heart_rates = [v for _, one in told for v in one.value[one.metric == BY_CODE["heart_rate"].number]]
    assert heart_rates == [60]


@pytest.mark.parametrize(
    "given",
    [["AA:BB:CC:DD:EE:01"], ["Anna=x"], ["AA:BB:CC:DD:EE:01="], ["AA:BB:CC:DD:EE:01=Anna Smith"],
     ["AA:BB:CC:DD:EE:01=a", "aa:bb:cc:dd:ee:01=b"], ["AA:BB:CC:DD:EE:01=a", "AA:BB:CC:DD:EE:02=a"]],
)  # fmt: skip
def test_devices_that_are_none(given: list[str]) -> None:
    with pytest.raises(VigilError) as error:
        wearables(given)
    assert "Anna" not in str(error.value)
    assert "AA:BB" not in str(error.value)


def test_devices_and_their_zone() -> None:
    (one,) = wearables(["aa:bb:cc:dd:ee:01=strap-1"], "Europe/Berlin")
    assert (one.address, one.device_id, str(one.zone)) == ("AA:BB:CC:DD:EE:01", "strap-1", "Europe/Berlin")
    with pytest.raises(VigilError, match="--zone"):
        wearables(["aa:bb:cc:dd:ee:01=strap-1"], "Nowhere/Else")
    assert issubclass(BadDevice, VigilError)


def test_services_in_words() -> None:
    assert in_words(["0000180d-0000-1000-8000-00805f9b34fb", "0000fee7-0000-1000-8000-00805f9b34fb"]).startswith(
        "Heart Rate"
    )
    assert in_words(["12345678-1234-1234-1234-123456789abc"]) == ""
