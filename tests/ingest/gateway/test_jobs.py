"""Jobs: what becomes of an upload when reading it ends, is interrupted, is cancelled, or the gateway is killed."""

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.gateway.job_book import FILE, Job, JobBook, JobState, JobsUnusable
from ingest.gateway.job_ends import CredentialsUnknown, ImportFailed, Interrupted, JobPolicy, after
from ingest.gateway.jobs import Jobs, TooManyJobs
from ingest.gateway.ports import Unavailable
from tests.ingest.gateway.uploading import PATIENT, Scripted, until
from vitals.clock import US_PER_S, system_clock
from vitals.errors import VigilError
from vitals.ids import PatientId

QUICK = JobPolicy(first_s=0.01, longest_s=0.02, look_every_s=0.02)
OTHER = PatientId("patient-2")
SUMMARY = {"read": 7}


@asynccontextmanager
async def at_work(folder: Path, importer: Scripted, policy: JobPolicy = QUICK) -> AsyncIterator[Jobs]:
    jobs = Jobs(folder, importer, policy=policy)
    await jobs.start()
    work = asyncio.create_task(jobs.run())
    try:
        yield jobs
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await jobs.stop()


async def upload(jobs: Jobs, content: bytes = b"an export", patient: PatientId = PATIENT) -> Job:
    async with jobs.receiving(patient) as (job_id, part):
        part.write_bytes(content)
        job = Job(job_id, patient, "apple-export", "Europe/Vienna", len(content), system_clock())
        await jobs.add(job, part)
    return job


async def in_state(jobs: Jobs, job: Job, *states: JobState) -> Job:
    async with asyncio.timeout(10):
        while True:
            found = await jobs.get(job.job_id)
            assert found is not None
            if found.state in states and (not found.state.has_ended or not (jobs.folder / job.job_id).exists()):
                return found
            await asyncio.sleep(0.01)


def uploads(folder: Path) -> list[str]:
    return sorted(one.name for one in (folder / "uploads").iterdir())


async def test_an_upload_is_read_and_deleted(tmp_path: Path) -> None:
    importer = Scripted(SUMMARY)
    async with at_work(tmp_path, importer) as jobs:
        job = await upload(jobs)
        done = await in_state(jobs, job, JobState.SUCCEEDED)
        assert (done.summary, done.code, done.tries) == (SUMMARY, "", 1)
        assert done.created_us <= (done.started_us or 0) <= (done.ended_us or 0)
        ((told, content),) = importer.read
        assert (told.patient_id, told.adapter, told.zone) == (PATIENT, "apple-export", "Europe/Vienna")
        assert content == b"an export"
        assert uploads(tmp_path) == []
        assert jobs.progress(done) == (9, 9)


async def test_one_at_a_time_in_the_order_they_came(tmp_path: Path) -> None:
    importer = Scripted(SUMMARY)
    importer.hold = asyncio.Event()
    async with at_work(tmp_path, importer) as jobs:
        first, second = await upload(jobs, b"1"), await upload(jobs, b"2", OTHER)
        await in_state(jobs, first, JobState.RUNNING)
        assert (await jobs.get(second.job_id)) == second
        await until(lambda: jobs.progress(first) == (3, 10))
        assert jobs.progress(second) == (0, 1)
        importer.hold.set()
        await in_state(jobs, second, JobState.SUCCEEDED)
        assert [content for _, content in importer.read] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("error", "code", "detail", "summary"),
    [
        (ImportFailed("malformed", "no export", SUMMARY), "malformed", "no export", SUMMARY),
        (VigilError("it is none"), "not_readable", "it is none", None),
        (RuntimeError("Petronella"), "internal", "reading it failed in a way that nobody foresaw (RuntimeError)", None),
    ],
)
async def test_what_cannot_be_read_is_tried_once_and_deleted(
    tmp_path: Path, error: Exception, code: str, detail: str, summary: object
) -> None:
    importer = Scripted(error)
    async with at_work(tmp_path, importer) as jobs:
        failed = await in_state(jobs, await upload(jobs), JobState.FAILED)
        assert (failed.code, failed.detail, failed.summary, failed.tries) == (code, detail, summary, 1)
        assert (len(importer.read), uploads(tmp_path)) == (1, [])


