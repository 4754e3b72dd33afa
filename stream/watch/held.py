"""A partition that a worker has, with what it has still to do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from alerts.event import AlertEvent
from stream.watch.lag import Lag
from stream.watch.partition import PartitionWatch
from stream.watch.state_record import MARKER
from stream.watch.strays import WAIT_S, over
from vitals.clock import US_PER_S


@dataclass(slots=True)
class Held:
    """A partition that this worker has; `gone` are patients to forget on the state topic, `ignored` so many samples of
    the engine's count are told already; `lost` and `strays` as `TakenOver` has them."""

    watched: PartitionWatch
    lag: Lag
    gone: list[str] = field(default_factory=list)
    ignored: int = 0
    strays: list[AlertEvent] = field(default_factory=list)
    lost: frozenset[str] = frozenset()
    taken_us: int = 0

    def __post_init__(self) -> None:
        known = {one.patient_id for one in self.strays}
        self.watched.withheld = set(self.lost & known)
        if known - self.lost:  # the state is lost as a whole: a marker would say that all of it is there
            self.watched.withheld.add(MARKER.decode())

    def take_strays(self, now_us: int) -> list[AlertEvent]:
        """Return, once and some minutes after the partition was taken over, the ends of alerts that nobody follows.

        Where all is lost nobody says whose partition this is: of those alone who have been heard here since.
        """
        if not self.strays or now_us - self.taken_us < WAIT_S * US_PER_S:
            return []
        ours = self.lost | self.watched.kept
        mine = [one for one in self.strays if one.patient_id in ours]
        self.strays = [one for one in self.strays if one.patient_id not in ours]
        self.watched.withheld = set()
        engine = self.watched.engine
        return over(mine, lambda patient, told: told in engine.open_alerts(patient), now_us)
