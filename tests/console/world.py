"""A small world of samples and alerts, and two ways to show it to the console: in memory, and in PostgreSQL."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

import psycopg

from alerts.event import AlertEvent, Evidence, Kind, Origin, Priority, Reading, State, alert_id
from timeseries.console_model import (
    Acknowledgement,
    Bucket,
    LatestValue,
    Overview,
    PatientRecord,
    ReaderUnavailable,
    Series,
    StoredAlert,
    Totals,
)
from timeseries.rows import ROW, Rows, to_copy
from vitals.catalogue import BY_CODE
from vitals.clock import from_datetime

_RANK = {"high": 3, "medium": 2, "low": 1}


@dataclass(frozen=True)
class Sample:
    patient: str
    metric: str
    time: datetime
    value: float
    quality: float = 1.0
    context: int = 0
    device: str = "strap-1"
    app: str = "bridge"


@dataclass
class World:
    """What was measured and alerted; `raised`: what was said of alerts that have cleared while they were open, by alert
    id. `down`: the database does not answer."""

    patients: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    alerts: list[AlertEvent] = field(default_factory=list)
    acknowledged: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    raised: dict[str, AlertEvent] = field(default_factory=dict)
    down: bool = False


def alert(
    patient: str,
    at: datetime,
    *,
    readings: Iterable[tuple[datetime, float]] = (),
    priority: Priority = Priority.MEDIUM,
    kind: Kind = Kind.PHYSIOLOGICAL,
    state: State = State.RAISED,
    metric: str = "heart_rate",
    rule: str = "heart_rate_high",
    threshold: float | None = 120.0,
    retrospective: bool = False,
    sentence: str = "Heart rate above 120 /min for 30 s; last value 131 /min.",
    changed_at: datetime | None = None,
    device: str = "strap-1",
) -> AlertEvent:
    origin = Origin(device_id=device, source_app="bridge")
    quoted = tuple(Reading(at=time, value=value, quality=1.0) for time, value in readings)
    when = changed_at or at
    return AlertEvent(
        alert_id=alert_id(patient, rule, metric, origin, from_datetime(at)),
        patient_id=patient, kind=kind, priority=priority, rule=rule, rule_version=1, metric=metric, origin=origin,
        state=state, opened_at=at, raised_at=at, changed_at=when,
        cleared_at=when if state is State.CLEARED else None, measured_at=when, retrospective=retrospective,
        evidence=Evidence(
            window_start=quoted[0].at if quoted else at, window_end=when, samples=len(quoted),
            unit=BY_CODE[metric].unit, threshold=threshold, readings=quoted,
        ),
        sentence=sentence,
    )  # fmt: skip


class FakeReader:
    """Reader and acknowledger over a World, in memory."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def ready(self) -> None:
        self._answer()

    async def version(self) -> str:
        self._answer()
        world = self.world
        return f"{len(world.samples)}/{len(world.patients)}/{[a.changed_at for a in world.alerts]}/{world.acknowledged}"

    async def overview(self, *, silent_since: datetime, limit: int, offset: int, alert_limit: int) -> Overview:
        self._answer()
        everybody = self._patients()
        newest = {one: max((s.time for s in self.world.samples if s.patient == one), default=None) for one in everybody}
        silent = sum(1 for time in newest.values() if time is None or time < silent_since)
        still_open = [one for one in self._alerts() if one.state != "cleared"]
        opened: dict[str, int] = {}
        waiting: dict[str, int] = {}
        for one in still_open:
            opened[one.priority] = opened.get(one.priority, 0) + 1
            waiting[one.priority] = waiting.get(one.priority, 0) + (one.acknowledged_at is None)
        page = tuple(sorted(everybody, key=lambda p: (-_urgency(p, still_open), p))[offset : offset + limit])
        totals = Totals(len(everybody), silent, opened, waiting)
        return Overview(totals, tuple(sorted(still_open, key=_order)[:alert_limit]), page, self._latest(page))

    async def patient(self, patient_id: str, *, alert_limit: int) -> PatientRecord | None:
        self._answer()
        alerts = sorted(
            (one for one in self._alerts() if one.patient_id == patient_id),
            key=lambda one: (one.state == "cleared", -one.raised_at.timestamp()),
        )
        if patient_id not in self._patients() and not alerts:
            return None
        return PatientRecord(patient_id, self._latest([patient_id]), tuple(alerts[:alert_limit]))

    async def series(
        self, patients: Sequence[str], metrics: Sequence[str], start: datetime, end: datetime, step_s: int
    ) -> tuple[Series, ...]:
        self._answer()
        inside = [
            s
            for s in self.world.samples
            if s.patient in patients and s.metric in metrics and start <= s.time < end and s.quality >= 0.5
        ]
        return tuple(
            Series(*key, _buckets(list(group), start, step_s)) for key, group in groupby(sorted(inside, key=_key), _key)
        )

    async def acknowledge(self, alert_id: str, actor: str, at: datetime, priority: str) -> Acknowledgement:
        self._answer()
        found = next((one for one in self.world.alerts if one.alert_id == alert_id), None)
        if found is None:
            return Acknowledgement.UNKNOWN
        if alert_id in self.world.acknowledged:
            return Acknowledgement.ALREADY
        if found.state is State.CLEARED or found.priority != priority:
            return Acknowledgement.CHANGED
        self.world.acknowledged[alert_id] = (actor, at)
        return Acknowledgement.DONE

    def _answer(self) -> None:
        if self.world.down:
            raise ReaderUnavailable("the database does not answer (SQLSTATE none)")

    def _patients(self) -> set[str]:
        return {*self.world.patients, *(sample.patient for sample in self.world.samples)}

    def _alerts(self) -> list[StoredAlert]:
        return [self._stored(one) for one in self.world.alerts]

    def _stored(self, one: AlertEvent) -> StoredAlert:
        by, at = self.world.acknowledged.get(one.alert_id, (None, None))
        return stored(one, by, at, self.world.raised.get(one.alert_id))

    def _latest(self, patients: Sequence[str]) -> tuple[LatestValue, ...]:
        newest: dict[tuple[str, str, str, str], Sample] = {}
        for sample in sorted(self.world.samples, key=lambda s: s.time):
            if sample.patient in patients:
                newest[_key(sample)] = sample
        return tuple(LatestValue(*k, s.time, s.value, s.quality, s.context) for k, s in sorted(newest.items()))


