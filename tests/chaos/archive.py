"""`python -m tests.chaos.archive`: 1,000,000 samples are archived, dropped and restored by processes that are killed.

Each stage (the lifecycle, the lifecycle again after late samples, corrections and deletions, the restore) runs in a
process of its own, which is killed by SIGKILL at random moments and started again. After every kill everything that
was ever written must be in samples or in the archive; at the end the restored rows must be, bit for bit, what stands.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg

from tests.timeseries.lifecycle_world import DAY, METRICS, OLD, START
from timeseries import archive_table as table
from timeseries.archive_read import versions_of
from timeseries.archive_restore import ALWAYS, AlreadyRestored, discard, restore
from timeseries.archive_storage import open_storage
from timeseries.archive_verify import verify
from timeseries.archive_versions import standing
from timeseries.lifecycle import run as run_lifecycle
from timeseries.lifecycle_archive import LifecycleArchive
from timeseries.migrate import migrate
from timeseries.rollup import refresh
from timeseries.rows import COLUMNS, ROW, Rows, from_copy, sort_order, to_copy
from vigil import logs
from vigil.embedded.postgres import EmbeddedPostgres
from vitals.batch import NO_ZONE
from vitals.clock import from_datetime

REPO: Final = Path(__file__).resolve().parents[2]
LIFECYCLE, RESTORE = "lifecycle", "restore"
_SHARES: Final = dict(zip(METRICS, (0.6, 0.3, 0.1), strict=True))
_DAY_US: Final = 86_400_000_000
_COLUMNS: Final = ", ".join(COLUMNS)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much, how often it is killed, and after how long it is given up."""

    rows: int = 1_000_000
    interrupts: int = 20
    patients: int = 20
    days: int = 10
    seed: int = 1
    most_s: float = 900.0

    @property
    def patience_s(self) -> float:
        """A process is killed after at most so long."""
        return 0.4 + 3.0 * self.rows / 1_000_000


class NotWhatItWas(AssertionError):
    """Something is lost, twice, or changed."""


def made(plan: Plan) -> Rows:
    """Samples of three classes, every patient and day alike in number, each with an identity of its own."""
    random_ = np.random.default_rng(plan.seed)
    parts = []
    for metric, share in _SHARES.items():
        count = max(int(plan.rows * share / plan.patients / plan.days), 1)
        every = _DAY_US // count
        for patient in range(1, plan.patients + 1):
            rows = np.zeros(count * plan.days, ROW)
            at = np.arange(count) * every
            rows["time"] = from_datetime(START) + np.add.outer(np.arange(plan.days) * _DAY_US, at).ravel()
            rows["time"] += random_.integers(0, every, len(rows))
            rows["patient_key"], rows["metric_key"] = patient, metric
            rows["duration_ms"] = 60_000 if metric == METRICS[2] else 0
            rows["zone_offset_min"] = NO_ZONE if patient % 5 == 0 else 60
            parts.append(rows)
    everything = np.concatenate(parts)
    n = len(everything)
    everything["written_at"] = everything["received_at"] = from_datetime(OLD)
    everything["value"] = np.round(random_.normal(70, 10, n), 1)
    everything["quality"] = random_.choice(np.array([1, 0.75, 0.25], "f4"), n)
    everything["origin_key"] = random_.integers(1, 3, n)
    everything["context"] = random_.integers(0, 3, n)
    return everything


