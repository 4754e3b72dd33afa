"""Edge: can the policy in force be read? A watch that cannot read it goes by another, and says so in its log alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psycopg

from stream.policy_file.faults import Fault, FileRefused
from stream.policy_file.policies import Policies, built_in, policies_of
from stream.policy_file.reading import read_bounded
from timeseries.policies import AppliedPolicy, PolicyBook
from vigil.checks.finding import Finding, Verdict
from vigil.settings import Settings

_AREA: Final = "policies"
_WHAT: Final = "in force"
_OPTIONS: Final = "-c statement_timeout=10000 -c timezone=UTC -c default_transaction_read_only=on"
_WORDED: Final = frozenset({"unknown_key", "type", "value", "size", "missing"})
"""Faults whose words are the program's alone; others may name a ward or a patient."""


async def check(config: Settings) -> Sequence[Finding]:
    """Read the policy that a watch of these settings goes by: the file's, else the database's, else the program's."""
    if config.policy_file is not None:
        return [await asyncio.to_thread(_of_file, config.policy_file)]
    if config.database_url is None:
        return [_fine(built_in(), "the program's own: no database is set")]
    try:
        applied = await asyncio.to_thread(_applied, config.database())
    except psycopg.errors.InsufficientPrivilege:
        return [Finding(_AREA, _WHAT, Verdict.SKIP, "the role of DATABASE_URL may not read policies")]
    except psycopg.errors.UndefinedTable:
        return [_looked("the database has no table of policies: the program's own is gone by", "run: vigil db migrate")]
    except psycopg.OperationalError:
        says = "not known while the database does not answer: a watch that starts goes by its VIGIL_POLICY_COPY"
        return [_looked(says, "without that copy it goes by the program's own: look at the database")]
    return [await asyncio.to_thread(_of_database, applied)]


def _applied(url: str) -> AppliedPolicy | None:
    with psycopg.connect(url, autocommit=True, connect_timeout=5, options=_OPTIONS) as connection:
        return PolicyBook(connection).in_force()


def _of_database(applied: AppliedPolicy | None) -> Finding:
    if applied is None:
        return _fine(built_in(), "the program's own: none was ever applied")
    whence = f"version {applied.version} of the database"
    try:
        return _fine(policies_of(applied.body, whence).prepared(), "of the database")
    except FileRefused as error:
        return _refused(
            error, whence, "a watch that starts goes by the program's own",
            "all errors in words: vigil policy show; then vigil policy apply a corrected file of a higher version",
        )  # fmt: skip


def _of_file(path: Path) -> Finding:
    try:
        return _fine(policies_of(read_bounded(path), "VIGIL_POLICY_FILE").prepared(), "of VIGIL_POLICY_FILE")
    except OSError as error:
        says = f"VIGIL_POLICY_FILE cannot be read ({type(error).__name__}): watch does not start"
        return Finding(_AREA, _WHAT, Verdict.FAIL, says, "put the file there, or set VIGIL_POLICY_FILE right")
    except FileRefused as error:
        return _refused(
            error, "VIGIL_POLICY_FILE", "watch does not start, and one that runs keeps what it had",
            f"all errors in words: vigil policy check {path}",
        )  # fmt: skip


def _fine(policies: Policies, whence: str) -> Finding:
    return Finding(_AREA, _WHAT, Verdict.OK, f"{policies.told}, {whence}")


def _looked(says: str, do: str) -> Finding:
    return Finding(_AREA, _WHAT, Verdict.WARN, says, do)


def _refused(error: FileRefused, whence: str, meanwhile: str, do: str) -> Finding:
    first, *others = error.faults
    more = f", and {len(others)} more" if others else ""
    return Finding(_AREA, _WHAT, Verdict.FAIL, f"{whence} is refused: {_fault(first)}{more}; {meanwhile}", do)


def _fault(one: Fault) -> str:
    """Return line and field, wards and patients as `*`."""
    return f"line {one.line}: {one.discreet}: {one.says if one.kind in _WORDED else one.kind}"
