"""The real TimescaleDB extension, in WebAssembly (PGlite on Node.js), in memory: to prove SQL and policies against.

Its limits: one session is shared by all connections (a SET stays, so does a temporary table), more than six at once are
refused, COPY FROM STDIN crashes it, prepared statements fail (connect with `prepare_threshold=None`). What concerns
COPY, locks and concurrency is proved on PostgreSQL.
"""

import contextlib
import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import LiteralString

import psycopg

from tests.services import Unavailable
from vigil.embedded.ports import HOST, free_port
from vigil.embedded.process import Service

_HERE = Path(__file__).resolve().parent / "timescale_wasm"
_INSTALLED = _HERE / "node_modules" / ".vigil-installed"
_LOCK = Path(__file__).resolve().parents[2] / ".cache" / "timescale.lock"
_NPM_TIMEOUT_S = 300
_ONLY_SQL: LiteralString = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"


class TimescaleWasm(Service):
    """A PostgreSQL 17 with TimescaleDB 2.23 and its community features on 127.0.0.1, empty after each start."""

    name = "TimescaleDB (WebAssembly)"
    start_timeout_s = 120.0
    stop_timeout_s = 5.0

    def __init__(self, log: Path, port: int | None = None) -> None:
        super().__init__(log)
        self._port = port or free_port()

    @property
    def dsn(self) -> str:
        """Where clients connect, with `prepare_threshold=None`. Any password does."""
        return f"postgresql://postgres:any@{HOST}:{self._port}/postgres?sslmode=disable"

    def connect(self) -> psycopg.Connection:
        """A connection as this server needs it, in autocommit mode."""
        return psycopg.connect(self.dsn, prepare_threshold=None, autocommit=True, connect_timeout=10)

    def _command(self) -> Sequence[str | Path]:
        return [_program("node"), _HERE / "server.mjs", str(self._port)]

    def _answers(self) -> bool:
        try:
            with self.connect() as connection:
                return connection.execute(_ONLY_SQL).fetchone() is not None
        except psycopg.OperationalError:
            return False


def ensure_packages() -> None:
    """`npm ci` where the lock file is new; `Unavailable` where npm or its registry cannot be had."""
    _program("node")
    npm = _program("npm")
    wanted = hashlib.sha256((_HERE / "package-lock.json").read_bytes()).hexdigest()
    with _one_at_a_time():
        if _INSTALLED.exists() and _INSTALLED.read_text() == wanted:
            return
        _npm_ci(npm)
        _INSTALLED.write_text(wanted)


def _npm_ci(npm: str) -> None:
    try:
        done = subprocess.run(
            [npm, "ci"], cwd=_HERE, capture_output=True, text=True, timeout=_NPM_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"npm did not finish within {_NPM_TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise Unavailable(f"npm cannot get TimescaleDB's packages here:\n{done.stderr.strip()[-1500:]}")


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise Unavailable(f"TimescaleDB in WebAssembly needs Node.js: no `{name}` on the PATH")
    return path


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    _LOCK.parent.mkdir(parents=True, exist_ok=True)
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
