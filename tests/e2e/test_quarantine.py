"""Quarantine from end to end, with the real services: rejected by yesterday's rules, told of, replayed, stored once."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from ingest.admin import create_topics
from ingest.publisher import Publisher
from ingest.record import Record, decode, encode
from ingest.topics import QUARANTINE, SAMPLES, SAMPLES_BACKFILL, WAVEFORMS
from ingest.waveform_record import encode_chunk
from tests.stream.features.recordings import made_ecg, regular_beats
from tests.stream.waveforms import chunks
from timeseries.migrate import migrate
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.postgres import EmbeddedPostgres
from vigil.supervisor import Worker
from vitals.batch import BatchHeader, sample_columns
from vitals.ids import device_id, patient_id

pytestmark = pytest.mark.slow

PARTITIONS = 2
HEADER = BatchHeader(patient_id("patient-17"), device_id("watch-1"), "app", "bridge")
# What no output may hold: a name, a birth date, a street, and the measured values themselves.
SECRETS = ("Anna", "Schmidt", "1961-04-12", "Lindenweg", "151.25", "162.5")
NAME = b"Anna Schmidt 1961-04-12 Lindenweg 5"

# The release before today's: recorders that believe in no heart rate above 100, and in no chunk longer than 1.5 s.
YESTERDAY = """
import sys
from vitals import validity, waveform_validity
validity.HIGH = validity.HIGH.copy()
validity.HIGH[1] = 100
waveform_validity.MAX_DURATION_S = 1.5
sys.argv = ["vigil", *sys.argv[1:]]
from vigil.cli import main
main()
"""


class Yesterday(Worker):
    """A worker of the release with the stricter rule."""

    def _command(self) -> Sequence[str]:
        return [sys.executable, "-c", YESTERDAY, *self._arguments]


@dataclass(frozen=True)
class World:
    """A broker and a database of our own, and the commands over them."""

    url: str
    bootstrap: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.url, "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap, "VIGIL_LOG_FORMAT": "json",
            "VIGIL_LOG_LEVEL": "debug", "VIGIL_SESSION_S": "3",
        }  # fmt: skip

    def worker(self, name: str, *arguments: str, release: type[Worker] = Worker) -> Worker:
        return release(name, arguments, self.environment, self.folder)

    def quarantine(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "vigil", "quarantine", *arguments],
            env=self.environment | {"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False, timeout=90,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        with (self.folder / "commands.log").open("a") as log:
            log.write(done.stdout + done.stderr)
        return done.stdout

    def replay(self, *arguments: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.quarantine("replay", "--json", *arguments))
        return told

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()

    def count(self, statement: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {statement}")[0][0])

    def wait(self, until: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not until():
            assert time.monotonic() < deadline, f"{what} did not happen: {self.logs()[-3000:]}"
            time.sleep(0.1)

    def logs(self) -> str:
        return "\n".join(log.read_text() for log in sorted(self.folder.glob("*.log")) if log.name != "broker.log")

    def topic(self, name: str) -> list[Any]:
        return asyncio.run(_everything(self.bootstrap, name))


async def _everything(bootstrap: str, topic: str) -> list[Any]:
    """Every record of a topic."""
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False) as consumer:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[Any] = []
        while len(found) < sum(ends.values()):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
        return found


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with (
        tempfile.TemporaryDirectory(prefix="vigil-quarantine-") as name,
        EmbeddedBroker(log=Path(name) / "broker.log") as broker,
        EmbeddedPostgres(Path(name) / "data") as postgres,
    ):
        migrate(postgres.url)
        asyncio.run(create_topics(broker.bootstrap, partitions=PARTITIONS))
        yield World(postgres.url, broker.bootstrap, Path(name))


def _record(values: Sequence[float], first_s: int) -> Record:
    now_us = time.time_ns() // 1_000 - 600_000_000
    start = now_us + (first_s + np.arange(len(values))) * 1_000_000
    ids = np.arange(16 * len(values), dtype=np.uint8).reshape(-1, 16)
    columns = sample_columns(
        start, np.ones(len(values), np.int16), np.array(values), received_us=start + 7, written_us=start + 3,
        zone_offset_min=120, sample_id=ids,
    )  # fmt: skip
    return encode(HEADER, columns)


def _records() -> list[Record]:
    """Two batches with what yesterday rejects, one with what every release rejects, and what a stranger sends."""
    good, headers = _record([60.0, 151.25, 61.0, 162.5], 0), _record([60.0], 0).headers
    named = (*headers, ("patient-name", NAME), ("traceparent", NAME))
    weight = encode(HEADER, sample_columns(
        np.array([10**15]), np.array([14], np.int16), np.array([70.0]), received_us=10**15))  # fmt: skip
    return [
        Record(good.key, good.value, (*good.headers, ("patient-name", NAME), ("traceparent", NAME))),
        _record([162.5, 400.0], 100),
        Record(NAME, good.value, headers),
        Record(good.key, NAME, named),
        Record(
            good.key, good.value, (("vigil-schema", b"1"), ("vigil-device", b"Anna's iPhone"), ("vigil-adapter", NAME))
        ),
        Record(good.key, weight.value.replace(b"weight", b"Anna-S"), headers),
    ]


async def _send(bootstrap: str, records: Sequence[Record], topic: str = SAMPLES) -> None:
    async with Publisher(bootstrap) as publisher:
        for record in records:
            await publisher.confirm([await publisher.send(record, topic=topic)])


def test_from_rejected_to_stored_once_and_nobody_is_named(world: World) -> None:
    asyncio.run(_send(world.bootstrap, _records()))
    with world.worker("recorder-yesterday", "recorder", release=Yesterday):
        world.wait(lambda: world.count("quarantine") == 8, "quarantine by yesterday's rules")
        world.wait(lambda: world.count("samples") == 2, "storing the rest")
    _is_listed(world)

    dry = world.replay("--all", "--dry-run")
    assert (dry["passing"], dry["samples_accepted"], dry["cannot_be_replayed"]) == (3, 3, 2)
    assert dry["rejected"] == {"headers": 2, "out_of_range": 1, "undecodable": 1, "unknown_metric": 1}
    with world.worker("recorder", "recorder"), world.worker("backfill", "recorder", "--lane", "backfill"):
        _is_replayed_once(world)
        _is_told(world)
    _names_nobody(world)


def _is_listed(world: World) -> None:
    told = json.loads(world.quarantine("list", "--json"))
    counts = {word: one["samples"] + one["records"] for word, one in told["by"]["reason"].items()}
    assert counts == {"out_of_range": 4, "headers": 2, "undecodable": 1, "unknown_metric": 1}
    assert told["by"]["device"].keys() == {"watch-1", "unknown"}
    for options in ((), ("--patients",), ("--reason", "headers")):
        words = world.quarantine("list", *options)
        assert "headers" in words
        assert ("patient-17" in words) == (options == ("--patients",))


def _is_replayed_once(world: World) -> None:
    assert world.replay("--reason", "out_of_range")["replayed"] == 3
    world.wait(lambda: world.count("samples") == 5, "storing what was replayed")
    stored = world.rows("SELECT value FROM current_samples WHERE patient_id = 'patient-17' ORDER BY time")
    assert [value for (value,) in stored] == [60.0, 151.25, 61.0, 162.5, 162.5]
    clocks = world.rows("SELECT DISTINCT written_at - time, received_at - time, zone_offset_min, device_id, source_app "
                        "FROM current_samples")  # fmt: skip
    assert [(w.microseconds, r.microseconds, *rest) for w, r, *rest in clocks] == [(3, 7, 120, "watch-1", "app")]
    assert world.replay("--all")["replayed"] == 0
    assert world.replay("--all", "--again")["replayed"] == 3
    world.wait(
        lambda: world.rows("SELECT sum(samples) FROM duplicates WHERE reason = 'resent'") == [(3,)], "the repeat"
    )
    assert (world.count("samples"), world.count("sample_revisions")) == (5, 0)
    assert world.count("quarantine WHERE replayed_at IS NULL") == 5
    assert world.count("quarantine") == 8


def _is_told(world: World) -> None:
    with world.worker("feed", "quarantine", "feed"):
        world.wait(lambda: world.count("quarantine_outbox") == 0, "the feed")
    told = [json.loads(record.value) for record in world.topic(QUARANTINE)]
    places = world.rows("""SELECT topic, partition, epoch, "offset", index, reason FROM quarantine""")
    assert {(m["topic"], m["partition"], m["epoch"], m["offset"], m["index"], m["reason"]) for m in told} == set(places)
    assert len({m["id"] for m in told}) == len(places)


def _names_nobody(world: World) -> None:
    def text_of(topic: str) -> str:
        return "".join(f"{record.key!r} {record.headers!r} {record.value!r}" for record in world.topic(topic))

    assert NAME.decode() in text_of(SAMPLES), "the search finds what is there"
    for where, text in ((name, text_of(name)) for name in (QUARANTINE, SAMPLES_BACKFILL)):
        assert not [secret for secret in SECRETS if secret in text], where
    assert not [secret for secret in SECRETS if secret in world.logs()]
    sent = world.topic(SAMPLES_BACKFILL)
    assert sent, "the search had something to search"
    for record in sent:
        header, _ = decode(record.key, record.value, record.headers)
        assert header.patient_id == "patient-17"
        assert dict(record.headers)["vigil-replay"].startswith(b"vigil.samples/")


def test_a_replay_that_is_killed_between_sending_and_marking_is_repeated_and_stored_once(world: World) -> None:
    records = [_record([101.0 + n], 200 + n) for n in range(30)]
    before, waiting = world.count("samples"), "quarantine WHERE replayed_at IS NULL AND reason = 'out_of_range'"
    asyncio.run(_send(world.bootstrap, records))
    with world.worker("recorder-yesterday", "recorder", release=Yesterday):
        world.wait(lambda: world.count(waiting) == 31, "quarantine by yesterday's rules")
    sent = len(world.topic(SAMPLES_BACKFILL))
    with psycopg.connect(world.url) as blocker:
        blocker.execute("LOCK TABLE quarantine IN SHARE MODE")  # it can be read, but no row can be marked
        with world.worker("replay", "quarantine", "replay", "--all") as replay:
            world.wait(lambda: len(world.topic(SAMPLES_BACKFILL)) == sent + 30, "sending")
            replay.kill()
        world.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%UPDATE quarantine %'"
            " AND pid <> pg_backend_pid()"
        )  # its session too, or it would still mark what it was told to
    assert world.count(waiting) == 31
    with world.worker("backfill", "recorder", "--lane", "backfill"):
        assert world.replay("--all")["replayed"] == 30
        world.wait(lambda: world.count("samples") == before + 30, "storing")
        resent = "SELECT sum(samples) FROM duplicates WHERE reason = 'resent'"
        world.wait(lambda: world.rows(resent) == [(33,)], "the repeat")
    assert (world.count("samples"), world.count(waiting)) == (before + 30, 1)


def test_a_feed_that_is_killed_between_publishing_and_marking_tells_again(world: World) -> None:
    _quarantine_more(world, 40)
    before, untold = len(world.topic(QUARANTINE)), world.count("quarantine_outbox")
    feed = world.worker("feed", "quarantine", "feed")
    with psycopg.connect(world.url) as blocker:
        blocker.execute("LOCK TABLE quarantine_outbox IN SHARE MODE")  # rows can be taken, but not forgotten
        with feed:
            world.wait(lambda: len(world.topic(QUARANTINE)) >= before + untold, "publishing")
            feed.kill()
    assert world.count("quarantine_outbox") == untold
    with world.worker("feed", "quarantine", "feed"):
        world.wait(lambda: world.count("quarantine_outbox") == 0, "publishing again")
    told = [json.loads(record.value)["id"] for record in world.topic(QUARANTINE)]
    again = [one for one in told if one.startswith("vigil.samples/9/")]
    assert len(again) == 80
    assert len(set(again)) == 40


def _quarantine_more(world: World, count: int) -> None:
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute(
            """INSERT INTO quarantine (topic, partition, epoch, "offset", index, reason)
               SELECT 'vigil.samples', 9, 0, n, 0, 'future' FROM generate_series(1, %s) n""",
            (count,),
        )


def test_a_replayed_chunk_of_a_waveform_is_stored_once_and_no_beat_is_found_in_it_afterwards(world: World) -> None:
    """Ten seconds of an ECG, of which yesterday refused two in the middle: replayed they come after the others."""
    whose = BatchHeader(patient_id("patient-18"), device_id("strap-1"), "app", "strap")
    told = chunks("ecg", 250.0, made_ecg(250.0, regular_beats(10.0), 10.0).reshape(1, -1), range(250, 2_500, 250))
    told[4:6] = chunks("ecg", 250.0, told[4].physical().repeat(2, axis=1), start_us=told[4].start_us)
    records = [encode_chunk(whose, chunk) for chunk in told]
    named = replace(records[4], headers=(("patient-name", NAME), *records[4].headers))
    asyncio.run(_send(world.bootstrap, [*records[:4], named, *records[5:]], WAVEFORMS))
    with world.worker("waveforms-yesterday", "recorder", "--lane", "waveforms", release=Yesterday):
        world.wait(lambda: world.count("waveforms") == 8, "storing what yesterday takes")
    memory = world.rows("SELECT encode(state, 'hex') FROM feature_state")
    beats = world.count("current_samples WHERE metric = 'rr_interval' AND patient_id = 'patient-18'")
    assert (len(memory), beats > 0) == (1, True)

    which = ("--reason", "duration")
    dry = world.replay(*which, "--dry-run")
    assert (dry["rows"], dry["passing"], dry["chunks_accepted"], dry["samples_accepted"]) == (1, 1, 1, 0)
    with world.worker("waveforms", "recorder", "--lane", "waveforms"):
        assert world.replay(*which)["replayed"] == 1
        world.wait(lambda: world.count("waveforms") == 9, "storing what was replayed")
        assert (world.replay(*which)["replayed"], world.replay(*which, "--again")["replayed"]) == (0, 1)
        resent = "SELECT samples FROM duplicates WHERE (adapter, reason) = ('strap', 'resent')"
        world.wait(lambda: world.rows(resent) == [(1,)], "the repeat")
    stored = world.rows('SELECT "values" FROM waveforms ORDER BY time')
    assert [values for (values,) in stored] == [chunk.values[0].tolist() for chunk in told]
    assert world.rows("SELECT encode(state, 'hex') FROM feature_state") == memory, "it was late"
    assert world.count("current_samples WHERE metric = 'rr_interval' AND patient_id = 'patient-18'") == beats
    replayed = [record for record in world.topic(WAVEFORMS) if "vigil-replay" in dict(record.headers)]
    assert len(replayed) == 2
    assert not any(NAME in value for record in replayed for value in (record.value, *dict(record.headers).values()))
