"""A header name that is no UTF-8 holds up nobody: not on a real broker, not in any form of batch."""

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

from stream import header_names
from stream.assemble import RawRecord
from stream.recorder import Recorder
from tests.services.topics import new_topic
from tests.stream.fakes import FakeLog, raw
from tests.timeseries.making import query
from timeseries.store import SampleStore
from vigil.embedded.broker import EmbeddedBroker

WHERE = TopicPartition("t", 0)
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
Told = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]


class Unreadable(str):
    """A header name that goes onto the wire as other bytes than its own."""

    def encode(self, *_: object) -> bytes:
        return b"patient-\xff\\\xc3\xa4"


ODD = Unreadable("x")


@pytest.fixture(autouse=True)
def tolerant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MemoryRecords", "PartitionRecords"):
        monkeypatch.setattr(fetcher, name, getattr(fetcher, name))  # put back afterwards
    header_names.tolerate()


def built(records: Sequence[Told], codec: str = "none") -> Any:
    made = _DefaultRecordBatchBuilderPy(2, CODECS[codec], 0, -1, -1, -1, 1 << 20)
    for at, (key, value, headers) in enumerate(records):
        assert made.append(at, 1_800_000_000_000 + at, key, value, list(headers)) is not None
    return made


def batch(records: Sequence[Told], base: int, codec: str = "none") -> bytes:
    data = bytearray(built(records, codec).build())
    data[:8] = base.to_bytes(8, "big")  # the offset is not under the CRC
    return bytes(data)


def read(data: bytes, first: int = 0) -> list[Any]:
    return list(fetcher.PartitionRecords(WHERE, fetcher.MemoryRecords(data), [], first, None, None, True, 0))


def many(count: int, *odd: int) -> list[Told]:
    return [(b"k%d" % at, b"value" * 40, [(ODD if at in odd else "name", b"h")]) for at in range(count)]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("odd", [(0,), (4,), (9,), (2, 3, 7)])
def test_every_record_of_a_fetch_is_read_once_and_in_order(codec: str, odd: tuple[int, ...]) -> None:
    data = b"".join(batch(many(10, *(odd if base == 10 else ())), base, codec) for base in (0, 10, 20))
    found = read(data)
    assert [one.offset for one in found] == list(range(30))
    assert [one.offset - 10 for one in found if one.headers[0][0] != "name"] == list(odd)
    plain = read(b"".join(batch(many(10), base, codec) for base in (0, 10, 20)))
    for one, other in zip(found, plain, strict=True):
        assert (one.key, one.value, one.timestamp, one.headers[0][1]) == (
            other.key, other.value, other.timestamp, other.headers[0][1]
        )  # fmt: skip


def test_the_name_says_which_bytes_are_no_text() -> None:
    (one,) = read(batch([(None, None, [(ODD, None), ("ä", b"1")])], 0))
    assert (one.key, one.value, one.headers) == (None, None, ((r"patient-\xff\\ä", None), ("ä", b"1")))


def test_reading_goes_on_where_it_was_asked_to_begin() -> None:
    data = batch(many(10, 1, 6), 0) + batch(many(10), 10)
    assert [one.offset for one in read(data, first=5)] == list(range(5, 20))


def test_a_batch_of_the_old_format_behind_it_is_read() -> None:
    old = LegacyRecordBatchBuilder(1, 0, 1 << 20)
    old.append(0, timestamp=5, key=b"k", value=b"v", headers=[])
    data = bytearray(old.build())
    data[:8] = (3).to_bytes(8, "big")
    assert [one.offset for one in read(batch(many(3, 0), 0) + bytes(data))] == [0, 1, 2, 3]


def test_what_is_damaged_is_still_refused() -> None:
    data = bytearray(batch(many(3, 1), 0))
    data[-1] ^= 1
    with pytest.raises(Exception, match="Invalid CRC"):
        read(bytes(data))


async def _produced(bootstrap: str, topic: str, records: Sequence[Told]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=False) as producer:
        whole = producer.create_batch()
        whole._builder = built([])
        for key, value, headers in records:
            assert whole.append(key=key, value=value, timestamp=1_800_000_000_000, headers=list(headers)) is not None
        whole.close()
        await (await producer.send_batch(whole, topic, partition=0))


async def _consumed(bootstrap: str, topic: str, count: int) -> Iterator[RawRecord]:
    where = TopicPartition(topic, 0)
    found: list[Any] = []
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        consumer.assign([where])
        consumer.seek(where, 0)
        while len(found) < count:
            found += (await consumer.getmany(where, timeout_ms=10_000))[where]
    return (RawRecord(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, r.headers) for r in found)


async def test_a_stranger_s_record_is_quarantined_with_its_bytes_and_holds_up_nobody(
    broker: EmbeddedBroker, database: str
) -> None:
    topic = await new_topic(broker.bootstrap)
    good = [raw(offset) for offset in range(4)]
    told: list[Told] = [(one.key, one.value, one.headers) for one in good]
    told[1] = (b"\xfe", b"\xff\x00", [(ODD, b"\xfd")])
    told[3] = (good[3].key, good[3].value, [(ODD, b"a stranger's"), *good[3].headers])
    await _produced(broker.bootstrap, topic, told)
    records = list(await _consumed(broker.bootstrap, topic, 4))
    async with SampleStore(database) as store:
        recorder = Recorder(store, FakeLog(records))
        await recorder.assigned([(topic, 0)])
        await recorder.take(records)
    assert query(database, "SELECT count(*) FROM samples") == [(6,)], "what is ours is stored, whoever added to it"
    ((offset, reason, key, value, headers),) = query(
        database,
        'SELECT "offset", reason, key, value, headers FROM quarantine JOIN quarantine_records '
        'USING (topic, partition, epoch, "offset")',
    )
    assert (offset, reason, key, value) == (1, "schema_version", b"\xfe", b"\xff\x00")
    assert [base64.b64decode(told) for _, told in headers] == [b"\xfd"]
    assert query(database, "SELECT next_offset FROM watermarks") == [(4,)]
