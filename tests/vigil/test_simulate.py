"""`vigil simulate`: into files, and onto a real broker, as history and live."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from typer.testing import CliRunner, Result

from devices.simulator import FAULTS, SCENARIOS, cohort, tell
from ingest.admin import create_topics
from ingest.record import decode
from ingest.topics import SAMPLES, SAMPLES_BACKFILL, WAVEFORMS
from ingest.waveform_record import decode_chunk
from vigil.commands.simulate import app
from vigil.embedded.broker import EmbeddedBroker
from vigil.simulation import Ledger, Plan
from vigil.simulation_broker import send_history, send_live
from vitals.batch import SampleColumns, to_arrow
from vitals.clock import system_clock

MIN = 60_000_000
NOON = 1_717_243_200_000_000
RUN = "from vigil.commands.simulate import app; app()"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})


@pytest.fixture(scope="module")
def kafka() -> Iterator[str]:
    """The address of a broker with Vigil's topics, one partition each."""
    with EmbeddedBroker() as broker:
        asyncio.run(create_topics(broker.bootstrap, partitions=1))
        yield broker.bootstrap


async def received(bootstrap: str, topic: str, patients: set[str], samples: int) -> list[ConsumerRecord]:
    """The records of these patients, until they hold so many samples (or chunks, or half a minute has passed)."""
    found: list[ConsumerRecord] = []
    count = 0
    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        deadline = time.monotonic() + 30
        while count < samples and time.monotonic() < deadline:
            for records in (await consumer.getmany(timeout_ms=300)).values():
                mine = [one for one in records if one.key.decode() in patients]
                found += mine
                count += len(mine) if topic == WAVEFORMS else sum(len(samples_of(one)) for one in mine)
    return found


def samples_of(record: ConsumerRecord) -> SampleColumns:
    return decode(record.key, record.value, record.headers)[1]


def test_help_teaches() -> None:
    told = run("--help").stdout
    for word in ("--patients", "--scenario", "--fault", "--speed", "--once", "--out", "truth", "clinical performance"):
        assert word in told


def test_the_table_has_every_scenario_and_fault() -> None:
    told = run("scenarios")
    assert told.exit_code == 0
    for name in (*SCENARIOS, *FAULTS):
        assert name in told.stdout


def test_files_hold_what_was_simulated_and_the_truth_of_it(tmp_path: Path) -> None:
    out = tmp_path / "week"
    arguments = (
        "--patients", "3", "--days", "0.25", "--seed", "7", "--scenario", "af,hypoglycaemia,well",
        "--fault", "loss,new_device", "--from", "2024-06-01T12:00", "--waveform", "ppg", "--out", str(out),
    )  # fmt: skip
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    table = pq.read_table(out / "samples.parquet")
    assert summary["samples"] == table.num_rows > 100_000
    assert summary["episodes"] == {"atrial_fibrillation": 1, "hypoglycaemia": 1}

    people = cohort(
        3, 7, NOON, NOON + 360 * MIN, scenarios=["af", "hypoglycaemia", "well"], faults=["loss", "new_device"]
    )
    tellings = [tell(who, NOON, NOON + 360 * MIN) for who in people]
    assert table.num_rows == sum(told.samples for told in tellings)
    first = table.filter((table["patient_id"].to_numpy() == "sim-7-00001") & (table["firmware"].to_numpy() == "3.1"))
    assert np.array_equal(first["value"].to_numpy(), tellings[0].stretches[1].samples.value)
    assert set(first["device_id"].to_pylist()) == {"sim-7-device-00001-b"}
    glucose = table.filter(table["metric"].to_numpy() == "glucose")
    assert set(glucose["patient_id"].to_pylist()) == {"sim-7-00002"}

    lines = [json.loads(line) for line in (out / "truth.jsonl").read_text().splitlines()]
    assert Counter(one["type"] for one in lines)["wearer"] == 3
    lost = sum(one["counts"].get("lost", 0) for one in lines if one["type"] == "fault")
    assert lost == summary["faults"]["loss"]["lost"] == sum(told.counts[0]["lost"] for told in tellings)
    waves = pq.read_table(out / "waveforms.parquet")
    assert waves.num_rows == summary["waveform_chunks"] == 3 * 6 * 360
    assert run(*arguments).exit_code == 0
    assert pq.read_table(out / "samples.parquet").equals(table)  # the same again, to the bit


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--once", "--speed", "2"), "choose one of --speed, --once and --out"),
        (("--waveform", "eeg", "--out", "x"), "--waveform takes ecg, ppg, acceleration"),
        (("--from", "noon", "--out", "x"), "a day or a time"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.output.replace("│", " ").split())


def test_a_name_that_there_is_not_is_an_error_that_lists_the_names() -> None:
    done = run("--scenario", "plague", "--out", "x")
    assert "there is no such scenario: choose of well" in str(done.exception)


