"""A gateway as it is run: `vigil serve` as a process of its own, on a real database and a real broker."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from tests.conftest import REPO
from timeseries.access_tokens import Tokens, Wanted
from timeseries.registry import Description, Registry
from vigil.embedded.ports import HOST, free_port
from vitals.clock import system_clock, to_datetime

HASH_KEY = "k" * 32


@dataclass
class Served:
    """A gateway that runs."""

    url: str
    database: str
    bootstrap: str
    folder: Path
    process: subprocess.Popen[bytes]
    environment: dict[str, str]

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self.folder / "gateway.log").read_text()

    def token(self, patient: str | None, *devices: str) -> str:
        """Make a token and return it once the gateway has heard of it."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            text = Tokens(connection, "test").create(Wanted(patient=patient, devices=devices)).text or ""
        headers = {"authorization": f"Bearer {text}"}
        for _ in range(8):  # fewer than the wrong tokens that lock an address out
            if httpx.get(f"{self.url}/v1/devices/me", headers=headers, timeout=10).status_code == 200:
                return text
            time.sleep(0.5)
        raise AssertionError("the gateway does not hear of a new token")

    def worn(self, device: str, patient: str) -> None:
        """Register a device and bind it to a patient since long ago."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            registry = Registry(connection, "test")
            registry.register(device, Description(device_type="chest_strap"))
            registry.bind(device, patient, to_datetime(system_clock() - 10**13))

    def ready(self, within_s: float = 60.0) -> None:
        """Wait until it can take samples."""
        deadline = time.monotonic() + within_s
        while not self._is_ready():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        return False


@contextlib.contextmanager
def served(database: str, bootstrap: str, folder: Path, *, wait: bool = True, **settings: str) -> Iterator[Served]:
    """Run `vigil serve` until the end of the block."""
    port = free_port()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DATABASE_URL": database,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "VIGIL_HASH_KEY": HASH_KEY,
        "VIGIL_GATEWAY_PORT": str(port),
        "VIGIL_GATEWAY_FOLDER": str(folder / "gateway"),
        "VIGIL_LOG_FORMAT": "json",
        **settings,
    }
    command = [sys.executable, "-m", "vigil", "serve"]
    with (folder / "gateway.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=REPO, env=environment, stdout=log, stderr=log)
    one = Served(f"http://{HOST}:{port}", database, bootstrap, folder, process, environment)
    try:
        if wait:
            one.ready()
        yield one
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
