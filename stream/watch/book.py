"""A patient's open episodes: what the world has been told and not yet been told the end of.

Every event that raises, escalates or clears goes through here, so that one open episode a (rule, metric, origin) holds,
a thing told twice is emitted once, and whoever leaves the watch leaves no episode open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from alerts.event import AlertEvent, Audience, Kind, Origin, Priority, State, alert_id
from alerts.wording import going_on_clause
from stream.detectors.finding import Finding
from stream.detectors.limits import MAX_AGE_S
from stream.detectors.protocol import Person
from stream.watch.events import alert_event
from vitals.clock import US_PER_S

MAX_OPEN: Final = 64
"""Open episodes a patient; the one that opened first is closed for the next."""
NO_LONGER: Final = "is no longer watched"
LIMITS: Final = "limits"
"""The source of what limits and contact rules find."""
ENGINE: Final = "engine"
"""The source of what no detector finds."""
_LONGEST: Final = 310  # of a clause that is kept
ENGINES: Final = frozenset({LIMITS, ENGINE})


@dataclass(frozen=True, slots=True)
class Episode:
    """An open episode as it was last told. `source` is the detector's name, `limits` for the limits."""

    source: str
    rule: str
    version: int
    metric: str
    device_id: str
    source_app: str
    kind: Kind
    priority: Priority
    audience: Audience
    opened_us: int
    raised_us: int
    changed_us: int
    measured_us: int
    individualised: bool
    retrospective: bool
    unit: str | None = None
    max_age_s: float = MAX_AGE_S
    escalated: bool = False
    says: str = ""  # only kept of what may be told again as going on

    @property
    def may_go_on(self) -> bool:
        """Whether it was only told as an old finding, of a kind that is news once it goes on."""
        told_late = self.retrospective and self.kind is Kind.PHYSIOLOGICAL and self.audience is not Audience.REVIEW
        return told_late and self.source not in ENGINES  # limits tell it themselves

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Of one key one episode is open."""
        return self.rule, self.metric, self.device_id, self.source_app

    @property
    def origin(self) -> Origin:
        """Whose finding it is."""
        return Origin(device_id=self.device_id, source_app=self.source_app)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """In which findings become events: whose, when on the watch's clock, from which lane, by which policy."""

    patient_id: str
    person: Person
    now_us: int
    policy: str
    live: bool = True
    horizon_us: int = 0  # of the backfill lane: older than so long raises nothing


