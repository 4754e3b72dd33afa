"""How the recorder's rate follows from the size of a transaction, the workers and the partitions: for operators.

One line a choice; everything but the one choice is as in `benchmarks.recorder` (100 samples a record, 500 records a
transaction, four partitions, one worker). The yardstick of each line is the standard choice, measured in the same run.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.recorder import PARTITIONS, TUNED, fresh_database, make_records, publish, record_all
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.postgres import EmbeddedPostgres

_SAMPLES_A_RECORD = 100
_SAMPLES = 1_000_000


@dataclass(frozen=True, slots=True)
class Choice:
    """What an operator chooses."""

    records_a_transaction: int = 500
    workers: int = 1
    partitions: int = PARTITIONS


STANDARD = Choice()
CHOICES = (
    *(Choice(records_a_transaction=size) for size in (10, 50, 200, 1_000)),
    *(Choice(workers=workers) for workers in (2, 3)),
    *(Choice(partitions=partitions) for partitions in (1, 24)),
)


def run() -> Iterator[dict[str, object]]:
    """Measure every choice beside the standard one."""
    for number, choice in enumerate(CHOICES):
        standard, rate = _rate(STANDARD, f"s{number}"), _rate(choice, f"c{number}")
        yield {
            "name": f"sizing_{choice.records_a_transaction}_{choice.workers}_{choice.partitions}",
            "choice": asdict(choice),
            "samples_per_s": round(rate),
            "yardstick": "500 records a transaction, 1 worker, 4 partitions",
            "yardstick_samples_per_s": round(standard),
            "ratio": round(rate / standard, 3),
        }


def _rate(choice: Choice, name: str) -> float:
    records = make_records(_SAMPLES_A_RECORD, _SAMPLES // _SAMPLES_A_RECORD)
    with (
        tempfile.TemporaryDirectory(prefix="vigil-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "data", settings=TUNED) as postgres,
        EmbeddedBroker(log=Path(folder) / "broker.log") as broker,
    ):
        asyncio.run(publish(broker.bootstrap, records, choice.partitions))
        url = fresh_database(postgres.url, name)
        return record_all(
            broker.bootstrap, url, Path(folder), len(records), _SAMPLES, choice.workers, choice.records_a_transaction
        ).rate
