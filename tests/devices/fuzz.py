"""Random and mutated payloads through every decoder: nothing but `MalformedFrame`, no nonsense told, no hang.

    .venv/bin/python -m tests.devices.fuzz --payloads 1000000 --seed 7

A third of the payloads are random octets; the others are whole frames of a sensor's own encoder, most of them changed:
a bit turned over, octets put in, taken out, said twice or replaced by nasty ones, the end cut off or grown.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from devices.errors import MalformedFrame, UnknownCharacteristic
from devices.gatt import CHARACTERISTICS, DeviceClock, characteristic
from devices.gatt.session import DeviceSession
from devices.polar import CHARACTERISTICS as POLAR
from tests.devices.sensor import FRAMES, Sensor
from vitals.batch import SampleColumns
from vitals.catalogue import BY_NUMBER
from vitals.waveform import WaveformChunk

HANG_S = 60.0
"""A single payload that takes longer ends the run with a traceback."""
NOW_US = 1_772_366_400_000_000
DAY_US = 86_400_000_000
CLOCKS = (
    DeviceClock(), DeviceClock(zone_offset_min=0), DeviceClock(offset_us=-5, stored=True),
    DeviceClock(session_start_us=NOW_US - DAY_US), DeviceClock(-300, None, NOW_US, stored=True),
)  # fmt: skip
NASTY = (b"\x00", b"\xff", b"\x80", b"\x7f", b"\xff\x07", b"\x00\x08", b"\xff\xff\x7f\x00", b"\x00\x00\x80\x00")
UUIDS = (*CHARACTERISTICS, *POLAR)


@dataclass
class Figures:
    """What a run came to."""

    decoded: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    samples: int = 0
    waveforms: int = 0


def payload_for(rng: random.Random, sensor: Sensor, uuid: str) -> bytes:
    """Return random octets, or a frame that is meant for this characteristic or, now and then, for another one."""
    kind = rng.random()
    if kind < 0.33 or uuid not in FRAMES:
        return rng.randbytes(
            rng.choice((0, 1, 2, 3, 5, 8, 13, 20, 40, 120, 512, 513)) if kind < 0.3 else rng.randrange(24)
        )
    frame = FRAMES[uuid if rng.random() < 0.97 else rng.choice(tuple(FRAMES))](sensor)
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        frame = mutated(rng, frame)
    return frame


def mutated(rng: random.Random, frame: bytes) -> bytes:
    """Return the frame with one change."""
    at, to = sorted(rng.randrange(len(frame) + 1) for _ in range(2))
    return rng.choice(
        (
            frame[:at] + bytes((frame[at] ^ 1 << rng.randrange(8),)) + frame[at + 1 :] if at < len(frame) else frame,
            frame[:at] + rng.randbytes(rng.randrange(1, 5)) + frame[at:],
            frame[:at] + frame[to:],
            frame[:to] + frame[at:],
            frame[:at] + (nasty := rng.choice(NASTY)) + frame[at + len(nasty) :],
            frame[:at],
            frame + rng.randbytes(rng.randrange(1, 9)),
        )
    )


def check_samples(samples: SampleColumns, received_us: int) -> None:
    """Raise AssertionError unless the samples are ones that the stream can carry."""
    assert np.isfinite(samples.value).all(), "a value that is not finite"
    assert (samples.start_us <= received_us).all(), "measured after it arrived"
    assert (samples.start_us >= received_us - 401 * DAY_US).all(), "measured before anyone believes it"
    assert ((samples.quality >= 0) & (samples.quality <= 1)).all(), "a quality that is none"
    assert set(samples.metric.tolist()) <= set(BY_NUMBER), "a metric that is none"


def check_waveform(chunk: WaveformChunk, received_us: int) -> None:
    """Raise AssertionError unless the chunk is one that the stream can carry."""
    assert chunk.values.dtype == np.int32, "values of another type"
    assert chunk.values.size > 0, "a chunk of nothing"
    assert chunk.start_us <= received_us + 2_000_000, "measured after it arrived"
    assert np.isfinite(chunk.physical()).all(), "a value that is not finite"


def try_one(uuid: str, payload: bytes, clock: DeviceClock, session: DeviceSession, figures: Figures) -> None:
    """Decode one payload in every way there is. Raises whatever should not happen."""
    found = characteristic(uuid)
    try:
        measurement = found.decode(payload)
    except MalformedFrame as error:
        figures.malformed[uuid] += 1
        if not str(error).startswith(f"{found.name} ({uuid[:8]}): expected "):
            raise AssertionError("an error that does not say what and where") from error
        return
    json.dumps(found.to_json(measurement), allow_nan=False)
    samples = found.samples(measurement, NOW_US, clock)
    told = session.read(uuid, payload, NOW_US, stored=clock.stored)
    check_samples(samples, NOW_US)
    check_samples(told.samples, NOW_US)
    for chunk in told.waveforms:
        check_waveform(chunk, NOW_US)
    figures.decoded[uuid] += 1
    figures.samples += len(samples) + len(told.samples)
    figures.waveforms += len(told.waveforms)


def fuzz(payloads: int, seed: int) -> Figures:
    """Try that many payloads. Raises AssertionError that quotes the seed, the characteristic and the payload in hex."""
    rng = random.Random(seed)
    sensor, figures, session = Sensor(rng), Figures(), DeviceSession()
    for count in range(payloads):
        if count % 200 == 0:
            session = DeviceSession(rng.choice(CLOCKS))
            for measurement, rate_hz in enumerate((130.0, 55.0, 52.0)):
                session.started(measurement, rate_hz)
        uuid, clock = rng.choice(UUIDS), rng.choice(CLOCKS)
        payload = payload_for(rng, sensor, uuid)
        began = time.perf_counter()
        if count % 1_000 == 0:
            faulthandler.dump_traceback_later(HANG_S, exit=True)
        try:
            try_one(uuid, payload, clock, session, figures)
        except Exception as error:
            raise AssertionError(f"seed {seed}, payload {count}: {uuid} {payload.hex()}: {error!r}") from error
        figures.slowest_s = max(figures.slowest_s, time.perf_counter() - began)
    faulthandler.cancel_dump_traceback_later()
    try:
        characteristic(rng.randbytes(8).hex())
    except UnknownCharacteristic:
        return figures
    raise AssertionError("a UUID of random octets was found")


def main() -> int:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--payloads", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    given = parser.parse_args()
    print(f"seed {given.seed}: {given.payloads:,} payloads over {len(UUIDS)} characteristics", flush=True)
    began = time.perf_counter()
    figures = fuzz(given.payloads, given.seed)
    took_s = time.perf_counter() - began
    decoded, malformed = figures.decoded.total(), figures.malformed.total()
    print(f"{decoded:,} decoded, {malformed:,} malformed, nothing else; {figures.samples:,} samples")
    print(f"{figures.waveforms:,} waveforms; slowest payload {figures.slowest_s * 1e3:.1f} ms")
    print(f"{given.payloads / took_s:,.0f} payloads/s ({took_s:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
