"""Edge: who is watched by what, as database and policy have it, in one snapshot (a `CrowdSource`).

The watch goes on without a database: what was known last stays. What was never known is adult defaults, "not
individualised", by the policy of a file, or by the copy of the one that the database had.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from prometheus_client import Gauge

from alerts.event import Priority
from stream.detectors.protocol import Person
from stream.policy_file.keeping import FileWatch, PolicyKeeper, keep_copy, read_copy
from stream.policy_file.policies import Hurry, Policies
from stream.watch.plan import Plan
from stream.watch.synthetic_plan import SYNTHETIC_PLAN
from timeseries.model import StoreRefused, StoreUnavailable
from timeseries.people_reader import People
from vitals.care_profile import UNKNOWN
from vitals.clock import Clock, system_clock
from vitals.gate import OPEN, Gate
from vitals.synthetic import PATIENT as SYNTHETIC

UNREADABLE: Final = Gauge("vigil_care_profiles_unreadable", "Care profiles that this release cannot read")
_NEVER_US: Final = int(np.iinfo(np.int64).max)
_FIRST_S: Final = 3.0
_LATER_S: Final = 30.0


@dataclass(frozen=True, eq=False)
class CrowdSnapshot:
    """The engine's `Crowd`: answers from memory. Another object says that something changed.

    The synthetic patient has a plan of its own, no profile, and nobody's consent to ask: no policy, ward, profile or
    withdrawal changes how it is watched. `knows_consents`: they were read; else who was withdrawn before stays so.
    """

    policies: Policies
    people: People = field(default_factory=People)
    gate: Gate = OPEN
    gone: frozenset[str] = frozenset()
    knows_consents: bool = False

    def plan_of(self, patient_id: str) -> Plan:
        """Return what a patient is watched by; the engine lays the care profile over its limits."""
        return SYNTHETIC_PLAN if patient_id == SYNTHETIC else self.policies.plan_of(patient_id)

    def person(self, patient_id: str, device_id: str) -> Person:
        """Return who is watched; only a device that is registered as medical may tell high priority."""
        ceiling = Priority.HIGH if device_id in self.people.medical else Priority.MEDIUM
        profile = UNKNOWN if patient_id == SYNTHETIC else self.people.profiles.get(patient_id, UNKNOWN)
        return Person(profile, ceiling)

    def withdrawn(self, patient_id: str) -> bool:
        """Tell whom nobody may watch: a consent was noted once and none stands any more, or none ever was where one
        is required. Who was watched until then is "not monitored"; of a stranger the engine keeps and tells nothing."""
        return patient_id != SYNTHETIC and (patient_id in self.gone or self.unconsented(patient_id))

    def unconsented(self, patient_id: str) -> bool:
        """Tell of whom nothing was ever noted where consent is required."""
        return self.gate.require_consent and patient_id not in self.gate.people


class PeopleSource:
    """Makes snapshots of what can be read. `people` and `gate` are None where there is no database."""

    def __init__(
        self,
        people: Callable[[], Awaitable[People]] | None = None,
        gate: Callable[[], Awaitable[Gate]] | None = None,
        *,
        policy_file: Path | None = None,
        copy: Path | None = None,
        hurry: Hurry | None = None,
        clock: Clock = system_clock,
    ) -> None:
        """`policy_file` is the policy instead of the database's; `copy` is where the database's is kept beside."""
        self._ask_people, self._ask_gate = people, gate
        self._file = None if policy_file is None else FileWatch(policy_file)
        self._copy = copy
        self._hurry = hurry
        self._clock = clock
        self._keeper = PolicyKeeper()
        self._people, self._gate = People(), OPEN
        self._is_known = False
        self._ends_us = _NEVER_US
        self._parts: tuple[Policies, People, Gate] | None = None
        self._snapshot: CrowdSnapshot | None = None
        self._turn = asyncio.Lock()

    async def current(self) -> CrowdSnapshot:
        """Return who is watched by what, the same object until something changed.

        Raises `StoreUnavailable` while the database does not answer and nothing else changed: what was returned last
        holds on. The first call returns what is known without it.
        """
        async with self._turn:
            away = await self._look_at_database()
            await self._look_at_policy()
            parts = (self._keeper.policies, self._people, self._gate)
            held = self._snapshot
            knows = self._is_known and self._ask_gate is not None
            is_over = self._clock() >= self._ends_us
            if held is None or held.knows_consents is not knows or self._is_new(parts) or is_over:
                gone, self._ends_us = await asyncio.to_thread(_gone, self._gate, self._clock())
                held = self._snapshot = CrowdSnapshot(self._hastened(), self._people, self._gate, gone, knows)
                self._parts = parts
            elif away is not None:
                raise away
        return held

    def _is_new(self, parts: tuple[Policies, People, Gate]) -> bool:
        return self._parts is None or any(one is not other for one, other in zip(parts, self._parts, strict=True))

    def _hastened(self) -> Policies:
        policies, hurry = self._keeper.policies, self._hurry
        return policies if hurry is None else policies.hastened(hurry.delay_s, hurry.clear_delay_s)

    async def _look_at_policy(self) -> None:
        if self._file is not None:
            body = await asyncio.to_thread(self._file.look)
            if body is not None:
                await self._keeper.offer(body, "file")
        elif self._people.policy is not None:
            body = self._people.policy.body.encode()
            if await self._keeper.offer(body, "database") and self._copy is not None:
                await asyncio.to_thread(keep_copy, self._copy, body)
        elif not self._is_known and self._copy is not None:
            body = await asyncio.to_thread(read_copy, self._copy)
            if body is not None:
                await self._keeper.offer(body, "copy")

    async def _look_at_database(self) -> StoreUnavailable | None:
        """Read what can be read, within a short time at first: without it the watch must begin too."""
        try:
            async with asyncio.timeout(_LATER_S if self._snapshot is not None else _FIRST_S):
                people = self._people if self._ask_people is None else await self._ask_people()
                gate = self._gate if self._ask_gate is None else await self._ask_gate()
        except StoreUnavailable as error:
            return error
        except StoreRefused as error:  # of a query without a row of ours: another day it may be answered
            return StoreUnavailable(str(error))
        except TimeoutError:
            return StoreUnavailable("the database does not answer in time")
        self._people, self._gate, self._is_known = people, gate, True
        UNREADABLE.set(people.unreadable)
        return None


def _gone(gate: Gate, now_us: int) -> tuple[frozenset[str], int]:
    """Return of whom no consent stands at a time, and when the next one ends by itself."""
    gone, ends_us = [], _NEVER_US
    for patient, one in gate.people.items():
        newest_us = int(one.to_us.max(initial=0))
        if newest_us <= now_us:
            gone.append(patient)
        else:
            ends_us = min(ends_us, newest_us)
    return frozenset(gone), ends_us
