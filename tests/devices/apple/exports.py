"""Small exports for the tests, and how they are read."""

import io
import zipfile
from collections import Counter
from pathlib import Path

from devices.apple import Batch, ExportSummary, read_export
from vitals.batch import SampleColumns

KEY = b"a key for tests"
NOW_US = 1_780_000_000_000_000
FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "apple"


def element(**attributes: str | None) -> str:
    """One heart rate Record; an attribute given as None is left out."""
    given: dict[str, str | None] = {
        "type": "HKQuantityTypeIdentifierHeartRate",
        "sourceName": "Watch",
        "unit": "count/min",
        "startDate": "2024-01-01 10:00:00 +0100",
        "endDate": "2024-01-01 10:00:00 +0100",
        "value": "60",
    }
    kept = {name: text for name, text in (given | attributes).items() if text is not None}
    return "<Record " + " ".join(f'{name}="{text}"' for name, text in kept.items()) + "/>"


def document(*elements: str, prolog: str = '<?xml version="1.0" encoding="UTF-8"?>\n') -> bytes:
    return (prolog + '<HealthData locale="en_GB">\n ' + "\n ".join(elements) + "\n</HealthData>\n").encode()


def read(data: bytes | Path, *, batch_size: int = 5_000) -> tuple[list[Batch], ExportSummary]:
    summary = ExportSummary()
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    batches = list(read_export(source, received_us=NOW_US, hash_key=KEY, batch_size=batch_size, summary=summary))
    check(summary, batches)
    return batches, summary


def check(summary: ExportSummary, batches: list[Batch]) -> None:
    """Whatever the file: the numbers of a summary add up."""
    assert summary.read == summary.accepted + sum(summary.rejected.values())
    assert summary.workouts == summary.accepted_workouts + sum(summary.rejected_workouts.values())
    told = sum(len(batch.samples) for batch in batches)
    assert told == sum(summary.by_metric.values())
    assert told == summary.accepted + summary.accepted_workouts + summary.rr_intervals


def samples(batches: list[Batch]) -> SampleColumns:
    return SampleColumns.concat([batch.samples for batch in batches])


def origins(batches: list[Batch]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for batch in batches:
        counts[batch.device_id, batch.source_app] += len(batch.samples)
    return counts


def zipped(**members: bytes) -> bytes:
    """A zip; `__` in a member's name stands for its folder."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()
