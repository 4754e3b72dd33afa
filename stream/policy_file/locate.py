"""On which line of a TOML text each key stands. Pure.

`tomllib` reads the text and is the judge of what is TOML; it keeps no positions. So this walks over a text that
`tomllib` has accepted, which needs no judgement: only headers, keys and where values end. Round-trip readers keep
positions neither, or are a second parser with opinions of its own (docs/decisions/0020-policies.md).
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Final

from stream.policy_file.faults import Path

_GAP: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK: Final = re.compile(r"[ \t]*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRING: Final = re.compile(r"""\"{3}(?:[^\\]|\\.)*?\"{3,5}|'{3}.*?'{3,5}|"(?:[^"\\]|\\.)*"|'[^']*'""", re.DOTALL)
_SCALAR: Final = re.compile(r"\d{4}-\d\d-\d\d[ ]\d\d:[^\s,\]}#]+|[^\s,\]}#]+")


class Lines:
    """Where the keys of one text stand; a list's elements count as keys "0", "1" and so on."""

    def __init__(self, text: str) -> None:
        """Read a text that `tomllib` accepts."""
        walk = _Walk(text)
        walk.document()
        breaks = [match.start() for match in re.finditer("\n", text)]
        self._line = {path: bisect_right(breaks, at - 1) + 1 for path, at in walk.found.items()}

    def __getitem__(self, path: Path) -> int:
        """Return the line (from 1) of a path, or of the nearest table around it."""
        for length in range(len(path), 0, -1):
            line = self._line.get(path[:length])
            if line is not None:
                return line
        return 1


class _Walk:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Path, int] = {}
        self._table: Path = ()
        self._elements: dict[Path, int] = {}  # arrays of tables: the index of the newest
        self._implied: set[Path] = set()  # tables that only a header further in names so far

    def document(self) -> None:
        while self._skip(_GAP) < len(self.text):
            if self.text[self.at] == "[":
                self._header()
            else:
                self._pair(self._table)

    def _header(self) -> None:
        begin, is_element = self.at, self.text.startswith("[[", self.at)
        self.at += 2 if is_element else 1
        names = self._key()
        self.at += 2 if is_element else 1
        path: Path = ()
        for name in names[:-1]:
            path = self._into((*path, name))
            if path not in self.found:
                self._implied.add(path)
                self._note(path, begin)
        path = (*path, names[-1])
        if path in self._implied:
            self._implied.remove(path)
            del self.found[path]
        self._note(path, begin)
        if is_element:
            self._elements[path] = self._elements.get(path, -1) + 1
            path = self._into(path)
            self._note(path, begin)
        self._table = path

    def _into(self, path: Path) -> Path:
        return (*path, str(self._elements[path])) if path in self._elements else path

    def _pair(self, table: Path) -> None:
        begin = self.at
        names = self._key()
        for length in range(1, len(names) + 1):
            self._note(table + names[:length], begin)
        self.at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(table + names)

    def _note(self, path: Path, at: int) -> None:
        self.found.setdefault(path, at)

    def _key(self) -> Path:
        names = []
        while True:
            self._skip(_BLANK)
            names.append(self._name())
            self._skip(_BLANK)
            if self.text[self.at] != ".":
                return tuple(names)
            self.at += 1

    def _name(self) -> str:
        if self.text[self.at] in "\"'":
            quoted = self._take(_STRING)
            return str(tomllib.loads(f"name = {quoted}")["name"])
        return self._take(_BARE)

    def _value(self, path: Path) -> None:
        sign = self.text[self.at]
        if sign == "[":
            self._array(path)
        elif sign == "{":
            self._inline(path)
        else:
            self._take(_STRING if sign in "\"'" else _SCALAR)

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self.text[self._skip(_GAP)] != "]":
            self._note((*path, str(index)), self.at)
            self._value((*path, str(index)))
            index += 1
            self._skip(_GAP)
            self.at += self.text[self.at] == ","
        self.at += 1

    def _inline(self, path: Path) -> None:
        self.at += 1
        while self.text[self._skip(_GAP)] != "}":
            self._pair(path)
            self._skip(_GAP)
            self.at += self.text[self.at] == ","
        self.at += 1

    def _skip(self, what: re.Pattern[str]) -> int:
        match = what.match(self.text, self.at)
        self.at = self.at if match is None else match.end()
        return self.at

    def _take(self, what: re.Pattern[str]) -> str:
        match = what.match(self.text, self.at)
        if match is None:  # no text that tomllib accepts gets here: better loud than a loop without end
            raise ValueError(f"no TOML at character {self.at}")
        self.at = match.end()
        return match.group()
