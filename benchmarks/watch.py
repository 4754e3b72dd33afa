"""The watch alone on one core, all detectors on: decoding, seeing and settling, beside decoding alone.

2,000 patients at some 10 samples a second each: 100 simulated people, each worn by twenty (the bytes of a record name
nobody). A strap at 4 heart rates a second and beat by beat, a pulse twice a second, oxygen and ENMO once, and every
other channel that is simulated at its own cadence. Records come as a partition tells them: second by second, everybody
in turn, 500 a fetch. The yardstick is `decode_many` of the same records in the same run; the ratio of the rates says
what watching adds. CPU seconds of the process decide; wall seconds stand beside them.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

import numpy as np

from devices.simulator.recipes import cohort
from devices.simulator.simulate import simulate
from devices.simulator.wearer import ALL_CADENCES_S
from ingest.record import RawRecord, decode_many, encode, split
from stream.watch.crowd import Everyone
from stream.watch.engine import Engine
from stream.watch.plan import default_plan
from stream.watch.size import array_bytes, bytes_of
from vitals.batch import BatchHeader
from vitals.clock import US_PER_S
from vitals.ids import device_id, patient_id

PATIENTS: Final = 2_000
PEOPLE: Final = 100
WARM_S: Final = 60
MEASURED_S: Final = 120
RECORDS_A_FETCH: Final = 500
START_US: Final = 1_800_000_000 * US_PER_S  # a Friday morning, 08:00 UTC: people are awake and about
CADENCES_S: Final = {**ALL_CADENCES_S, "heart_rate": 0.25, "pulse_rate": 0.5, "spo2": 1.0, "enmo": 1.0}
BAR_PER_S: Final = 200_000
BAR_BYTES: Final = 64 * 1024

Fetch = tuple[list[RawRecord], int, int]
"""Raw records, how many samples they hold, and when the last of them was received (us)."""


def run() -> Iterator[dict[str, object]]:
    """Measure with records of 10 samples and of 100."""
    for samples in (10, 100):
        yield _measure(samples)


def _measure(samples_a_record: int) -> dict[str, object]:
    warm, fetches = made(samples_a_record)
    engine = Engine(Everyone(default_plan()))
    watched(engine, warm)
    decoding = _timed(lambda: [decode_many(records) for records, _, _ in fetches])
    watching = _timed(lambda: watched(engine, fetches))
    samples = sum(count for _, count, _ in fetches)
    sizes = Sizes.of(engine)
    return {
        "name": f"watch_{samples_a_record}_samples_a_record",
        "samples_per_s": round(samples / watching.cpu_s),
        "samples_per_wall_s": round(samples / watching.wall_s),
        "bar_samples_per_s": BAR_PER_S,
        "yardstick": "decode_many alone",
        "yardstick_samples_per_s": round(samples / decoding.cpu_s),
        "ratio": round(decoding.cpu_s / watching.cpu_s, 3),
        "us_a_record": round(watching.cpu_s / sum(len(records) for records, _, _ in fetches) * 1e6, 1),
        "detectors": len(default_plan().by_name),
        "broken_detectors": engine.failures,
        "samples": samples,
        "bar_bytes_a_patient": BAR_BYTES,
        **sizes.told(),
    }


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU and wall seconds."""

    cpu_s: float
    wall_s: float


def _timed(work: object) -> Spent:
    assert callable(work)
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.process_time() - cpu, time.perf_counter() - wall)


def watched(engine: Engine, fetches: Sequence[Fetch]) -> Counter[str]:
    """Let the engine see and settle every fetch; return what it told, by rule."""
    told: Counter[str] = Counter()
    for records, _, now_us in fetches:
        decoded = decode_many(records)
        told.update(event.rule for event in engine.see(decoded.headers, decoded.counts, decoded.columns, now_us))
        for events in engine.settle(now_us):
            told.update(event.rule for event in events)
    return told


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of each patient's state: in memory with all Python objects, of its arrays alone, and as a snapshot."""

    memory: list[int]
    arrays: list[int]
    snapshot: list[int]

    @classmethod
    def of(cls, engine: Engine) -> Sizes:
        """Measure every patient of an engine."""
        patients = list(engine._roster.patients.items())  # noqa: SLF001 - what is measured is its inside
        memory = [bytes_of(patient) for _, patient in patients]
        arrays = [array_bytes(patient) for _, patient in patients]
        return cls(memory, arrays, [len(engine.snapshot(name)) for name, _ in patients[:200]])

    def told(self) -> dict[str, object]:
        """Return medians, 99th percentiles and maxima."""
        return {
            f"{name}_bytes": {
                "median": round(median(sizes)), "p99": round(float(np.percentile(sizes, 99))), "max": max(sizes)
            }
            for name, sizes in (("memory", self.memory), ("arrays", self.arrays), ("snapshot", self.snapshot))
        }  # fmt: skip


def made(samples_a_record: int) -> tuple[list[Fetch], list[Fetch]]:
    """Return the fetches to warm up with and those to measure."""
    end_us = START_US + (WARM_S + MEASURED_S) * US_PER_S
    people = cohort(PEOPLE, 7, START_US, end_us, cadences_s=CADENCES_S)
    timed: list[tuple[int, RawRecord, int]] = []
    for number, person in enumerate(people):
        columns = simulate(person, START_US, end_us)
        for part in split(columns, samples_a_record):
            told = replace(_header(0))
            record = encode(told, part)
            seen_us = int(part.received_us[-1])
            for worn in range(number, PATIENTS, PEOPLE):
                # Nobody's device ticks with anybody else's; so a partition's records come in turn.
                other = encode_header(worn)
                timed.append((seen_us + worn * 450, (other[0], record.value, other[1]), len(part)))
    timed.sort(key=lambda one: one[0])
    fetches = [
        ([one for _, one, _ in part], sum(count for _, _, count in part), part[-1][0])
        for part in (timed[at : at + RECORDS_A_FETCH] for at in range(0, len(timed), RECORDS_A_FETCH))
    ]
    warm = [one for one in fetches if one[2] < START_US + WARM_S * US_PER_S]
    _say(f"{len(timed):,} records of {samples_a_record} samples, {len(fetches):,} fetches")
    return warm, fetches[len(warm) :]


def _header(number: int) -> BatchHeader:
    return BatchHeader(patient_id(f"p{number}"), device_id(f"d{number}"), "app", "bench")


def encode_header(number: int) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """Return key and headers of a patient's records."""
    header = _header(number)
    fields = (("vigil-schema", b"1"), ("vigil-device", header.device_id.encode()))
    return header.patient_id.encode(), (*fields, ("vigil-source-app", b"app"), ("vigil-adapter", b"bench"))


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