async def test_a_broker_that_is_away_is_waited_for(tmp_path: Path) -> None:
    importer = Scripted(*[Unavailable("the broker is away")] * 12, SUMMARY)
    async with at_work(tmp_path, importer) as jobs:
        done = await in_state(jobs, await upload(jobs), JobState.SUCCEEDED)
        assert (len(importer.read), done.tries, done.code) == (13, 1, "")


async def test_what_is_interrupted_again_and_again_is_given_up(tmp_path: Path) -> None:
    importer = Scripted(Interrupted("it was killed"))
    async with at_work(tmp_path, importer) as jobs:
        failed = await in_state(jobs, await upload(jobs), JobState.FAILED)
        assert (failed.code, failed.tries, len(importer.read)) == ("given_up", QUICK.tries, QUICK.tries)
        assert uploads(tmp_path) == []


def _ended(error: Exception) -> "asyncio.Task[Mapping[str, object]]":
    async def fail() -> Mapping[str, object]:
        raise error

    return asyncio.create_task(fail())


async def test_pauses_grow_and_are_bounded() -> None:
    policy, now_us = JobPolicy(), 10**15
    for error, tries, age_s, pause_s in [
        (Interrupted("killed"), 1, 0, 2), (Interrupted("killed"), 4, 0, 16),
        (Unavailable("away"), 1, 0, 1), (Unavailable("away"), 1, 100, 25), (Unavailable("away"), 1, 90_000, 60),
    ]:  # fmt: skip
        job = Job("j", PATIENT, "a", "UTC", 1, now_us - age_s * US_PER_S, tries=tries)
        task = _ended(error)
        await asyncio.wait({task})
        waits = after(job, task, now_us, policy)
        assert (waits.state, waits.again_us - now_us) == (JobState.QUEUED, pause_s * US_PER_S)
    week = replace(job, created_us=now_us - 8 * 86_400 * US_PER_S)
    assert after(week, task, now_us, policy).state is JobState.FAILED


async def test_a_job_that_is_cancelled_stops_and_stays_cancelled(tmp_path: Path) -> None:
    importer = Scripted(SUMMARY)
    importer.hold = asyncio.Event()
    async with at_work(tmp_path, importer) as jobs:
        running, waiting = await upload(jobs, b"1"), await upload(jobs, b"2")
        await in_state(jobs, running, JobState.RUNNING)
        await jobs.cancel(waiting)
        await jobs.cancel(running)
        assert (importer.stopped, uploads(tmp_path)) == (1, [])
        importer.hold.set()
        third = await upload(jobs, b"3")
        await in_state(jobs, third, JobState.SUCCEEDED)
        for job in (running, waiting):
            found = await jobs.get(job.job_id)
            assert found is not None
            assert found.state is JobState.CANCELLED
            assert found.ended_us is not None
        await jobs.cancel(third)
        assert (await in_state(jobs, third, JobState.SUCCEEDED)).summary == SUMMARY


async def test_a_stopped_gateway_goes_on_and_it_counts_as_no_try(tmp_path: Path) -> None:
    importer = Scripted(SUMMARY)
    importer.hold = asyncio.Event()
    async with at_work(tmp_path, importer) as jobs:
        job = await upload(jobs)
    for turn in range(QUICK.tries + 1):
        async with at_work(tmp_path, importer):
            await until(lambda turn=turn: len(importer.read) > turn)  # type: ignore[misc]
    importer.hold.set()
    async with at_work(tmp_path, importer) as jobs:
        done = await in_state(jobs, job, JobState.SUCCEEDED)
        assert done.tries == 1
        assert importer.stopped >= QUICK.tries


