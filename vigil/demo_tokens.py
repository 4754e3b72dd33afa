"""The demo's tokens: one a simulated phone, and one for whoever watches, with a line to try it with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import psycopg

from timeseries.access_tokens import Tokens, Wanted
from vitals.clock import to_datetime

YOU: Final = "you"
"""The patient that the printed line is about."""
_LASTS: Final = timedelta(days=1)


def pair(url: str, patients: Iterable[str]) -> dict[str, str]:
    """Make a token for each patient's phone and return it by patient."""
    with psycopg.connect(url, autocommit=True) as connection:
        tokens = Tokens(connection, "demo")
        return {patient: tokens.create(Wanted(patient=patient, lasts=_LASTS)).text or "" for patient in patients}


def curl(gateway: str, token: str, now_us: int) -> str:
    """Return a line for a shell that sends one heart rate of now."""
    start = to_datetime(now_us).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = {"device": "my-phone", "samples": [{"metric": "heart_rate", "start": start, "value": 72}]}
    return f"curl {gateway}/v1/samples --oauth2-bearer {token} --json '{json.dumps(body)}'"
