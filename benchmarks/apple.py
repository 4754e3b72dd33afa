"""An Apple Health export of 1 GB to Kafka: `vigil healthkit import`, beside expat that reads the file and drops it.

The file is written to a temporary folder and removed afterwards. It has what real exports have: mostly heart rates with
their motion context, energy, steps and distances of watch and phone, some sleep, beats, blood pressure in correlations,
workouts with statistics and a share of types that Vigil does not read. The import is a process of its own, its time the
whole of it (starting Python, connecting, the last acknowledgement), its memory the largest that the system saw.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.parsers.expat import ParserCreate

from devices.apple import read_export
from ingest.admin import create_topics
from vigil.embedded.broker import EmbeddedBroker

BYTES = 1_000_000_000
_CHUNK = 1 << 18
_DEVICE = (
    "&lt;&lt;HKDevice: 0x30{pointer:07x}&gt;, name:Apple Watch, manufacturer:Apple Inc., model:Watch, "
    "hardware:Watch6,7, software:10.2&gt;"
)
_WATCH = 'sourceName="Anna\u2019s Apple\u00a0Watch" sourceVersion="10.2" device="{device}"'
_PHONE = 'sourceName="Anna\u2019s iPhone" sourceVersion="17.2.1"'
_RECORD = (
    ' <Record type="HK{kind}" {source}{unit} creationDate="{end}" startDate="{start}" endDate="{end}" value="{value}"'
)
_QUANTITIES = (
    ("QuantityTypeIdentifierActiveEnergyBurned", "kcal", True),
    ("QuantityTypeIdentifierBasalEnergyBurned", "kcal", True),
    ("QuantityTypeIdentifierStepCount", "count", False),
    ("QuantityTypeIdentifierStepCount", "count", True),
    ("QuantityTypeIdentifierDistanceWalkingRunning", "km", False),
    ("QuantityTypeIdentifierPhysicalEffort", "kcal/hr·kg", True),
    ("QuantityTypeIdentifierEnvironmentalAudioExposure", "dBASPL", True),
    ("QuantityTypeIdentifierOxygenSaturation", "%", True),
    ("QuantityTypeIdentifierFlightsClimbed", "count", False),
)


def run() -> Iterator[dict[str, object]]:
    """Import one export, and read it in the two plainest ways."""
    with tempfile.TemporaryDirectory(prefix="vigil-bench-") as folder:
        path = Path(folder) / "export.xml"
        records = write_export(path, BYTES)
        _say(f"{path.stat().st_size / 1e6:,.0f} MB, {records:,} records")
        yardstick = _rate(records, lambda: _read_and_drop(path))
        decoded = _rate(records, lambda: _decode(path))
        spent, told = _import(path, Path(folder))
        again = _rate(records, lambda: _read_and_drop(path))
    if told["read"] != records:
        raise SystemExit(f"{told['read']} of {records} records were read")
    plain = (yardstick + again) / 2
    yield {
        "name": "apple_export_to_kafka",
        "records_per_s": round(records / spent.seconds),
        "records_per_cpu_s": round(records / spent.cpu_s),
        "mb_per_s": round(BYTES / 1e6 / spent.seconds, 1),
        "yardstick": "expat, reading every element's attributes and dropping them",
        "yardstick_records_per_s": round(plain),
        "ratio": round(records / spent.seconds / plain, 3),
        "decoding_alone_records_per_s": round(decoded),
        "peak_rss_mb": round(spent.peak_bytes / 1e6),
        "records": records,
        "samples": sum(told["by_metric"].values()),
        "bytes": BYTES,
    }


def _rate(records: int, read: Callable[[], None]) -> float:
    begun = time.perf_counter()
    read()
    rate = records / (time.perf_counter() - begun)
    _say(f"{rate:,.0f} records/s")
    return rate


def _decode(path: Path) -> None:
    for _ in read_export(path, received_us=time.time_ns() // 1_000, hash_key=b"a key for benchmarks"):
        pass


def _read_and_drop(path: Path) -> None:
    parser = ParserCreate("UTF-8")
    parser.StartElementHandler = lambda _name, _attributes: None
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            parser.Parse(chunk)


@dataclass(frozen=True, slots=True)
class Run:
    """What one command took: seconds by the clock and of the processors, and its largest resident memory."""

    seconds: float
    cpu_s: float
    peak_bytes: int


def _import(path: Path, folder: Path) -> tuple[Run, dict[str, Any]]:
    """Return what the command took, and its summary."""
    with EmbeddedBroker(log=folder / "broker.log") as broker, (folder / "told.json").open("w+") as told:
        asyncio.run(create_topics(broker.bootstrap, partitions=4))
        environment = os.environ | {
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
            "VIGIL_HASH_KEY": "a key for benchmarks, 32 letters at least",
        }
        command = [sys.executable, "-m", "vigil", "healthkit", "import", str(path), "--patient", "p-1"]
        begun = time.perf_counter()
        child = subprocess.Popen(command, env=environment, stdout=told)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit("the import failed")
        told.seek(0)
        _say(f"imported in {seconds:,.1f} s")
        return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1_024), json.load(told)


def write_export(path: Path, size: int) -> int:
    """Write an export of `size` bytes or a little more; return how many records it has at top level."""
    rng, records = random.Random(1), 0
    moments = _moments(rng)
    with path.open("w", encoding="utf-8", buffering=1 << 20) as file:
        written = file.write('<?xml version="1.0" encoding="UTF-8"?>\n<HealthData locale="en_GB">\n')
        while written < size:
            # An apostrophe and a no-break space are more bytes than letters.
            lines, count = _block(rng, moments)
            text = "\n".join(lines) + "\n"
            file.write(text)
            written += len(text.encode())
            records += count
        file.write("</HealthData>\n")
    return records


def _moments(rng: random.Random) -> Iterator[tuple[str, str]]:
    moment = datetime(2015, 1, 1, tzinfo=UTC)
    while True:
        moment += timedelta(seconds=rng.randint(20, 180))
        end = moment + timedelta(seconds=rng.randint(1, 60))
        yield moment.strftime("%Y-%m-%d %H:%M:%S +0100"), end.strftime("%Y-%m-%d %H:%M:%S +0100")


def _block(rng: random.Random, moments: Iterator[tuple[str, str]]) -> tuple[list[str], int]:
    """Return the lines of some thousand records, and how many they are."""
    lines = [
        _record(rng, *moment) if rng.random() < 0.6 else _heart_rate(rng, *moment)
        for moment in itertools.islice(moments, 4_000)
    ]
    count = len(lines)
    for make, extra in ((_sleep, 1), (_beats, 1), (_correlation, 0), (_workout, 0)):
        lines += [make(rng, *moment) for moment in itertools.islice(moments, 5)]
        count += 5 * extra
    return lines, count


def _watch(rng: random.Random) -> str:
    return _WATCH.format(device=_DEVICE.format(pointer=rng.getrandbits(28)))


def _record(rng: random.Random, start: str, end: str) -> str:
    kind, unit, watch = _QUANTITIES[int(rng.random() * len(_QUANTITIES))]
    source, value = (_watch(rng) if watch else _PHONE), f"{rng.random() * 0.9 + 0.05:.4f}"
    return _RECORD.format(kind=kind, source=source, unit=f' unit="{unit}"', start=start, end=end, value=value) + "/>"


def _heart_rate(rng: random.Random, start: str, _end: str) -> str:
    head = _RECORD.format(
        kind="QuantityTypeIdentifierHeartRate",
        source=_watch(rng),
        unit=' unit="count/min"',
        start=start,
        end=start,
        value=rng.randint(45, 160),
    )
    return (
        f'{head}>\n  <MetadataEntry key="HKMetadataKeyHeartRateMotionContext" value="{rng.randint(0, 2)}"/>\n </Record>'
    )


def _sleep(rng: random.Random, start: str, end: str) -> str:
    value = "HKCategoryValueSleepAnalysisAsleep" + rng.choice(("Core", "Deep", "REM"))
    head = _RECORD.format(
        kind="CategoryTypeIdentifierSleepAnalysis", source=_watch(rng), unit="", start=start, end=end, value=value
    )
    return f'{head}>\n  <MetadataEntry key="HKTimeZone" value="Europe/Vienna"/>\n </Record>'


def _beats(rng: random.Random, start: str, end: str) -> str:
    head = _RECORD.format(
        kind="QuantityTypeIdentifierHeartRateVariabilitySDNN",
        source=_watch(rng),
        unit=' unit="ms"',
        start=start,
        end=end,
        value="42.5",
    )
    beats = "\n".join(f'   <InstantaneousBeatsPerMinute bpm="60" time="8:14:{s:02d}.10 AM"/>' for s in range(50))
    return f"{head}>\n  <HeartRateVariabilityMetadataList>\n{beats}\n  </HeartRateVariabilityMetadataList>\n </Record>"


def _correlation(_rng: random.Random, start: str, _end: str) -> str:
    nested = _RECORD.format(
        kind="QuantityTypeIdentifierBloodPressureSystolic",
        source='sourceName="Cuff"',
        unit=' unit="mmHg"',
        start=start,
        end=start,
        value=120,
    )
    dates = f'sourceName="Cuff" startDate="{start}" endDate="{start}"'
    return f' <Correlation type="HKCorrelationTypeIdentifierBloodPressure" {dates}>\n {nested}/>\n </Correlation>'


def _workout(_rng: random.Random, start: str, end: str) -> str:
    dates = f'startDate="{start}" endDate="{end}"'
    return (
        f' <Workout workoutActivityType="HKWorkoutActivityTypeRunning" sourceName="Anna\u2019s Watch" {dates}>\n'
        f'  <WorkoutStatistics type="HKQuantityTypeIdentifierHeartRate" {dates} average="120" unit="count/min"/>\n'
        " </Workout>"
    )


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
