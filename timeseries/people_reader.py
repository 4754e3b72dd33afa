"""Edge: what the watch goes by, as the database has it: profiles, medical devices, the policy in force."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from timeseries.answers import patiently
from timeseries.one_connection import OneConnection
from timeseries.policies import AppliedPolicy
from timeseries.profiles import read_profile
from timeseries.queries import load
from vitals.care_profile import CareProfile

_SQL: Final = load("profiles")
_OPTIONS: Final = "-c statement_timeout=20000 -c timezone=UTC"


@dataclass(frozen=True, slots=True)
class People:
    """Profiles by patient id, devices meant for medicine, the policy in force (None: none was ever applied).

    `unreadable`: how many profiles this release cannot read; those people are watched by adult defaults.
    """

    profiles: Mapping[str, CareProfile] = field(default_factory=lambda: MappingProxyType({}))
    medical: frozenset[str] = frozenset()
    policy: AppliedPolicy | None = None
    unreadable: int = 0


class PeopleReader(OneConnection):
    """One connection that looks every `every_s` whether something changed. Use as an async context manager."""

    def __init__(self, url: str, *, every_s: float = 2.0, prepare_threshold: int | None = 5) -> None:
        super().__init__(url, options=_OPTIONS, prepare_threshold=prepare_threshold)
        self._every_s = every_s
        self._people = People()
        self._version = -1
        self._looked = -1e9
        self._turn = asyncio.Lock()

    async def current(self) -> People:
        """Return what stood at most `every_s` ago, the same object until it changes. Raises `StoreUnavailable`."""
        if self._is_due():
            async with self._turn:
                if self._is_due():
                    await self._look_patiently()
        return self._people

    def _is_due(self) -> bool:
        return time.monotonic() - self._looked >= self._every_s

    async def _look_patiently(self) -> None:
        try:
            with patiently():
                await self._look()
        except BaseException:
            await self.close()
            raise

    async def _look(self) -> None:
        began = time.monotonic()
        version = int((await self._rows("people_version"))[0][0])
        if version != self._version:
            # What changes between the statements is seen by the next look: the version was read first.
            standing = await self._rows("standing")
            medical = frozenset(row[0] for row in await self._rows("medical"))
            policies = await self._rows("policy_in_force")
            policy = AppliedPolicy(*policies[0]) if policies else None
            profiles = await asyncio.to_thread(_profiles, standing)
            unreadable = len(standing) - len(profiles)
            self._people, self._version = People(profiles, medical, policy, unreadable), version
        self._looked = began

    async def _rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = await self._open()
        return await (await connection.execute(_SQL[query])).fetchall()


def _profiles(rows: list[tuple[Any, ...]]) -> dict[str, CareProfile]:
    read = {patient: read_profile(version, limits, facts) for patient, version, limits, facts in rows}
    return {patient: one for patient, one in read.items() if one is not None}
