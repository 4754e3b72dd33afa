"""Six simulated people for the browser tests and the screenshots: plausible numbers, nobody's."""

import math
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from alerts.event import Kind, Priority, State
from tests.console.world import Sample, World, alert
from vitals.quality import Context

Course = Callable[[float], float]
"""Minutes before now (0 is now) to a value."""


def _walk(
    rng: random.Random, now: datetime, minutes: float, every_s: float, course: Course, noise: float
) -> Iterator[tuple[datetime, float]]:
    drift = 0.0
    steps = int(minutes * 60 / every_s)
    for step in range(steps, -1, -1):
        drift = 0.97 * drift + rng.gauss(0, noise / 3)
        ago = step * every_s
        yield now - timedelta(seconds=ago), course(ago / 60) + drift + rng.gauss(0, noise / 4)


def _slow(base: float, swing: float, phase: float) -> Course:
    return lambda ago: base + swing * math.sin(ago / 37 + phase) + swing / 2 * math.sin(ago / 11 + 2 * phase)


def _surge(base: float, peak: float, minutes: float) -> Course:
    return lambda ago: base + (peak - base) / (1 + math.exp((ago - minutes) * 1.3))


class _People:
    def __init__(self, now: datetime, hours: float) -> None:
        self.now, self.minutes, self.rng, self.world = now, hours * 60, random.Random(20_260_724), World()

    def measure(
        self,
        patient: str,
        metric: str,
        course: Course,
        *,
        noise: float,
        every_s: float,
        until: float = 0,
        device: str = "strap-1",
        gaps: tuple[tuple[float, float], ...] = (),
        digits: int = 0,
    ) -> None:
        for time, value in _walk(
            self.rng, self.now - timedelta(seconds=self.rng.uniform(1, 9)), self.minutes, every_s, course, noise
        ):
            ago = (self.now - time).total_seconds() / 60
            if ago >= until and not any(high >= ago >= low for low, high in gaps):
                self.world.samples.append(Sample(patient, metric, time, round(value, digits), device=device))

    def spot(self, patient: str, metric: str, ago: float, value: float, device: str) -> None:
        self.world.samples.append(Sample(patient, metric, self.now - timedelta(minutes=ago), value, device=device))

    def pressure(self, patient: str, ago: float, upper: float, lower: float) -> None:
        self.spot(patient, "bp_systolic", ago, upper, "cuff-2")
        self.spot(patient, "bp_diastolic", ago, lower, "cuff-2")

    def quoted(self, patient: str, metric: str, count: int = 24) -> list[tuple[datetime, float]]:
        found = [(s.time, s.value) for s in self.world.samples if s.patient == patient and s.metric == metric]
        return sorted(found)[-count:]


def six_people(now: datetime, hours: float = 1.2) -> World:
    """Return a world as of `now`; `hours` of history."""
    people = _People(now, hours)
    _surging(people)
    _desaturating(people)
    _off_the_body(people)
    _calm(people)
    _silent(people)
    people.measure("p-6642", "heart_rate", _slow(58, 2, 0.4), noise=1.5, every_s=5, device="strap-6")
    people.measure("p-6642", "respiratory_rate", _slow(13, 1, 0.4), noise=0.5, every_s=60, device="ring-1")
    people.measure("p-6642", "spo2", _slow(96, 0.7, 0.2), noise=0.5, every_s=5, device="ring-1")
    people.spot("p-6642", "glucose", 4, 104, "cgm-1")
    return people.world


def _surging(people: _People) -> None:
    who, now = "p-1043", people.now
    people.measure(who, "heart_rate", _surge(74, 138, 6), noise=3, every_s=5, gaps=((31, 36),))
    people.measure(who, "spo2", _slow(96, 0.8, 1), noise=0.5, every_s=5, device="oxi-4")
    people.measure(who, "respiratory_rate", _surge(15, 24, 7), noise=0.8, every_s=60, device="oxi-4")
    people.pressure(who, 11, 131, 84)
    people.pressure(who, 47, 124, 79)
    people.spot(who, "body_temperature", 22, 37.4, "thermo-1")
    people.world.alerts.append(
        alert(
            who,
            now - timedelta(minutes=2, seconds=40),
            readings=people.quoted(who, "heart_rate", 32),
            priority=Priority.HIGH,
            threshold=130,
            rule="heart_rate_very_high",
            changed_at=now - timedelta(seconds=6),
            sentence="Heart rate above 130 /min for 60 s; last value 138 /min; limits not individualised.",
        )
    )
    cleared = now - timedelta(minutes=50)
    people.world.alerts.append(
        alert(
            who,
            now - timedelta(minutes=58),
            state=State.CLEARED,
            changed_at=cleared,
            priority=Priority.LOW,
            rule="spo2_low",
            metric="spo2",
            threshold=92,
            sentence="Oxygen saturation is no longer below 92 %; last value 95 %.",
        )
    )


