"""Which version stands, against a model that takes one version after the other and is plainly right."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.timeseries.making import T0, rows
from timeseries.rows import COLUMNS, IDENTITY, ROW, Rows
from timeseries.versions import Resolution, resolve

GONE = 128
Row = tuple[Any, ...]
Identity = tuple[Any, ...]
_AT = {name: at for at, name in enumerate(COLUMNS)}


def get(row: Row, name: str) -> Any:
    return row[_AT[name]]


def identity(row: Row) -> Identity:
    return tuple(get(row, name) for name in IDENTITY)


def content(row: Row) -> tuple[Any, ...]:
    if get(row, "flags") & GONE:
        return (1, 0, 0, 0, 0)
    return (0, *(get(row, name) + 0.0 for name in ("value", "quality", "context", "zone_offset_min")))


def rank(row: Row) -> tuple[Any, ...]:
    return (get(row, "written_at"), *content(row))


@dataclass
class Model:
    """What the tables hold, and what one batch did to them; taken one version at a time."""

    current: dict[Identity, Row] = field(default_factory=dict)
    older: dict[Identity, list[Row]] = field(default_factory=dict)

    def take(self, batch: Iterable[Row]) -> dict[str, list[Any]]:
        was = dict(self.current)
        kept = {key: [*self.older.get(key, ()), row] for key, row in was.items()}  # before this batch
        told: set[tuple[Any, ...]] = set()
        done: dict[str, list[Any]] = {"duplicates": [], "conflicts": [], "revisions": []}
        for position, row in enumerate(batch):
            who = identity(row)
            if (who, rank(row)) in told:
                done["duplicates"].append(position)
                continue
            told.add((who, rank(row)))
            self._take_one(position, row, kept.get(who, []), done)
        done["insert"] = [row for who, row in self.current.items() if who not in was]
        done["replace"] = [row for who, row in self.current.items() if who in was and row != was[who]]
        for row in done["revisions"]:
            self.older.setdefault(identity(row), []).append(row)
        return done

    def _take_one(self, position: int, row: Row, kept: list[Row], done: dict[str, list[Any]]) -> None:
        who = identity(row)
        now = self.current.get(who)
        if now is None:
            self.current[who] = row
        elif content(row) == content(now):
            done["duplicates"].append(position)
            if get(row, "written_at") > get(now, "written_at"):
                self.current[who] = row
        elif rank(row) > rank(now):
            done["revisions"].append(now)
            self.current[who] = row
        elif content(row) in map(content, kept):
            done["duplicates"].append(position)
        elif get(row, "written_at") in {get(one, "written_at") for one in [*kept, now]}:
            done["conflicts"].append(position)
        else:
            done["revisions"].append(row)


class Table:
    """What `resolve` decides, applied."""

    def __init__(self) -> None:
        self.current: dict[Identity, Row] = {}
        self.revisions: list[Row] = []

    def take(self, batch: Rows) -> Resolution:
        wanted = {identity(row) for row in batch.tolist()}
        stored = [row for who, row in self.current.items() if who in wanted]
        older = [row for row in self.revisions if identity(row) in wanted]
        random.Random(len(batch)).shuffle(stored)  # a database promises no order
        found = resolve(batch, np.array(stored, ROW), np.array(older, ROW))
        for row in [*found.insert.tolist(), *found.replace.tolist()]:
            self.current[identity(row)] = row
        self.revisions += found.revisions.tolist()
        return found


_version = st.fixed_dictionaries(
    {
        "time": st.sampled_from([T0, T0 + 1]),
        "duration_ms": st.sampled_from([0, 0, 0, 60_000]),
        "written_at": st.integers(1, 4),
        "received_at": st.integers(1, 6),
        "value": st.sampled_from([0.0, -0.0, 1.0, 2.0, -1.5]),
        "quality": st.sampled_from([1.0, 1.0, 0.25]),
        "zone_offset_min": st.sampled_from([0, 0, 60]),
        "flags": st.sampled_from([0, 0, 1, 4, GONE]),
    }
)
versions = st.lists(_version, max_size=25).map(lambda many: np.concatenate([rows(0), *(rows(1, **v) for v in many)]))


def cut(batch: Rows, at: list[int]) -> list[Rows]:
    edges = [0, *sorted(min(one, len(batch)) for one in at), len(batch)]
    return [batch[a:b] for a, b in pairwise(edges)]


cuts = st.lists(st.integers(0, 25), max_size=4)


@settings(max_examples=400, deadline=None)
@given(many=versions, at=cuts)
def test_every_batch_does_what_the_model_does(many: Rows, at: list[int]) -> None:
    model, table = Model(), Table()
    for batch in cut(many, at):
        expected, found = model.take(batch.tolist()), table.take(batch)
        assert sorted(found.duplicates.tolist()) == sorted(expected["duplicates"])
        assert sorted(found.conflicts.tolist()) == sorted(expected["conflicts"])
        for part in ("insert", "replace", "revisions"):
            assert sorted(getattr(found, part).tolist()) == sorted(expected[part]), part
    assert table.current == model.current


@settings(max_examples=400, deadline=None)
@given(many=versions, at=cuts, other=cuts, seed=st.integers(0, 2**32))
def test_the_greatest_stands_whatever_the_order_and_the_cuts(
    many: Rows, at: list[int], other: list[int], seed: int
) -> None:
    tables = (Table(), Table())
    shuffled = many[np.random.default_rng(seed).permutation(len(many))]
    for table, order, edges in zip(tables, (many, shuffled), (at, other), strict=True):
        for batch in cut(order, edges):
            table.take(batch)
    greatest: dict[Identity, Row] = {}
    for row in many.tolist():
        if identity(row) not in greatest or rank(row) > rank(greatest[identity(row)]):
            greatest[identity(row)] = row
    for table in tables:
        assert {who: rank(row) for who, row in table.current.items()} == {w: rank(r) for w, r in greatest.items()}


@settings(max_examples=300, deadline=None)
@given(many=versions, at=cuts)
def test_every_newcomer_is_accounted_for_once(many: Rows, at: list[int]) -> None:
    table = Table()
    for batch in cut(many, at):
        before = dict(table.current)
        found = table.take(batch)
        # A newcomer opens an identity, is there already, is a conflict, or leaves one version aside: its predecessor
        # where it wins, itself where it loses. (`replace` counts rows touched, also by a newer telling of the same.)
        assert len(batch) == len(found.insert) + len(found.revisions) + len(found.duplicates) + len(found.conflicts)
        assert not set(found.duplicates.tolist()) & set(found.conflicts.tolist())
        assert len(table.current) == len(before) + len(found.insert)
        assert {identity(row) for row in found.replace.tolist()} <= before.keys()
        assert len({identity(row) for row in found.replace.tolist()}) == len(found.replace)


@settings(max_examples=300, deadline=None)
@given(many=versions, at=cuts)
def test_the_same_batch_again_changes_nothing(many: Rows, at: list[int]) -> None:
    table = Table()
    for batch in cut(many, at):
        first = table.take(batch)
        held = dict(table.current)
        again = table.take(batch)
        assert table.current == held
        assert len(again.insert) == len(again.replace) == 0
        # Whatever is not there already was a conflict before. (It may be kept as a revision now, once the version
        # that it disagreed with was told anew with another written time.)
        others = set(range(len(batch))) - set(again.duplicates.tolist())
        contents = {content(row) for row in batch[first.conflicts].tolist()}
        assert {content(row) for row in batch[sorted(others)].tolist()} <= contents


def one(**columns: Any) -> Rows:
    return rows(1, **{"written_at": 1, **columns})


@pytest.mark.parametrize("received", [(1, 2, 3), (3, 2, 1), (1, 1, 1)])
def test_growing_steps_leave_every_smaller_count_as_a_revision(received: tuple[int, ...]) -> None:
    table = Table()
    for n, at in enumerate(received):
        table.take(one(written_at=n + 1, value=100.0 * n, received_at=at))
    assert [get(row, "value") for row in table.current.values()] == [200.0]
    assert [get(row, "value") for row in table.revisions] == [0.0, 100.0]


def test_how_often_a_version_was_told_does_not_decide() -> None:
    """Told again later, the one of two contradicting values must not win by that."""
    five, five_again, seven = one(value=5, received_at=1), one(value=5, received_at=3), one(value=7, received_at=2)
    for order in ([five, five_again, seven], [five_again, seven, five], [seven, five, five_again]):
        table = Table()
        for version in order:
            table.take(version)
        assert [get(row, "value") for row in table.current.values()] == [7.0]


def test_the_same_written_time_with_a_smaller_value_is_a_conflict_and_stays_one() -> None:
    table = Table()
    table.take(one(value=7))
    assert table.take(one(value=5)).conflicts.tolist() == [0]
    table.take(one(value=9, written_at=2))
    assert table.take(one(value=5)).conflicts.tolist() == [0], "the version it contradicts is a revision now"
    assert len(table.revisions) == 1


def test_a_deletion_wins_by_its_written_time_like_any_version() -> None:
    table = Table()
    table.take(one(value=7, written_at=2))
    assert len(table.take(one(flags=GONE, value=0, written_at=1)).revisions) == 1
    assert len(table.take(one(flags=GONE, value=0, written_at=3)).replace) == 1
    assert table.take(one(flags=GONE, value=0, written_at=3)).duplicates.tolist() == [0]
    assert len(table.take(one(value=7, written_at=4)).replace) == 1, "told anew after the deletion"


def test_ten_thousand_versions_of_one_sample_in_one_batch_are_resolved() -> None:
    n = 10_000
    order = np.random.default_rng(2).permutation(n)
    batch = rows(n, time=T0, written_at=order, value=order.astype(float))
    found = resolve(batch, np.empty(0, ROW), np.empty(0, ROW))
    assert found.insert["value"].tolist() == [n - 1.0]
    assert len(found.revisions) == n - 1
