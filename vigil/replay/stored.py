"""Edge: `vigil replay --patient`: what a policy would have fired on stored data, beside what fired."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg

from alerts.event import Kind, Priority
from stream.policy_file.policies import Policies, built_in, policies_of
from stream.watch.replay import Told
from timeseries.policies import PolicyBook
from timeseries.profiles import Profiles
from timeseries.replay_reader import NothingToReplay, StoredBurden, StoredSamples, read_burden, read_samples
from vigil.replay.burden import Burden, burden, patient_days
from vigil.replay.run import bar, fire, print_events, read_policy, screen, show
from vigil.replay.screen import show_warm_up
from vigil.settings import settings
from vitals.batch import BatchHeader
from vitals.care_profile import UNKNOWN, CareProfile
from vitals.clock import from_datetime
from vitals.ids import device_id, patient_id

_OPTIONS: Final = "-c timezone=UTC"


def replay_patient(
    patient: str, start: datetime, end: datetime, *, policy: Path | None, plot: Path | None, quiet: bool,
    warm_up: timedelta = timedelta(0),
) -> None:  # fmt: skip
    """Replay [start, end) of a patient and print what fires; `policy` instead of the one in force.

    What lies up to `warm_up` before is replayed too, so that baselines are known and an episode that goes on is not
    found anew; what is raised in it is left out. Raises `NothingToReplay`, `UnreadableRecording` or `FileRefused` for
    the policy.
    """
    patient_id(patient)
    if end <= start:
        raise NothingToReplay("--to is later than --from")
    wanted = None if policy is None else read_policy(policy)
    with _speaking(), psycopg.connect(settings().database(), autocommit=True, options=_OPTIONS) as connection:
        profile = _profile(connection, patient)
        in_force = wanted or _in_force(connection)
        fired = read_burden(connection, patient, start, end)
        stored = _read(connection, patient, start, end, warm_up, quiet=quiet)
    told = _told(patient, stored)
    days = _days(told, start)
    until = min(end, datetime.now(UTC))
    events = fire(told, in_force, {patient: profile}, quiet=quiet, until_us=from_datetime(until))
    events = [one for one in events if start <= one.raised_at < end]
    print_events(events)
    if not quiet:
        out = screen()
        show_warm_up(out, (start - stored.since) / timedelta(days=1), sum(len(one) for _, one in told))
        sides = [("what fired", [_stored(one, days) for one in fired]), (in_force.told, burden(events, days))]
        show(out, sides, days, plot)


@contextmanager
def _speaking() -> Iterator[None]:
    """Say in words why the database gives nothing; its own may quote a row."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege:
        raise NothingToReplay(
            "only the owner of the tables replays what is stored: this DATABASE_URL is another role"
        ) from None
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        raise NothingToReplay("the database is behind this release: run vigil db migrate") from None
    except psycopg.OperationalError as error:
        state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        raise NothingToReplay(f"the database does not answer{state}") from None


def _read(
    connection: psycopg.Connection[Any],
    patient: str,
    start: datetime,
    end: datetime,
    warm_up: timedelta,
    *,
    quiet: bool,
) -> StoredSamples:
    with bar("reading", hidden=quiet or not sys.stderr.isatty()) as progress:
        return read_samples(
            connection, patient, start, end, warm_up=warm_up,
            step=lambda share: progress.update(progress.task_ids[0], completed=share),
        )  # fmt: skip


def _told(patient: str, stored: StoredSamples) -> list[Told]:
    return [
        (BatchHeader(patient_id(patient), device_id(device), app, "replay"), columns)
        for (device, app), columns in stored.by_origin.items()
    ]


def _days(told: Sequence[Told], start: datetime) -> float:
    """Return the patient-days from `start` on, those of the warm-up left out."""
    at_us = from_datetime(start)
    within = [(header.patient_id, columns.take(columns.start_us >= at_us)) for header, columns in told]
    return patient_days(within) or 1.0


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
