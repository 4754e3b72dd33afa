"""The commands on quarantine, over a real PostgreSQL: what they show, send and mark, and what they never say."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from ingest.publisher import BrokerUnreachable
from ingest.record import Record, decode, encode
from stream import assemble
from stream.assemble import RawRecord
from stream.quarantine_feed import feed
from stream.quarantine_replay import DERIVED
from stream.recorder import Recorder
from tests.stream.fakes import FakeLog
from tests.timeseries.making import query
from timeseries.lifecycle import run as lifecycle
from timeseries.migrate import migrate
from timeseries.quarantine_model import Place, Selection
from timeseries.quarantine_outbox import QuarantineOutbox
from timeseries.quarantine_review import QuarantineReview
from timeseries.store import SampleStore
from vigil.quarantine import PAGE_RECORDS, Tally, replay
from vigil.quarantine_screen import WORDS
from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.ids import device_id, patient_id
from vitals.quality import Reason
from vitals.validity import REASONS, reasons

TOPIC = "vigil.samples"
NAME = "Anna Schmidt 1961-04-12"
T0 = 1_800_000_000_000_000
CODE = {reason: number for number, reason in enumerate(REASONS)}


def raw(offset: int, values: Sequence[float], *, patient: str = "p1", device: str = "d1", at: int | None = None,
        adapter: str = "ble", **changes: Any) -> RawRecord:  # fmt: skip
    header = BatchHeader(patient_id(patient), device_id(device), "app", adapter)
    start = T0 + (100 * offset if at is None else at) * 1_000_000 + np.arange(len(values)) * 1_000_000
    columns = sample_columns(start, np.ones(len(values), np.int16), np.array(values, float), received_us=start + 9)
    made = encode(header, columns)
    return replace(
        RawRecord(TOPIC, 0, offset, 1_800_000_000_000 + offset, made.key, made.value, made.headers), **changes
    )


def foreign(offset: int) -> list[RawRecord]:
    """Records with a name in the key, in headers, and in the value."""
    good = raw(offset, [60.0])
    return [
        replace(good, key=NAME.encode()),
        replace(good, offset=offset + 1, headers=[*good.headers, (NAME, NAME.encode())], value=NAME.encode()),
        replace(good, offset=offset + 2, headers=[("vigil-schema", b"1"), ("vigil-device", b"Anna's Watch")]),
    ]


def strict(columns: SampleColumns) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Yesterday's rules: no heart rate above 100."""
    codes = reasons(columns)
    codes[(codes == 0) & (columns.value > 100)] = CODE[Reason.OUT_OF_RANGE]
    return codes


@pytest.fixture
def record(database: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[RawRecord]], None]:
    """Records by a recorder of yesterday, into the real store."""
    monkeypatch.setattr(assemble, "reasons", strict)

    def take(records: Sequence[RawRecord]) -> None:
        asyncio.run(_take(database, records))

    return take


async def _take(url: str, records: Sequence[RawRecord]) -> None:
    async with SampleStore(url) as store:
        recorder = Recorder(store, FakeLog(records))
        await recorder.assigned([(TOPIC, 0)])
        await recorder.take(records)


def vigil(*arguments: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "vigil", "quarantine", *arguments],
        env={"PATH": os.environ["PATH"]} | variables, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


