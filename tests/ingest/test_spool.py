"""The spool: what it took outlives kills, torn tails and full disks, in order; what it cannot take it refuses."""

import asyncio
import contextlib
import itertools
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from ingest.publisher import Publisher
from ingest.record import Record, decode, encode
from ingest.spool import Arrival, Place, Spool, Spooled, SpoolFull, SpoolPolicy, SpoolUnusable
from ingest.spool.arrival import ArrivalPolicy
from ingest.spool.draining import acknowledged_prefixes
from ingest.spool.store import FILE
from ingest.topics import MAX_MESSAGE_BYTES, SAMPLES_BACKFILL
from tests.ingest.test_record import HEADER, heart_rates
from tests.services.topics import new_topic, read
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.ports import HOST, free_port
from vitals.clock import US_PER_S

T0 = 1_717_243_200_000_000
REPO = Path(__file__).resolve().parents[2]


def record(number: int, *, patient: bytes = b"p1", size: int = 100) -> Record:
    return Record(patient, number.to_bytes(4, "big") * (size // 4), (("vigil-device", b"d1"), ("odd", b"\xff\x00")))


def number_of(one: Spooled | Record) -> int:
    value = one.record.value if isinstance(one, Spooled) else one.value
    assert value == value[:4] * (len(value) // 4), "whole"
    return int.from_bytes(value[:4], "big")


def fill(spool: Spool, group: int, *, match: str, size: int = 100) -> int:
    """Put groups of records until one is refused, and return how many records went in."""
    for first in itertools.count(0, group):
        try:
            spool.put([record(first + n, size=size) for n in range(group)], now_us=T0)
        except SpoolFull as full:
            if not re.search(match, str(full)):
                raise
            return first
    raise AssertionError("never full")


def test_first_in_first_out_with_everything_that_belongs_to_a_record(tmp_path: Path) -> None:
    records = [record(n) for n in range(10)]
    with Spool(tmp_path) as spool:
        spool.put(records[:4], now_us=T0)
        spool.put(records[4:], now_us=T0 + 1, topic="vigil.waveforms")
        taken = spool.take(100)
        assert [one.record for one in taken] == records
        assert [one.topic for one in taken] == [SAMPLES_BACKFILL] * 4 + ["vigil.waveforms"] * 6
        spool.drop(taken[:3])
        assert [number_of(one) for one in spool.take(2)] == [3, 4]


def test_what_waits_is_counted_and_its_age_told(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        assert (spool.state(T0).count, spool.state(T0).oldest_age_s) == (0, None)
        spool.put([record(1)], now_us=T0)
        spool.put([record(2)], now_us=T0 + 5 * US_PER_S)
        state = spool.state(T0 + 7 * US_PER_S)
        assert (state.count, state.oldest_age_s) == (2, 7.0)
        assert 200 < state.size_bytes < 400
        assert spool.state(T0 - US_PER_S).oldest_age_s == 0, "a clock that was set back"
    with Spool(tmp_path) as spool:
        assert spool.state(T0 + 7 * US_PER_S) == state
        spool.drop(spool.take(1))
        assert spool.state(T0 + 7 * US_PER_S).oldest_age_s == 2.0


def test_a_full_spool_refuses_what_is_new_and_keeps_what_it_took(tmp_path: Path) -> None:
    with Spool(tmp_path, SpoolPolicy(max_bytes=2_000)) as spool:
        taken = fill(spool, 1, match="of 2000 bytes")
        assert taken > 5
        with pytest.raises(SpoolFull):
            spool.put([record(100), record(101)], now_us=T0)
        assert [number_of(one) for one in spool.take(100)] == list(range(taken))
        spool.drop(spool.take(2))
        spool.put([record(taken)], now_us=T0)
        assert [number_of(one) for one in spool.take(100)] == list(range(2, taken + 1))


def test_a_spool_whose_oldest_waits_too_long_refuses_what_is_new(tmp_path: Path) -> None:
    with Spool(tmp_path, SpoolPolicy(max_age_s=60)) as spool:
        spool.put([record(1)], now_us=T0)
        spool.put([record(2)], now_us=T0 + 60 * US_PER_S)
        with pytest.raises(SpoolFull, match="oldest"):
            spool.put([record(3)], now_us=T0 + 61 * US_PER_S)
        spool.drop(spool.take(1))
        spool.put([record(3)], now_us=T0 + 61 * US_PER_S)
        assert spool.state(T0).count == 2


def test_a_disk_that_fills_takes_all_of_a_group_or_nothing(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        assert spool._db is not None
        (pages,) = spool._db.execute("PRAGMA page_count").fetchone()
        spool._db.execute(f"PRAGMA max_page_count = {pages + 30}")  # SQLITE_FULL, as with ENOSPC
        taken = fill(spool, 2, match="disk is full", size=4_000)
        assert [number_of(one) for one in spool.take(100)] == list(range(taken))
        assert spool.state(T0).count == taken > 0
        spool.drop(spool.take(4))
        spool.put([record(taken, size=4_000)], now_us=T0)


def test_a_record_that_no_broker_would_take_is_refused_at_the_door(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool, pytest.raises(ValueError, match="at most"):
        spool.put([record(1, size=MAX_MESSAGE_BYTES)], now_us=T0)


def test_taking_is_bounded_in_bytes_too(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.put([record(n, size=10_000) for n in range(10)], now_us=T0)
        assert [number_of(one) for one in spool.take(10, limit_bytes=25_000)] == [0, 1, 2]
        assert [number_of(one) for one in spool.take(10, limit_bytes=1)] == [0]


def test_only_its_owner_reads_it_and_what_was_sent_does_not_linger(tmp_path: Path) -> None:
    folder = tmp_path / "deeper" / "spool"
    with Spool(folder) as spool:
        spool.put([Record(b"p1", b"blood-pressure-180" * 50_000, ())], now_us=T0)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert all(file.stat().st_mode & 0o077 == 0 for file in folder.iterdir())
        spool.drop(spool.take(1))
        left = b"".join(file.read_bytes() for file in folder.iterdir() if file.name != "spool.reserve")
        assert b"blood-pressure" not in left
        assert len(left) < 100_000, "its room is given back"


def test_a_second_process_is_told_so(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.put([record(1)], now_us=T0)
        with pytest.raises(SpoolUnusable, match="another process"):
            Spool(tmp_path).open()
        assert spool.state(T0).count == 1


def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all" * 1_000)
    with pytest.raises(SpoolUnusable, match="damaged: move its folder away"):
        Spool(tmp_path).open()
    assert (tmp_path / FILE).read_bytes() == b"no database at all" * 1_000


def test_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(SpoolUnusable, match="format 2"):
        Spool(tmp_path).open()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolUnusable, match="cannot be used"):
        Spool(tmp_path / "file" / "spool").open()
    with pytest.raises(SpoolUnusable, match="not open"):
        Spool(tmp_path).put([record(1)], now_us=T0)


_WRITER = """
import sys, time
from pathlib import Path
from ingest.record import Record
from ingest.spool import Spool
first = int(sys.argv[2])
with Spool(Path(sys.argv[1])) as spool:
    for number in range(first, first + 100_000):
        spool.put([Record(b"p1", number.to_bytes(4, "big") * 300, ())], now_us=time.time_ns() // 1_000)
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
"""


def test_what_was_acknowledged_outlives_sigkill_again_and_again(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    acknowledged = -1
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), str(acknowledged + 1)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPO,
        ) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            assert first, "the writer has begun"
            time.sleep(draw.uniform(0, 0.15))
            writer.send_signal(signal.SIGKILL)
            told = [int(line) for line in (first + writer.stdout.read()).splitlines(keepends=True) if line[-1] == "\n"]
        with Spool(tmp_path) as spool:
            kept = [number_of(one) for one in spool.take(100_000, limit_bytes=1 << 30)]
        assert kept == list(range(len(kept))), "in order, without gap or repetition"
        assert told[-1] <= kept[-1] <= told[-1] + 1, "one may be written and its acknowledgement not yet"
        acknowledged = kept[-1]


@pytest.mark.parametrize("tear", ["cut", "garbled"])
def test_a_torn_tail_costs_what_was_never_whole(tmp_path: Path, tear: str) -> None:
    """The log's end cut anywhere, or overwritten, as a disk leaves it that lost power."""
    whole, draw = tmp_path / "whole", random.Random(7)
    sizes = []
    with Spool(whole) as spool:
        log = whole / f"{FILE}-wal"
        for n in range(20):
            spool.put([record(n, size=6_000)], now_us=T0)
            sizes.append(log.stat().st_size)
        image = {file.name: file.read_bytes() for file in whole.iterdir()}
    for attempt in range(25):
        at = draw.randrange(sizes[0], sizes[-1])
        folder = tmp_path / str(attempt)
        folder.mkdir()
        for name, content in image.items():
            (folder / name).write_bytes(content)
        tail = image[log.name][at:] if tear == "garbled" else b""
        (folder / log.name).write_bytes(image[log.name][:at] + bytes(octet ^ 0x5A for octet in tail))
        with Spool(folder) as spool:
            kept = [number_of(one) for one in spool.take(100)]
            assert kept == list(range(len(kept)))
            assert len(kept) == sum(size <= at for size in sizes), "what was whole before the tear is there"
            spool.put([record(len(kept))], now_us=T0)
            assert [number_of(one) for one in spool.take(100)] == list(range(len(kept) + 1))
        shutil.rmtree(folder)


def test_only_what_stands_before_a_patients_first_refused_record_may_go() -> None:
    def spooled(number: int, patient: bytes) -> Spooled:
        return Spooled(number, T0, 1, "topic", Record(patient, b"v", ()))

    waiting = [spooled(n, patient) for n, patient in enumerate([b"a", b"b", b"a", b"b", b"a", b"c"])]
    done = acknowledged_prefixes(waiting, [True, True, False, True, True])
    assert [one.number for one in done] == [0, 1, 3], "a's record 4 goes again behind 2; c's was not sent"
    assert acknowledged_prefixes(waiting, []) == []
    assert acknowledged_prefixes(waiting, [True] * 6) == waiting


HURRY = ArrivalPolicy(first_s=0.1, longest_s=0.5, look_every_s=0.2)


@contextlib.asynccontextmanager
async def arrival(bootstrap: str, folder: Path, policy: SpoolPolicy | None = None) -> AsyncIterator[Arrival]:
    publisher = Publisher(bootstrap, timeout_s=2)
    async with Arrival(publisher, Spool(folder, policy), policy=HURRY) as way_in:
        yield way_in


def beats(count: int) -> Record:
    """A batch that its number of samples tells from others."""
    return encode(HEADER, heart_rates(count))


def counts(values: Sequence[bytes]) -> list[int]:
    sent = beats(1)
    return [len(decode(sent.key, value, sent.headers)[1]) for value in values]


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_while_the_broker_answers_nothing_touches_the_disk(broker: EmbeddedBroker, tmp_path: Path) -> None:
    topic = await new_topic(broker.bootstrap)
    async with arrival(broker.bootstrap, tmp_path) as way_in:
        assert await way_in.accept(beats(3), topic=topic, later="nowhere") is Place.BROKER
        assert way_in._spool.state(T0).count == 0
    assert counts(await read(broker.bootstrap, topic, 1)) == [3]


async def test_nobody_listens_so_records_wait_on_disk_and_many_at_once_share_its_fsyncs(tmp_path: Path) -> None:
    nobody = f"{HOST}:{free_port()}"
    async with arrival(nobody, tmp_path) as way_in:
        assert not way_in.broker_up
        places = await asyncio.gather(*(way_in.accept(beats(n)) for n in range(1, 301)))
        assert set(places) == {Place.SPOOL}
    with Spool(tmp_path) as spool:
        waiting = spool.take(1_000)
        assert counts([one.record.value for one in waiting]) == list(range(1, 301))
        assert {one.topic for one in waiting} == {SAMPLES_BACKFILL}
        assert len({one.kept_us for one in waiting}) < 30, "a transaction has one time"


async def test_a_full_spool_refuses_each_and_takes_what_has_room(tmp_path: Path) -> None:
    nobody, small, large = f"{HOST}:{free_port()}", beats(1), beats(2_000)
    room = 4 * (len(small.value) + 400)
    async with arrival(nobody, tmp_path, SpoolPolicy(max_bytes=room)) as way_in:
        outcomes = await asyncio.gather(*(way_in.accept(one) for one in (small, large, small)), return_exceptions=True)
        assert outcomes[0] is outcomes[2] is Place.SPOOL
        assert isinstance(outcomes[1], SpoolFull)


async def test_over_an_outage_and_a_restart_everything_arrives_in_order_and_live_does_not_wait(tmp_path: Path) -> None:
    with EmbeddedBroker() as own:
        live, later = "test.live", "test.later"
        await _make(own.bootstrap, live, later)
        async with arrival(own.bootstrap, tmp_path) as way_in:
            assert await way_in.accept(beats(1), topic=live, later=later) is Place.BROKER
            own.kill()
            assert await way_in.accept(beats(2), topic=live, later=later) is Place.SPOOL
            began_s = time.monotonic()
            for n in range(3, 40):
                assert await way_in.accept(beats(n), topic=live, later=later) is Place.SPOOL
            assert time.monotonic() - began_s < 5, "a broker that is known to be away costs nobody a timeout"
        async with arrival(own.bootstrap, tmp_path) as way_in:
            assert await way_in.accept(beats(40), topic=live, later=later) is Place.SPOOL
            own.start()
            await _make(own.bootstrap, live, later)
            await until(lambda: way_in.broker_up)
            assert await way_in.accept(beats(41), topic=live, later=later) is Place.BROKER
            await until(lambda: way_in._spool.state(T0).count == 0)
        drained = counts(await read(own.bootstrap, later, 39, timeout_s=5))
        assert list(dict.fromkeys(drained)) == list(range(2, 41)), "in order; one may have come twice"
        assert counts(await read(own.bootstrap, live, 1)) == [41]


async def _make(bootstrap: str, *topics: str) -> None:
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1) for name in topics])
    await admin.close()
