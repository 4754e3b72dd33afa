"""The messages of a stream. Pure.

A text message is a request in JSON with a `seq`, or names the bridge's device and application for what follows. A
binary message is 8 bytes of `seq`, big-endian, and an Arrow stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ingest.gateway.json_text import load_json
from ingest.gateway.parse_arrow import parse_arrow
from ingest.gateway.parse_json import parse_document
from ingest.gateway.parsed import BodyRefused, Parsed
from vitals.ids import is_opaque

_SEQ_BYTES: Final = 8
_MOST: Final = 2 ** (8 * _SEQ_BYTES)


@dataclass(frozen=True, slots=True)
class Hello:
    """Who a bridge's messages are about where they do not say so themselves."""

    device: str | None = None
    source_app: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Hello:
        """Return who is named. Raises `BodyRefused` (422) for what is no opaque id."""
        return cls(_opaque(given, "device"), _opaque(given, "source_app"))


def _opaque(given: Mapping[str, object], name: str) -> str | None:
    word = given.get(name)
    if word is None or (isinstance(word, str) and is_opaque(word)):
        return word
    raise BodyRefused(422, "bad_field", f"{name} is an opaque id", f"/{name}")


@dataclass(frozen=True, slots=True)
class Message:
    """A message with samples, still to be read."""

    seq: int
    content: bytes | dict[str, object]

    def read(self, who: Hello, received_us: int) -> Parsed:
        """Return what it says. Raises `BodyRefused`."""
        if isinstance(self.content, bytes):
            return parse_arrow(self.content, received_us=received_us, device=who.device, source_app=who.source_app)
        known = {name: word for name, word in (("device", who.device), ("source_app", who.source_app)) if word}
        return parse_document({**known, **self.content}, received_us=received_us)


def message_of(raw: bytes, *, binary: bool) -> Hello | Message:
    """Return what a frame holds. Raises `BodyRefused` (400, 422)."""
    if binary:
        if len(raw) <= _SEQ_BYTES:
            raise BodyRefused(400, "bad_arrow", "a binary message is 8 bytes of seq, big-endian, and an Arrow stream")
        return Message(int.from_bytes(raw[:_SEQ_BYTES], "big"), raw[_SEQ_BYTES:])
    document = load_json(raw)
    if not isinstance(document, dict):
        raise BodyRefused(422, "bad_field", "a message is an object")
    if "seq" not in document and document.keys() <= {"device", "source_app"}:
        return Hello.of(document)
    seq = document.pop("seq", None)
    if type(seq) is not int or not 0 <= seq < _MOST:
        raise BodyRefused(422, "bad_field", "seq is a whole number from 0, below 2^64", "/seq")
    return Message(seq, document)