def afterthoughts(rows: Rows, plan: Plan) -> Rows:
    """What comes when all is dropped: of 100 samples two corrected, one deleted, and one that never came before."""
    random_ = np.random.default_rng(plan.seed + 1)
    chosen = rows[random_.choice(len(rows), max(len(rows) // 25, 4), replace=False)].copy()
    kind = np.arange(len(chosen)) % 4
    chosen["written_at"] += 3_600_000_000
    chosen["received_at"] += 3_600_000_000
    chosen["value"] += kind + 0.5
    chosen["flags"][kind == 2] = 128
    chosen["time"][kind == 3] += 1  # a microsecond beside another
    return chosen


def digest(rows: Rows) -> str:
    """The hash of rows in the order of their identities."""
    return hashlib.sha256(rows[sort_order(rows)].tobytes()).hexdigest()


def store(url: str, rows: Rows) -> None:
    """Write rows as a recorder would, and bring the rollups up to date."""
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.cursor() as cursor, connection.transaction():
            cursor.execute("CREATE TEMPORARY TABLE came (LIKE samples) ON COMMIT DROP")
            for name in ("came", "samples"):
                with cursor.copy(f"COPY {name} ({_COLUMNS}) FROM STDIN (FORMAT BINARY)".encode()) as copy:
                    copy.write(to_copy(rows[sort_order(rows)]))
            cursor.execute(
                "INSERT INTO dirty_ranges (patient_key, hour, from_time, to_time) "
                "SELECT patient_key, date_trunc('hour', time, 'UTC'), min(time), max(time) FROM came GROUP BY 1, 2"
            )
        refresh(url)
        connection.execute("DELETE FROM dirty_days")  # how days are made is another matter
        connection.execute("ANALYZE samples")


def copied(connection: Any, source: str) -> Rows:
    """All rows of a table."""
    statement = f"COPY (SELECT {_COLUMNS} FROM {source}) TO STDOUT (FORMAT BINARY)"
    with connection.cursor().copy(statement) as copy:
        return from_copy(b"".join(bytes(piece) for piece in copy))


@dataclass
class Trial:
    """One database and one archive, what was put into them, and how often somebody was killed."""

    plan: Plan
    url: str
    folder: Path
    say: Callable[[str], None]
    written: Rows
    chance: random.Random
    begun: float = field(default_factory=time.monotonic)
    kills: dict[str, int] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def stage(self, name: str, work: str, kills: int) -> None:
        """Let a process do this work until it is done; kill it, and its successors, so many times on the way."""
        begun = time.monotonic()
        self.kills[name] = 0
        while True:
            wanted = self.kills[name] < kills
            if self._worked(work, self.chance.uniform(0, self.plan.patience_s) if wanted else None):
                break
            self.kills[name] += 1
            self._check(work)
            self.say(f"{name}: killed {self.kills[name]} times, nothing is lost")
        self.seconds[name] = round(time.monotonic() - begun, 1)
        self.say(f"{name}: done after {self.seconds[name]:.0f} s")

    def restored_in_the_end(self, kills: int) -> None:
        """Restore; where it was done before it could be killed often enough, discard and restore once more."""
        begun, left = time.monotonic(), kills
        while True:
            self.stage(RESTORE, RESTORE, left)
            left -= self.kills[RESTORE]
            if left <= 0:
                break
            with self.connect() as connection:
                (number,) = connection.execute("SELECT max(restore_id) FROM restores").fetchone() or (0,)
                discard(connection, number)
        self.kills[RESTORE] = kills
        self.seconds[RESTORE] = round(time.monotonic() - begun, 1)

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True)

    def _worked(self, work: str, kill_after_s: float | None) -> bool:
        """Run the work in a process; tell whether it came to its end before it was killed."""
        left_s = self.plan.most_s - (time.monotonic() - self.begun)
        if left_s <= 0:
            raise NotWhatItWas(f"not done after {self.plan.most_s:.0f} s")
        command = [sys.executable, "-m", "tests.chaos.archive", "--work", work, self.url, str(self.folder)]
        with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            if process.stdout.readline() != "go\n":
                raise NotWhatItWas(f"{work} did not begin: {process.communicate()[1][-2_000:]}")
            try:
                out, errors = process.communicate(timeout=left_s if kill_after_s is None else kill_after_s)
            except subprocess.TimeoutExpired:
                process.kill()
                out, errors = process.communicate()
                if not out:
                    return False  # else it was done already, and killed for nothing
        if not out:
            raise NotWhatItWas(f"{work} failed: {errors[-2_000:]}")
        self.peak_bytes[work] = max(self.peak_bytes.get(work, 0), int(out))
        return True

    def _check(self, work: str) -> None:
        with self.connect() as connection:
            if work == RESTORE:
                rows, told = (connection.execute(statement).fetchone() for statement in (
                    "SELECT count(*) FROM restored_samples",
                    "SELECT coalesce(sum(rows), 0) FROM restores WHERE discarded_at IS NULL",
                ))  # fmt: skip
                if rows != told:
                    raise NotWhatItWas(f"restored_samples holds {rows}, the restore says {told}")
            everything = np.concatenate([self.archived(connection), copied(connection, "samples")])
        if digest(standing(everything)) != digest(standing(self.written)):
            raise NotWhatItWas(f"killed during {work}: samples and archive are no longer what was put into them")

    def archived(self, connection: Any) -> Rows:
        """Every version in the archive, each held against its leaf; twice is a fault."""
        storage = open_storage(str(self.folder))
        keys = [key for (key,) in connection.execute("SELECT patient_key FROM patients")]
        parts = [versions_of(connection, storage, [one], keys) for one in table.files(connection)]
        rows = np.concatenate([np.empty(0, ROW), *parts])
        if len(np.unique(rows)) != len(rows):
            raise NotWhatItWas("a version is in the archive twice")
        return rows

    def figures(self) -> dict[str, Any]:
        """Look at everything once more and return what it came to. Raises `NotWhatItWas`."""
        expected = standing(self.written)
        with self.connect() as connection:
            verdict = verify(connection, open_storage(str(self.folder)))
            restored, samples = copied(connection, "restored_samples"), copied(connection, "samples")
            in_rollups = connection.execute(
                "SELECT coalesce(sum(n), 0)::bigint, coalesce(sum(sum), 0) FROM vitals_1h_all"
            ).fetchone()
        good = expected[(expected["quality"] >= 0.5) & (expected["flags"] & 128 == 0)]
        self._require(digest(restored) == digest(expected), "the restored rows are not what was put in")
        self._require(len(samples) == 0, "samples are not empty")
        self._require(not verdict.faults, f"the archive has faults: {verdict.faults}")
        self._require(
            not (verdict.unknown or verdict.unfinished), f"left behind: {verdict.unknown} {verdict.unfinished}"
        )
        self._require(in_rollups is not None and in_rollups[0] == len(good), "the rollups lost or doubled samples")
        self._require(abs(in_rollups[1] - good["value"].sum()) < 1e-3 if in_rollups else False, "the rollups' sums")
        return {
            "rows_written": len(self.written), "rows_standing": len(expected), "rows_restored": len(restored),
            "sha256": digest(restored), "interrupts": self.kills, "seconds": self.seconds,
            "archive_files": verdict.files, "archive_bytes": verdict.size_bytes,
            "bytes_a_row": round(verdict.size_bytes / verdict.rows, 2), "links": verdict.links,
            "peak_MiB": {work: peak >> 20 for work, peak in self.peak_bytes.items()},
        }  # fmt: skip

    @staticmethod
    def _require(kept: bool, otherwise: str) -> None:
        if not kept:
            raise NotWhatItWas(otherwise)


def run(plan: Plan, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Return the figures; `ok` is True only if nothing is lost, nothing is twice and every row is what it was."""
    with (
        tempfile.TemporaryDirectory(prefix="vigil-chaos-archive-") as name,
        EmbeddedPostgres(Path(name) / "data") as postgres,
    ):
        return attempt(plan, postgres.url, Path(name) / "archive", say)


def attempt(plan: Plan, url: str, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """As `run`, in an empty database and folder."""
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO patients (patient_id) SELECT 'p' || n FROM generate_series(1, %s) n", (plan.patients,)
        )
        connection.execute("INSERT INTO devices (device_id) VALUES ('d1'), ('d2')")
        connection.execute("INSERT INTO origins (device_key, source_app) VALUES (1, 'app'), (2, 'app')")
    rows = made(plan)
    late = afterthoughts(rows, plan)
    store(url, rows)
    say(f"{len(rows):,} samples stored")
    trial = Trial(plan, url, folder, say, rows, random.Random(plan.seed))
    many, few = plan.interrupts // 2, plan.interrupts // 5
    try:
        trial.stage("archive and drop", LIFECYCLE, many)
        store(url, late)
        trial.written = np.concatenate([rows, late])
        trial.stage("late, corrected, deleted", LIFECYCLE, few)
        trial.restored_in_the_end(plan.interrupts - sum(trial.kills.values()))
        found = {"ok": True, **trial.figures()}
    except NotWhatItWas as wrong:
        found = {"ok": False, "why": str(wrong), "interrupts": trial.kills, "seconds": trial.seconds}
    return {**found, "total_s": round(time.monotonic() - trial.begun, 1)}


def work(name: str, url: str, folder: str) -> None:
    """Be the process that is killed; tell at the end how much memory it took (bytes)."""
    archive = LifecycleArchive.at(folder)
    print("go", flush=True)
    if name == LIFECYCLE:
        report = run_lifecycle(url, archive, moment=OLD + DAY)
        if report.failed or report.waits:
            sys.exit(f"{report.failed} {report.waits}")
    else:
        # AlreadyRestored: killed when all was committed, and before it could say so
        with psycopg.connect(url, autocommit=True) as connection, contextlib.suppress(AlreadyRestored):
            restore(connection, archive.storage, None, *ALWAYS, "chaos")
    print(_peak_bytes(), flush=True)


def _peak_bytes() -> int:
    """The most memory that this process had (Linux); `ru_maxrss` would begin with what the parent had."""
    status = Path("/proc/self/status").read_text("ascii")
    return next(int(line.split()[1]) * 1_024 for line in status.splitlines() if line.startswith("VmHWM"))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.archive", description=__doc__)
    plan = Plan()
    for name in ("rows", "interrupts", "patients", "days", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(plan, name))
    parser.add_argument("--most-s", type=float, default=plan.most_s, help="give up after so many seconds")
    parser.add_argument("--work", nargs=3, metavar=("STAGE", "URL", "FOLDER"), help=argparse.SUPPRESS)
    given = vars(parser.parse_args())
    logs.configure(level="warning", service="chaos")
    asked = given.pop("work")
    if asked is not None:
        work(*asked)
        return
    found = run(Plan(**given), lambda what: print(what, file=sys.stderr, flush=True))
    print(json.dumps(found))
    sys.exit(0 if found["ok"] else 1)


if __name__ == "__main__":
    main()
