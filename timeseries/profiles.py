"""Edge: care profiles: set, ended, shown; by whom and why. None is rewritten, a new version ends the old one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb
from pydantic import ValidationError

from timeseries.queries import load
from vitals.care_profile import CareProfile
from vitals.errors import VigilError
from vitals.ids import InvalidId, is_opaque, patient_id

_SQL: Final = load("profiles")
_MAX_REASON: Final = 200


class ProfileRefused(VigilError):
    """What was asked is not done, and why; nothing was changed."""


@dataclass(frozen=True, slots=True)
class ProfileVersion:
    """One version as it was set; times are aware, the last three None while it holds."""

    version: int
    profile: CareProfile | None  # None: this release cannot read it
    valid_from: datetime
    valid_to: datetime | None
    created_by: str
    created_at: datetime
    reason: str
    ended_by: str | None
    end_reason: str | None


class Profiles:
    """Care profiles over one connection, a context manager; each call is one transaction. Raises psycopg's errors."""

    def __init__(self, connection: psycopg.Connection[Any], who: str) -> None:
        """Work as `who`, an opaque id. Raises `InvalidId`."""
        if not is_opaque(who):
            raise InvalidId("who does this")
        self._connection = connection
        self._who = who

    def set(self, patient: str, profile: CareProfile, reason: str) -> int:
        """Let a profile hold from now on, in the place of the one before, and return its version.

        The profile's own `version` is not looked at. Raises `ProfileRefused` without a reason, `InvalidId`.
        """
        limits, facts = stored(profile)
        which: dict[str, Any] = {
            "patient": patient_id(patient), "who": self._who, "reason": checked_reason(reason), "limits": Jsonb(limits),
            "profile": Jsonb(facts), "from": None,
        }  # fmt: skip
        with self._connection.transaction():
            self._connection.execute(_SQL["add_patient"], which)
            which["key"] = self._key_of(patient)
            row = self._connection.execute(_SQL["newest"], which).fetchone()
            version = 1 + (0 if row is None else int(row[0]))
            ended = self._connection.execute(_SQL["end"], which).fetchone()
            which |= {"version": version, "from": None if ended is None else ended[1]}
            self._connection.execute(_SQL["set"], which)
        return version

    def end(self, patient: str, reason: str) -> int:
        """End the profile that holds, and return its version: adult defaults hold again.

        Raises `ProfileRefused` where none holds, `InvalidId`.
        """
        which: dict[str, Any] = {"patient": patient_id(patient), "who": self._who, "reason": checked_reason(reason)}
        with self._connection.transaction():
            which["key"] = self._key_of(patient)
            row = self._connection.execute(_SQL["end"], which).fetchone()
        if row is None:
            raise ProfileRefused("no profile of that patient holds, and nothing was changed")
        return int(row[0])

    def history(self, patient: str) -> list[ProfileVersion]:
        """Return every version, oldest first."""
        found = []
        for version, limits, facts, *rest in self._connection.execute(_SQL["history"], {"patient": patient}):
            found.append(ProfileVersion(version, read_profile(version, limits, facts), *rest))
        return found

    def holds(self, patient: str) -> CareProfile | None:
        """Return the profile that holds now, None without one or where this release cannot read it."""
        return next((one.profile for one in self.history(patient) if one.valid_to is None), None)

    def _key_of(self, patient: str) -> int:
        row = self._connection.execute(_SQL["lock_patient"], {"patient": patient}).fetchone()
        if row is None:
            raise ProfileRefused("no patient has that id: nothing is stored under it, and nothing was changed")
        return int(row[0])


def checked_reason(reason: str) -> str:
    """Return a reason. Raises `ProfileRefused` for none, or a long one: it is a number of a matter, never a story."""
    told = reason.strip()
    if not told or len(told) > _MAX_REASON or not told.isprintable():
        raise ProfileRefused(f"say why in 1 to {_MAX_REASON} characters: the number of the matter, never a name")
    return told


def stored(profile: CareProfile) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (limits, facts) as the columns `limits` and `profile` keep them: only what was said."""
    told = profile.model_dump(mode="json", exclude_defaults=True, exclude={"version"}, exclude_none=True)
    return told.pop("limits", {}), told


def read_profile(version: int, limits: Mapping[str, Any], facts: Mapping[str, Any]) -> CareProfile | None:
    """Return a stored profile; what a newer release wrote beside is left aside. None where it cannot be read at all."""
    known = {name: one for name, one in facts.items() if name in CareProfile.model_fields}
    try:
        return CareProfile.model_validate_json(json.dumps({**known, "limits": limits, "version": version}))
    except ValidationError:
        return None