def stored(
    event: AlertEvent, by: str | None = None, at: datetime | None = None, raised: AlertEvent | None = None
) -> StoredAlert:
    said = event if event.state is not State.CLEARED else raised
    return StoredAlert(
        alert_id=event.alert_id, patient_id=event.patient_id, kind=event.kind, priority=event.priority, rule=event.rule,
        rule_version=event.rule_version, metric=event.metric, state=event.state, opened_at=event.opened_at,
        raised_at=event.raised_at, changed_at=event.changed_at, cleared_at=event.cleared_at,
        measured_at=event.measured_at, retrospective=event.retrospective, individualised=event.individualised,
        sentence=event.sentence, evidence=event.evidence.model_dump(mode="json"), acknowledged_by=by,
        acknowledged_at=at, device_id=event.origin.device_id, policy=event.policy,
        raised_sentence=None if said is None else said.sentence,
        raised_evidence=None if said is None else said.evidence.model_dump(mode="json"),
    )  # fmt: skip


def _key(sample: Sample) -> tuple[str, str, str, str]:
    return (sample.patient, sample.metric, sample.device, sample.app)


def _urgency(patient: str, alerts: Sequence[StoredAlert]) -> int:
    mine = [one for one in alerts if one.patient_id == patient]
    return max((_RANK[one.priority] + 10 * (one.acknowledged_at is None) for one in mine), default=0)


def _order(one: StoredAlert) -> tuple[Any, ...]:
    return (one.acknowledged_at is not None, -_RANK[one.priority], -one.raised_at.timestamp(), one.alert_id)


