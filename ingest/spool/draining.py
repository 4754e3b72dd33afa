"""How the spool is emptied: which records go together, what holds up what, what may be forgotten. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ingest.publisher import RecordRefused
from ingest.spool.store import Spooled


class Drain:
    """One walk through the spool: how far it is, and what holds up what."""

    def __init__(self) -> None:
        self.after = 0
        self.drained = 0
        self.left = 0
        self.is_open = False
        self.refusals: dict[str, RecordRefused] = {}
        self._topics: set[str] = set()
        self._keys: set[tuple[str, bytes]] = set()

    def parts(self, waiting: Sequence[Spooled]) -> Iterator[list[Spooled]]:
        """Yield what is to be sent together. Of the first page first one record a topic: is anybody there?"""
        self.after = waiting[-1].number
        rest = list(waiting)
        if not self.is_open:
            probe = list({one.topic: one for one in reversed(rest)}.values())
            yield sorted(probe, key=lambda one: one.number)
            rest = [one for one in rest if one not in probe]
        free = [one for one in rest if one.topic not in self._topics and (one.topic, one.record.key) not in self._keys]
        self.left += len(rest) - len(free)
        if free:
            yield free

    def took(self, sent: Sequence[Spooled], outcomes: Sequence[BaseException | None], done: Sequence[Spooled]) -> None:
        """Note what became of records. Somebody is there if one was acknowledged, or refused by itself."""
        self.drained += len(done)
        self.left += len(sent) - len(done)
        fine = 0
        for one, outcome in zip(sent, outcomes, strict=True):
            if isinstance(outcome, RecordRefused):
                self._blocks(one, outcome)
            fine += outcome is None or isinstance(outcome, RecordRefused)
        self.is_open = fine > 0 if not self.is_open else fine == len(sent)

    def _blocks(self, one: Spooled, error: RecordRefused) -> None:
        self.refusals[one.topic] = error
        if error.whole_topic:
            self._topics.add(one.topic)
        self._keys.add((one.topic, one.record.key))


def acknowledged_prefixes(waiting: Sequence[Spooled], acknowledged: Sequence[bool]) -> list[Spooled]:
    """Return what may be dropped: of each patient the records before the first that was not acknowledged.

    What was acknowledged behind such a one is sent again, so that a patient's records end up in order. `acknowledged`
    may be shorter than `waiting`: the rest was not sent.
    """
    blocked: set[tuple[str, bytes]] = set()
    done = []
    for one, fine in zip(waiting, [*acknowledged, *[False] * (len(waiting) - len(acknowledged))], strict=True):
        whose = (one.topic, one.record.key)
        if not fine:
            blocked.add(whose)
        elif whose not in blocked:
            done.append(one)
    return done
