"""Which changes of alerts stand on the topic already: what is found again while the log is read again is not news."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from alerts.episode import News, news_of
from alerts.event import AlertEvent

MAX_ALERTS: Final = 200_000
"""Alerts remembered, some 100 MB at the very most; past that those that changed least recently are forgotten."""


class Told:
    """The changes of each alert that were published, by alert id."""

    def __init__(self, limit: int = MAX_ALERTS) -> None:
        self._told: OrderedDict[str, set[News]] = OrderedDict()
        self._limit = limit

    def __len__(self) -> int:
        return len(self._told)

    def clear(self) -> None:
        """Forget everything: the topic is asked anew."""
        self._told.clear()

    def remember(self, events: Iterable[AlertEvent]) -> None:
        """Take in what stands on the topic."""
        for event in events:
            self._told.setdefault(event.alert_id, set()).add(news_of(event))
            self._told.move_to_end(event.alert_id)
            if len(self._told) > self._limit:
                self._told.popitem(last=False)

    def fresh(self, events: Iterable[AlertEvent]) -> list[AlertEvent]:
        """Return, and remember, those of `events` that do not stand on the topic.

        What was told as live is not told again as an old finding, which it has become meanwhile.
        """
        found = []
        for event in events:
            if not self._knows(event):
                self.remember((event,))
                found.append(event)
        return found

    def _knows(self, event: AlertEvent) -> bool:
        held, news = self._told.get(event.alert_id, set()), news_of(event)
        return news in held or news.model_copy(update={"retrospective": False}) in held