class Broker:
    """Takes records as the publisher does; `fails_at` says after how many it takes no more."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.taken: list[Record] = []
        self.fails_at = fails_at

    async def send(self, record: Record, *, topic: str) -> asyncio.Future[Any]:
        assert topic == "vigil.samples.backfill"
        ack: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.fails_at is not None and len(self.taken) >= self.fails_at:
            ack.set_exception(BrokerUnreachable("away"))
        else:
            self.taken.append(record)
            ack.set_result(None)
        return ack

    async def confirm(self, acks: list[asyncio.Future[Any]]) -> None:
        for ack in acks:
            await ack


def run(url: str, selection: Selection, broker: Broker | None) -> Tally:
    tally = Tally()

    async def work() -> None:
        async with QuarantineReview(url) as review:
            extent = await review.extent(selection)
            tally.conflicts = extent.conflicts
            await replay(review, selection, extent.until, tally, broker)

    asyncio.run(work())
    return tally


def waiting(url: str) -> int:
    return int(query(url, "SELECT count(*) FROM quarantine WHERE replayed_at IS NULL")[0][0])


def test_the_list_counts_and_names_places(database: str, record: Callable[[Sequence[RawRecord]], None]) -> None:
    record([raw(0, [60, 150, 160]), raw(1, [170], device="d2"), *foreign(2)])
    told = json.loads(vigil("list", "--json", DATABASE_URL=database).stdout)
    assert {word: (one["samples"], one["records"]) for word, one in told["by"]["reason"].items()} == {
        "out_of_range": (3, 0), "headers": (0, 2), "undecodable": (0, 1),
    }  # fmt: skip
    assert {word: one["samples"] + one["records"] for word, one in told["by"]["device"].items()} == {
        "d1": 4, "d2": 1, "unknown": 1,
    }  # fmt: skip
    assert set(told["by"]["topic"]) == {TOPIC}
    assert (told["total"]["samples"], told["total"]["records"]) == (3, 3)
    assert {one["place"] for one in told["newest"]} == {f"{TOPIC}/0/0/{offset}" for offset in range(5)}
    assert {one["metric"] for one in told["newest"] if one["reason"] == "out_of_range"} == {"heart_rate"}
    assert not any("patient" in one or "value" in one for one in told["newest"])


@pytest.mark.parametrize(
    ("options", "total"),
    [
        (("--reason", "headers"), 2), (("--reason", "headers", "--reason", "undecodable"), 3), (("--device", "d2"), 1),
        (("--adapter", "unknown"), 1), (("--adapter", "nobody"), 0), (("--since", "1min"), 6),
    ],
)  # fmt: skip
def test_the_list_can_be_narrowed(
    database: str, record: Callable[[Sequence[RawRecord]], None], options: tuple[str, ...], total: int
) -> None:
    record([raw(0, [60, 150, 160]), raw(1, [170], device="d2"), *foreign(2)])
    counted = json.loads(vigil("list", "--json", *options, DATABASE_URL=database).stdout)["total"]
    assert counted["samples"] + counted["records"] == total


def test_what_is_older_than_asked_is_left_out(database: str, record: Callable[[Sequence[RawRecord]], None]) -> None:
    record([raw(0, [150])])
    query(database, "UPDATE quarantine SET recorded_at = recorded_at - interval '8 days'")
    assert "nothing" in vigil("list", DATABASE_URL=database).stdout
    assert "out_of_range" in vigil("list", "--since", "9d", DATABASE_URL=database).stdout
    assert run(database, Selection(reasons=("out_of_range",)), None).passing == 1


def test_nobody_is_named_and_a_patient_only_where_asked(
    database: str, record: Callable[[Sequence[RawRecord]], None]
) -> None:
    record([raw(0, [60, 151.25], patient="patient-17"), *foreign(1)])
    plain = vigil("list", DATABASE_URL=database).stdout + vigil("list", "--json", DATABASE_URL=database).stdout
    asked = vigil("list", "--patients", DATABASE_URL=database).stdout
    dry = vigil("replay", "--all", "--dry-run", DATABASE_URL=database).stdout
    assert "patient-17" not in plain + dry
    assert "patient-17" in asked
    for text in (plain, asked, dry):
        assert not any(word in text for word in ("Anna", "Schmidt", "1961", "151"))


def test_a_dry_run_needs_no_broker_and_changes_nothing(
    database: str, record: Callable[[Sequence[RawRecord]], None]
) -> None:
    record([raw(0, [60, 150, 400, 160]), *foreign(1)])
    done = vigil("replay", "--all", "--dry-run", "--json", DATABASE_URL=database)
    assert json.loads(done.stdout) == {
        "records": 4, "rows": 6, "passing": 2, "passing_records": 1, "samples_accepted": 2,
        "chunks_accepted": 0, "replayed": 0,
        "rejected": {"headers": 2, "out_of_range": 1, "undecodable": 1}, "cannot_be_replayed": 2, "returning": {},
        "conflicts_left_out": 0, "dry_run": True,
    }  # fmt: skip
    words = vigil("replay", "--all", "--dry-run", DATABASE_URL=database).stdout
    assert "nothing was sent" in words
    assert "cannot be replayed" in words
    assert waiting(database) == 6


def test_what_passes_is_sent_and_marked_and_the_rest_waits(
    database: str, record: Callable[[Sequence[RawRecord]], None]
) -> None:
    record([raw(0, [60, 150, 400, 160]), raw(1, [170], patient="p2"), *foreign(2)])
    broker = Broker()
    tally = run(database, Selection(), broker)
    assert (tally.passing, tally.marked, tally.accepted, tally.broken) == (3, 3, 3, 2)
    sent = [(decode(one.key, one.value, one.headers), dict(one.headers)) for one in broker.taken]
    assert [(header.patient_id, columns.value.tolist()) for (header, columns), _ in sent] == [
        ("p1", [150, 160]), ("p2", [170]),
    ]  # fmt: skip
    assert [headers["vigil-replay"] for _, headers in sent] == [b"vigil.samples/0/0/0", b"vigil.samples/0/0/1"]
    assert waiting(database) == 4
    assert run(database, Selection(), broker).passing == 0
    assert len(broker.taken) == 2
    assert run(database, Selection(again=True), broker).passing == 3


@pytest.mark.parametrize(
    ("selection", "passing"),
    [
        (Selection(reasons=("future",)), 0), (Selection(reasons=("out_of_range",)), 3),
        (Selection(devices=("d2",)), 1), (Selection(adapters=("export",)), 1),
        (Selection(places=(Place(TOPIC, 0, 0, 0),)), 2),
        (Selection(places=(Place(TOPIC, 0, 0, 0), Place(TOPIC, 0, 0, 1), Place(TOPIC, 0, 1, 0))), 3),
    ],
)  # fmt: skip
def test_a_replay_takes_what_is_selected(
    database: str, record: Callable[[Sequence[RawRecord]], None], selection: Selection, passing: int
) -> None:
    record([raw(0, [150, 160]), raw(1, [170], device="d2", adapter="export")])
    broker = Broker()
    assert run(database, selection, broker).marked == passing
    assert waiting(database) == 3 - passing


def test_interrupted_it_marks_nothing_that_the_broker_does_not_have(
    database: str, record: Callable[[Sequence[RawRecord]], None]
) -> None:
    n = PAGE_RECORDS + 3
    record([raw(offset, [150]) for offset in range(n)])
    broker = Broker(fails_at=PAGE_RECORDS + 1)
    with pytest.raises(BrokerUnreachable):
        run(database, Selection(), broker)
    assert waiting(database) == 3, "the first page is marked, of the second nothing"
    broker.fails_at = None
    assert run(database, Selection(), broker).marked == 3
    assert len({dict(one.headers)["vigil-replay"] for one in broker.taken}) == n


def test_pages_are_bounded_in_records_and_bytes(database: str, record: Callable[[Sequence[RawRecord]], None]) -> None:
    record([raw(offset, [150]) for offset in range(7)])
    size = len(raw(0, [150]).value or b"")

    async def pages(records: int, most: int) -> list[list[int]]:
        found: list[list[int]] = []
        async with QuarantineReview(database) as review:
            extent = await review.extent(Selection())
            after = None
            while page := await review.page(Selection(), extent.until, after, records=records, size=most):
                found.append([held.source.offset for held in page])
                after = page[-1].place
        return found

    assert asyncio.run(pages(3, 1 << 20)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert asyncio.run(pages(9, 2 * size)) == [[0, 1], [2, 3], [4, 5], [6]]
    assert asyncio.run(pages(9, 1)) == [[offset] for offset in range(7)], "one record always fits"


def test_what_comes_back_during_a_replay_is_not_chased(
    database: str, record: Callable[[Sequence[RawRecord]], None]
) -> None:
    record([raw(0, [150])])
    tally = Tally()

    async def work() -> None:
        async with QuarantineReview(database) as review:
            extent = await review.extent(Selection())
            for table in ("quarantine_records", "quarantine"):
                query(
                    database,
                    f"CREATE TABLE again AS SELECT * FROM {table}; UPDATE again SET topic = 'z', recorded_at = now(); "
                    f"INSERT INTO {table} SELECT * FROM again; DROP TABLE again",
                )
            await replay(review, Selection(), extent.until, tally, Broker())

    asyncio.run(work())
    assert (tally.rows, waiting(database)) == (1, 1)


def test_a_conflict_is_left_out_unless_it_is_named(
    database: str, record: Callable[[Sequence[RawRecord]], None]
) -> None:
    record([raw(0, [61], at=0), raw(1, [60], at=0), raw(2, [150], at=500)])
    assert query(database, "SELECT reason, count(*) FROM quarantine GROUP BY 1 ORDER BY 1") == [
        ("conflict", 1), ("out_of_range", 1),
    ]  # fmt: skip
    dry = vigil("replay", "--all", "--dry-run", DATABASE_URL=database).stdout
    assert "left out: 1 in conflict" in dry
    tally = run(database, Selection(), Broker())
    assert (tally.rows, tally.conflicts) == (1, 1)
    named = run(database, Selection(reasons=("conflict",)), Broker())
    assert (named.rows, named.passing, named.conflicts) == (1, 1, 0)
    words = vigil("replay", "--reason", "conflict", "--dry-run", "--json", DATABASE_URL=database).stdout
    assert json.loads(words)["rows"] == 0, "both have had their second chance"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("replay",), "say what to replay"),
        (("replay", "--dry-run"), "say what to replay"),
        (("replay", "--id", "somewhere"), "topic/partition/epoch/offset"),
        (("list", "--since", "yesterday"), "12h or 7d"),
        (("list", "--reason", "because"), "out_of_range"),
    ],
)
def test_a_wrong_command_says_what_is_wanted(arguments: tuple[str, ...], words: str) -> None:
    assert words in " ".join(vigil(*arguments, code=2).stderr.split())


def test_a_database_that_is_away_is_one_clear_line() -> None:
    url = "postgresql://vigil:sesame@127.0.0.1:9/vigil"
    for command in (("list",), ("replay", "--all"), ("replay", "--all", "--dry-run")):
        done = vigil(*command, code=2, DATABASE_URL=url, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9")
        assert "the database does not answer" in done.stderr
        assert "sesame" not in done.stderr + done.stdout


def test_a_schema_that_is_behind_says_so(empty_database: str) -> None:
    assert "vigil db migrate" in vigil("list", code=2, DATABASE_URL=empty_database).stderr


def test_a_broker_that_is_away_marks_nothing(database: str, record: Callable[[Sequence[RawRecord]], None]) -> None:
    record([raw(0, [150])])
    done = vigil("replay", "--all", code=2, DATABASE_URL=database, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9")
    assert "no Kafka broker answers" in done.stderr
    assert waiting(database) == 1


@pytest.mark.parametrize("command", [("list",), ("replay", "--all"), ("feed",)])
def test_a_command_without_its_address_names_the_setting(command: tuple[str, ...]) -> None:
    setting = "KAFKA_BOOTSTRAP_SERVERS" if command == ("feed",) else "DATABASE_URL"
    assert setting in vigil(*command, code=2).stderr


def test_every_reason_has_words() -> None:
    assert WORDS.keys() == {*Reason, DERIVED}


class Telling:
    """A producer in memory."""

    def __init__(self) -> None:
        self.told: list[tuple[bytes, dict[str, Any]]] = []
        self.away = False

    async def send(self, topic: str, *, key: bytes, value: bytes) -> asyncio.Future[None]:
        ack: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.away:
            ack.set_exception(OSError("away"))
        else:
            self.told.append((key, json.loads(value)))
            ack.set_result(None)
        return ack


def outbox(url: str) -> int:
    return int(query(url, "SELECT count(*) FROM quarantine_outbox")[0][0])


def test_the_feed_tells_each_row_once_and_again_after_a_failure(
    database: str, record: Callable[[Sequence[RawRecord]], None]
) -> None:
    record([raw(0, [150, 160]), *foreign(1)])
    assert outbox(database) == 5
    telling = Telling()

    async def work() -> list[int]:
        async with QuarantineOutbox(database) as box:
            telling.away = True
            with pytest.raises(OSError, match="away"):
                await feed(box, telling, "t", 10)
            telling.away = False
            return [await feed(box, telling, "t", 4) for _ in range(3)]

    assert asyncio.run(work()) == [4, 1, 0]
    assert outbox(database) == 0
    assert [body["id"] for _, body in telling.told] == [
        "vigil.samples/0/0/0/0", "vigil.samples/0/0/0/1", *(f"vigil.samples/0/0/{n}/-1" for n in (1, 2, 3)),
    ]  # fmt: skip
    assert [key for key, _ in telling.told] == [b"p1", b"p1", b"vigil.samples/0/0/1", b"p1", b"p1"]
    assert not any(word in str(telling.told) for word in ("Anna", "Schmidt", "1961", "150"))


def test_two_feeds_share_the_work(database: str, record: Callable[[Sequence[RawRecord]], None]) -> None:
    record([raw(0, [150, 160, 170])])

    async def work() -> tuple[list[int], list[int], list[int]]:
        async with QuarantineOutbox(database) as one, QuarantineOutbox(database) as other:
            first = await one.take(2)
            second = await other.take(2)
            await one.done(first)
            await other.give_back()
            return tuple([row.index for row in rows] for rows in (first, second, await other.take(9)))  # type: ignore[return-value]

    assert asyncio.run(work()) == ([0, 1], [2], [2])


def test_what_is_written_twice_is_told_once(database: str, record: Callable[[Sequence[RawRecord]], None]) -> None:
    record([raw(0, [150])])
    query(database, "INSERT INTO quarantine SELECT * FROM quarantine ON CONFLICT DO NOTHING")
    assert outbox(database) == 1


def test_what_is_rolled_back_is_never_told(database: str, record: Callable[[Sequence[RawRecord]], None]) -> None:
    record([])
    with psycopg.connect(database) as connection:
        connection.execute(
            """INSERT INTO quarantine (topic, partition, epoch, "offset", index, reason)
               VALUES ('t', 0, 0, 1, 0, 'future')"""
        )
        connection.rollback()
    assert outbox(database) == 0


def test_retention_takes_the_backlog_of_a_feed_that_nobody_runs(
    database: str, record: Callable[[Sequence[RawRecord]], None]
) -> None:
    record([raw(0, [150]), raw(1, [160])])
    query(database, """UPDATE quarantine SET recorded_at = recorded_at - interval '100 days' WHERE "offset" = 0""")
    lifecycle(database, None)
    assert query(database, """SELECT "offset" FROM quarantine_outbox""") == [(1,)]


def test_the_migration_tells_of_what_stood_before(database: str, record: Callable[[Sequence[RawRecord]], None]) -> None:
    record([raw(0, [150, 160])])
    query(database, "DROP TABLE quarantine_outbox")
    query(database, "DROP FUNCTION quarantine_to_outbox CASCADE")
    query(database, "DROP FUNCTION quarantine_gone CASCADE")
    query(database, "DELETE FROM schema_migrations WHERE name = 'quarantine_outbox'")
    assert migrate(database) == ["0010_quarantine_outbox"]
    assert outbox(database) == 2


def test_a_replayed_conflict_comes_back(database: str, record: Callable[[Sequence[RawRecord]], None]) -> None:
    """What the help says: the rules pass it, the version that stands does not."""
    record([raw(0, [61], at=0), raw(1, [60], at=0)])
    broker = Broker()
    run(database, Selection(reasons=("conflict",)), broker)
    (again,) = broker.taken
    record([raw(2, [60], value=again.value, headers=again.headers)])
    assert query(database, "SELECT count(*) FROM samples") == [(1,)]
    assert waiting(database) == 1


def test_a_page_reads_by_place_and_never_sorts_the_quarantine(
    database: str, record: Callable[[Sequence[RawRecord]], None]
) -> None:
    record([])
    query(
        database,
        """INSERT INTO quarantine_records (topic, partition, epoch, "offset", headers, value)
        SELECT 'vigil.samples', n % 6, 0, n, '[]', 'x' FROM generate_series(1, 20000) n""",
    )
    query(
        database,
        """INSERT INTO quarantine (topic, partition, epoch, "offset", index, reason)
        SELECT 'vigil.samples', n % 6, 0, n, 0, 'future' FROM generate_series(1, 20000) n""",
    )
    query(database, "ANALYZE")
    from timeseries.quarantine_review import _SQL

    values = Selection().values() | {
        "until": "2100-01-01", "limit": 500, "bytes": 1 << 23, "after_topic": "vigil.samples", "after_partition": 3,
        "after_epoch": 0, "after_offset": 9_000,
    }  # fmt: skip
    with psycopg.connect(database) as connection:
        (plan,) = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {_SQL['page']}".encode(), values).fetchone() or (
            {},
        )
    scans: list[tuple[str, float]] = []

    def walk(node: dict[str, Any]) -> None:
        if "Relation Name" in node:
            scans.append((node["Node Type"], node["Actual Rows"] * node["Actual Loops"]))
        for inner in node.get("Plans", []):
            walk(inner)

    walk(plan[0]["Plan"])
    assert all(kind.startswith("Index") for kind, _ in scans), scans
    assert max(rows for _, rows in scans) < 2_000, scans
