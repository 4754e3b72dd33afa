"""Edge: `vigil replay --patient`: what a policy would have fired on stored data, beside what fired."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from alerts.event import Kind, Priority
from stream.policy_file.policies import Policies, built_in, policies_of
from stream.watch.replay import Told
from timeseries.policies import PolicyBook
from timeseries.profiles import Profiles
from timeseries.replay_reader import NothingToReplay, StoredBurden, read_burden, read_samples
from vigil.replay.burden import Burden, burden, patient_days
from vigil.replay.run import bar, fire, print_events, read_policy, screen, show
from vigil.settings import settings
from vitals.batch import BatchHeader
from vitals.care_profile import UNKNOWN, CareProfile
from vitals.ids import device_id, patient_id


def replay_patient(
    patient: str, start: datetime, end: datetime, *, policy: Path | None, plot: Path | None, quiet: bool
) -> None:
    """Replay [start, end) of a patient and print what fires; `policy` instead of the one in force.

    Raises `NothingToReplay`, `UnreadableRecording` or `FileRefused` for the policy.
    """
    patient_id(patient)
    if end <= start:
        raise NothingToReplay("--to is later than --from")
    wanted = None if policy is None else read_policy(policy)
    try:
        with psycopg.connect(settings().database(), autocommit=True, options="-c timezone=UTC") as connection:
            told = _told(connection, patient, start, end, quiet=quiet)
            profile = _profile(connection, patient)
            in_force = _in_force(connection)
            fired = read_burden(connection, patient, start, end)
    except psycopg.OperationalError as error:
        state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        raise NothingToReplay(f"the database does not answer{state}") from None
    days = patient_days([(patient, columns) for _, columns in told]) or 1.0
    policies = wanted or in_force
    events = fire(told, policies, {patient: profile}, quiet=quiet)
    print_events(events)
    if not quiet:
        sides = [("what fired", [_stored(one, days) for one in fired]), (policies.told, burden(events, days))]
        show(screen(), sides, days, plot)


def _told(
    connection: psycopg.Connection[Any], patient: str, start: datetime, end: datetime, *, quiet: bool
) -> list[Told]:
    with bar("reading", hidden=quiet or not sys.stderr.isatty()) as step:
        found = read_samples(
            connection, patient, start, end, lambda share: step.update(step.task_ids[0], completed=share)
        )
    return [
        (BatchHeader(patient_id(patient), device_id(device), app, "replay"), columns)
        for (device, app), columns in found.items()
    ]


def _profile(connection: psycopg.Connection[Any], patient: str) -> CareProfile:
    return Profiles(connection, "replay").holds(patient) or UNKNOWN


def _in_force(connection: psycopg.Connection[Any]) -> Policies:
    newest = PolicyBook(connection).in_force()
    return built_in() if newest is None else policies_of(newest.body, f"version {newest.version}")


def _stored(one: StoredBurden, days: float) -> Burden:
    priority = tuple(Priority)[one.priority - 1]
    return Burden(
        one.rule, Kind(one.kind), one.raised, one.raised / days, one.paging, one.retrospective, one.cleared,
        one.open_min, priority,
    )  # fmt: skip
