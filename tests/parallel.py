"""How tests share a machine where pytest-xdist runs several at once. Without `-n` nothing here has an effect.

Tests that share a costly service, or a fixture of their module, form a group, and a group runs on one worker: Apache
Kafka, TimescaleDB and Chromium are started once. Where fixtures do not tell, tests name their group (`xdist_group`).
The longest groups begin first, so that no worker ends long after the others. A test that measures time (`alone`) waits
until no other test runs, and none begins before it ends.

xdist's own `--dist=loadgroup` writes the group into a test's id, which pytest 9.2 does not let it: no test would have
a group (pytest-xdist issue 1386). So the groups go from the workers to the scheduler in a file.
"""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from vigil.embedded import ports

_SERVICES: Final = ("kafka", "timescale", "browser", "stack")
"""A group each, named as the marker or the fixture that tells who belongs to it; the longest first."""

_GROUPS: Final = "groups.json"
_SHARED: Final = frozenset({"package", "module", "class"})


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """xdist's scheduler of scopes, where a scope is a group that the workers found."""

    def __init__(self, config: pytest.Config, log: Any, folder: Path) -> None:
        super().__init__(config, log)
        self._folder = folder

    def schedule(self) -> None:
        self._group_of: dict[str, str] = json.loads((self._folder / _GROUPS).read_text())
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return self._group_of[nodeid]


def tell_apart(items: list[pytest.Item]) -> None:
    """Give each test an id of its own: of those that share one, xdist runs the first again and again.

    schemathesis names its tests after their operations, and pytest 9.2 does not take an id from a name.
    """
    often = Counter(item.nodeid for item in items)
    for item in items:
        if often[item.nodeid] > 1 and item.parent is not None:
            item._id = item.parent.id.child(item.name)
    if shared := [nodeid for nodeid, times in Counter(item.nodeid for item in items).items() if times > 1]:
        raise pytest.UsageError(f"these tests have an id in common with others: {', '.join(shared)}")


def arrange(items: list[pytest.Item]) -> dict[str, str]:
    """Put the tests into the order in which workers shall take them; return each test's group, by its id."""
    sharing = {item.path for item in items if _shares(item)}
    groups = {item.nodeid: _group(item, item.path not in sharing) for item in items}
    places: dict[str, tuple[int, int]] = {}
    for number, item in enumerate(items):
        group = groups[item.nodeid]
        place = (_place(item, group), number)
        places[group] = min(place, places.get(group, place))
    items.sort(key=lambda item: places[groups[item.nodeid]])
    return groups


def tell(groups: dict[str, str], folder: Path) -> None:
    """Write the groups for the scheduler. Every worker writes the same."""
    mine = folder / f"{_GROUPS}.{os.getpid()}"
    mine.write_text(json.dumps(groups))
    mine.replace(folder / _GROUPS)


def _group(item: pytest.Item, apart: bool) -> str:
    """`apart`: nothing is shared with the other tests of its file."""
    if item.get_closest_marker("alone"):
        return "alone"
    if named := item.get_closest_marker("xdist_group"):
        return str(named.args[0])
    for service in _SERVICES:
        if item.get_closest_marker(service) or service in _fixtures(item):
            return service
    if apart and item.get_closest_marker("slow"):
        return item.nodeid
    return str(item.path)


def _place(item: pytest.Item, group: str) -> int:
    """The longest first: what takes long, then what works with a database or a broker, then what only computes."""
    if group in _SERVICES:
        return _SERVICES.index(group)
    if group == "alone":
        return len(_SERVICES) + 3
    if item.get_closest_marker("slow"):
        return len(_SERVICES)
    return len(_SERVICES) + (1 if {"postgres", "broker"} & set(_fixtures(item)) else 2)


def _fixtures(item: pytest.Item) -> list[str]:
    return list(getattr(item, "fixturenames", ()))


def _shares(item: pytest.Item) -> bool:
    """Whether a fixture of its module or package serves this test."""
    info = getattr(item, "_fixtureinfo", None)
    definitions = {} if info is None else info.name2fixturedefs
    return any(one.scope in _SHARED for found in definitions.values() for one in found)


def draw_ports_apart(worker: int, workers: int) -> None:
    """Let this worker draw its ports from a part of its own. One that follows a crashed one has a higher number.

    A port is free when it is drawn, and taken when the service listens, or when it is started again after a kill: what
    another worker starts meanwhile must not have it.
    """
    whole = ports._CANDIDATES
    share = len(whole) // workers
    first = worker % workers * share
    ports._CANDIDATES = whole[first : first + share]


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """The right to run a test now: shared with other workers, or `alone`, while none of them runs one."""
    with (folder / "turn.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        try:
            yield
        finally:  # closing would not do where a child of the test was forked with it
            fcntl.flock(file, fcntl.LOCK_UN)
