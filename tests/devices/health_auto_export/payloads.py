"""Small payloads for the tests, and how they are read."""

import json
from datetime import UTC, datetime

from devices.adapter import Piece, Reading, Session, Tally
from devices.health_auto_export import read_payload
from vitals.batch import metric_codes
from vitals.clock import to_datetime

KEY = b"a key for tests"
NOW_US = 1_790_000_000_000_000
Row = tuple[str, str, int, float, int]
"""Metric, start in UTC, duration in ms, value, offset in minutes."""


def reading(zone: str = "UTC", batch_size: int = 5_000) -> Reading:
    return Reading(NOW_US, KEY, zone, batch_size=batch_size)


def read(
    data: object, *, zone: str = "UTC", aggregation: str | None = None, raw: bool = False
) -> tuple[list[Piece], Tally]:
    how = reading(zone)
    body = data if isinstance(data, bytes) else json.dumps(data if raw else {"data": data}).encode()
    pieces = list(read_payload(body, how, aggregation=aggregation))
    check(how.tally, pieces)
    return pieces, how.tally


def check(tally: Tally, pieces: list[Piece]) -> None:
    """Whatever the payload: the numbers of a tally add up."""
    assert tally.read == tally.accepted + tally.rejected.total() + tally.ignored.total()
    assert tally.by_metric.total() == sum(len(piece.samples or ()) for piece in pieces)
    assert tally.sessions == sum(len(piece.sessions) for piece in pieces)
    assert tally.waveforms == sum(len(piece.waveforms) for piece in pieces)


def metric(name: str, units: str | None, *points: object) -> dict[str, list[object]]:
    return {"metrics": [{"name": name, "units": units, "data": list(points)}]}


def point(qty: object = 1, date: object = "2024-06-01 10:04:00 +0200", **more: object) -> dict[str, object]:
    return {"qty": qty, "date": date, "source": "Watch"} | more


def rows(pieces: list[Piece]) -> list[Row]:
    found = []
    for piece in pieces:
        if piece.samples is not None:
            columns = piece.samples
            found += [
                (code, to_datetime(start).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"), duration, value, offset)
                for code, start, duration, value, offset in zip(
                    metric_codes(columns), columns.start_us.tolist(), columns.duration_ms.tolist(),
                    columns.value.tolist(), columns.zone_offset_min.tolist(), strict=True)
            ]  # fmt: skip
    return sorted(found)


def apps(pieces: list[Piece]) -> list[str]:
    """The suffixes of the source apps."""
    return sorted(piece.source_app[24:] for piece in pieces if piece.samples is not None)


def sessions(pieces: list[Piece]) -> list[Session]:
    return sorted((one for piece in pieces for one in piece.sessions), key=lambda one: (one.start_us, one.kind))


def utc(text: str) -> int:
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1_000_000)
