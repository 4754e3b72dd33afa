"""The embedded database: stock PostgreSQL 18 from a wheel, on 127.0.0.1, with a password of its own."""

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from vigil.embedded.account import let_pass, let_run, programs, server_account
from vigil.embedded.ports import HOST, free_port
from vigil.embedded.process import Service, ServiceFailed

_INITDB = (
    "--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8", "--no-instructions",
)  # fmt: skip


class EmbeddedPostgres(Service):
    """PostgreSQL on 127.0.0.1. Port, password and data stay the same over any stop, kill and start.

    Password and log lie beside the data folder. There is no Unix socket: the one way in is TCP with the password. Where
    we are root the server runs as a system user (account.py), and the folders above the data become passable for it.
    """

    name = "the embedded database (PostgreSQL)"
    stop_signal = signal.SIGINT  # "fast shutdown": open sessions are ended, committed work is kept
    start_timeout_s = 60.0  # recovery after a kill replays the log first
    stop_timeout_s = 30.0
    predecessor_timeout_s = 15.0
    niceness = 5  # as recorders have: on a machine that all share an alert goes before a row

    def __init__(self, data_dir: Path, port: int | None = None, settings: Mapping[str, str] | None = None) -> None:
        self._data_dir = data_dir.resolve()
        self._password_file = self._data_dir.with_name(f"{self._data_dir.name}.password")
        self._port = port or free_port()
        self._settings = dict(settings or {})
        super().__init__(self._data_dir.with_name(f"{self._data_dir.name}.log"))

    @property
    def url(self) -> str:
        """Where clients connect, password included; known after the first start."""
        password = quote(self._password_file.read_text(encoding="ascii"), safe="")
        return f"postgresql://postgres:{password}@{HOST}:{self._port}/postgres"

    def _command(self) -> Sequence[str | Path]:
        settings = {
            "listen_addresses": HOST,
            "port": str(self._port),
            "unix_socket_directories": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self._settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [programs() / "postgres", "-D", self._data_dir, *options]

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _prepare(self) -> None:
        self._data_dir.parent.mkdir(parents=True, exist_ok=True)
        self.account = server_account()
        if self.account is not None:
            let_pass(self._data_dir)
            let_run(programs())
        if not (self._data_dir / "PG_VERSION").exists():
            self._initialise()
        self._await_predecessor()
        # Nobody works on these data. A lock file left by a killed server would still stop a new one if its process id
        # meanwhile belongs to another server, which in a container is likely.
        (self._data_dir / "postmaster.pid").unlink(missing_ok=True)

    def _initialise(self) -> None:
        """Build the data folder beside its place and move it there when complete: no half-built one is ever used."""
        building = self._data_dir.with_name(f"{self._data_dir.name}.new")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(mode=0o700)
        self._write_password()
        self._give_away(building, self._password_file)
        self._run_initdb(building)
        building.rename(self._data_dir)

    def _write_password(self) -> None:
        self._password_file.unlink(missing_ok=True)
        handle = os.open(self._password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(24))

    def _give_away(self, *paths: Path) -> None:
        if self.account is not None:
            for path in paths:
                os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def _run_initdb(self, building: Path) -> None:
        account = self.account
        done = subprocess.run(
            [programs() / "initdb", "-D", building, f"--pwfile={self._password_file}", *_INITDB],
            user=None if account is None else account.pw_uid,
            group=None if account is None else account.pw_gid,
            extra_groups=None if account is None else [],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/", check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise ServiceFailed(f"{self.name}: initdb failed in {building}:\n{done.stderr.strip()[-2000:]}")

    def _await_predecessor(self) -> None:
        """A server whose program was killed is being stopped by its lifeline: wait for that; refuse a living one."""
        deadline = time.monotonic() + self.predecessor_timeout_s
        while holders := _holders(self._data_dir):
            if time.monotonic() > deadline:
                raise ServiceFailed(f"{self.name}: process {holders[0]} already works on {self._data_dir}")
            time.sleep(0.1)


def _holders(data_dir: Path) -> list[int]:
    """The PostgreSQL processes that work on these data: each has the data folder as its working directory."""
    return [
        process.pid
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] == "postgres" and process.info["cwd"] == str(data_dir)
    ]
