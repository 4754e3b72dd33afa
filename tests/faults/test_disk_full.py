"""A disk that is really full: the recorder waits, and stores everything once there is room again."""

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.faults.making import Driven, accounted, expected, record
from tests.stream.fakes import FakeLog
from timeseries.migrate import migrate
from timeseries.store import SampleStore
from vigil.embedded.postgres import EmbeddedPostgres

DISK_MB = 160


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, in memory, of `DISK_MB`."""
    with tempfile.TemporaryDirectory(prefix="vigil-disk-") as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=755", "vigil-test", folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"no small disk to fill: {error}")
        if done.returncode:
            pytest.skip(f"no small disk to fill: only root may mount one, and not in every container: {done.stderr}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(64 * 1024))


def _free(ballast: Path) -> None:
    ballast.unlink()


async def test_a_full_disk_is_waited_for_and_nothing_is_given_up(small_disk: Path) -> None:
    """Tables cannot grow (53100), and where its own log cannot either, PostgreSQL itself ends and has to be started."""
    settings = {"max_wal_size": "32MB", "min_wal_size": "32MB", "shared_buffers": "16MB"}
    ballast = small_disk / "ballast"
    with EmbeddedPostgres(small_disk / "data", settings=settings) as server:
        migrate(server.url)
        log = FakeLog([record(offset) for offset in range(70)])
        async with SampleStore(server.url, connect_timeout_s=2) as store:
            worker = await Driven(store, log).start()
            await worker.run(most=7)
            _fill(ballast)
            log.records += [record(offset) for offset in range(70, 2_100)]
            with capture_logs() as logs:
                async with worker.running():
                    await _until_waiting(logs)
                    _free(ballast)
                    server.start()  # where it ended
        assert accounted(server.url) == expected(range(2_100))
    assert any("53100" in str(entry["error"]) for entry in logs)


async def _until_waiting(logs: Sequence[Mapping[str, Any]]) -> None:
    async with asyncio.timeout(20):
        while len(logs) < 5:  # noqa: ASYNC110 - the recorder writes it
            await asyncio.sleep(0.02)
    assert {entry["event"] for entry in logs} == {"store_unavailable"}
