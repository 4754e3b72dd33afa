"""From the bytes of export.xml to its elements, one at a time, whatever state the file is in.

expat is fed directly: it builds no tree, so that memory does not grow with the file. What comes before the root
element is dropped unread: iOS 16 writes a broken DTD there, and without one no entity can be defined, expanded or
fetched. Control characters become spaces (`devices.apple.controls`).
After damage a fresh parser starts at the next element; the damage costs the record it stands in.

Records inside a Correlation stand at top level as well, so they are left out. If its end tag is missing, what follows
seems to be inside; so whatever does not have the Correlation's own dates is kept aside until it ends, and let through
where it turns out that it does not.
"""

from __future__ import annotations

import re
from typing import Final
from xml.parsers.expat import ExpatError, ParserCreate, XMLParserType, errors

from devices.apple.beats import Beat
from devices.apple.controls import without_controls, without_references
from devices.apple.elements import Attributes, Element, ElementSink
from devices.apple.plain import find_plain
from devices.apple.plain_columns import METADATA_KEYS
from devices.errors import MalformedExport

MAX_PROLOG: Final = 1 << 20
MAX_TOKEN: Final = 1 << 20
"""The longest single tag: without a bound expat rescans an endless one again and again."""
_MAX_DEPTH: Final = 32
_MAX_NAMES: Final = 4_096
_MAX_BEATS: Final = 10_000
_MAX_STATISTICS: Final = 64
_MAX_ASIDE: Final = 256
"""More records than any Correlation has that are not of its own dates: one with more has no end tag."""

