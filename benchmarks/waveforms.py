"""Signal stages and the waveform wire form: speed in multiples of real time, bytes beside raw int16.

One core, chunks of one second as a strap sends them, memory carried from chunk to chunk. The signal is a made-up ECG
with 0.01 mV of noise; accuracy on real recordings is the tests' business (tests/stream/features), and where the
recordings lie beside the repository their figures are repeated here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cramjam
import numpy as np
from numpy.typing import NDArray

from ingest.waveform_record import encode_chunk
from stream.features.decimate import DecimateState, decimate, decimation
from stream.features.ecg_beats import EcgState, ecg_beats, ecg_plan
from stream.features.enmo import EnmoState, enmo
from stream.features.ppg_beats import PpgState, ppg_beats, ppg_plan
from stream.waveform_memory import to_bytes
from stream.waveform_signal import SignalState, WaveformPolicy, advance
from vitals.batch import BatchHeader
from vitals.ids import device_id, patient_id
from vitals.waveform import WaveformChunk

Signal = NDArray[np.float64]

MINUTES = 10
RECORDS_A_BATCH = 16
RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "realdata"
HEADER = BatchHeader(patient_id("p1"), device_id("d1"), "app", "ble")
T0 = 1_800_000_000_000_000


def run() -> Iterator[dict[str, object]]:
    """Decimation, beats, activity, the whole stage, the wire, and accuracy where the recordings are."""
    yield _decimation(512.0, 256.0)
    yield _beats("ecg_beats", 250.0, _ecg(250.0), _ecg_steps(250.0))
    yield _beats("ppg_beats", 100.0, _pulse(100.0), _ppg_steps(100.0))
    yield _enmo(50.0)
    yield _stage(250.0)
    for seconds in (1, 10):
        yield _wire(seconds)
    if (RECORDINGS / "mitdb100").is_dir():
        yield _accuracy()


def _ecg(rate_hz: float, minutes: int = MINUTES) -> Signal:
    beat = np.arange(round(0.8 * rate_hz)) / rate_hz
    waves = ((0.20, 0.12, 0.022), (0.34, -0.12, 0.01), (0.37, 1.0, 0.011), (0.40, -0.2, 0.011), (0.64, 0.28, 0.05))
    shape = sum(height * np.exp(-0.5 * ((beat - at) / width) ** 2) for at, height, width in waves)
    n = round(minutes * 60 * rate_hz)
    return np.resize(np.asarray(shape), n) + np.random.default_rng(1).normal(0, 0.01, n)


def _pulse(rate_hz: float) -> Signal:
    time_s = np.arange(round(MINUTES * 60 * rate_hz)) / rate_hz
    pulse: Signal = 500 + 100 * np.sin(2 * np.pi * 1.1 * time_s) + 30 * np.sin(2 * np.pi * 2.2 * time_s)
    return pulse


def _seconds(signal: Signal, rate_hz: float) -> list[Signal]:
    size = round(rate_hz)
    return [signal[at : at + size] for at in range(0, len(signal), size)]


def _timed(step: Callable[[Signal], None], pieces: list[Signal]) -> float:
    begun = time.perf_counter()
    for piece in pieces:
        step(piece)
    return time.perf_counter() - begun


def _decimation(rate_hz: float, target_hz: float) -> dict[str, object]:
    plan = decimation(rate_hz, target_hz)
    state: DecimateState | None = None
    pieces = [piece.reshape(1, -1) for piece in _seconds(_ecg(rate_hz), rate_hz)]

    def step(piece: Signal) -> None:
        nonlocal state
        state, _ = decimate(plan, state, piece)

    taken = _timed(step, pieces)
    return {
        "name": "waveform_decimation", "samples_per_s": round(MINUTES * 60 * rate_hz / taken),
        "yardstick": "real time at 512 Hz", "ratio": round(MINUTES * 60 / taken), "taps": len(plan.taps),
        "latency_ms": round(plan.latency_s * 1_000, 1),
    }  # fmt: skip


def _ecg_steps(rate_hz: float) -> Callable[[Signal], int]:
    plan = ecg_plan(rate_hz)
    state: EcgState | None = None

    def step(piece: Signal) -> int:
        nonlocal state
        state, beats = ecg_beats(plan, state, piece)
        return len(beats.at)

    return step


def _ppg_steps(rate_hz: float) -> Callable[[Signal], int]:
    plan = ppg_plan(rate_hz)
    state: PpgState | None = None

    def step(piece: Signal) -> int:
        nonlocal state
        state, beats = ppg_beats(plan, state, piece)
        return len(beats.at)

    return step


def _beats(name: str, rate_hz: float, signal: Signal, step: Callable[[Signal], int]) -> dict[str, object]:
    found = 0

    def count(piece: Signal) -> None:
        nonlocal found
        found += step(piece)

    taken = _timed(count, _seconds(signal, rate_hz))
    return {
        "name": f"waveform_{name}", "samples_per_s": round(len(signal) / taken), "rate_hz": rate_hz,
        "yardstick": "real time", "ratio": round(MINUTES * 60 / taken), "beats": found,
    }  # fmt: skip


def _enmo(rate_hz: float) -> dict[str, object]:
    xyz = np.random.default_rng(1).normal(0, 1, (3, round(MINUTES * 60 * rate_hz)))
    state, size = EnmoState(), round(rate_hz)
    begun = time.perf_counter()
    for at in range(0, xyz.shape[1], size):
        times = T0 + np.round((at + np.arange(size)) / rate_hz * 1e6).astype(np.int64)
        state, _ = enmo(state, times, xyz[:, at : at + size])
    taken = time.perf_counter() - begun
    return {
        "name": "waveform_enmo", "samples_per_s": round(xyz.shape[1] / taken), "yardstick": "real time at 50 Hz",
        "ratio": round(MINUTES * 60 / taken),
    }  # fmt: skip


def _chunks(rate_hz: float, signal: Signal, seconds: int) -> list[WaveformChunk]:
    raw = np.round(signal * 1_000).astype(np.int32).reshape(1, -1)
    size = round(rate_hz * seconds)
    return [
        WaveformChunk(
            "ecg", T0 + round(at / rate_hz * 1e6), rate_hz, raw[:, at : at + size], 0.001,
            T0 + round((at + size) / rate_hz * 1e6) + at % 977, T0 + round((at + size) / rate_hz * 1e6) + at % 1_531,
        )
        for at in range(0, raw.shape[1] - size + 1, size)
    ]  # fmt: skip


def _stage(rate_hz: float) -> dict[str, object]:
    """Everything between decoding and the database for one ECG, memory to bytes included."""
    chunks, policy = _chunks(rate_hz, _ecg(rate_hz), 1), WaveformPolicy()
    state: SignalState | None = None
    begun = time.perf_counter()
    for chunk in chunks:
        state = advance(policy, state, chunk).state
        memory = to_bytes(state)
    taken = time.perf_counter() - begun
    return {
        "name": "waveform_stage_ecg", "chunks_per_s": round(len(chunks) / taken), "yardstick": "real time",
        "ratio": round(MINUTES * 60 / taken), "memory_bytes": len(memory),
    }  # fmt: skip


def _wire(seconds: int) -> dict[str, object]:
    rate_hz = 250.0
    chunks = _chunks(rate_hz, _ecg(rate_hz), seconds)[:RECORDS_A_BATCH]
    values = b"".join(encode_chunk(HEADER, chunk).value for chunk in chunks)
    samples = sum(chunk.samples for chunk in chunks)
    raw = b"".join(chunk.values.astype("<i2").tobytes() for chunk in chunks)
    packed, packed_raw = (len(bytes(cramjam.zstd.compress(data, 3))) for data in (values, raw))
    return {
        "name": f"waveform_wire_{seconds}_s_a_record", "bytes_per_sample": round(packed / samples, 2),
        "yardstick": "the bare int16 samples in the same zstd", "yardstick_bytes": round(packed_raw / samples, 2),
        "ratio": round(packed / packed_raw, 2), "uncompressed": round(len(values) / samples, 2),
        "raw_int16": 2.0, "records_a_batch": RECORDS_A_BATCH,
    }  # fmt: skip


def _accuracy() -> dict[str, object]:
    from tests.stream.features.recordings import matched, read_212, read_atr

    signal = read_212(RECORDINGS / "mitdb100" / "100.dat")[0]
    truth = read_atr(RECORDINGS / "mitdb100" / "100.atr")
    begun = time.perf_counter()
    _, beats = ecg_beats(ecg_plan(360.0), None, signal)
    taken = time.perf_counter() - begun
    hits, wrong, missed = matched(beats.at, truth, 0.150 * 360)
    rr = beats.rr_ms[~np.isnan(beats.rr_ms)]
    return {
        "name": "waveform_mitdb100", "sensitivity": round(100 * hits / (hits + missed), 2),
        "positive_predictivity": round(100 * hits / (hits + wrong), 2), "yardstick": "2273 annotated beats, 150 ms",
        "ratio": round(hits / len(truth), 4), "mean_rr_ms": round(float(rr.mean()), 2),
        "sd_rr_ms": round(float(rr.std()), 2), "rmssd_ms": round(float(np.sqrt(np.mean(np.diff(rr) ** 2))), 2),
        "times_real_time": round(len(signal) / 360 / taken),
    }  # fmt: skip
