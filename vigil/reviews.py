"""Looking at the days of people under a plan, as the settings say: by which policy, and how often."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from vigil.settings import Settings
from vitals.errors import VigilError

if TYPE_CHECKING:
    from stream.policy_file.policies import Policies
    from stream.review_job import LookReport

EVERY_S: Final = 3_600.0
log = structlog.get_logger(__name__)


class PolicyUnread(VigilError):
    """The policy in force is of another release: changes of behaviour are not looked for by other rules than agreed."""


def look_now(config: Settings, *, patient: str | None = None, everybody: bool = False) -> LookReport:
    """Look at whoever is due, at one patient or at everybody under a plan. Raises psycopg's errors."""
    from stream.review_job import look

    policies = policies_in_force(config)
    return look(
        config.database(), policies.review_of, label=policies.told, patient=patient, everybody=everybody,
        require_consent=config.require_consent,
    )  # fmt: skip


def policies_in_force(config: Settings) -> Policies:
    """Return the policy that the watch goes by: a file, else the database's newest, else the program's own.

    Raises `NoPolicy`, `FileRefused`, and `PolicyUnread` for one in force that this release cannot read.
    """
    import psycopg

    from stream.policy_file.faults import FileRefused
    from stream.policy_file.policies import built_in, policies_of
    from stream.policy_file.reading import read_bounded
    from timeseries.policies import PolicyBook
    from vigil.crowd import check_policy_file

    if config.policy_file is not None:
        check_policy_file(config)
        return policies_of(read_bounded(config.policy_file), str(config.policy_file))
    with psycopg.connect(config.database(), autocommit=True) as connection:
        applied = PolicyBook(connection).in_force()
    try:
        return built_in() if applied is None else policies_of(applied.body, "policy in force")
    except FileRefused:
        says = f"this release cannot read policy version {applied.version if applied else 0}, the one in force"
        raise PolicyUnread(
            f"{says}: vigil policy show > in-force.toml, then vigil policy check in-force.toml"
        ) from None


@dataclass(slots=True)
class Hourly:
    """Looks once an hour at most, however often it is asked. A look that fails is logged: all else goes on."""

    look: Callable[[], LookReport]
    clock: Callable[[], float] = time.monotonic
    every_s: float = EVERY_S
    _last: float | None = field(default=None, init=False)

    def maybe(self) -> bool:
        """Look if it is due, and tell whether it was."""
        now = self.clock()
        if self._last is not None and now - self._last < self.every_s:
            return False
        self._last = now
        try:
            _say(self.look())
        except Exception as error:  # noqa: BLE001 - its text may quote a row: where it was raised is enough
            at = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(at.filename).name}:{at.lineno}"
            log.error("reviews_failed", error=type(error).__name__, at=place, again_in_s=self.every_s)  # noqa: TRY400
        return True


def _say(report: LookReport) -> None:
    if report.people or report.unreadable or report.reviews.total():
        log.info(
            "reviews_looked", people=report.people, days=report.days, learning=report.learning,
            unreadable=report.unreadable, **report.reviews,
        )  # fmt: skip
