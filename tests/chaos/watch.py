"""The watch is killed at random while people get worse and better; each change of each alert must stand once.

`python -m tests.chaos.watch`, JSON at the end. What there is to be found says the engine itself, which is given the
same records in one piece: every change must stand on `vigil.alerts` exactly once, and reach `vigil.notifications`, by a
dispatch that is never killed, at most once a recipient and channel.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from aiokafka import TopicPartition

from alerts.event import AlertEvent
from alerts.notification import Notification
from ingest.admin import create_topics
from ingest.publisher import Publisher
from ingest.topics import ALERTS, NOTIFICATIONS, WATCH_STATE
from stream.policy_file.policies import Hurry
from stream.watch.crowd import Crowd
from stream.watch.engine import Engine
from stream.watch.log_end import beginnings, reader, to_the_end
from stream.watch.people import PeopleSource
from stream.watch.pipeline import PATIENT
from tests.services.kafka import ApacheKafka, ensure_jars
from vigil import logs
from vigil.crowd import DEMO_DELAY_S
from vigil.supervisor import Supervisor, Worker
from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S
from vitals.ids import device_id, patient_id

PARTITIONS: Final = 4
POLICY: Final = """\
version = 1
label = "chaos"

[detectors.fast_run]
clear_s = 20.0
"""
"""Beside the demo's short delays of limits: an episode that only a settled detector sees ends within the run."""
_TAIL_S: Final = 45.0
"""So long everybody is well at the end: longer than any rule needs to clear, or a stretch to be settled."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many are watched for how long, and how often the watch is killed meanwhile."""

    patients: int = 12
    seconds: float = 200.0
    kills: int = 20
    snapshot_s: float = 5.0
    settle_s: float = 90.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """What one device told at one time."""

    header: BatchHeader
    columns: SampleColumns


def is_ill(number: int, second: int, plan: Plan) -> bool:
    """Tell whether a patient is ill `second` seconds after the beginning, whatever it is that they have.

    Of every five one is worse once, from early until the tail; the others again and again, in rhythms of their own.
    """
    if second >= plan.seconds:
        return False
    every, well = ((0, 10), (40, 25), (60, 30), (50, 30), (100, 20))[number % 5]
    return second >= well if not every else second % every >= well


