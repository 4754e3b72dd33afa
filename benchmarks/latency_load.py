"""The live load of the latency benchmark, a process of its own: so many patients, one record a second each.

What a record tells is encoded beforehand; while it runs only times are written into it, so that the sender takes
little of the machine that it measures. A sample counts as received when its record is handed to the producer.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import Final

import numpy as np
from aiokafka import AIOKafkaProducer
from numpy.typing import NDArray

from ingest.record import encode
from ingest.topics import SAMPLES
from vitals.batch import BatchHeader, sample_columns
from vitals.catalogue import BY_CODE
from vitals.ids import device_id, patient_id
from vitals.quality import Context

METRICS: Final = (
    "heart_rate", "rr_interval", "pulse_rate", "spo2", "respiratory_rate", "enmo", "perfusion_index",
    "body_temperature", "cadence", "wrist_temperature",
)  # fmt: skip
_CALM: Final = (68.0, 880.0, 68.0, 97.0, 15.0, 4.0, 3.0, 36.8, 0.0, 33.0)
_NOISE: Final = (2.0, 25.0, 2.0, 0.6, 1.0, 1.0, 0.3, 0.05, 0.0, 0.1)
ALARMING_BPM: Final = 148.0
CYCLE_S: Final = 60
ALARM_S: Final = 12
"""Of every so many seconds each patient's heart beats too fast for so many."""
FAST: Final = ("bench-fast", b"1")
"""What the records of a fast heart have among their headers, for those who only pass them on."""
_VARIANTS: Final = 32
_TICK_S: Final = 0.01
_SEND_BEFORE_US: Final = 50_000


@dataclass(frozen=True, slots=True)
class Template:
    """An encoded record whose times are still to be written: the places of its three time columns in `value`."""

    value: bytearray
    places: tuple[NDArray[np.int64], ...]
    offsets_us: NDArray[np.int64]

    def at(self, now_us: int) -> bytes:
        """Return the record's value, its newest sample measured now."""
        for place in self.places:
            place[:] = self.offsets_us + now_us
        return bytes(self.value)


def template(seed: int, heart_rate_bpm: float | None) -> Template:
    """Return a record of one sample a metric within 50 ms; `heart_rate_bpm` instead of the calm one."""
    draw = np.random.default_rng(seed)
    values = np.array(_CALM) + draw.normal(size=len(METRICS)) * np.array(_NOISE)
    if heart_rate_bpm is not None:
        values[0] = values[2] = heart_rate_bpm + draw.normal()
    values[3] = min(values[3], 100.0)
    # The heart rate is the newest: what it raises is measured when the record is handed over.
    offsets = -np.arange(len(METRICS), dtype=np.int64) * (_SEND_BEFORE_US // len(METRICS))
    marks = [offsets + seconds * 1_000_000 for seconds in (1_111_111_111, 1_222_222_222, 1_333_333_333)]
    numbers = np.array([BY_CODE[code].number for code in METRICS], np.int16)
    columns = sample_columns(
        marks[0], numbers, values.round(2), written_us=marks[1], received_us=marks[2],
        context=int(Context.MOTION_SEDENTARY),
    )  # fmt: skip
    value = bytearray(encode(header(0), columns).value)
    places = tuple(_place(value, mark) for mark in marks)
    return Template(value, places, offsets)


def _place(value: bytearray, mark: NDArray[np.int64]) -> NDArray[np.int64]:
    at = bytes(value).index(mark.tobytes())
    return np.frombuffer(value, np.int64, len(mark), at)


def header(number: int) -> BatchHeader:
    """Return whose records a patient's are."""
    return BatchHeader(patient_id(f"bench-{number}"), device_id(f"bench-device-{number}"), "app", "bench")


async def run(bootstrap: str, patients: int, seconds: float) -> None:
    """Send until the time is over; the last line says how many records, and how late the sender was at worst."""
    calm = [template(seed, None) for seed in range(_VARIANTS)]
    alarming = [template(seed + _VARIANTS, ALARMING_BPM) for seed in range(_VARIANTS)]
    whose = [encode_headers(number) for number in range(patients)]
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks=1, linger_ms=2, compression_type="zstd", max_batch_size=64 * 1024
    )
    await producer.start()
    begun, sent, latest = time.monotonic(), 0, 0.0
    try:
        while (passed := time.monotonic() - begun) < seconds:
            due = int(passed * patients)
            latest = max(latest, (due - sent) / patients)
            for count in range(sent, due):
                turn, patient = divmod(count, patients)
                phase = (turn + patient * CYCLE_S // patients) % CYCLE_S
                variants = alarming if phase >= CYCLE_S - ALARM_S else calm
                value = variants[(count * 7 + turn) % _VARIANTS].at(time.time_ns() // 1_000)
                key, headers = whose[patient]
                told = [*headers, FAST] if variants is alarming else headers
                await producer.send(SAMPLES, value=value, key=key, headers=told)
            sent = due
            await asyncio.sleep(_TICK_S)
    finally:
        await producer.stop()
    print(sent, round(latest * 1_000), flush=True)


def encode_headers(number: int) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Return key and headers of a patient's records."""
    made = encode(
        header(number), sample_columns(np.zeros(1, np.int64), np.ones(1, np.int16), np.ones(1), received_us=0)
    )
    return made.key, list(made.headers)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
