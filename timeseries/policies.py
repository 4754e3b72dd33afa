"""Edge: the policies that were ever put in force, as they were written; the newest is in force."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from timeseries.profiles import checked_reason
from timeseries.queries import load
from vitals.errors import VigilError
from vitals.ids import InvalidId, is_opaque

_SQL: Final = load("profiles")
Change = dict[str, Any]
"""What differs: {"field", "before", "after"}."""


class PolicyNotApplied(VigilError):
    """A policy was not put in force, and why; the one before still is."""


@dataclass(frozen=True, slots=True)
class AppliedPolicy:
    """A policy as it was put in force; `body` is its TOML text, `applied_at` aware."""

    version: int
    label: str
    sha256: str
    body: str
    applied_by: str
    applied_at: datetime
    reason: str
    changes: list[Change]


class PolicyBook:
    """Policies over one connection; each call is one transaction. Raises psycopg's errors."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def in_force(self) -> AppliedPolicy | None:
        """Return the newest, None before the first."""
        row = self._connection.execute(_SQL["policy_in_force"]).fetchone()
        return None if row is None else AppliedPolicy(*row)

    def all(self, version: int | None = None) -> list[AppliedPolicy]:
        """Return every policy (or one version), oldest first."""
        return [AppliedPolicy(*row) for row in self._connection.execute(_SQL["policies"], {"version": version})]

    def unknown(self, patients: Iterable[str]) -> list[str]:
        """Return those of these patients of whom nothing is known: never measured, bound, or given a profile."""
        named = {"patients": sorted(patients)}
        return [row[0] for row in self._connection.execute(_SQL["unknown_patients"], named)]

    def apply(
        self,
        version: int,
        label: str,
        sha256: str,
        body: str,
        changes: Sequence[Change],
        *,
        after: int,
        who: str,
        reason: str,
    ) -> datetime:
        """Put a policy in force after version `after` (0: the first), and return when it was.

        Whoever calls has validated it. Raises `PolicyNotApplied` where another came between or the version is not
        higher, `InvalidId`, `ProfileRefused` without a reason.
        """  # fmt: skip
        if not is_opaque(who):
            raise InvalidId("who does this")
        told = {
            "version": version, "label": label, "sha256": sha256, "body": body, "who": who,
            "reason": checked_reason(reason), "changes": Jsonb(list(changes)),
        }  # fmt: skip
        with self._connection.transaction():
            self._connection.execute(_SQL["turn"])
            newest = self.in_force()
            before = 0 if newest is None else newest.version
            if before != after:
                raise PolicyNotApplied("another policy was applied meanwhile: look at `vigil policy history`")
            if version <= before:
                raise PolicyNotApplied(f"version {before} is in force: give the file a higher `version`")
            row = self._connection.execute(_SQL["apply_policy"], told).fetchone()
        at: datetime = row[0]  # type: ignore[index]
        return at