async def test_a_history_arrives_whole_on_the_backfill_lane(kafka: str) -> None:
    people = cohort(2, 11, NOON, NOON + 30 * MIN, scenarios=["panic"], faults=["duplicate", "reorder", "burst"])
    plan, ledger = Plan(people, NOON, NOON + 30 * MIN, ("ecg",)), Ledger()
    steps: list[int] = []
    await send_history(plan, kafka, SAMPLES_BACKFILL, ledger, lambda: steps.append(1))
    assert len(steps) == plan.pieces
    tellings = {who.patient_id: tell(who, plan.start_us, plan.end_us) for who in people}
    assert ledger.samples == sum(told.samples for told in tellings.values())
    records = await received(kafka, SAMPLES_BACKFILL, set(tellings), ledger.samples)
    for patient, telling in tellings.items():
        mine = SampleColumns.concat([samples_of(one) for one in records if one.key.decode() == patient])
        assert (np.diff(mine.received_us) >= 0).all()
        [stretch] = telling.stretches
        ordered = stretch.samples.take(np.argsort(stretch.samples.received_us, kind="stable"))
        assert to_arrow(mine).equals(to_arrow(ordered))
    chunks = await received(kafka, WAVEFORMS, set(tellings), ledger.chunks)
    assert len(chunks) == ledger.chunks == 2 * 1_800
    header, chunk = decode_chunk(chunks[0].key, chunks[0].value, chunks[0].headers)
    assert (header.adapter, chunk.metric, chunk.samples) == ("simulator", "ecg", 250)
    told = ledger.truths(plan)
    assert [dict(one.faults[0].counts) for one in told] == [dict(one.counts[0]) for one in tellings.values()]


async def test_live_at_speed_hands_over_everything_once_in_the_order_of_arrival(kafka: str) -> None:
    length_us = 4 * MIN
    start = system_clock() - length_us
    people = cohort(3, 12, start, start + length_us, faults=["loss", "reorder"])
    plan, ledger = Plan(people, start, start + length_us, ("acceleration",)), Ledger()
    shown: list[float] = []
    began = time.monotonic()
    await send_live(plan, kafka, SAMPLES, 80.0, ledger, system_clock, shown.append)
    assert time.monotonic() - began >= 3.0  # four minutes at eighty times life
    assert shown == sorted(shown)
    assert shown[-1] == 1.0
    tellings = {who.patient_id: tell(who, plan.start_us, plan.end_us) for who in people}
    assert ledger.samples == sum(told.samples for told in tellings.values())
    records = await received(kafka, SAMPLES, set(tellings), ledger.samples)
    for patient, telling in tellings.items():
        mine = SampleColumns.concat([samples_of(one) for one in records if one.key.decode() == patient])
        [stretch] = telling.stretches
        ordered = stretch.samples.take(np.argsort(stretch.samples.received_us, kind="stable"))
        assert to_arrow(mine).equals(to_arrow(ordered))
        assert tuple(ledger.counts[people[0].patient_id][0]) == tellings[people[0].patient_id].counts
    assert ledger.chunks == 3 * 240
    assert len(await received(kafka, WAVEFORMS, set(tellings), ledger.chunks)) == ledger.chunks


def test_ctrl_c_ends_a_live_run_in_good_order(kafka: str, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    arguments = ("--patients", "2", "--seed", "13", "--days", "1", "--fault", "loss", "--truth", str(truth))
    with subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments],
        env={"PATH": os.environ["PATH"], "KAFKA_BOOTSTRAP_SERVERS": kafka}, stdout=subprocess.PIPE, text=True,
    ) as live:  # fmt: skip
        try:
            records = asyncio.run(received(kafka, SAMPLES, {"sim-13-00001", "sim-13-00002"}, 8))
            assert records
            live.send_signal(signal.SIGINT)
            out, _ = live.communicate(timeout=30)
        finally:
            live.kill()
    assert live.returncode == 0
    summary = json.loads(out)
    assert summary["patients"] == 2
    assert summary["samples"] >= 8
    newest = samples_of(records[0])
    assert abs(newest.received_us[0] - system_clock()) < 60_000_000  # live is now
    told = [json.loads(line) for line in truth.read_text().splitlines()]
    wearers, faults = ([one for one in told if one["type"] == kind] for kind in ("wearer", "fault"))
    start = wearers[0]["start_us"]
    people = cohort(2, 13, start, start + 1_440 * MIN, faults=["loss"])
    for who, wearer, fault in zip(people, wearers, faults, strict=True):
        assert wearer["end_us"] < system_clock()  # what was made ahead and not sent is no part of the truth
        sent = tell(who, start, wearer["end_us"])
        assert Counter(fault["counts"]) == +sent.counts[0]
    assert summary["samples"] == sum(tell(who, start, told[0]["end_us"]).samples for who in people)


def test_without_a_broker_it_says_which_setting_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, "--once"],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert "KAFKA_BOOTSTRAP_SERVERS is not set" in done.stderr
