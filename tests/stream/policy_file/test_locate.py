"""Where the keys of a TOML text stand: against `tomllib`, which says which keys there are."""

import json
import tomllib
from datetime import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.policy_file.locate import Lines
from stream.policy_file.writing import tables_of
from tests.conftest import REPO

TEXT = '''# a comment with [brackets] and "quotes"
version = 3 # [not.a.header]
"quoted key" = 'lit # eral'
a.b.c = """
several = "lines"
[no.header]
\\""" still """""
d = \'\'\'
raw ''
\'\'\'
when = 1979-05-27 07:32:00Z
at = 07:32:00

[ table . "with.dot" ]
list = [ 1, # one
  [2, 3], { x = 1, y = [ "]" , "}" ] },
]
inline = { p = { q = 1 }, r.s = "a, b = }" }

[[many]]
n = 1
[many.sub]
m = 1
[[many]]
n = 2
[many.sub]
m = 2
[last.one.two]
z = -1e3
[last.one]
y = true'''
LINE = {
    ("version",): 2, ("quoted key",): 3, ("a",): 4, ("a", "b", "c"): 4, ("d",): 8, ("when",): 11, ("at",): 12,
    ("table",): 14, ("table", "with.dot"): 14, ("table", "with.dot", "list"): 15,
    ("table", "with.dot", "list", "0"): 15,
    ("table", "with.dot", "list", "1", "1"): 16, ("table", "with.dot", "list", "2", "y", "1"): 16,
    ("table", "with.dot", "inline", "p", "q"): 18, ("table", "with.dot", "inline", "r", "s"): 18,
    ("many", "0", "n"): 21, ("many", "0", "sub", "m"): 23, ("many", "1", "n"): 25, ("many", "1", "sub", "m"): 27,
    ("last", "one", "two", "z"): 29, ("last", "one"): 30, ("last", "one", "y"): 31, ("last", "one", "none"): 30,
    ("nothing", "at", "all"): 1,
}  # fmt: skip


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        return {path: value}
    found = {path: value} if path else {}
    for key, one in inner:
        found |= leaves(one, (*path, str(key)))
    return found


@pytest.mark.parametrize(
    ("path", "line"), LINE.items(), ids=lambda one: ".".join(one) if isinstance(one, tuple) else None
)
def test_each_key_stands_on_its_line(path: tuple[str, ...], line: int) -> None:
    assert Lines(TEXT)[path] == line


def test_every_key_that_tomllib_knows_is_found() -> None:
    found = Lines(TEXT)._line
    assert set(leaves(tomllib.loads(TEXT))) <= set(found)
    assert tomllib.loads(TEXT)["a"]["b"]["c"].endswith('still ""')


@pytest.mark.parametrize("file", sorted((REPO / "fixtures" / "policies").glob("*.toml")), ids=lambda file: file.stem)
def test_the_examples_are_found_whole(file: Path) -> None:
    text = file.read_text()
    lines = text.splitlines()
    found = Lines(text)
    for path in leaves(tomllib.loads(text)):
        at = lines[found._line[path] - 1]
        assert path[-1] in at or path[-1].isdigit(), path


KEYS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=6)
VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
    | st.builds(time, st.integers(0, 23), st.integers(0, 59)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_whatever_is_written_is_read_back_and_found(table: dict[str, Any]) -> None:
    text = tables_of(table)
    read = tomllib.loads(text)
    assert {path: one for path, one in leaves(read).items() if not isinstance(one, dict | list)} == {
        path: one for path, one in leaves(table).items() if not isinstance(one, dict | list)
    }
    found = Lines(text)
    for path in leaves(read):
        line = text.split("\n")[found._line[path] - 1]
        last = path[-1]
        assert last.isdigit() or last in line or json.dumps(last, ensure_ascii=False)[1:-1] in line or "\\u007f" in line
