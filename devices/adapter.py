"""What every adapter of a file gives: pieces of one origin, as a stream, and a count of what became of each record.

An adapter is one module with an object that fits `Adapter`, and one entry point of the group `vigil.adapters`
(docs/adapters.md). It is pure: it reads bytes that it is given and asks no clock, no network and no database. No name,
birth date or place leaves it: what could carry one is hashed with `Reading.hash_key` (`vitals.ids.pseudonym`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from os import PathLike
from typing import BinaryIO, Final, Protocol, runtime_checkable

from vitals.batch import SampleColumns
from vitals.ids import DeviceId
from vitals.waveform import WaveformChunk

ENTRY_POINTS: Final = "vigil.adapters"
"""The group of entry points in which adapters are found."""

Source = str | PathLike[str] | BinaryIO
"""A path, or a seekable binary file that the adapter leaves open."""


@dataclass(frozen=True, slots=True)
class Session:
    """A stretch that its source calls one thing: a workout, a night, a recording, a mindful quarter of an hour.

    `session_id` is opaque and the same whenever the same session is read again; `kind` a word (`workout`, `sleep`,
    `ecg`, `mindfulness`); `metrics` the codes it is about; `confidence` is 1 where the source states the session,
    below where an adapter derived it from the samples. Times are microseconds UTC.
    """

    session_id: str
    kind: str
    start_us: int
    end_us: int
    metrics: tuple[str, ...]
    confidence: float
    label: str = ""
    """An opaque word that says which: `running`, `sinus_rhythm`; never free text of a person."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one device told through one source application: samples, waveforms, sessions; any of them may be none."""

    device_id: DeviceId
    source_app: str
    samples: SampleColumns | None = None
    waveforms: tuple[WaveformChunk, ...] = ()
    sessions: tuple[Session, ...] = ()


@dataclass(slots=True)
class Tally:
    """What was read and what became of it: read = accepted + rejected + ignored (each counted by its reason)."""

    read: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """Records that break the format's rules, by reason; none of these words quotes a value."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Records that Vigil has no metric for, by the source's own type name."""
    by_metric: Counter[str] = field(default_factory=Counter)
    """Samples by metric: one record may make several."""
    sessions: int = 0
    waveforms: int = 0

    def to_json(self) -> dict[str, object]:
        """Return the counts as a JSON object."""
        return {
            "read": self.read, "accepted": self.accepted, "rejected": dict(sorted(self.rejected.items())),
            "ignored": dict(sorted(self.ignored.items())), "samples": dict(sorted(self.by_metric.items())),
            "sessions": self.sessions, "waveforms": self.waveforms,
        }  # fmt: skip


def _silent(_done: int, _total: int) -> None:
    return


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is to be read: when Vigil took it over, the key for pseudonyms, where its wearer lives."""

    received_us: int
    hash_key: bytes
    zone: str = "UTC"
    """IANA name, for sources that tell local times without an offset."""
    batch_size: int = 5_000
    """At most so many samples in a piece."""
    tally: Tally = field(default_factory=Tally)
    on_progress: Callable[[int, int], None] = _silent
    """Called now and then with how many bytes (or records) of how many are done."""


@runtime_checkable
class Adapter(Protocol):
    """Reads one kind of file. `name` ends in `-export` where a file tells a person's whole history again each time."""

    name: str
    """An opaque word, which travels in the header of every batch."""
    about: str
    """One sentence for `vigil import --help`."""

    def read(self, source: Source, reading: Reading) -> Iterator[Piece]:
        """Yield what the file tells, in bounded pieces.

        A record that breaks the rules is counted in `reading.tally` and the rest goes on. Raises `MalformedExport`
        where the file as a whole is none of this kind, or cannot be read to its end (what stood before was yielded).
        """
        ...
