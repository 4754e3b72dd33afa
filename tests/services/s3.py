"""An S3-compatible store on loopback, in memory: moto, in a virtual environment of its own.

Its dependencies are not Vigil's: botocore asks for an older python-dateutil than the lock has.
"""

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.error import URLError

from tests.services import Unavailable
from vigil.embedded.ports import HOST, free_port
from vigil.embedded.process import Service

_REQUIREMENTS: Final = Path(__file__).resolve().parent / "s3_requirements.txt"
_CACHE: Final = Path(__file__).resolve().parents[2] / ".cache"
_PYTHON: Final = _CACHE / "moto" / "bin" / "python"
_INSTALLED: Final = _CACHE / "moto" / ".vigil-installed"
_TIMEOUT_S: Final = 300


class S3Server(Service):
    """S3 on 127.0.0.1, empty after each start; it takes any credentials unless told otherwise."""

    name = "S3 (moto)"
    start_timeout_s = 60.0
    stop_timeout_s = 5.0

    def __init__(self, log: Path, port: int | None = None) -> None:
        super().__init__(log)
        self.port = port or free_port()

    def uri(self, bucket: str, prefix: str = "") -> str:
        """What VIGIL_ARCHIVE_URI would be."""
        return f"s3://{bucket}{prefix}?endpoint_override={HOST}:{self.port}&scheme=http&region=eu-central-1"

    def make_bucket(self, bucket: str) -> None:
        """Make an empty bucket."""
        self.call("PUT", f"/{bucket}", b"<CreateBucketConfiguration><LocationConstraint>eu-central-1"
                  b"</LocationConstraint></CreateBucketConfiguration>")  # fmt: skip

    def call(self, method: str, path: str, body: bytes = b"") -> bytes:
        """One request, without credentials."""
        request = urllib.request.Request(
            f"http://{HOST}:{self.port}{path}", body or None, {"Content-Type": "text/plain"}, method=method
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())

    def _command(self) -> Sequence[str | Path]:
        return [_PYTHON, "-m", "moto.server", "-H", HOST, "-p", str(self.port)]

    def _environment(self) -> Mapping[str, str]:
        return {"PATH": os.environ["PATH"]}

    def _answers(self) -> bool:
        try:
            return b"ListAllMyBucketsResult" in self.call("GET", "/")
        except (URLError, OSError):
            return False


def ensure_moto() -> None:
    """Make moto's environment where its lock file is new; `Unavailable` where the registry cannot be had."""
    wanted = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()
    with _one_at_a_time():
        if _INSTALLED.exists() and _INSTALLED.read_text() == wanted:
            return
        _uv("venv", "--clear", "--python", sys.executable, str(_CACHE / "moto"))
        _uv("pip", "install", "--python", str(_PYTHON), "--require-hashes", "-r", str(_REQUIREMENTS))
        _INSTALLED.write_text(wanted)


def _uv(*arguments: str) -> None:
    command = [sys.executable, "-m", "uv", "--quiet", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"uv did not finish within {_TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise Unavailable(f"uv cannot get moto here:\n{done.stderr.strip()[-1500:]}")


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "moto.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
