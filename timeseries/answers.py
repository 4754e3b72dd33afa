"""Edge: what the database's errors mean to a person, in the store's own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from timeseries.model import StoreRefused, StoreUnavailable

# SQLSTATE classes in which the very same call may succeed later: connection, resources, operator intervention, ...
_TRANSIENT: Final = ("08", "40", "53", "55", "57", "58", "25", "XX")
_NOT_THERE: Final = ("42P01", "42703", "42883")
_LOGIN: Final = "28"


@contextmanager
def in_our_words() -> Iterator[None]:
    """Turn psycopg's errors into `StoreUnavailable` (trying again can help) or `StoreRefused` (it cannot).

    The messages never quote the server: its words may hold a row, and the client's the address with its password.
    """
    try:
        yield
    except (psycopg.Error, OSError) as error:
        raise _translated(error, getattr(error, "sqlstate", None)) from error


def _translated(error: psycopg.Error | OSError, state: str | None) -> StoreUnavailable | StoreRefused:
    if state is None and isinstance(error, (OSError, psycopg.OperationalError, psycopg.InterfaceError)):
        return StoreUnavailable("the database does not answer: is it up, and is DATABASE_URL its address?")
    if state is None:
        return StoreRefused("DATABASE_URL is no address of a PostgreSQL database")
    if state in _NOT_THERE:
        return StoreRefused("the schema is behind this program: run `vigil db migrate`")
    if state.startswith(_LOGIN):
        return StoreRefused(f"the database refuses the login (SQLSTATE {state}): check DATABASE_URL")
    if state.startswith(_TRANSIENT):
        return StoreUnavailable(f"the database does not answer (SQLSTATE {state}): try again")
    return StoreRefused(f"the database refuses (SQLSTATE {state})")
