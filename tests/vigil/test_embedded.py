"""The embedded database and broker: they serve, end without a trace, and come back after a kill."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from aiokafka import AIOKafkaProducer

from tests.services.topics import new_topic, read
from vigil.embedded.broker import EmbeddedBroker, answers_kafka
from vigil.embedded.ports import HOST, free_port
from vigil.embedded.postgres import EmbeddedPostgres
from vigil.embedded.process import Service, ServiceFailed

_REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vigil-embedded-") as name:
        yield Path(name)


def test_postgres_serves_and_stops_without_a_trace(folder: Path) -> None:
    with EmbeddedPostgres(folder / "data") as server:
        assert _one(server.url, "SHOW server_version").startswith("18")
        processes = _tree(server)
    assert server.pid is None
    assert not any(psutil.pid_exists(pid) for pid in processes)
    assert not (folder / "data" / "postmaster.pid").exists()
    assert {path.name for path in folder.iterdir()} == {"data", "data.log", "data.password"}


def test_committed_rows_survive_a_kill(folder: Path) -> None:
    with EmbeddedPostgres(folder / "data") as server:
        url = server.url
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
        processes = _tree(server)
        server.kill()
        assert not any(_lives(pid) for pid in processes)
        server.start()
        assert server.url == url
        assert _one(url, "SELECT value::text FROM kept") == "42"


def test_a_lock_file_left_behind_does_not_stop_it(folder: Path) -> None:
    with EmbeddedPostgres(folder / "data") as first, EmbeddedPostgres(folder / "other") as living:
        first.kill()
        lock = folder / "data" / "postmaster.pid"
        lines = lock.read_text().splitlines()
        lock.write_text("\n".join([str(living.pid), *lines[1:]]) + "\n")
        first.start()
        assert _one(first.url, "SELECT 'up'") == "up"
        assert _one(living.url, "SELECT 'up'") == "up"


def test_data_in_use_are_refused(folder: Path) -> None:
    with EmbeddedPostgres(folder / "data") as server:
        second = EmbeddedPostgres(folder / "data")
        second.predecessor_timeout_s = 0.2
        with pytest.raises(ServiceFailed, match=f"process {server.pid} already works on"):
            second.start()
        assert _one(server.url, "SELECT 'up'") == "up"


def test_settings_and_password(folder: Path) -> None:
    with EmbeddedPostgres(folder / "data", settings={"work_mem": "7MB"}) as server:
        assert _one(server.url, "SHOW work_mem") == "7MB"
        assert _one(server.url, "SHOW listen_addresses") == HOST
        assert (folder / "data.password").stat().st_mode & 0o777 == 0o600
        password = (folder / "data.password").read_text()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url.replace(password, "wrong"))


def test_a_failed_start_quotes_the_log(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "data", settings={"no_such_setting": "1"})
    with pytest.raises(ServiceFailed, match="no_such_setting") as caught:
        server.start()
    assert str(folder / "data.log") in str(caught.value)
    assert server.pid is None


def test_a_taken_port_is_an_error(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, port := free_port()))
        taken.listen()
        with pytest.raises(ServiceFailed, match="could not bind"):
            EmbeddedPostgres(folder / "data", port).start()


@pytest.mark.parametrize(
    "service", ["EmbeddedPostgres(Path(sys.argv[1]) / 'data')", "EmbeddedBroker(log=Path(sys.argv[1]) / 'log')"]
)
def test_nothing_outlives_a_killed_program(folder: Path, service: str) -> None:
    program = f"""
import sys, time
from pathlib import Path
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.postgres import EmbeddedPostgres
service = {service}
service.start()
print(service.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program, folder], stdout=subprocess.PIPE, cwd=_REPO) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert _lives(pid)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(pid)


def test_an_interrupt_of_the_terminal_does_not_reach_a_service() -> None:
    with EmbeddedBroker() as server:
        assert server.pid is not None
        assert os.getpgid(server.pid) != os.getpgrp()


def test_a_service_outlives_the_thread_that_started_it() -> None:
    server = EmbeddedBroker()
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    time.sleep(0.2)
    assert answers_kafka(int(server.bootstrap.rpartition(":")[2]))
    server.stop()


async def test_broker_keeps_a_compressed_record(broker: EmbeddedBroker) -> None:
    await _round_trip(broker.bootstrap)


async def test_broker_comes_back_after_a_kill() -> None:
    with EmbeddedBroker() as own:
        await _round_trip(own.bootstrap)
        own.kill()
        assert own.pid is None
        own.start()
        await _round_trip(own.bootstrap)
        log = own.log
    assert not log.exists()


def test_broker_that_cannot_start_quotes_its_log(folder: Path) -> None:
    with pytest.raises(ServiceFailed, match=r"broker\.log"):
        EmbeddedBroker(storage="nonsense://", log=folder / "broker.log").start()


async def _round_trip(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="zstd", acks="all") as producer:
        await producer.send_and_wait(topic, b"beat" * 100, key=b"patient")
    assert await read(bootstrap, topic, 1) == [b"beat" * 100]


def _one(url: str, query: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])


def _tree(service: Service) -> list[int]:
    assert service.pid is not None
    root = psutil.Process(service.pid)
    return [root.pid, *(child.pid for child in root.children(recursive=True))]


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
