"""The records of an export that look as the iPhone writes them, found many at a time; everything else is expat's.

Nearly all records are alike: attributes in the order of the DTD, one blank between them, entries of metadata inside or
nothing. Expressions accept exactly such well-formed records, and their values are read in columns
(`devices.apple.plain_columns`): in all 1.6 times as fast as one by one. They refuse whatever XML would treat in a way
of its own (character references, line ends within a value, another order), and bytes that are no UTF-8; a test holds
both ways of reading against each other.
"""

from __future__ import annotations

import re
from operator import itemgetter
from typing import Final, NamedTuple

_ENTITY: Final = rb"&(?:lt|gt|amp|quot|apos);"
_TEXT: Final = rb'[^"<&\t\n\r]*+(?:' + _ENTITY + rb'[^"<&\t\n\r]*+)*+'
_SOME: Final = rb'(?=[^"])' + _TEXT
_TO_COMMA: Final = rb'[^",<&\t\n\r]*+(?:' + _ENTITY + rb'[^",<&\t\n\r]*+)*+'
_DATE: Final = rb'[^"<&\t\n\r]{25}'  # `columns.dates` looks closer
_ENTRY: Final = rb'<MetadataEntry key="(' + _TEXT + rb')" value="(' + _TEXT + rb')" ?/>'
# Of a device only what follows its pointer is taken (see `origin.Origins.of`).
_RECORD: Final = (
    rb'(<Record type="(' + _SOME + rb')" sourceName="(' + _TEXT + rb')"(?: sourceVersion="' + _TEXT + rb'")?'
    rb'(?: device="' + _TO_COMMA + rb"((?:," + _TEXT + rb')?)")?(?: unit="(' + _SOME + rb')")?'
    rb'(?: creationDate="(' + _DATE + rb')")? startDate="(' + _DATE + rb')" endDate="(' + _DATE + rb')"'
    rb'(?: value="([^"<&\t\n\r]++)")? ?(?:/>|>\s*+((?:@\s*+)*+)</Record>)\s*+)'
)  # fmt: skip
_GROUP: Final = re.compile(rb"\((?!\?)")
_PLAIN: Final = re.compile(_RECORD.replace(b"@", _GROUP.sub(rb"(?:", _ENTRY)))
_RUN: Final = re.compile(rb"(?:" + _GROUP.sub(rb"(?:", _RECORD.replace(b"@", _ENTRY)) + rb")*+")
_ENTRIES: Final = re.compile(_ENTRY)
_START: Final = b"<Record "
_MAY_BE_NO_CHARACTER: Final = b"\xef\xbf"
"""How U+FFFE and U+FFFF begin, well-formed UTF-8 that XML forbids: left to expat, with their few neighbours."""


class Plain(NamedTuple):
    """One record's bytes as they stand in the file; what it does not have is empty. `text` is all of it."""

    text: bytes
    kind: bytes
    source: bytes
    device: bytes
    unit: bytes
    created: bytes
    start: bytes
    end: bytes
    value: bytes
    entries: bytes


def find_plain(data: bytes, at: int, *, mixed: bool) -> tuple[list[tuple[bytes, ...]], int]:
    """Return the plain records (fields as in `Plain`) that stand from `at` on, and where they end.

    The last record of `data` is left out: it may go on. `mixed` says that others stand between, so that looking at all
    of `data` would be in vain.
    """
    if not data.startswith(_START, at):
        return [], at
    stop = data.rfind(_START, at)
    found: list[tuple[bytes, ...]] = [] if mixed else _PLAIN.findall(data, at, stop)
    if mixed or sum(map(len, map(itemgetter(0), found))) != stop - at:
        match = _RUN.match(data, at, stop)
        stop = match.end() if match else at
        found = _PLAIN.findall(data, at, stop)
    return (found, stop) if _is_text(data[at:stop]) else ([], at)


def _is_text(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return _MAY_BE_NO_CHARACTER not in data


def entries_of(text: bytes) -> list[tuple[str, str]]:
    """Return (key, value) of the metadata inside a plain record."""
    return [(plain_text(key), plain_text(value)) for key, value in _ENTRIES.findall(text)]


def plain_text(raw: bytes) -> str:
    """Return what an attribute's bytes mean."""
    text = raw.decode()
    if "&" not in text:
        return text
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        text = text.replace(entity, sign)
    return text
