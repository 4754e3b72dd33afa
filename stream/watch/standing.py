"""What the records of one partition of the state topic add up to, one after the other. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from stream.watch import watch_metrics as metrics
from stream.watch.state_record import MARKER, Kept, UnreadableState, unpack


@dataclass(slots=True)
class Standing:
    """What stands on one partition of the state topic."""

    kept: dict[str, Kept] = field(default_factory=dict)
    marker: Kept | None = None
    unreadable: set[str] = field(default_factory=set)

    @property
    def is_lost(self) -> bool:
        """Whether nothing says that this is all there was: the topic is new, was made anew or cut off."""
        return self.marker is None

    def is_whole(self, known: Collection[str]) -> bool:
        """Whether all that is known stands here, of a log that is one of the `known` epochs."""
        return self.marker is not None and self.marker.place.epoch in known and not self.unreadable

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Take the next record in."""
        patient = (key or b"").decode("ascii", "replace")
        if value is None:
            self.kept.pop(patient, None)
            self.unreadable.discard(patient)
            return
        try:
            one = unpack(value)
        except UnreadableState:
            self._doubt(patient, "unreadable")
            return
        if key == MARKER:
            self.marker = one
        elif self._is_stale(one):
            self._doubt(patient, "stale")
        else:
            held = self.kept.get(patient)
            if held is None or held.place.epoch != one.place.epoch or one.below >= held.below:
                self.kept[patient] = one
                self.unreadable.discard(patient)

    def _is_stale(self, one: Kept) -> bool:
        """Written after a marker, a snapshot goes at least as far; else its writer had lost the partition."""
        marker = self.marker
        return marker is not None and marker.place.epoch == one.place.epoch and one.below < marker.place.offset

    def _doubt(self, patient: str, why: str) -> None:
        metrics.UNREADABLE.labels(why).inc()
        if patient == MARKER.decode():
            self.marker = None
        else:
            self.kept.pop(patient, None)
            self.unreadable.add(patient)
