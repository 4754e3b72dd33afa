"""Small exports for the tests, and how they are read."""

import io
import zipfile
from collections import Counter
from pathlib import Path

from devices.adapter import Piece, Session
from devices.apple import ExportSummary, read_export
from vitals.batch import SampleColumns

KEY = b"a key for tests"
NOW_US = 1_780_000_000_000_000
FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "apple"


_ORDER = ("type", "sourceName", "sourceVersion", "device", "unit", "creationDate", "startDate", "endDate", "value")


def element(**attributes: str | None) -> str:
    """One heart rate Record, attributes as the iPhone orders them; one that is given as None is left out."""
    given: dict[str, str | None] = {
        "type": "HKQuantityTypeIdentifierHeartRate",
        "sourceName": "Watch",
        "unit": "count/min",
        "startDate": "2024-01-01 10:00:00 +0100",
        "endDate": "2024-01-01 10:00:00 +0100",
        "value": "60",
    }
    given |= attributes
    kept = {name: given[name] for name in (*_ORDER, *given) if given.get(name) is not None}
    return "<Record " + " ".join(f'{name}="{text}"' for name, text in kept.items()) + "/>"


def document(*elements: str, prolog: str = '<?xml version="1.0" encoding="UTF-8"?>\n') -> bytes:
    return (prolog + '<HealthData locale="en_GB">\n ' + "\n ".join(elements) + "\n</HealthData>\n").encode()


def read(data: bytes | Path, *, batch_size: int = 5_000) -> tuple[list[Piece], ExportSummary]:
    summary = ExportSummary()
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    pieces = list(read_export(source, received_us=NOW_US, hash_key=KEY, batch_size=batch_size, summary=summary))
    check(summary, pieces)
    return pieces, summary


def check(summary: ExportSummary, pieces: list[Piece]) -> None:
    """Whatever the file: the numbers of a summary add up."""
    assert summary.read == summary.accepted + sum(summary.rejected.values())
    assert summary.workouts == summary.accepted_workouts + sum(summary.rejected_workouts.values())
    assert summary.ecgs == summary.accepted_ecgs + sum(summary.rejected_ecgs.values())
    told = sum(len(piece.samples) for piece in pieces if piece.samples is not None)
    assert told == sum(summary.by_metric.values())
    assert told == summary.accepted + summary.accepted_workouts + summary.rr_intervals
    assert summary.sessions == sum(len(piece.sessions) for piece in pieces)
    assert summary.waveforms == sum(len(piece.waveforms) for piece in pieces)
    assert all(piece.samples is None or len(piece.samples) for piece in pieces)


def samples(pieces: list[Piece]) -> SampleColumns:
    return SampleColumns.concat([piece.samples for piece in pieces if piece.samples is not None])


def sessions(pieces: list[Piece]) -> list[Session]:
    return sorted((one for piece in pieces for one in piece.sessions), key=lambda one: (one.start_us, one.kind))


def origins(pieces: list[Piece]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for piece in pieces:
        counts[piece.device_id, piece.source_app] += 0 if piece.samples is None else len(piece.samples)
    return counts


def zipped(**members: bytes) -> bytes:
    """A zip; `__` in a member's name stands for its folder."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()
