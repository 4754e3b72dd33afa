"""Edge: the same as JSON, and what a supervisor asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import AwareDatetime

from console.board import MAX_ALERTS, PAGE_SIZE
from console.board_view import SILENT_AFTER
from console.ports import Reader
from timeseries.console_model import LatestValue, Level, Overview, Series, StoredAlert, level_of
from vitals.catalogue import BY_CODE
from vitals.clock import Clock, to_datetime
from vitals.ids import is_opaque

MAX_POINTS: Final = 1_500
_MAX_YEARS: Final = 10
_MAX_RANGE: Final = timedelta(days=366 * _MAX_YEARS)
_NICE_STEPS_S: Final = (1, 5, 15, 60, 300, 900, 3_600, 6 * 3_600, 86_400, 7 * 86_400)


@dataclass(frozen=True, slots=True)
class PatientJson:
    """One person and the newest value of each of their series."""

    patient_id: str
    latest: Sequence[LatestValue]


@dataclass(frozen=True, slots=True)
class PatientsJson:
    """One page of people; `total` counts all."""

    total: int
    page: int
    patients: Sequence[PatientJson]


@dataclass(frozen=True, slots=True)
class AlertsJson:
    """Open alerts, the most urgent first; `total` counts all."""

    total: int
    alerts: Sequence[StoredAlert]


@dataclass(frozen=True, slots=True)
class SeriesJson:
    """A metric's trustworthy values by origin, in the catalogue's UCUM unit. What was not measured is not there.

    `made_from`: the samples, or the rollup whose buckets make up the steps.
    """

    metric: str
    unit: str
    step_s: int
    made_from: Level
    series: Sequence[Series]


@dataclass(frozen=True, slots=True)
class Api:
    """The routes and what they need."""

    reader: Reader
    clock: Clock

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route("/healthz", self.alive, include_in_schema=False)
        router.add_api_route("/readyz", self.ready, include_in_schema=False)
        router.add_api_route("/api/patients", self.patients)
        router.add_api_route("/api/alerts", self.alerts)
        router.add_api_route("/api/patients/{patient}/series", self.series)
        return router

    async def alive(self) -> dict[str, str]:
        """This process answers."""
        return {"status": "alive"}

    async def ready(self) -> dict[str, str]:
        """The database answers; 503 where it does not."""
        await self.reader.ready()
        return {"status": "ready"}

    async def patients(self, page: Annotated[int, Query(ge=1, le=100_000)] = 1) -> PatientsJson:
        """List people, those with open alerts first, with their newest values."""
        found = await self._overview(page)
        mine = {patient: [one for one in found.latest if one.patient_id == patient] for patient in found.patients}
        return PatientsJson(found.totals.patients, page, [PatientJson(*item) for item in mine.items()])

    async def alerts(self) -> AlertsJson:
        """List open alerts."""
        found = await self._overview(1)
        return AlertsJson(sum(found.totals.open.values()), found.alerts)

    async def series(
        self,
        patient: Annotated[str, Path(max_length=64)],
        metric: Annotated[str, Query(max_length=64)],
        start: Annotated[AwareDatetime | None, Query(alias="from")] = None,
        end: Annotated[AwareDatetime | None, Query(alias="to")] = None,
    ) -> SeriesJson:
        """Return a metric between two times (default: the last hour), in steps that keep the answer small."""
        if not is_opaque(patient):
            raise HTTPException(404)
        if metric not in BY_CODE:
            raise HTTPException(422, "metric is not in the catalogue")
        until = (end or to_datetime(self.clock())).astimezone(UTC)
        since = (start or until - timedelta(hours=1)).astimezone(UTC)
        if not timedelta(0) < until - since <= _MAX_RANGE:
            raise HTTPException(422, f"from must lie before to, by at most {_MAX_YEARS} years")
        step_s = _step_s(since, until)
        found = await self.reader.series([patient], [metric], since, until, step_s)
        if not found and await self.reader.patient(patient, alert_limit=1) is None:
            raise HTTPException(404)
        return SeriesJson(metric, BY_CODE[metric].unit, step_s, level_of(step_s), found)

    async def _overview(self, page: int) -> Overview:
        silent_since = to_datetime(self.clock()) - SILENT_AFTER
        return await self.reader.overview(
            silent_since=silent_since, limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE, alert_limit=MAX_ALERTS
        )


def _step_s(start: datetime, end: datetime) -> int:
    length = (end - start).total_seconds()
    return next(step for step in _NICE_STEPS_S if length / step <= MAX_POINTS)
