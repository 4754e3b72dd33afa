"""How fast wearers are simulated, on one core: every scalar channel, beat by beat, without faults and with many.

The yardstick fills the same columns with as many normal numbers from numpy's own generator: as fast as a simulator can
be that knows nothing of physiology, of its past, or of where the time axis is cut.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from devices.simulator import ALL_CADENCES_S, Wearer, cohort, simulate, tell, waveforms
from vitals.batch import SampleColumns, sample_columns
from vitals.catalogue import BY_CODE

DAYS = 20
DAY_US = 86_400_000_000
PIECE_US = DAY_US // 4
T0 = 1_767_225_600_000_000
SCENARIOS = ("deterioration", "af", "apnoea", "fever+beta_blocker", "ectopy")
FAULTS = ("loss", "duplicate", "reorder", "drift", "glitch", "burst", "off_wrist", "new_device", "zone")


def run() -> Iterator[dict[str, object]]:
    """Twenty days in pieces of six hours, by five wearers in turn; then waveforms, as multiples of real time."""
    people = cohort(
        len(SCENARIOS), 1, T0, T0 + DAYS * DAY_US, scenarios=SCENARIOS, faults=FAULTS, cadences_s=ALL_CADENCES_S
    )
    yield _samples("simulator", [replace(who, faults=()) for who in people], lambda who, a, b: len(simulate(who, a, b)))
    yield _samples("simulator_with_faults", people, lambda who, a, b: tell(who, a, b).samples)
    for metric in ("ecg", "ppg", "acceleration"):
        yield _waveform(metric, people[1])


def _samples(name: str, people: list[Wearer], make: Callable[[Wearer, int, int], int]) -> dict[str, object]:
    make(people[0], T0, T0 + PIECE_US)
    taken, used, yardstick, made = 0.0, 0.0, 0.0, 0
    for number, start_us in enumerate(range(T0, T0 + DAYS * DAY_US, PIECE_US)):
        begun, cpu = time.perf_counter(), time.process_time()
        count = make(people[number % len(people)], start_us, start_us + PIECE_US)
        taken, used = taken + time.perf_counter() - begun, used + time.process_time() - cpu
        begun = time.perf_counter()
        _plain(count, start_us)
        yardstick += time.perf_counter() - begun
        made += count
    return {
        "name": name, "samples_per_s": round(made / taken), "samples_per_cpu_s": round(made / used), "samples": made,
        "yardstick": "numpy's Generator.normal into the same columns",
        "yardstick_samples_per_s": round(made / yardstick), "ratio": round(yardstick / taken, 2),
    }  # fmt: skip


def _plain(count: int, start_us: int) -> SampleColumns:
    times = start_us + np.arange(count, dtype=np.int64) * 1_000_000
    values = np.random.default_rng(1).normal(70.0, 10.0, count)
    metric = np.full(count, BY_CODE["heart_rate"].number, np.int16)
    return sample_columns(times, metric, values, received_us=times + 300_000, written_us=times)


def _waveform(metric: str, who: Wearer, minutes: int = 60) -> dict[str, object]:
    samples, begun = 0, time.perf_counter()
    for minute in range(minutes):
        start_us = T0 + minute * 60_000_000
        samples += sum(chunk.samples for chunk in waveforms(who, metric, start_us, start_us + 60_000_000))
    taken = time.perf_counter() - begun
    return {
        "name": f"simulator_{metric}", "samples_per_s": round(samples / taken), "yardstick": "real time",
        "ratio": round(minutes * 60 / taken),
    }  # fmt: skip
