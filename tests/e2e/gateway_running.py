"""`vigil serve` as a process of its own, to post to and to kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from tests.e2e.conftest import Stack
from timeseries.access_tokens import Tokens, Wanted
from vigil.embedded.ports import free_port

Json = dict[str, Any]


def new_token(stack: Stack, patient: str) -> str:
    """A phone's token: all devices of one patient."""
    with psycopg.connect(stack.url, autocommit=True, options="-c timezone=UTC") as connection:
        text = Tokens(connection, "tester").create(Wanted(patient)).text
    assert text is not None
    return text


@dataclass
class Served:
    """A gateway that can be killed and started again on its folder and port."""

    stack: Stack
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    def start(self) -> None:
        environment = {
            **self.stack.environment, "PATH": os.environ["PATH"], "VIGIL_GATEWAY_PORT": str(self.port),
            "VIGIL_GATEWAY_FOLDER": str(self.folder), "PYTHONUNBUFFERED": "1", **self.environment,
        }  # fmt: skip
        with self.log.open("ab") as out:
            command = [sys.executable, "-m", "vigil", "serve"]
            self.process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        wait(self._is_ready, f"the gateway: {self.log.read_text()[-2000:]}")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=30)

    def importers(self) -> list[psutil.Process]:
        """The processes that read uploads for this gateway."""
        assert self.process is not None
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [one for one in found if "vigil.gateway_import" in _command(one)]

    def client(self, token: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {token}"}, timeout=60)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def upload(client: httpx.Client, content: bytes, media_type: str = "application/zip") -> str:
    """Upload an export and return where its job is."""
    answer = client.post("/v1/healthkit/export", content=content, headers={"content-type": media_type})
    assert answer.status_code == 202, answer.text
    return answer.headers["location"]


def job(client: httpx.Client, location: str, until: Callable[[Json], bool], timeout_s: float = 60.0) -> Json:
    """The job as soon as it is so."""
    told: Json = {}

    def is_so() -> bool:
        answer = client.get(location)
        assert answer.status_code == 200, answer.text
        told.update(json.loads(answer.content))
        return until(told)

    wait(is_so, f"the job is {told}", timeout_s, 0.05)
    return told


def ended(told: Json) -> bool:
    return told["state"] in {"succeeded", "failed", "cancelled"}


def wait(until: Callable[[], bool], what: str, timeout_s: float = 40.0, every_s: float = 0.1) -> None:
    deadline = time.monotonic() + timeout_s
    while not until():
        assert time.monotonic() < deadline, what
        time.sleep(every_s)