def _desaturating(people: _People) -> None:
    who, now = "p-2718", people.now
    people.measure(who, "heart_rate", _slow(83, 4, 2), noise=2.5, every_s=5, device="strap-2")
    people.measure(
        who, "spo2", lambda ago: 95.5 - 5.4 / (1 + math.exp((ago - 9) * 0.9)), noise=0.6, every_s=5, device="oxi-1"
    )
    people.measure(who, "respiratory_rate", _slow(18, 1, 3), noise=0.7, every_s=60, device="oxi-1")
    people.pressure(who, 28, 142, 88)
    people.spot(who, "body_temperature", 9, 38.1, "thermo-2")
    people.world.alerts.append(
        alert(
            who,
            now - timedelta(minutes=7),
            readings=people.quoted(who, "spo2", 32),
            metric="spo2",
            rule="spo2_low",
            threshold=92,
            changed_at=now - timedelta(seconds=8),
            device="oxi-1",
            sentence="Oxygen saturation below 92 % for 60 s; last value 90 %; limits not individualised.",
        )
    )
    slept = now - timedelta(hours=5)
    event = alert(
        who,
        slept,
        priority=Priority.LOW,
        rule="heart_rate_low",
        threshold=45,
        retrospective=True,
        readings=[(slept + timedelta(seconds=20 * k), 49 - k * 0.9 + k * k / 18) for k in range(16)],
        device="watch-3",
        sentence="Heart rate below 45 /min for 120 s; last value 44 /min; found in data that arrived late.",
    )
    people.world.alerts.append(event)
    people.world.acknowledged[event.alert_id] = ("n-417", now - timedelta(minutes=34))


def _off_the_body(people: _People) -> None:
    who, now = "p-3150", people.now
    people.measure(who, "heart_rate", _slow(69, 3, 5), noise=2, every_s=5, until=6, device="strap-3")
    for k in range(72):
        off = now - timedelta(seconds=4 + 5 * k)
        people.world.samples.append(Sample(who, "heart_rate", off, 0 + 69, 0.0, int(Context.NO_CONTACT), "strap-3"))
    people.measure(who, "spo2", _slow(97, 0.6, 5), noise=0.4, every_s=5, device="oxi-3")
    people.pressure(who, 8, 118, 74)
    people.world.alerts.append(
        alert(
            who,
            now - timedelta(minutes=4),
            kind=Kind.TECHNICAL,
            priority=Priority.LOW,
            rule="heart_rate_signal",
            threshold=None,
            device="strap-3",
            changed_at=now - timedelta(seconds=4),
            sentence="Sensor: heart rate not measured for 6 min (no contact or no usable signal).",
        )
    )


def _calm(people: _People) -> None:
    who = "p-4486"
    people.measure(who, "heart_rate", _slow(64, 3, 1.4), noise=2, every_s=5, device="strap-4", gaps=((21, 25),))
    people.measure(who, "spo2", _slow(97, 0.6, 1), noise=0.4, every_s=5, device="oxi-5")
    people.measure(who, "respiratory_rate", _slow(14, 1, 2), noise=0.6, every_s=60, device="oxi-5")
    people.pressure(who, 3, 121, 78)
    people.spot(who, "body_temperature", 6, 36.7, "thermo-3")


def _silent(people: _People) -> None:
    who = "p-5097"
    people.measure(who, "heart_rate", _slow(77, 3, 3), noise=2, every_s=5, until=24, device="strap-5")
    people.measure(who, "spo2", _slow(95, 0.7, 4), noise=0.5, every_s=5, until=24, device="oxi-6")
    people.spot(who, "body_temperature", 55, 36.9, "thermo-1")
