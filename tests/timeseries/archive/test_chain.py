"""Links hold what they say and what came before; the manifest says all of a file."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import permutations
from typing import Any

import pytest

from timeseries.archive_chain import (
    GENESIS,
    ArchivedFile,
    Event,
    Leaf,
    event_hash,
    file_hash,
    leaf_root,
    link_hash,
    manifest,
)

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEAVES = [Leaf(n, n + 1, f"p{n}", 5 + n, bytes([n]) * 32, bytes([n]) * 16) for n in range(3)]
FILE = ArchivedFile(
    7, "vital", date(2026, 3, 1), 0, "a/b.parquet", 18, 900, AT, AT + timedelta(hours=3), b"s" * 32,
    leaf_root((leaf.rows, leaf.sha256) for leaf in LEAVES), 1, GENESIS, b"c" * 32, AT, AT, True, None,
)  # fmt: skip
EVENT = Event(2, "erased", 7, (1,), "dpo-1", "matter 4711", AT, b"c" * 32, b"d" * 32)


def test_a_file_s_link_by_hand() -> None:
    """Somebody with the manifests alone, and any language, can follow the chain."""
    text = (
        f'{{"file_id":7,"kind":"file","leaf_root":"{FILE.leaf_root.hex()}","link":1,"part":0,'
        '"retention_class":"vital","utc_day":"2026-03-01"}'
    )
    assert file_hash(FILE) == hashlib.sha256(bytes(32) + text.encode()).digest()
    text = (
        '{"at":"2026-03-01T12:00:00.000000+00:00","file_id":7,"kind":"erased","link":2,"positions":[1],"who":"dpo-1",'
        '"why":"matter 4711"}'
    )
    assert event_hash(EVENT) == hashlib.sha256(b"c" * 32 + text.encode()).digest()


@pytest.mark.parametrize(
    "change",
    [
        {"file_id": 8}, {"retention_class": "sleep"}, {"utc_day": date(2026, 3, 2)}, {"part": 1}, {"link": 2},
        {"leaf_root": bytes(32)}, {"previous": b"x" * 32},
    ],
)  # fmt: skip
def test_whatever_can_never_change_is_in_a_files_link(change: dict[str, Any]) -> None:
    assert file_hash(replace(FILE, **change)) != file_hash(FILE)


@pytest.mark.parametrize(
    "change", [{"uri": None}, {"rows": 3}, {"size_bytes": 1}, {"sha256": None}, {"min_time": None}, {"replaces": "x"}]
)
def test_whatever_an_erasure_changes_is_not(change: dict[str, Any]) -> None:
    assert file_hash(replace(FILE, **change)) == file_hash(FILE)


@pytest.mark.parametrize(
    "change",
    [
        {"link": 3}, {"kind": "expired"}, {"file_id": 8}, {"positions": (1, 2)}, {"positions": (2,)}, {"who": "dpo-2"},
        {"why": "other"}, {"at": AT + timedelta(microseconds=1)}, {"previous": bytes(32)},
    ],
)  # fmt: skip
def test_all_of_an_event_is_in_its_link(change: dict[str, Any]) -> None:
    assert event_hash(replace(EVENT, **change)) != event_hash(EVENT)


def test_a_time_is_a_time_in_whatever_zone() -> None:
    assert event_hash(replace(EVENT, at=AT.astimezone(timezone(timedelta(hours=5, minutes=30))))) == event_hash(EVENT)


def test_a_root_knows_order_and_numbers() -> None:
    told = [(leaf.rows, leaf.sha256) for leaf in LEAVES]
    assert len({leaf_root(order) for order in permutations(told)}) == 6
    assert leaf_root(told) != leaf_root([(rows + 1, sha256) for rows, sha256 in told])
    assert leaf_root([]) == hashlib.sha256(b"").digest()


def test_whoever_changes_a_link_has_to_change_every_later_one() -> None:
    first = link_hash(GENESIS, {"link": 1})
    assert link_hash(first, {"link": 2}) != link_hash(link_hash(GENESIS, {"link": 1, "why": "ü"}), {"link": 2})


def test_the_manifest_says_all_that_the_tables_say() -> None:
    erased = [LEAVES[0], replace(LEAVES[1], patient_id=None, salt=None, erased_at=AT), LEAVES[2]]
    told = json.loads(manifest(FILE, erased, [EVENT]))
    assert told["leaves"][1] == {
        "position": 1, "patient_id": None, "rows": 6, "sha256": "01" * 32, "salt": None,
        "erased_at": "2026-03-01T12:00:00.000000+00:00",
    }  # fmt: skip
    assert told["leaves"][2]["salt"] == "02" * 16
    assert told["events"][0]["why"] == "matter 4711"
    # What the database alone needs: patient keys, and what is still to be done.
    theirs = {"verified_at", "manifest_written", "replaces"}
    assert {name for name in ArchivedFile.__slots__ if name not in theirs} < told.keys()
    assert (told["sha256"], told["uri"]) == (FILE.sha256.hex() if FILE.sha256 else "", "a/b.parquet")
    everything = json.loads(manifest(replace(FILE, uri=None, sha256=None, min_time=None, max_time=None), erased, []))
    assert (everything["uri"], everything["sha256"], everything["min_time"]) == (None, None, None)
