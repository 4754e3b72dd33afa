"""From the bytes of export.xml to its elements, one at a time, whatever state the file is in.

expat is fed directly: it builds no tree, so that memory does not grow with the file. What comes before the root
element is dropped unread: iOS 16 writes a broken DTD there, and without one no entity can be defined, expanded or
fetched. Control characters, which XML forbids, become spaces of the same number, so that offsets stay the file's own.
After damage a fresh parser starts at the next element; the damage costs the record it stands in.
"""

from __future__ import annotations

import re
from typing import Final, Protocol
from xml.parsers.expat import ExpatError, ParserCreate, XMLParserType, errors

from devices.apple.beats import Beat
from devices.errors import MalformedExport

Attributes = dict[str, str]


class ElementSink(Protocol):
    """Receives the elements below the root. Attributes and metadata are the sink's to keep."""

    def record(self, attributes: Attributes, metadata: Attributes | None, beats: list[Beat] | None) -> None:
        """Take one top-level Record; `metadata` holds the entries of `METADATA_KEYS` only."""

    def other(self, name: str, attributes: Attributes, metadata: Attributes | None) -> None:
        """Take one top-level element that is no Record."""

    def nested_record(self) -> None:
        """Take note of a Record inside a Correlation."""

    def damaged(self, name: str) -> None:
        """Take note of one top-level element lost to damage."""


METADATA_KEYS: Final = frozenset({"HKMetadataKeyHeartRateMotionContext", "HKWasUserEntered", "HKTimeZone"})
MAX_PROLOG: Final = 1 << 20
MAX_TOKEN: Final = 1 << 20
"""The longest single tag: without a bound expat rescans an endless one again and again."""
_MAX_DEPTH: Final = 32
_MAX_NAMES: Final = 4_096
_MAX_BEATS: Final = 10_000

_SPACED: Final = bytes(32 if b < 32 and b not in b"\t\n\r" else b for b in range(256))
_CHARACTER_REFERENCE: Final = re.compile(rb"&#(?:(\d{1,7})|[xX]([0-9a-fA-F]{1,6}));")
_ROOT: Final = re.compile(rb"<HealthData[\s/>]")
_RESUME: Final = re.compile(rb"<(?:(?:Record|Correlation|Workout|ActivitySummary)[\s/>]|/HealthData\s*>)")
# Inside a damaged Correlation the next Record may still be a nested one, which stands at top level as well.
_AFTER_CORRELATION: Final = re.compile(
    rb"<(?:(?:Correlation|Workout|ActivitySummary)[\s/>]|/(?:Correlation|HealthData)\s*>)"
)
_TAG_NAME: Final = re.compile(rb"<([A-Za-z!?]{1,40})")
_TOP_LEVEL: Final = frozenset({"Record", "Correlation", "Workout", "ActivitySummary"})
# Where sound bytes may begin again, counted from where expat points. An invalid token may be the next tag, run into by
# an open quotation mark; a mismatched end tag (expat points to its name) may be the root's, or that of the Correlation
# around the damage. Everything else lies in the tag that expat points to.
_SOUND_FROM: Final = {errors.codes[errors.XML_ERROR_INVALID_TOKEN]: 0, errors.codes[errors.XML_ERROR_TAG_MISMATCH]: -2}
_SYNTHETIC_ROOT: Final = b"<HealthData>"
_OVERLAP: Final = 32
"""Longer than any `_RESUME` match: what is held back of bytes that are searched for one."""