_ROOT: Final = re.compile(rb"<HealthData[\s/>]")
_RESUME: Final = re.compile(rb"<(?:(?:Record|Correlation|Workout|ActivitySummary)[\s/>]|/HealthData\s*>)")
# After damage inside a Correlation: the next Record may still be a nested one.
_RESUME_INSIDE: Final = re.compile(
    rb"<(?:(?:Record|Correlation|Workout|ActivitySummary)[\s/>]|/(?:Correlation|HealthData)\s*>)"
)
_STAYS_INSIDE: Final = (b"<Record", b"</Correlation")
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
        self._correlation: Attributes | None = None  # that of the Correlation we are in
        self._damaged_inside = False
        self._aside: list[Element] = []
        self._begin(b"")

    def _begin(self, prefix: bytes) -> None:
        """Start a fresh parser at the present offset."""
        self._depth, self._top, self._record_depth = 0, "", 2
        self._attributes: Attributes = {}
        self._metadata: Attributes | None = None
        self._beats: list[Beat] | None = None
        self._statistics: list[str] = []
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
        data = self._held + without_controls(chunk)
        self._held = b""
        if not self._started:
            data = self._find_root(data)
        if self._started:
            self._parse(without_references(self._hold_tag(data)))
            self._check_bounds()

    def abandon(self) -> None:
        """Let through what is kept aside: the file ends inside what seemed to be a Correlation."""
        aside, self._aside = self._aside, []
        for element in aside:
            self._sink.record(*element)

    def close(self) -> None:
        """Tell that the file has ended. Raises `MalformedExport` if its root element has not."""
        if self._started and not self._finished and self._held:
            data, self._held = self._held, b""
            self._parse(without_references(data))
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
        at, mixed = 0, False
        while at < len(data) and not self._finished:
            if self._seeking:
                data, at = self._seek(data, at), 0
                continue
            found, stop = find_plain(data, at, mixed=mixed) if self._between else ([], at)
            if found:
                self._sink.plain(found)
                self._advance(data[at:stop])
            mixed = True
            data, at = self._feed(data, stop)

    @property
    def _between(self) -> bool:
        """Tell whether a top-level element may begin here: expat has understood all it got, and is in none."""
        return self._depth == 1 and self._parser.CurrentByteIndex == self._fed

    def _feed(self, data: bytes, at: int) -> tuple[bytes, int]:
        """Give expat what stands from `at` to the next Record but one; return data, and where to go on in it."""
        stop = data.find(b"<Record ", at + 1)
        piece = data[at : stop if stop > 0 else len(data)]
        try:
            self._parser.Parse(piece)
        except ExpatError as error:
            return self._recover(data[at:], self._parser.ErrorByteIndex + _SOUND_FROM.get(error.code, 1)), 0
        except _Unclosed as unclosed:
            return self._recover(data[at:], unclosed.index), 0
        self._fed += len(piece)
        self._advance(piece)
        return data, at + len(piece)

    def _recover(self, data: bytes, parser_index: int) -> bytes:
        """Count the damage; return `data` from the next element at or after `parser_index`, the parser a fresh one."""
        at = max(0, parser_index - self._fed)
        name = self._top if self._depth > 1 else _tag_before(data, at)
        if not self._damaged_inside:
            self._sink.damaged(name)
        self._damaged_inside = self._correlation is not None
        return self._seek(data, at)

    def _seek(self, data: bytes, at: int) -> bytes:
        inside = self._correlation is not None
        match = (_RESUME_INSIDE if inside else _RESUME).search(data, at)
        self._seeking = match is None
        if match is None:
            self._held = data[max(at, len(data) - _OVERLAP) :] + self._held
            self._advance(data[: max(at, len(data) - _OVERLAP)])
            return b""
        self._advance(data[: match.start()])
        if inside and match[0].startswith(_STAYS_INSIDE):
            self._begin(_SYNTHETIC_ROOT + b"<Correlation>")
        else:
            self._leave_correlation()
            self._begin(_SYNTHETIC_ROOT)
        return data[match.start() :]

    def _leave_correlation(self) -> None:
        self._correlation, self._damaged_inside = None, False
        self.abandon()

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
            self._begin_top(name, attributes)
        elif name == "MetadataEntry":
            self._keep_metadata(attributes)
        elif name == "InstantaneousBeatsPerMinute":
            self._keep_beat(attributes)
        elif name == "WorkoutStatistics":
            self._keep_statistics(attributes)
        elif depth > 2 and name in _TOP_LEVEL:
            self._nested(name, attributes)
        elif depth > _MAX_DEPTH:
            raise MalformedExport(f"elements nest deeper than {_MAX_DEPTH}", **self._where())

    def _begin_top(self, name: str, attributes: Attributes) -> None:
        self._top, self._attributes, self._metadata, self._beats = name, attributes, None, None
        self._record_depth = 2
        if name == "Correlation" and self._correlation is None:
            self._correlation = attributes
        elif name == "Workout":
            self._statistics = []

    def _keep_metadata(self, attributes: Attributes) -> None:
        key = attributes.get("key", "")
        if self._depth == self._record_depth + 1 and key in METADATA_KEYS:
            if self._metadata is None:
                self._metadata = {}
            self._metadata[key] = attributes.get("value", "")

    def _keep_beat(self, attributes: Attributes) -> None:
        if self._beats is None:
            self._beats = []
        if len(self._beats) < _MAX_BEATS:
            self._beats.append((attributes.get("bpm"), attributes.get("time")))

    def _keep_statistics(self, attributes: Attributes) -> None:
        if self._depth == 3 and len(self._statistics) < _MAX_STATISTICS:
            self._statistics.append(attributes.get("type", ""))

    def _nested(self, name: str, attributes: Attributes) -> None:
        inside = self._top == "Correlation" and name == "Record" and self._depth == 3
        if not inside or len(self._aside) >= _MAX_ASIDE:
            if name != "Record" or len(self._aside) >= _MAX_ASIDE:
                self._correlation = None  # its end tag is missing: `_seek` lets through what is aside
            self._depth -= 1
            raise _Unclosed(self._parser.CurrentByteIndex)
        self._attributes, self._metadata, self._beats = attributes, None, None
        self._record_depth = 3

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._depth == 1:
            if name == "Record":
                self._sink.record(self._attributes, self._metadata, self._beats)
            elif name == "Correlation":
                self._end_correlation()
            else:
                self._sink.other(name, self._attributes, self._metadata, self._statistics)
        elif self._depth == 2 and self._top == "Correlation" and name == "Record":
            self._end_nested()
        elif self._depth == 0:
            self._finished = True

    def _end_nested(self) -> None:
        if _dates(self._attributes) != _dates(self._correlation or {}) or self._aside:
            self._aside.append((self._attributes, self._metadata, self._beats))
        else:
            self._sink.nested_record()

    def _end_correlation(self) -> None:
        """The end tag is there: all that was kept aside was nested in truth."""
        for _ in self._aside:
            self._sink.nested_record()
        if not self._damaged_inside:
            self._sink.other("Correlation", self._correlation or {}, None)
        self._aside, self._correlation, self._damaged_inside = [], None, False


def _dates(attributes: Attributes) -> tuple[str | None, str | None]:
    return attributes.get("startDate"), attributes.get("endDate")


def _tag_before(data: bytes, at: int) -> str:
    """Name the tag that `at` lies in, if it can be seen; a Record otherwise, as nearly all elements are."""
    match = _TAG_NAME.match(data, max(0, data.rfind(b"<", 0, at + 1)))
    return match[1].decode() if match else "Record"
