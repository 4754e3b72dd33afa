"""The elements of an export below its root, and who takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from devices.apple.beats import Beat

Attributes = dict[str, str]
Element = tuple[Attributes, Attributes | None, list[Beat] | None]
"""Attributes, metadata and beats of a Record."""


class ElementSink(Protocol):
    """Receives the elements below the root. Attributes and metadata are the sink's to keep."""

    def record(self, attributes: Attributes, metadata: Attributes | None, beats: list[Beat] | None) -> None:
        """Take one top-level Record; `metadata` holds the entries of `METADATA_KEYS` only."""

    def plain(self, found: Sequence[tuple[bytes, ...]]) -> None:
        """Take many top-level Records that look as usual (fields as in `plain.Plain`), in their order."""

    def other(
        self, name: str, attributes: Attributes, metadata: Attributes | None, statistics: Sequence[str] = ()
    ) -> None:
        """Take one top-level element that is no Record; `statistics` has the types of a workout's totals."""

    def nested_record(self) -> None:
        """Take note of a Record inside a Correlation."""

    def damaged(self, name: str) -> None:
        """Take note of one top-level element lost to damage."""