class _Unclosed(Exception):
    """A top-level element begins inside another: the other one's end tag is missing. `index` as the parser counts."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index


class ElementScanner:
    """Feeds chunks of one file to expat. `feed` in order, then `close` once."""

    def __init__(self, sink: ElementSink) -> None:
        self._sink = sink
        self._held = b""  # the end of the last chunk, where it may continue in the next
        self._offset, self._line = 0, 1  # of the first byte of _held, in the file
        self._started = self._finished = self._seeking = False
        self._resume = _RESUME
        self._begin(b"")

    def _begin(self, prefix: bytes) -> None:
        """Start a fresh parser at the present offset."""
        self._depth, self._top = 0, ""
        self._attributes: Attributes = {}
        self._metadata: Attributes | None = None
        self._beats: list[Beat] | None = None
        self._names: dict[str, str] = {}
        self._parser: XMLParserType = ParserCreate("UTF-8", intern=self._names)
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.Parse(prefix)
        self._fed = len(prefix)  # bytes given to this parser so far

    def feed(self, chunk: bytes) -> None:
        """Parse the next bytes. Raises `MalformedExport` where going on is pointless or unsafe."""
        if self._finished:
            return
        data = self._held + chunk.translate(_SPACED)
        self._held = b""
        if not self._started:
            data = self._find_root(data)
        if self._started:
            self._parse(_without_controls(self._hold_tag(data)))
            self._check_bounds()

    def close(self) -> None:
        """Tell that the file has ended. Raises `MalformedExport` if its root element has not."""
        if self._started and not self._finished and self._held:
            data, self._held = self._held, b""
            self._parse(_without_controls(data))
        if not self._started:
            raise MalformedExport("not an Apple Health export: it has no HealthData element")
        if not self._finished:
            raise MalformedExport("the export is cut short: it ends before </HealthData>", **self._where())

    def _where(self) -> dict[str, int]:
        return {"offset": self._offset + len(self._held), "line": self._line + self._held.count(b"\n")}

    def _find_root(self, data: bytes) -> bytes:
        match = _ROOT.search(data)
        if match is not None:
            self._started = True
            self._advance(data[: match.start()])
            return data[match.start() :]
        if self._offset + len(data) > MAX_PROLOG:
            raise MalformedExport(f"not an Apple Health export: no HealthData element in its first {MAX_PROLOG} bytes")
        self._held = data
        return b""

    def _hold_tag(self, data: bytes) -> bytes:
        """Hold back the last tag, which the chunk's end may cut in two, so that damage is always seen with its tag."""
        at = data.rfind(b"<")
        if at < 0 or len(data) - at > MAX_TOKEN:
            return data
        self._held = data[at:]
        return data[:at]

    def _advance(self, data: bytes) -> None:
        self._offset += len(data)
        self._line += data.count(b"\n")

    def _parse(self, data: bytes) -> None:
        while data and not self._finished:
            if self._seeking:
                data = self._seek(data, 0)
                continue
            try:
                self._parser.Parse(data)
            except ExpatError as error:
                data = self._recover(data, self._parser.ErrorByteIndex + _SOUND_FROM.get(error.code, 1))
            except _Unclosed as unclosed:
                data = self._recover(data, unclosed.index)
            else:
                self._fed += len(data)
                self._advance(data)
                data = b""

    def _recover(self, data: bytes, parser_index: int) -> bytes:
        """Count the damage; return `data` from the next element at or after `parser_index`, the parser a fresh one."""
        at = max(0, parser_index - self._fed)
        name = self._top if self._depth > 1 else _tag_before(data, at)
        self._sink.damaged(name)
        self._resume = _AFTER_CORRELATION if name == "Correlation" and self._depth > 1 else _RESUME
        return self._seek(data, at)

    def _seek(self, data: bytes, at: int) -> bytes:
        match = self._resume.search(data, at)
        self._seeking = match is None
        if match is None:
            self._held = data[max(at, len(data) - _OVERLAP) :] + self._held
            self._advance(data[: max(at, len(data) - _OVERLAP)])
            return b""
        resume = match.end() if match[0].startswith(b"</Correlation") else match.start()
        self._advance(data[:resume])
        self._begin(_SYNTHETIC_ROOT)
        return data[resume:]

    def _check_bounds(self) -> None:
        if self._seeking or self._finished:
            return
        if self._fed - self._parser.CurrentByteIndex > MAX_TOKEN:
            raise MalformedExport(f"a tag longer than {MAX_TOKEN} bytes ends", **self._where())
        if len(self._names) > _MAX_NAMES:
            raise MalformedExport(f"more than {_MAX_NAMES} names of elements and attributes", **self._where())

    def _start(self, name: str, attributes: Attributes) -> None:
        depth = self._depth = self._depth + 1
        if depth == 2:
            self._top, self._attributes, self._metadata, self._beats = name, attributes, None, None
        elif name == "MetadataEntry":
            self._keep_metadata(attributes)
        elif name == "InstantaneousBeatsPerMinute":
            self._keep_beat(attributes)
        elif depth > 2 and name in _TOP_LEVEL:
            self._nested(name)
        elif depth > _MAX_DEPTH:
            raise MalformedExport(f"elements nest deeper than {_MAX_DEPTH}", **self._where())

    def _keep_metadata(self, attributes: Attributes) -> None:
        key = attributes.get("key", "")
        if self._depth == 3 and key in METADATA_KEYS:
            if self._metadata is None:
                self._metadata = {}
            self._metadata[key] = attributes.get("value", "")

    def _keep_beat(self, attributes: Attributes) -> None:
        if self._beats is None:
            self._beats = []
        if len(self._beats) < _MAX_BEATS:
            self._beats.append((attributes.get("bpm"), attributes.get("time")))

    def _nested(self, name: str) -> None:
        if self._top != "Correlation" or name != "Record":
            self._depth -= 1
            raise _Unclosed(self._parser.CurrentByteIndex)
        self._sink.nested_record()

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._depth == 1:
            if name == "Record":
                self._sink.record(self._attributes, self._metadata, self._beats)
            else:
                self._sink.other(name, self._attributes, self._metadata)
        elif self._depth == 0:
            self._finished = True


def _tag_before(data: bytes, at: int) -> str:
    """Name the tag that `at` lies in, if it can be seen; a Record otherwise, as nearly all elements are."""
    match = _TAG_NAME.match(data, max(0, data.rfind(b"<", 0, at + 1)))
    return match[1].decode() if match else "Record"


def _without_controls(data: bytes) -> bytes:
    return _CHARACTER_REFERENCE.sub(_spaced, data) if b"&#" in data else data


def _spaced(match: re.Match[bytes]) -> bytes:
    code = int(match[1]) if match[1] else int(match[2], 16)
    return b" " * len(match[0]) if code < 32 and code not in (9, 10, 13) else match[0]
