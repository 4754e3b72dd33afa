"""Edge: what the watch goes by, as the database has it: profiles, medical devices, the policy in force."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from timeseries.policies import AppliedPolicy
from timeseries.profiles import read_profile
from timeseries.queries import load
from timeseries.version_reader import VersionReader
from vitals.care_profile import CareProfile

_SQL: Final = load("profiles")


@dataclass(frozen=True, slots=True)
class People:
    """Profiles by patient id, devices meant for medicine, the policy in force (None: none was ever applied).

    `unreadable`: how many profiles this release cannot read; those people are watched by adult defaults.
    """

    profiles: Mapping[str, CareProfile] = field(default_factory=lambda: MappingProxyType({}))
    medical: frozenset[str] = frozenset()
    policy: AppliedPolicy | None = None
    unreadable: int = 0


class PeopleReader(VersionReader[People]):
    """Reads it all again within seconds of a change."""

    def __init__(self, url: str, *, every_s: float = 2.0, prepare_threshold: int | None = 5) -> None:
        super().__init__(url, People(), -1, every_s=every_s, prepare_threshold=prepare_threshold)

    async def _counted(self) -> int:
        return int((await self._rows("people_version"))[0][0])

    async def _read(self, known: People) -> People:
        del known
        standing = await self._rows("standing")
        medical = frozenset(row[0] for row in await self._rows("medical"))
        policies = await self._rows("policy_in_force")
        policy = AppliedPolicy(*policies[0]) if policies else None
        profiles = await asyncio.to_thread(_profiles, standing)
        return People(profiles, medical, policy, len(standing) - len(profiles))

    async def _rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = await self._open()
        return await (await connection.execute(_SQL[query])).fetchall()


def _profiles(rows: list[tuple[Any, ...]]) -> dict[str, CareProfile]:
    read = {patient: read_profile(version, limits, facts) for patient, version, limits, facts in rows}
    return {patient: one for patient, one in read.items() if one is not None}