def _buckets(samples: list[Sample], start: datetime, step_s: int) -> tuple[Bucket, ...]:
    def index(sample: Sample) -> int:
        return int((sample.time - start).total_seconds() // step_s)

    found = []
    for at, group in groupby(sorted(samples, key=index), index):
        values = [sample.value for sample in group]
        time = datetime.fromtimestamp(start.timestamp() + at * step_s, start.tzinfo)
        found.append(Bucket(time, sum(values) / len(values), min(values), max(values), len(values)))
    return tuple(found)


def put(url: str, world: World, *, copy: bool = True) -> None:
    """Write a world into a migrated database, as the recorder and the ledger would (alerts: the newest event wins)."""
    with psycopg.connect(url, prepare_threshold=None) as connection:
        keys = _put_keys(connection, world)
        (_copy_samples if copy else _insert_samples)(connection, _rows(world.samples, keys))
        _derive(connection)
        for event in world.alerts:
            by, at = world.acknowledged.get(event.alert_id, (None, None))
            put_alert(connection, event, by, at, world.raised.get(event.alert_id))


def _put_keys(connection: psycopg.Connection[Any], world: World) -> dict[str, int]:
    patients = sorted({*world.patients, *(s.patient for s in world.samples)})
    origins = sorted({(s.device, s.app) for s in world.samples})
    for patient in patients:
        connection.execute("INSERT INTO patients (patient_id) VALUES (%s) ON CONFLICT DO NOTHING", (patient,))
    for device, app in origins:
        connection.execute("INSERT INTO devices (device_id) VALUES (%s) ON CONFLICT DO NOTHING", (device,))
        connection.execute(
            "INSERT INTO origins (device_key, source_app) SELECT device_key, %s FROM devices WHERE device_id = %s"
            " ON CONFLICT DO NOTHING",
            (app, device),
        )
    keys = {f"p:{one}": key for one, key in connection.execute("SELECT patient_id, patient_key FROM patients")}
    found = connection.execute("SELECT device_id, source_app, origin_key FROM origins JOIN devices USING (device_key)")
    return keys | {f"o:{device}/{app}": key for device, app, key in found}


def _insert_samples(connection: psycopg.Connection[Any], rows: Rows) -> None:
    """TimescaleDB in WebAssembly cannot COPY."""
    columns = ", ".join(ROW.names or ())
    times = {"time", "written_at", "received_at"}
    marks = ", ".join("to_timestamp(%s / 1e6)" if name in times else "%s" for name in ROW.names or ())
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO samples ({columns}) VALUES ({marks})", rows.tolist())


def _copy_samples(connection: psycopg.Connection[Any], rows: Rows) -> None:
    columns = ", ".join(ROW.names or ())
    with connection.cursor() as cursor, cursor.copy(f"COPY samples ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(to_copy(rows))


def _derive(connection: psycopg.Connection[Any]) -> None:
    connection.execute(
        """INSERT INTO latest
           SELECT DISTINCT ON (patient_key, metric_key, origin_key)
                  patient_key, metric_key, origin_key, time, received_at, value, quality, context
           FROM samples ORDER BY patient_key, metric_key, origin_key, time DESC
           ON CONFLICT (patient_key, metric_key, origin_key) DO UPDATE SET
               time = excluded.time, received_at = excluded.received_at, value = excluded.value,
               quality = excluded.quality, context = excluded.context"""
    )
    connection.execute(
        """INSERT INTO dirty_ranges SELECT patient_key, date_trunc('hour', time), min(time), max(time)
           FROM samples GROUP BY 1, 2
           ON CONFLICT (patient_key, hour) DO UPDATE SET from_time = excluded.from_time, to_time = excluded.to_time"""
    )


def _rows(samples: Sequence[Sample], keys: dict[str, int]) -> Rows:
    import numpy as np

    rows = np.zeros(len(samples), ROW)
    for row, one in zip(rows, samples, strict=True):
        at = from_datetime(one.time)
        row["time"], row["written_at"], row["received_at"], row["value"] = at, at, at, one.value
        row["patient_key"], row["origin_key"] = keys[f"p:{one.patient}"], keys[f"o:{one.device}/{one.app}"]
        row["quality"], row["context"], row["metric_key"] = one.quality, one.context, BY_CODE[one.metric].number
        row["zone_offset_min"] = -32_768
    return rows


def put_alert(
    connection: psycopg.Connection[Any],
    event: AlertEvent,
    by: str | None = None,
    at: datetime | None = None,
    raised: AlertEvent | None = None,
) -> None:
    untold = {"schema_version", "origin", "evidence", "audience", "review_by"}  # the ledger keeps none of it
    said = event if event.state is not State.CLEARED else raised
    values = event.model_dump(mode="json", exclude=untold)
    values |= event.origin.model_dump() | {"evidence": event.evidence.model_dump_json()}
    values |= {"acknowledged_by": by, "acknowledged_at": at, "acknowledged_priority": by and event.priority}
    values |= {"raised_sentence": said and said.sentence, "raised_evidence": said and said.evidence.model_dump_json()}
    names = ", ".join(values)
    marks = ", ".join(f"%({name})s" for name in values)
    connection.execute("DELETE FROM alerts WHERE alert_id = %s", (event.alert_id,))
    connection.execute(f"INSERT INTO alerts ({names}) VALUES ({marks})", values)
