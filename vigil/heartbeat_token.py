"""Edge: the synthetic patient's token: the one way to make one, and by whom it is revoked is `vigil token revoke`."""

from __future__ import annotations

from typing import Final

import psycopg

from timeseries.access_tokens import Tokens, Wanted
from vitals.errors import VigilError
from vitals.synthetic import PATIENT

_WHO: Final = "vigil-heartbeat"


class TokenUnavailable(VigilError):
    """The database does not answer, or lacks the tables of tokens."""


def new(url: str) -> str:
    """Make a token for a year and return it; earlier ones stand until they are revoked. Raises `TokenUnavailable`."""
    try:
        with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
            made = Tokens(connection, _WHO).create(Wanted(PATIENT, synthetic=True))
    except (psycopg.OperationalError, psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege) as error:
        state = error.sqlstate or "none"
        raise TokenUnavailable(
            f"no token is made (SQLSTATE {state}): it takes the owner, after vigil db migrate"
        ) from None
    return made.text or ""