async def test_what_a_killed_gateway_left_behind(tmp_path: Path) -> None:
    """A job that ran goes on, a job whose upload is lost fails, files that belong to no job go."""
    book = JobBook(tmp_path)
    book.open()
    jobs_left = {
        name: Job(name, PATIENT, "apple-export", "UTC", 4, system_clock())
        for name in ("ran", "waits", "lost", "ended")
    }  # fmt: skip
    for job in jobs_left.values():
        book.add(job)
    book.save(replace(jobs_left["ran"], state=JobState.RUNNING, tries=1, started_us=5))
    book.save(replace(jobs_left["ended"], state=JobState.FAILED, ended_us=system_clock()))
    book.close()
    (tmp_path / "uploads").mkdir()
    for name in ("ran", "waits", "ended", "cut.part", "ran.part", "stranger"):
        (tmp_path / "uploads" / name).write_bytes(name.encode())

    importer = Scripted(SUMMARY)
    importer.hold = asyncio.Event()
    async with at_work(tmp_path, importer) as jobs:
        assert uploads(tmp_path) == ["ran", "waits"]
        importer.hold.set()
        ran = await in_state(jobs, jobs_left["ran"], JobState.SUCCEEDED)
        assert (ran.tries, ran.started_us) == (2, 5)
        await in_state(jobs, jobs_left["waits"], JobState.SUCCEEDED)
        assert (await in_state(jobs, jobs_left["lost"], JobState.FAILED)).code == "upload_lost"
        assert [content for _, content in importer.read] == [b"ran", b"waits"]


async def test_a_job_that_kills_its_gateway_each_time_is_given_up(tmp_path: Path) -> None:
    job = Job("deadly", PATIENT, "apple-export", "UTC", 4, system_clock())
    book = JobBook(tmp_path)
    book.open()
    book.add(job)
    book.save(replace(job, state=JobState.RUNNING, tries=QUICK.tries - 1))
    book.close()
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "deadly").write_bytes(b"boom")
    importer = Scripted(Interrupted("it was killed"))
    async with at_work(tmp_path, importer) as jobs:
        assert (await in_state(jobs, job, JobState.FAILED)).code == "given_up"
        assert len(importer.read) == 1


async def test_ends_are_forgotten_after_a_while(tmp_path: Path) -> None:
    importer = Scripted(SUMMARY)
    async with at_work(tmp_path, importer, replace(QUICK, keep_s=0.3)) as jobs:
        job = await upload(jobs)
        await in_state(jobs, job, JobState.SUCCEEDED)
        async with asyncio.timeout(10):
            while True:
                if await jobs.get(job.job_id) is None:
                    break
                await asyncio.sleep(0.02)


async def test_so_many_may_wait_and_no_more(tmp_path: Path) -> None:
    importer = Scripted(SUMMARY)
    importer.hold = asyncio.Event()
    policy = replace(QUICK, waiting=4, waiting_of_one=2, receiving=2)
    async with at_work(tmp_path, importer, policy) as jobs:
        await upload(jobs)
        async with jobs.receiving(PATIENT):
            with pytest.raises(TooManyJobs, match="of this patient"):
                await upload(jobs)
            async with jobs.receiving(OTHER):
                with pytest.raises(TooManyJobs, match="too many"):
                    await upload(jobs, patient=PatientId("patient-3"))
        for _ in range(2):
            await upload(jobs, patient=OTHER)
        await upload(jobs)
        with pytest.raises(TooManyJobs, match="too many"):
            await upload(jobs, patient=PatientId("patient-3"))


async def test_an_upload_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    async with at_work(tmp_path, Scripted(SUMMARY)) as jobs:

        async def cut_off() -> None:
            async with jobs.receiving(PATIENT) as (_, part):
                part.write_bytes(b"half of")
                raise ConnectionError

        with pytest.raises(ConnectionError):
            await cut_off()
        assert uploads(tmp_path) == []


async def test_only_its_owner_may_read_what_is_kept(tmp_path: Path) -> None:
    async with at_work(tmp_path / "new", Scripted(SUMMARY)) as jobs:
        await upload(jobs)
        assert stat.S_IMODE((tmp_path / "new" / FILE).stat().st_mode) == 0o600
        assert stat.S_IMODE(jobs.folder.stat().st_mode) == 0o700


