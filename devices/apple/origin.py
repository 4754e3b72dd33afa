"""Where samples come from: device and source app, without the names that people give to both."""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from devices.adapter import Session
from vitals.ids import DeviceId, pseudonym

_IDENTIFYING: Final = ("manufacturer", "model", "hardware")
MAX_KNOWN: Final = 4_096


@dataclass(slots=True)
class Origin:
    """One device and source app, what it still holds back, and the night that it is telling.

    `rows`: `collect.FIELDS` float64 numbers a row; `night`: start and end in microseconds of the sleep told last.
    """

    device_id: DeviceId
    source_app: str
    rows: array[float] = field(default_factory=lambda: array("d"))
    sessions: list[Session] = field(default_factory=list)
    night: tuple[int, int] | None = None


class Origins:
    """Gives each record its origin; the same source gets the same ids in every import with the same key."""

    def __init__(self, hash_key: bytes, prefix: str = "hk") -> None:
        self._key, self._prefix = hash_key, prefix
        self._by_text: dict[tuple[str, str | None, str], Origin] = {}
        self._by_id: dict[tuple[str, str], Origin] = {}

    def __iter__(self) -> Iterator[Origin]:
        return iter(list(self._by_id.values()))

    @property
    def too_many(self) -> bool:
        """Tell whether it is time to forget some: a file may name any number of sources."""
        return len(self._by_text) > MAX_KNOWN

    def of(self, source_name: str, device: str | None, suffix: str) -> Origin:
        """Return the origin of a record: `device` is the HKDevice text, `suffix` sets a metric's second type apart."""
        # The pointer before the first comma changes from record to record and is no identity.
        text = (source_name, device and device[device.find(",") :], suffix)
        known = self._by_text.get(text)
        if known is None:
            known = self._by_text[text] = self._learn(*text)
        return known

    def _learn(self, source_name: str, device: str | None, suffix: str) -> Origin:
        name = normalised(source_name)
        device_id = pseudonym(self._key, "\x1f".join([name, *_hardware(device or "")]), self._prefix)
        source_app = pseudonym(self._key, name, "app") + suffix
        return self._by_id.setdefault((device_id, source_app), Origin(DeviceId(device_id), source_app))

    def add_session(
        self,
        origin: Origin,
        kind: str,
        start_us: int,
        end_us: int,
        metrics: tuple[str, ...],
        *,
        label: str = "",
        confidence: float = 1.0,
    ) -> None:
        """Let `origin` hold a session. Its id is the same however often, and in whatever export, it is told."""
        identity = "\x1f".join([origin.device_id, origin.source_app, kind, str(start_us)])
        session_id = pseudonym(self._key, identity, "ses")
        origin.sessions.append(Session(session_id, kind, start_us, end_us, metrics, confidence, label))

    def forget_empty(self) -> None:
        """Drop what is remembered of sources that hold nothing, once there are too many of them."""
        if self.too_many:
            self._by_text.clear()
            self._by_id = {key: one for key, one in self._by_id.items() if one.rows or one.sessions or one.night}


def normalised(name: str) -> str:
    """Return a name with its spaces made plain: Apple writes U+00A0 in some of them, in some versions."""
    return " ".join(unicodedata.normalize("NFKC", name).split())


def _hardware(device: str) -> list[str]:
    """Return maker, model and hardware of an HKDevice text: what an update of its software or its name leaves alone."""
    found = dict.fromkeys(_IDENTIFYING, "")
    for part in device.removesuffix(">").split(", "):
        key, _, value = part.partition(":")
        if key in found:
            found[key] = normalised(value)
    return list(found.values())
