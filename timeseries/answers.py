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
# The content itself: a value that does not fit, a constraint that says no.
_CONTENT: Final = ("22", "23")


@contextmanager
def in_our_words() -> Iterator[None]:
    """Turn psycopg's errors into `StoreUnavailable` (trying again can help) or `StoreRefused` (it cannot).

    The messages never quote the server: its words may hold a row, and the client's the address with its password.
    """
    try:
        yield
    except (psycopg.Error, OSError) as error:
        raise _translated(error, getattr(error, "sqlstate", None)) from error


@contextmanager
def patiently() -> Iterator[None]:
    """Turn psycopg's errors into `StoreRefused` where the rows themselves are at fault, else `StoreUnavailable`.

    For services: a schema or rights that are behind this release are mended while they wait, and nothing is left out.
    """
    try:
        yield
    except (psycopg.Error, OSError) as error:
        state = getattr(error, "sqlstate", None) or "none"
        if state.startswith(_CONTENT):
            raise StoreRefused(f"the database refuses a row (SQLSTATE {state})") from error
        raise StoreUnavailable(f"the database does not answer (SQLSTATE {state})") from error


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
