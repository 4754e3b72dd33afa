"""The short run of `python -m tests.chaos.archive`, and that it is able to fail."""

import random
from pathlib import Path

import numpy as np
import pytest

from tests.chaos.archive import LIFECYCLE, NotWhatItWas, Plan, Trial, afterthoughts, attempt, digest, made, store
from tests.timeseries.making import query
from timeseries.archive_versions import standing

PLAN = Plan(rows=20_000, interrupts=20, most_s=240.0, seed=5)


def test_the_plan_holds_what_it_says() -> None:
    rows = made(PLAN)
    assert len(rows) == len(standing(rows)) == 20_000
    late = afterthoughts(rows, PLAN)
    together = np.concatenate([rows, late])
    assert len(late) == 800
    assert len(standing(together)) == 20_000 + 200
    assert (standing(together)["flags"] == 128).sum() == 200
    assert digest(rows) == digest(rows[::-1]) != digest(rows[1:])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_twenty_times_nothing_is_lost_and_nothing_is_twice(database: str, tmp_path: Path) -> None:
    found = attempt(PLAN, database, tmp_path / "archive", print)
    assert found["ok"], found
    assert sum(found["interrupts"].values()) == 20
    assert all(found["interrupts"].values())
    assert found["rows_restored"] == found["rows_standing"] == 20_200


@pytest.mark.timeout(120)
def test_the_check_sees_what_is_lost_and_what_is_twice(database: str, tmp_path: Path) -> None:
    plan = Plan(rows=600, interrupts=0, patients=1, days=1)
    query(database, "INSERT INTO patients (patient_id) VALUES ('p1')")
    query(database, "INSERT INTO devices (device_id) VALUES ('d1'), ('d2')")
    query(database, "INSERT INTO origins (device_key, source_app) VALUES (1, 'app'), (2, 'app')")
    rows = made(plan)
    store(database, rows)
    trial = Trial(plan, database, tmp_path / "archive", print, rows, random.Random(1))
    trial._check(LIFECYCLE)
    with pytest.raises(NotWhatItWas, match="not what was put in"):
        trial.figures()
    query(database, "UPDATE samples SET quality = 0.5 WHERE time = (SELECT min(time) FROM samples)")
    with pytest.raises(NotWhatItWas, match="no longer what was put"):
        trial._check(LIFECYCLE)
    query(database, "DELETE FROM samples WHERE time = (SELECT min(time) FROM samples)")
    with pytest.raises(NotWhatItWas, match="no longer what was put"):
        trial._check(LIFECYCLE)
