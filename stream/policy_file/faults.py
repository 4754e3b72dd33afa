"""What is wrong with a file that somebody wrote: where it stands, in which field, and what is allowed there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal

from vitals.errors import VigilError

FaultKind = Literal["syntax", "size", "unknown_key", "type", "value", "alike", "member", "missing"]
Path = tuple[str, ...]

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_NAMED: Final = frozenset({"ward", "patient"})
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One error at a line (from 1) of the file. `says` tells what is allowed; it may name keys, never a value."""

    line: int
    path: Path
    kind: FaultKind
    says: str

    def told(self, file: str) -> str:
        """Return it as editors and people read it: FILE:LINE: field: what is allowed."""
        return f"{file}:{self.line}: {dotted(self.path)}{': ' if self.path else ''}{self.says}"

    @property
    def discreet(self) -> str:
        """The field for a log: words of the format only, no ward, no patient, nothing that somebody made up."""
        masked = [
            ("*" if before in _NAMED else word) for before, word in zip(("", *self.path), self.path, strict=False)
        ]
        if self.kind in {"unknown_key", "syntax"}:
            masked = masked[:-1]
        return ".".join(masked) or "(file)"


class FileRefused(VigilError):
    """A file is wrong, in one place or several; all of them are told, by line."""

    def __init__(self, file: str, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(set(faults)))
        super().__init__("\n".join(fault.told(file) for fault in self.faults))


def dotted(path: Path) -> str:
    """Return a path as TOML writes it: `patient."p.7".limits`."""
    return ".".join(word if _BARE.fullmatch(word) else quoted(word) for word in path)


def quoted(text: str) -> str:
    """Return a text as TOML's basic string: JSON's escapes, and one more."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def no_such(word: str, known: Sequence[str]) -> str:
    """Return what to say of a key that is none: the likeliest meant, or those that there are."""
    near = get_close_matches(word, known, n=3)
    if near:
        return f"unknown key; did you mean {' or '.join(near)}?"
    if not known:
        return "unknown key; none is allowed here"
    rest = ", ..." if len(known) > _SHOWN else ""
    return f"unknown key; there are {', '.join(known[:_SHOWN])}{rest}"
