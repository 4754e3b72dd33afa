"""Edge: does the database answer, is its schema ours, is its clock ours, does everything keep up?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

import psycopg

from timeseries.checkup import Checkup, checkup
from timeseries.migrate import Status, status
from vigil.checks.finding import Finding, Verdict, judged
from vigil.settings import Settings
from vitals.errors import VigilError

_AREA: Final = "database"
ROLES: Final = ("vigil_recorder", "vigil_gateway", "vigil_dispatch", "vigil_console", "vigil_quarantine")
_SKEW_S: Final = 1.0
_BEHIND_S: Final = 600.0
_DIRTY_S: Final = 6 * 3_600.0
_CROWDED: Final = 0.8
_BEAT_S: Final = 240.0


class DatabaseAway(VigilError):
    """The database does not answer."""


async def check(config: Settings) -> Sequence[Finding]:
    """Look at the database. Raises `MissingSetting` and `DatabaseAway`."""
    url = config.database()
    try:
        schema = await asyncio.to_thread(status, url)
        seen = await asyncio.to_thread(checkup, url, ROLES)
    except psycopg.OperationalError as error:
        state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        raise DatabaseAway(f"the database at DATABASE_URL does not answer{state}") from None
    return list(findings(schema, seen, strict=config.strict_devices, required=config.require_consent))


def findings(schema: Status, seen: Checkup, *, strict: bool, required: bool) -> Iterator[Finding]:
    """Yield what the answers mean. Pure."""
    yield Finding(_AREA, "answers", Verdict.OK, f"PostgreSQL {int(seen.server) // 10_000}, mode {schema.mode}")
    yield judged(
        _AREA, "schema", f"{len(schema.applied)} migrations ran, {len(schema.pending)} wait", fine=not schema.pending,
        bad=Verdict.FAIL, do="run: vigil db migrate",
    )  # fmt: skip
    yield _clock(seen)
    used, most = seen.connections
    yield judged(
        _AREA,
        "connections",
        f"{used} of {most}",
        fine=used < most * _CROWDED,
        do="raise max_connections",
    )
    if not schema.pending:
        yield from _roles(seen)
        yield from _keeps_up(seen)
        yield from _heartbeat(seen)
        yield from _people(seen, strict=strict, required=required)


def _clock(seen: Checkup) -> Finding:
    """A clock that is off places samples in the future or makes them late."""
    off = abs(seen.ahead_s)
    return judged(
        "clocks", "database", f"{seen.ahead_s:+.3f} s against this machine's, within {seen.uncertain_s:.3f} s",
        fine=off <= _SKEW_S + seen.uncertain_s, bad=Verdict.FAIL if off > 60 else Verdict.WARN,
        do="let NTP set the clocks of both machines (chrony, systemd-timesyncd)",
    )  # fmt: skip


def _roles(seen: Checkup) -> Iterator[Finding]:
    missing = [name for name, there, _ in seen.roles if not there]
    if missing:
        yield Finding(_AREA, "roles", Verdict.WARN, f"missing: {', '.join(missing)}",
                      "run vigil db migrate as a role that may make roles (CREATEROLE)")  # fmt: skip
        return
    shut = [name for name, _, login in seen.roles if not login]
    says = f"all {len(seen.roles)} are there" + (f"; no login: {', '.join(shut)}" if shut else "")
    yield Finding(_AREA, "roles", Verdict.OK, says)


def _keeps_up(seen: Checkup) -> Iterator[Finding]:
    for topic, stored_s, newest_s in seen.progress:
        says = f"last stored {_age(stored_s)} ago"
        late = newest_s is not None and newest_s - stored_s > _BEHIND_S
        behind = f", then {_age(newest_s - stored_s)} behind the log" if late and newest_s is not None else ""
        yield judged(
            "recorder", topic, says + behind, fine=not late,
            do="wait if it is catching up (vigil_recorder metrics); else look at the recorder's log",
        )  # fmt: skip
    if seen.dirty is not None:
        hours, oldest_s = seen.dirty
        waits = f"{hours:,} hours wait" + (f", the oldest of {_age(oldest_s)} ago" if oldest_s is not None else "")
        yield judged(
            "rollups", "refresh", waits if hours else "up to date", fine=hours < 50_000,
            do="is `vigil db rollup --every 30` running?",
        )  # fmt: skip
    told = ", ".join(f"{count:,} {reason}" for reason, count in seen.rejected)
    yield judged(
        "quarantine", "last day", told or "nothing was rejected", fine=not told, do="look at: vigil quarantine list"
    )
    if seen.undelivered is not None:
        yield judged(
            "alerts", "notifications", f"{seen.undelivered:,} of a day reached nobody", fine=not seen.undelivered,
            bad=Verdict.FAIL, do="is `vigil notifier` running, and does the webhook answer? Its log says",
        )  # fmt: skip


def _heartbeat(seen: Checkup) -> Iterator[Finding]:
    if seen.heartbeat is None:
        return
    (age_s,) = seen.heartbeat
    if age_s is None:
        yield Finding("heartbeat", "newest beat", Verdict.SKIP, "none was ever stored: vigil heartbeat has not run yet")
        return
    yield judged(
        "heartbeat", "newest beat", f"measured {_age(age_s)} ago", fine=age_s <= _BEAT_S,
        do="is `vigil heartbeat` running, and what does its log say?",
    )  # fmt: skip


def _people(seen: Checkup, *, strict: bool, required: bool) -> Iterator[Finding]:
    if seen.devices is not None:
        active, unworn, unheard = seen.devices
        says = f"{active:,} active, {unworn:,} worn by nobody, {unheard:,} never heard"
        do = "bind them: vigil device bind DEVICE --patient ID" if active else "register them: vigil device register"
        yield judged("devices", "registry", says, fine=not unworn and (active > 0 or not strict), do=do)
    if seen.tokens is not None:
        stand, ending, unused = seen.tokens
        says = f"{stand:,} stand, {ending:,} end within two weeks, {unused:,} were never used"
        yield judged(
            "gateway", "tokens", says, fine=not ending and not unused,
            do="rotate those that end, revoke what nobody uses: vigil token list",
        )  # fmt: skip
    if seen.consents is not None:
        yield _consents(*seen.consents, required=required)


def _consents(granted: int, without: int, *, required: bool) -> Finding:
    says = f"{granted:,} patients granted care, {without:,} heard in a week have not"
    refused = "what they send is refused" if required else "set VIGIL_REQUIRE_CONSENT=true once everybody was asked"
    return judged(
        "consent",
        "care",
        says,
        fine=not without,
        do=f"vigil consent grant --patient ID, or stop their devices: {refused}",
    )


def _age(seconds: float) -> str:
    """Return an age as people say it."""
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"
