"""What the events of one alert add up to. A pure fold: twice the same, or in another order, comes to the same.

"Later wins" means later in event time; of two events of one time `cleared` is later than `raised`. So a clearance
that overtook its raising is not undone by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import AwareDatetime

from alerts.event import AlertEvent, Message, Priority, State


class EpisodeState(StrEnum):
    """What a clinician sees."""

    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"
    CLEARED = "cleared"


class News(Message):
    """What an event can tell a person anew: a repeat with only fresher evidence is none."""

    state: State
    priority: Priority
    retrospective: bool


class Episode(Message):
    """One alert as far as it is known: its newest event, what was already told of it, who acknowledged it and when."""

    event: AlertEvent
    told: frozenset[News]
    acknowledged_by: str | None = None
    acknowledged_at: AwareDatetime | None = None
    acknowledged_priority: Priority | None = None

    @property
    def is_open(self) -> bool:
        """Whether the alert has not cleared."""
        return self.event.state is not State.CLEARED

    @property
    def state(self) -> EpisodeState:
        """Cleared wins over acknowledged: a person who looks later sees that it is over, and by whom it was seen."""
        if not self.is_open:
            return EpisodeState.CLEARED
        return EpisodeState.RAISED if self.acknowledged_at is None else EpisodeState.ACKNOWLEDGED


def news_of(event: AlertEvent) -> News:
    """Return what `event` may tell a person anew."""
    return News(state=event.state, priority=event.priority, retrospective=event.retrospective)


def is_news(episode: Episode | None, event: AlertEvent) -> bool:
    """Tell whether `event` says something that `episode`, as known before it, had not.

    What was told as live is no news as an old finding: a watch that warms up from the log comes upon it again.
    """
    if episode is None:
        return True
    news = news_of(event)
    return news not in episode.told and news.model_copy(update={"retrospective": False}) not in episode.told


def fold(episode: Episode | None, event: AlertEvent) -> Episode:
    """Return `episode` with `event` taken in; the very same object where it changes nothing."""
    if episode is None:
        return Episode(event=event, told=frozenset({news_of(event)}))
    newest = max(episode.event, event, key=_order)
    told = episode.told | {news_of(event)}
    if newest == episode.event and told == episode.told:
        return episode
    goes_on = episode.event.retrospective and not newest.retrospective and newest.state is not State.CLEARED
    return _reopen(episode.model_copy(update={"event": newest, "told": told}), goes_on=goes_on)


def _order(event: AlertEvent) -> tuple[object, ...]:
    # The last word only decides between two events that differ in their evidence, so that any order agrees.
    return (event.changed_at, event.state.rank, event.priority.rank, not event.retrospective, event.to_bytes())


def _reopen(episode: Episode, *, goes_on: bool) -> Episode:
    """Acknowledging never mutes a higher priority (CLINICAL), nor that what was seen as an old finding goes on now.

    Then the episode waits for a person again.
    """
    seen = episode.acknowledged_priority
    if seen is None or (episode.event.priority.rank <= seen.rank and not goes_on):
        return episode
    nobody = {"acknowledged_by": None, "acknowledged_at": None, "acknowledged_priority": None}
    return episode.model_copy(update=nobody)


def fold_all(events: Iterable[AlertEvent]) -> dict[str, Episode]:
    """Return the episodes that `events` tell of, by alert id."""
    episodes: dict[str, Episode] = {}
    for event in events:
        episodes[event.alert_id] = fold(episodes.get(event.alert_id), event)
    return episodes


def acknowledge(episode: Episode, actor: str, at: AwareDatetime) -> Episode:
    """Return `episode` as seen by `actor` (an opaque id of a person) at `at`; who came first stays."""
    if episode.acknowledged_at is not None:
        return episode
    seen = {"acknowledged_by": actor, "acknowledged_at": at, "acknowledged_priority": episode.event.priority}
    return episode.model_copy(update=seen)
