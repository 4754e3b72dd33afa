"""Health Auto Export behind the contract of file adapters, and for the gateway that takes the app's requests.

A payload is bounded in bytes, in depth (the parser refuses more than some 200 levels) and in records.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from devices.adapter import Adapter, Piece, Reading, Source
from devices.archive import ZIP_MAGIC, Archive, DamagedMember, open_archive, opened
from devices.documents import Unreadable, json_document
from devices.errors import MalformedExport
from devices.health_auto_export.events import TAKERS
from devices.health_auto_export.intake import Intake, Record
from devices.health_auto_export.metrics import BLOOD_PRESSURE, CHANNELS, MINDFUL, SLEEP, name_of
from devices.health_auto_export.points import AGGREGATIONS, common_resolution, read_points
from devices.health_auto_export.sleep import read_sleep
from devices.health_auto_export.workouts import read_workouts
from devices.rows import drained

MAX_BYTES: Final = 64 << 20
"""A year of minutes of one metric is 30 MB."""
_MAX_NAMES: Final = 500
_LISTS: Final = ("metrics", "workouts", *TAKERS)


class _HealthAutoExport:
    name = "health-auto-export"
    about = "Health Auto Export (iOS app): the JSON it posts or saves, or the zip around it."

    def read(self, source: Source, reading: Reading) -> Iterator[Piece]:
        """Yield what a file tells. Raises `MalformedExport`. Dates without an offset are `reading.zone`'s."""
        with opened(source) as file:
            packed = file.read(4).startswith(ZIP_MAGIC)
            file.seek(0)
            if not packed:
                body = file.read(MAX_BYTES + 1)
                yield from read_payload(body, reading)
                reading.on_progress(len(body), len(body))
                return
        with open_archive(source) as archive:
            yield from _unpacked(archive, reading)


def _unpacked(archive: Archive, reading: Reading) -> Iterator[Piece]:
    members = [one for one in archive.members() if one.filename.lower().endswith(".json")]
    members = [one for one in members if not one.filename.startswith("__MACOSX/")]
    if not members:
        raise MalformedExport("the zip file holds no JSON: no export of Health Auto Export")
    for done, member in enumerate(members, 1):
        try:
            body = archive.read(member)
        except DamagedMember:
            raise MalformedExport("the zip file is damaged or encrypted: a member cannot be unpacked") from None
        yield from read_payload(body, reading)
        reading.on_progress(done, len(members))


def read_payload(body: bytes, reading: Reading, *, aggregation: str | None = None) -> Iterator[Piece]:
    """Yield what one request of the app, or one file, tells; `reading.tally` counts what became of its records.

    `aggregation` is the header `automation-aggregation`, where there is one. The app sends "since last sync" again and
    back-dated: the same sample has the same identity and content each time. Raises `MalformedExport` for what is no
    payload, with nothing of it in the message.
    """
    if len(body) > MAX_BYTES:
        raise MalformedExport(f"a payload has at most {MAX_BYTES} bytes")
    try:
        document = json_document(body)
    except Unreadable:
        raise MalformedExport("not a payload of Health Auto Export: it is no JSON, or it nests too deep") from None
    data = _data(document)
    intake = Intake(reading)
    yield from drained(intake.rows, _steps(intake, data, AGGREGATIONS.get((aggregation or "").strip().lower())))


def _data(document: object) -> Record:
    data = document.get("data") if isinstance(document, dict) else None
    if data is None and isinstance(document, dict) and any(isinstance(document.get(key), list) for key in _LISTS):
        data = document
    if not isinstance(data, dict):
        raise MalformedExport("not a payload of Health Auto Export: it has no data object")
    return data


def _steps(intake: Intake, data: Record, told: int | None) -> Iterator[None]:
    listed = data.get("metrics")
    metrics = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    resolution = common_resolution(intake, metrics) if told is None else told
    for metric in metrics:
        yield from _metric(intake, metric, resolution, told=told is not None)
    yield from read_workouts(intake, data.get("workouts"))
    for key, take in TAKERS.items():
        yield from intake.each(data.get(key), lambda record, take=take: take(intake, record))  # type: ignore[misc]
    for key, records in data.items():
        if key not in _LISTS:
            _ignore(intake, key, records)


def _metric(intake: Intake, metric: Record, resolution: int | None, *, told: bool) -> Iterator[None]:
    name = metric.get("name")
    if name == SLEEP:
        yield from read_sleep(intake, metric)
    elif isinstance(name, str) and (name in CHANNELS or name in {BLOOD_PRESSURE, MINDFUL}):
        yield from read_points(intake, metric, resolution, told=told)
    else:
        _ignore(intake, name, metric.get("data"))


def _ignore(intake: Intake, name: object, records: object) -> None:
    known = name_of(name)
    ignored = intake.tally.ignored
    intake.ignore(known if known in ignored or len(ignored) < _MAX_NAMES else "other", records)


ADAPTER: Final[Adapter] = _HealthAutoExport()
"""What the entry point `health-auto-export` names."""
