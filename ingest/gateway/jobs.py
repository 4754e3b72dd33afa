"""Edge: works on uploaded exports one after the other, each in a process of its own, and survives being killed.

A job that was interrupted is begun again from its file's beginning: what was stored already is known by its identity.
A broker that is away is waited for. Whatever becomes of a job, its upload is deleted when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import Counter

from ingest.gateway.job_book import Job, JobBook, JobState, JobsUnusable
from ingest.gateway.job_ends import CredentialsUnknown, ImportFailed, JobPolicy, Task, after
from ingest.gateway.ports import Importer, Unavailable, Upload
from vitals.clock import US_PER_S, Clock, system_clock
from vitals.errors import VigilError
from vitals.ids import PatientId

log = structlog.get_logger(__name__)

_ENDED: Final = Counter("vigil_gateway_jobs", "uploaded exports that were read, by how that ended", ["state"])
_PART: Final = ".part"


Stands = Callable[[str], Awaitable[bool]]
"""Tells whether any credential of a holder stands. Raises `Unavailable`."""


class TooManyJobs(VigilError):
    """So much waits that nothing more is taken now."""


class Jobs:
    """The jobs of one gateway. `start` before use, `run` for as long as it serves, `stop` in the end.

    Methods raise `JobsUnusable` where the disk fails.
    """

    def __init__(
        self,
        folder: Path,
        importer: Importer,
        *,
        policy: JobPolicy | None = None,
        clock: Clock = system_clock,
        stands: Stands | None = None,
    ) -> None:
        self.policy = policy or JobPolicy()
        self.folder = folder / "uploads"
        self._book = JobBook(folder)
        self._importer = importer
        self._clock = clock
        self._stands = stands
        self._ended: Job | None = None
        self._receiving: dict[str, PatientId] = {}
        self._running: tuple[str, Task] | None = None
        self._progress = (0, 0)
        self._look = asyncio.Event()
        self._opening = threading.Lock()
        self._turn = asyncio.Lock()
        """Held while a job begins or is cancelled, so that what is cancelled never runs."""

    async def start(self) -> None:
        """Open the book and delete what no job needs: uploads that were cut off, and those of jobs that ended."""
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        with self._opening:
            if not self._book.is_open:
                self._book.open()
                self._sweep()

    def _sweep(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            needed = {job_id for job_id, _ in self._book.unfinished()}
            for file in self.folder.iterdir():
                if file.name not in needed and file.stem not in self._receiving:
                    file.unlink()
        except OSError as error:
            raise JobsUnusable(f"the folder of uploads cannot be used: {error.strerror}") from error

    async def stop(self) -> None:
        """Close the book. What waits goes on at the next start."""
        await asyncio.to_thread(self._book.close)

    @contextlib.asynccontextmanager
    async def receiving(self, patient: PatientId) -> AsyncIterator[tuple[str, Path]]:
        """Give an upload a place: the id of its job and a file to write to, which is gone afterwards.

        Raises `TooManyJobs`.
        """
        unfinished = await asyncio.to_thread(self._unfinished)
        under_way = [*(whose for _, whose in unfinished), *self._receiving.values()]
        policy = self.policy
        if len(self._receiving) >= policy.receiving or len(under_way) >= policy.waiting:
            raise TooManyJobs("too many exports are being uploaded or wait to be read")
        if under_way.count(patient) >= policy.waiting_of_one:
            raise TooManyJobs(f"{policy.waiting_of_one} exports of this patient wait to be read already")
        job_id = secrets.token_hex(16)
        self._receiving[job_id] = patient
        part = self.folder / f"{job_id}{_PART}"
        try:
            yield job_id, part
        finally:
            del self._receiving[job_id]
            await asyncio.shield(asyncio.to_thread(_delete, part))

    def _unfinished(self) -> list[tuple[str, PatientId]]:
        self._open()
        return self._book.unfinished()

    async def add(self, job: Job, part: Path) -> None:
        """Take over an upload that is complete; when this returns, it outlives a power cut."""
        await asyncio.to_thread(self._add, job, part)
        self._look.set()

    def _add(self, job: Job, part: Path) -> None:
        file = self.folder / job.job_id
        try:
            part.rename(file)
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise JobsUnusable(f"the folder of uploads cannot be used: {error.strerror}") from error
        try:
            self._book.add(job)
        except JobsUnusable:
            _delete(file)
            raise

    async def get(self, job_id: str) -> Job | None:
        """Return a job, None where there is none."""
        return await asyncio.to_thread(self._get, job_id)

    def _get(self, job_id: str) -> Job | None:
        self._open()
        return self._book.get(job_id)

    def progress(self, job: Job) -> tuple[int, int]:
        """Return how many bytes of how many are read; of an archive, those that it unpacks to."""
        if self._running is not None and self._running[0] == job.job_id:
            return self._progress
        return (job.size_bytes, job.size_bytes) if job.state is JobState.SUCCEEDED else (0, job.size_bytes)

    async def cancel(self, job: Job) -> None:
        """End a job that has not ended: its process is stopped, its upload deleted. What it sent already stays sent."""
        ended = replace(job, state=JobState.CANCELLED, ended_us=self._clock())
        async with self._turn:
            if not await asyncio.to_thread(self._book.save, ended):
                return
            running = self._running
        _note(ended)
        if running is not None and running[0] == job.job_id:
            running[1].cancel()
            await asyncio.wait({running[1]})
        await asyncio.to_thread(_delete, self.folder / job.job_id)

    async def run(self) -> None:
        """Work on jobs, oldest first, until cancelled."""
        while True:
            try:
                await self._work_off()
                wait_s = self.policy.look_every_s
            except JobsUnusable as error:
                log.error("jobs_unusable", error=str(error))  # noqa: TRY400  the message says it all
                wait_s = self.policy.longest_s
            except Exception:
                log.exception("jobs_broken")
                wait_s = self.policy.longest_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._look.wait()
            self._look.clear()

    async def _work_off(self) -> None:
        await asyncio.to_thread(self._open)
        await self._settle()  # what the disk did not take before
        while (job := await asyncio.to_thread(self._book.ready, self._clock())) is not None:
            await self._work_on(job)
        await asyncio.to_thread(self._book.forget, self._clock() - round(self.policy.keep_s * US_PER_S))

    async def _work_on(self, waiting: Job) -> None:
        now_us = self._clock()
        started_us = now_us if waiting.started_us is None else waiting.started_us
        job = replace(waiting, state=JobState.RUNNING, tries=waiting.tries + 1, started_us=started_us)
        begun = asyncio.create_task(self._begin(job))
        try:
            task = await asyncio.shield(begun)
            if task is None:
                return
            await asyncio.wait({task})
        except asyncio.CancelledError:  # the gateway stops: that is no failed try
            await self._put_back(waiting, begun)
            raise
        finally:
            self._running = None
        self._ended = after(job, task, self._clock(), self.policy)
        await self._settle()

    async def _settle(self) -> None:
        """Write down what became of the last job. Until that is done no other begins: none is left as running."""
        if self._ended is not None:
            await asyncio.to_thread(self._end, self._ended)
            self._ended = None

    async def _begin(self, job: Job) -> Task | None:
        """Return what reads the upload, None where the job was cancelled just now."""
        async with self._turn:
            if not await asyncio.to_thread(self._book.save, job):
                return None
            self._progress = (0, job.size_bytes)
            task = asyncio.create_task(self._read(job))
            self._running = job.job_id, task
        log.info("job_started", job=job.job_id, tries=job.tries)
        return task

    async def _put_back(self, waiting: Job, begun: asyncio.Task[Task | None]) -> None:
        await asyncio.wait({begun})
        task = None if begun.exception() else begun.result()
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
            with contextlib.suppress(JobsUnusable):
                self._book.save(waiting)

    async def _read(self, job: Job) -> Mapping[str, object]:
        await self._check_holder(job)
        file = self.folder / job.job_id
        if not await asyncio.to_thread(file.is_file):
            raise ImportFailed("upload_lost", "the upload is not on the disk any more: send it again")
        return await self._importer.run(
            Upload(job.job_id, file, job.patient_id, job.adapter, job.zone), self._came_so_far
        )

    async def _check_holder(self, job: Job) -> None:
        """Raise `ImportFailed` where whoever sent it may send no more: a job may wait for days."""
        if self._stands is None or not job.holder:
            return
        try:
            stands = await self._stands(job.holder)
        except Unavailable as error:
            raise CredentialsUnknown("whether its sender may still send cannot be looked up now") from error
        if not stands:
            raise ImportFailed("revoked", "the credential that sent it was revoked or has expired: it was not read")

    def _came_so_far(self, done: int, total: int) -> None:
        self._progress = (done, total)

    def _end(self, job: Job) -> None:
        if self._book.save(job):
            _note(job)
        if job.state.has_ended:
            _delete(self.folder / job.job_id)


def _note(job: Job) -> None:
    if job.state.has_ended:
        _ENDED.labels(job.state).inc()
        log.info("job_ended", job=job.job_id, state=str(job.state), tries=job.tries, code=job.code)
    else:
        log.warning("job_waits", job=job.job_id, tries=job.tries, code=job.code)


def _delete(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()
