"""What the console needs from others, as protocols; `timeseries.console_reader.ConsoleReader` is both."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from timeseries.console_model import Acknowledgement, Overview, PatientRecord, Series


class Reader(Protocol):
    """Reads what the pages show. Every method raises `ReaderUnavailable` where the database does not answer."""

    async def open(self) -> None:
        """Make ready; must not wait for the database."""

    async def close(self) -> None:
        """Give back what `open` took."""

    async def ready(self) -> None:
        """Return if the database answers."""

    async def version(self) -> str:
        """Return a word that changes with whatever the pages show."""
        ...

    async def overview(self, *, silent_since: datetime, limit: int, offset: int, alert_limit: int) -> Overview:
        """Return one page of patients and everybody's open alerts."""
        ...

    async def patient(self, patient_id: str, *, alert_limit: int) -> PatientRecord | None:
        """Return what is known of a patient; None where nobody has that id."""
        ...

    async def series(
        self, patients: Sequence[str], metrics: Sequence[str], start: datetime, end: datetime, step_s: int
    ) -> tuple[Series, ...]:
        """Return trustworthy values of [start, end) in steps of `step_s` seconds."""
        ...


class Acknowledger(Protocol):
    """Writes down who saw an alert. Raises `ReaderUnavailable`."""

    async def acknowledge(self, alert_id: str, actor: str, at: datetime, priority: str) -> Acknowledgement:
        """Acknowledge the alert as it was seen: with this priority. Who came first stays."""
        ...