@dataclass(slots=True)
class Book:
    """Open episodes by alert id, in the order in which they were told first."""

    episodes: dict[str, Episode] = field(default_factory=dict)
    max_open: int = MAX_OPEN
    orphans: set[str] = field(default_factory=set)

    @property
    def has_orphans(self) -> bool:
        """Whether there are episodes that nobody follows."""
        return bool(self.orphans)

    def sources(self) -> set[str]:
        """Return by which detectors episodes are open."""
        return {one.source for one in self.episodes.values()} - ENGINES

    def orphan(self, sources: set[str]) -> None:
        """Let the episodes of detectors whose memory is lost end with `close_orphans`."""
        self.orphans |= {told for told, one in self.episodes.items() if one.source in sources}

    def orphan_of(self, source: str, origin: Origin) -> None:
        """Let the episodes of one detector, which broke, of one origin end with `close_orphans`."""
        key = source, origin.device_id, origin.source_app
        self.orphans |= {
            told for told, one in self.episodes.items() if (one.source, one.device_id, one.source_app) == key
        }

    def origins(self) -> set[tuple[str, str]]:
        """Return which origins (device, application) have open episodes."""
        return {(one.device_id, one.source_app) for one in self.episodes.values()}

    def orphan_origin(self, key: tuple[str, str]) -> None:
        """Let the episodes of an origin (device, application) that is forgotten end with `close_orphans`."""
        self.orphans |= {told for told, one in self.episodes.items() if (one.device_id, one.source_app) == key}

    def close_orphans(self, at: Circumstances) -> list[AlertEvent]:
        """End the episodes that nobody follows."""
        gone = {told: self.episodes[told] for told in self.orphans if told in self.episodes}
        self.orphans.clear()
        return [self._given_up(told, episode, at, NO_LONGER) for told, episode in gone.items()]

    def take(self, finding: Finding, origin: Origin, source: str, at: Circumstances) -> list[AlertEvent]:
        """Return what `finding` tells anew: nothing, its event, or beside it the end of the one that it takes over.

        Changes of behaviour whose review nobody has agreed to are not looked for. Raises ValidationError for a finding
        that breaks the rules of `AlertEvent`.
        """
        if finding.audience is Audience.REVIEW and at.person.profile.review_by is None:
            return []
        told = alert_id(at.patient_id, finding.rule, finding.metric, origin, finding.opened_us)
        held = self.episodes.get(told)
        if finding.state is State.CLEARED:
            return [] if held is None else [self._end(told, held, finding, origin, at)]
        old = not (at.live or finding.by_arrival) or at.now_us - finding.measured_us > finding.max_age_s * US_PER_S
        if held is None:
            if not at.live and at.now_us - finding.measured_us > at.horizon_us:
                return []
            return [*self._make_room(finding, origin, at), self._tell(told, finding, origin, source, at, old=old)]
        priority = _capped(finding, at)
        if priority.rank > held.priority.rank or (held.retrospective and not old):
            return [self._tell(told, finding, origin, source, at, old=old, held=held)]
        return []

    def go_on(self, told: str, measured_us: int, at: Circumstances) -> AlertEvent:
        """Tell as live what was told as an old finding and has not ended by `measured_us`. Raises ValidationError."""
        held = self.episodes[told]
        changed_us = max(held.changed_us, measured_us)
        state = State.ESCALATED if held.escalated else State.RAISED
        finding = _again(held, state, changed_us, measured_us, going_on_clause(held.says or held.rule))
        event = _event(finding, held.origin, at, state=state, priority=held.priority, retrospective=False)
        self.episodes[told] = replace(
            held, changed_us=changed_us, measured_us=measured_us, retrospective=False, says=""
        )
        return event

    def close(self, at: Circumstances, why: str, which: Callable[[Episode], bool] = lambda _: True) -> list[AlertEvent]:
        """End episodes because nobody watches them any more, and return the events that say so."""
        gone = [(told, episode) for told, episode in self.episodes.items() if which(episode)]
        return [self._given_up(told, episode, at, why) for told, episode in gone]

    def _tell(
        self,
        told: str,
        finding: Finding,
        origin: Origin,
        source: str,
        at: Circumstances,
        *,
        old: bool,
        held: Episode | None = None,
    ) -> AlertEvent:
        priority, state = _capped(finding, at), State.RAISED
        if held is not None and priority.rank > held.priority.rank:
            state = State.ESCALATED
        elif held is not None:
            priority, state = held.priority, State.ESCALATED if held.escalated else State.RAISED
        event = _event(finding, origin, at, state=state, priority=priority, retrospective=old)
        self.episodes[told] = Episode(
            source, finding.rule, finding.version, finding.metric, origin.device_id, origin.source_app, finding.kind,
            priority, finding.audience, finding.opened_us, finding.raised_us, finding.changed_us, finding.measured_us,
            finding.individualised, old and (held is None or held.retrospective), finding.unit, finding.max_age_s,
            state is State.ESCALATED or (held is not None and held.escalated),
        )  # fmt: skip
        if self.episodes[told].may_go_on:
            self.episodes[told] = replace(self.episodes[told], says=finding.says[:_LONGEST])
        return event

    def _end(self, told: str, held: Episode, finding: Finding, origin: Origin, at: Circumstances) -> AlertEvent:
        # Told as going on it may have changed later than its detector dates the end.
        finding = replace(finding, changed_us=max(finding.changed_us, held.changed_us))
        event = _event(
            finding, origin, at, state=State.CLEARED, priority=held.priority, retrospective=held.retrospective
        )
        del self.episodes[told]
        return event

    def _make_room(self, finding: Finding, origin: Origin, at: Circumstances) -> list[AlertEvent]:
        """End what the new episode of the same key takes over, and the oldest where there are too many."""
        key = (finding.rule, finding.metric, origin.device_id, origin.source_app)
        ended = self.close(at, "goes on as another episode", lambda one: one.key == key)
        if len(self.episodes) >= self.max_open:
            oldest = min(self.episodes, key=lambda told: self.episodes[told].opened_us)
            ended.append(self._given_up(oldest, self.episodes[oldest], at, f"{NO_LONGER}: too many are open"))
        return ended

    def _given_up(self, told: str, episode: Episode, at: Circumstances, why: str) -> AlertEvent:
        del self.episodes[told]
        says = f"{episode.rule.replace('_', ' ')} {why}"
        finding = _again(episode, State.CLEARED, max(at.now_us, episode.changed_us), episode.measured_us, says)
        return _event(
            finding, episode.origin, at, state=State.CLEARED, priority=episode.priority,
            retrospective=episode.retrospective,
        )  # fmt: skip


def _again(episode: Episode, state: State, changed_us: int, measured_us: int, says: str) -> Finding:
    """Return a finding about an episode that no detector found."""
    return Finding(
        episode.rule, episode.version, episode.metric, episode.kind, episode.priority, state, episode.opened_us,
        episode.raised_us, changed_us, measured_us, episode.opened_us, says, individualised=episode.individualised,
        audience=episode.audience, unit=episode.unit,
    )  # fmt: skip


def _capped(finding: Finding, at: Circumstances) -> Priority:
    return min(finding.priority, at.person.ceiling, key=lambda priority: priority.rank)


def _event(
    finding: Finding, origin: Origin, at: Circumstances, *, state: State, priority: Priority, retrospective: bool
) -> AlertEvent:
    return alert_event(
        at.patient_id, origin, finding, state=state, priority=priority, retrospective=retrospective,
        policy=at.policy, review_by=at.person.profile.review_by,
    )  # fmt: skip