async def test_two_gateways_do_not_share_a_book(tmp_path: Path) -> None:
    async with at_work(tmp_path, Scripted(SUMMARY)) as jobs:
        await upload(jobs)
        second = Jobs(tmp_path, Scripted(SUMMARY), policy=QUICK)
        with pytest.raises(JobsUnusable, match="who else has it"):
            await second.start()
        with pytest.raises(JobsUnusable):
            await upload(second)


async def test_a_book_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"this is no database" * 100)
    importer = Scripted(SUMMARY)
    jobs = Jobs(tmp_path, importer, policy=QUICK)
    with pytest.raises(JobsUnusable):
        await jobs.start()
    work = asyncio.create_task(jobs.run())
    await asyncio.sleep(0.1)
    assert not work.done()
    (tmp_path / FILE).unlink()
    async with asyncio.timeout(10):
        while True:
            try:
                job = await upload(jobs)
                break
            except JobsUnusable:
                await asyncio.sleep(0.02)
    await in_state(jobs, job, JobState.SUCCEEDED)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await jobs.stop()


def test_a_book_of_another_format_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(JobsUnusable, match="format 9"):
        JobBook(tmp_path).open()


async def test_an_end_that_the_disk_did_not_take_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left as running, nothing would ever take it up again, and its upload would stay."""
    saved, save = list[JobState](), JobBook.save

    def failing(book: JobBook, job: Job) -> bool:
        saved.append(job.state)
        if saved.count(JobState.SUCCEEDED) in {1, 2} and job.state is JobState.SUCCEEDED:
            raise JobsUnusable("the disk is full")
        return save(book, job)

    monkeypatch.setattr(JobBook, "save", failing)
    importer = Scripted(SUMMARY)
    async with at_work(tmp_path, importer) as jobs:
        job, next_ = await upload(jobs, b"1"), await upload(jobs, b"2")
        done = await in_state(jobs, job, JobState.SUCCEEDED)
        assert (done.summary, done.tries) == (SUMMARY, 1)
        await in_state(jobs, next_, JobState.SUCCEEDED)
        assert [content for _, content in importer.read] == [b"1", b"2"]
        assert uploads(tmp_path) == []


async def test_a_job_is_not_begun_once_its_senders_credential_has_ended(tmp_path: Path) -> None:
    standing, asked = {"h-1"}, list[str]()

    async def stands(holder: str) -> bool:
        asked.append(holder)
        if len(asked) == 1:
            raise Unavailable("the database is away")
        return holder in standing

    importer = Scripted(SUMMARY)
    jobs = Jobs(tmp_path, importer, policy=QUICK, stands=stands)
    await jobs.start()
    found = []
    for holder in ("h-1", "h-2", ""):
        async with jobs.receiving(PATIENT) as (job_id, part):
            part.write_bytes(holder.encode())
            found.append(Job(job_id, PATIENT, "apple-export", "UTC", 3, system_clock(), holder=holder))
            await jobs.add(found[-1], part)
    work = asyncio.create_task(jobs.run())
    good, gone, nobodys = found
    await in_state(jobs, good, JobState.SUCCEEDED)
    failed = await in_state(jobs, gone, JobState.FAILED)
    await in_state(jobs, nobodys, JobState.SUCCEEDED)
    assert (failed.code, failed.tries, failed.holder) == ("revoked", 1, "h-2")
    assert sorted(content for _, content in importer.read) == [b"", b"h-1"]
    assert uploads(tmp_path) == []
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await jobs.stop()


async def test_a_job_waits_while_credentials_are_unknown() -> None:
    job, policy = Job("j", PATIENT, "a", "UTC", 1, 10**15, tries=1), JobPolicy()
    task = _ended(CredentialsUnknown("away"))
    await asyncio.wait({task})
    waits = after(job, task, 10**15, policy)
    assert (waits.state, waits.code, waits.tries) == (JobState.QUEUED, "credentials_unknown", 0)
