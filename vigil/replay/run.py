"""Edge: `vigil replay`: reads, runs the production engine with the recording's own clock, tells what fired.

Alerts are JSON lines on standard output; how the file was read and the alarm burden stand on standard error, so that a
pipe gets alerts and nothing else.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from alerts.event import AlertEvent
from stream.policy_file.policies import Policies, built_in, policies_of
from stream.policy_file.reading import read_bounded
from stream.watch.engine import Engine
from stream.watch.people import CrowdSnapshot
from stream.watch.replay import Told, replay
from timeseries.people_reader import People
from vigil.replay import rr, table
from vigil.replay.burden import burden, patient_days
from vigil.replay.recording import Recording, UnreadableRecording
from vigil.replay.screen import Side, show_burden, show_reading, write_plot
from vitals.batch import BatchHeader
from vitals.care_profile import UNKNOWN, CareProfile
from vitals.ids import device_id, patient_id
from vitals.validity import REASONS, reasons

PATIENT: Final = "recording"
_HEADER: Final = BatchHeader(patient_id(PATIENT), device_id("recorder"), "file", "replay")
_WIDE: Final = 160


def replay_file(
    file: Path, *, policy: Path | None = None, profile: CareProfile = UNKNOWN, plot: Path | None = None,
    quiet: bool = False,
) -> None:  # fmt: skip
    """Replay a file and print its alerts. Raises `UnreadableRecording`, `FileRefused` for the policy."""
    policies = built_in() if policy is None else read_policy(policy)
    read = read_file(file)
    samples = len(read.columns)
    told, refused = accepted(read)
    if not len(told[1]):
        raise UnreadableRecording(_nothing(file, refused))
    days = patient_days([(PATIENT, told[1])])
    events = fire([told], policies, {PATIENT: profile}, quiet=quiet)
    print_events(events)
    if not quiet:
        out = screen()
        show_reading(out, Recording(told[1], notes=read.notes), samples, refused)
        show(out, [(policies.told, burden(events, days or 1.0))], days, plot)


_WANTED: Final = {
    "time": "times are ISO 8601, or numbers",
    "value": "values are numbers such as 36.6",
    "quality": "quality is 0 to 1",
    "unknown_metric": "metrics are codes of the catalogue such as heart_rate",
    "out_of_range": "values are in the catalogue's units",
}


def _nothing(file: Path, refused: Counter[str]) -> str:
    """Say why there is nothing to replay: that nothing fired would be no answer."""
    told = "; ".join(
        f"{count:,} {reason}" + (f" ({_WANTED[reason]})" if reason in _WANTED else "")
        for reason, count in sorted(refused.items())
        if count
    )
    return f"{file.name} holds no sample that can be replayed" + (f"; left out: {told}" if told else "")


def read_file(file: Path) -> Recording:
    """Return a file's samples: Parquet by its name, a WFDB annotation file by the header beside it, a list of RR
    intervals where it begins like one, otherwise csv. Raises `UnreadableRecording`.
    """
    if rr.is_annotations(file):
        return rr.read_annotations(file)
    if file.suffix in {".parquet", ".pq"}:
        return table.read_parquet(file)
    if not table.is_samples(file) and rr.is_list(file):
        return rr.read_text(file)
    return table.read_csv(file)


def accepted(read: Recording) -> tuple[Told, Counter[str]]:
    """Return what validation lets through, and the count of all that was left out, by reason."""
    codes = reasons(read.columns)
    refused = Counter(read.refused)
    for code, count in zip(*np.unique(codes[codes > 0], return_counts=True), strict=True):
        refused[str(REASONS[int(code)])] += int(count)
    good = codes == 0
    return (_HEADER, read.columns if good.all() else read.columns.take(good)), refused


def read_policy(path: Path) -> Policies:
    """Return a policy file. Raises `UnreadableRecording` where it cannot be read at all, `FileRefused`."""
    try:
        return policies_of(read_bounded(path), str(path))
    except OSError as error:
        raise UnreadableRecording(f"{path} cannot be read ({type(error).__name__})") from None


def fire(
    told: Sequence[Told], policies: Policies, profiles: dict[str, CareProfile], *, quiet: bool = True,
    until_us: int | None = None,
) -> list[AlertEvent]:  # fmt: skip
    """Return what a policy fires on samples, by the production engine, until they end or later (`until_us`)."""
    engine = Engine(CrowdSnapshot(policies, People(profiles=profiles)))
    if not any(len(columns) for _, columns in told):
        return []
    with bar("replaying", hidden=quiet or not sys.stderr.isatty()) as step:
        first = min(int(columns.received_us.min()) for _, columns in told if len(columns))
        last = max(int(columns.received_us.max()) for _, columns in told if len(columns))

        def tell(now_us: int) -> None:
            step.update(step.task_ids[0], completed=(now_us - first) / max(last - first, 1))

        return list(replay(engine, told, until_us=until_us, progress=tell))


def print_events(events: Sequence[AlertEvent]) -> None:
    """Print alert events as JSON lines."""
    for event in events:
        typer.echo(event.model_dump_json())


def show(out: Console, sides: Sequence[Side], days: float, plot: Path | None) -> None:
    """Print the burden, and write its plot where one is wanted."""
    show_burden(out, sides, days)
    if plot is not None:
        write_plot(plot, sides, days)
        out.print(f"plot: {plot}")


def screen() -> Console:
    """Return the console beside the alerts: standard error, wide into a pipe so that nothing is cut."""
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDE)


def bar(what: str, *, hidden: bool) -> Progress:
    """Return a progress bar with one task, from 0 to 1."""
    made = Progress(
        TextColumn(what), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True, disable=hidden,
    )  # fmt: skip
    made.add_task(what, total=1.0)
    return made