def batch(number: int, second: int, begun_us: int, plan: Plan) -> Batch:
    """Return one patient's record of one second: heart rate and oxygen, of every fifth also the intervals of beats.

    0 and 1: the heart is fast. 2: oxygen is low. 3: the heart is fast all the time, and the sensor is off again and
    again. 4: beats come at twice the rate at once, which only a settled detector sees: a run, later a sustained one.
    """
    kind, ill = number % 5, is_ill(number, second, plan)
    fast = ill if kind < 2 else kind == 3 and second < plan.seconds
    ripple = float((second * 7 + number) % 5)
    at_us = begun_us + second * US_PER_S
    rows = [
        ("heart_rate", at_us, (150.0 if fast else 72.0) + ripple),
        ("spo2", at_us, (82.0 if kind == 2 and ill else 97.0) + ripple / 5),
    ]
    if kind == 4:
        near = range(-(-second * 5 // 2), -(-(second + 1) * 5 // 2))
        beats = [beat for beat in near if ill or beat % 2 == 0]
        rows += [("rr_interval", begun_us + beat * 400_000, (400.0 if ill else 800.0) + ripple) for beat in beats]
    metric = np.array([BY_CODE[code].number for code, _, _ in rows], np.int16)
    start, value = (np.array([row[column] for row in rows]) for column in (1, 2))
    quality = np.full(len(rows), 0.0 if kind == 3 and ill else 1.0, np.float32)
    columns = sample_columns(start, metric, value, received_us=start + 1_000, quality=quality)
    return Batch(BatchHeader(patient_id(f"p{number}"), device_id(f"d{number}"), "app", "chaos"), columns)


def expected(batches: Iterable[Batch], crowd: Crowd) -> dict[tuple[str, str], AlertEvent]:
    """Return the changes of alerts that a watch tells that nobody kills, by alert id and state."""
    engine, found = Engine(crowd, strict=True), list[AlertEvent]()
    for one in batches:
        now_us = int(one.columns.received_us[-1])
        found += engine.see([one.header], np.array([len(one.columns)]), one.columns, now_us)
        for events in engine.settle(now_us):
            found += events
    return {(event.alert_id, event.state.value): event for event in found}


async def send(plan: Plan, bootstrap: str, sent: list[Batch]) -> None:
    """Send one record a patient and second, as time goes, until all are well again for long enough."""
    begun = time.monotonic()
    begun_us = time.time_ns() // 1_000
    async with Publisher(bootstrap) as publisher:
        for second in range(round(plan.seconds + _TAIL_S)):
            await asyncio.sleep(max(0.0, begun + second - time.monotonic()))
            batches = [batch(number, second, begun_us, plan) for number in range(plan.patients)]
            sent += batches
            await asyncio.gather(*(publisher.publish(one.header, one.columns) for one in batches))


async def read_values(bootstrap: str, topic: str, partitions: int) -> list[bytes]:
    """Return every value on a topic."""
    found: list[bytes] = []
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    async with reader(bootstrap) as consumer:
        consumer.assign(tps)
        async for _, records in to_the_end(consumer, await beginnings(consumer, tps)):
            found += [record.value for record in records if record.value is not None]
    return found


def reconcile(
    wanted: dict[tuple[str, str], AlertEvent], told: Iterable[AlertEvent], notified: Iterable[Notification]
) -> dict[str, object]:
    """Hold the topics against what there was to be found. Alerts about the pipeline are the watch's own."""
    counts = Counter((event.alert_id, event.state.value) for event in told if event.patient_id != PATIENT)
    names = {(event.alert_id, event.state.value): event.rule for event in told} | {
        key: event.rule for key, event in wanted.items()
    }
    missing = Counter(names[key] for key in wanted.keys() - counts.keys())
    unexpected = Counter(names[key] for key in counts.keys() - wanted.keys())
    twice = Counter(names[key] for key, count in counts.items() if count > 1)
    notifications = Counter(one.notification_id for one in notified)
    again = sum(count > 1 for count in notifications.values())
    return {
        "ok": bool(wanted) and not missing and not unexpected and not twice and not again,
        "changes": len(wanted), "rules": dict(Counter(event.rule for event in wanted.values())),
        "missing": dict(missing), "unexpected": dict(unexpected), "twice": dict(twice),
        "notifications": len(notifications), "notified_twice": again,
    }  # fmt: skip


def run(plan: Plan, say: Callable[[str], None] = lambda _: None) -> dict[str, object]:
    """Return the reconciliation; `ok` only where each change was told once."""
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="vigil-chaos-") as name,
        ApacheKafka(Path(name) / "kafka", settings={"group.min.session.timeout.ms": "3000"}) as kafka,
    ):
        asyncio.run(create_topics(kafka.bootstrap, partitions=PARTITIONS))
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "VIGIL_POLICY": "demo", "VIGIL_SESSION_S": "3",
            "VIGIL_WATCH_SNAPSHOT_S": str(plan.snapshot_s), "VIGIL_LOG_FORMAT": "json", "DATABASE_URL": "",
            "VIGIL_POLICY_FILE": str(policy_in(Path(name))),
        }  # fmt: skip
        nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
        watch = Worker("watch", ["watch"], environment, Path(name))
        dispatch = Worker("dispatch", ["dispatch"], {**environment, **nowhere}, Path(name))
        with Supervisor([watch, dispatch], most_pause_s=0.5):
            killer = _Killer(watch, plan, say)
            sent: list[Batch] = []
            killer.start()
            asyncio.run(send(plan, kafka.bootstrap, sent))
            killer.join()
            wanted = expected(sent, asyncio.run(crowd_of(policy_in(Path(name)))))
            say(f"{len(wanted)} changes are to be found")
            found = asyncio.run(_settled(kafka.bootstrap, plan, wanted))
            state = asyncio.run(read_values(kafka.bootstrap, WATCH_STATE, PARTITIONS))
        if not found["ok"]:
            found["logs"] = {log.name: log.read_text()[-6_000:] for log in Path(name).glob("*.log")}
    return {
        "name": "chaos_watch", **found, "kills": killer.kills, "samples": sum(len(one.columns) for one in sent),
        "state_records": len(state), "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip


def policy_in(folder: Path) -> Path:
    """Return the file of the policy that the watch goes by, written where it is not there yet."""
    file = folder / "policy.toml"
    if not file.exists():
        file.write_text(POLICY)
    return file


async def crowd_of(policy: Path) -> Crowd:
    """Return who is watched by what, as `vigil watch` would make it."""
    hurry = Hurry(DEMO_DELAY_S, 2 * DEMO_DELAY_S)
    return await PeopleSource(policy_file=policy, hurry=hurry).current()


async def _settled(bootstrap: str, plan: Plan, wanted: dict[tuple[str, str], AlertEvent]) -> dict[str, object]:
    deadline, quiet = time.monotonic() + plan.settle_s, 0
    while True:
        told = [AlertEvent.model_validate_json(one) for one in await read_values(bootstrap, ALERTS, 3)]
        notified = [Notification.model_validate_json(one) for one in await read_values(bootstrap, NOTIFICATIONS, 3)]
        found = reconcile(wanted, told, notified)
        quiet = quiet + 1 if found["ok"] else 0
        if quiet == 3 or time.monotonic() > deadline:
            return found
        await asyncio.sleep(2.0)


class _Killer(threading.Thread):
    """Kills the watch, at random times, while samples are sent."""

    def __init__(self, watch: Worker, plan: Plan, say: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self._watch, self._plan, self._say = watch, plan, say
        self._draw = random.Random(plan.seed)
        self.kills = 0

    def run(self) -> None:
        pause_s = self._plan.seconds / (self._plan.kills + 1)
        for number in range(self._plan.kills):
            time.sleep(pause_s * self._draw.uniform(0.4, 1.6))
            self._wait_for_a_process()
            self._say(f"kill {number + 1}")
            self._watch.kill()
            self.kills += 1

    def _wait_for_a_process(self) -> None:
        while self._watch.pid is None:
            time.sleep(0.05)


def main() -> None:
    """Run it as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.watch", description=__doc__)
    for name, kind, default in (
        ("patients", int, 12), ("seconds", float, 200.0), ("kills", int, 20), ("seed", int, 1),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=kind, default=default)
    given = parser.parse_args()
    logs.configure(level="warning", service="chaos")
    ensure_jars()
    plan = Plan(given.patients, given.seconds, given.kills, seed=given.seed)
    found = run(plan, lambda what: print(what, file=sys.stderr, flush=True))
    print(json.dumps(found, indent=2))
    sys.exit(0 if found["ok"] else 1)


if __name__ == "__main__":
    main()
