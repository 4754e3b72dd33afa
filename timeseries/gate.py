"""Edge: the gate as the registry has it, read again within seconds of a change."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np

from timeseries.answers import patiently
from timeseries.one_connection import OneConnection
from timeseries.queries import load
from vitals.clock import from_datetime
from vitals.gate import Binding, DeviceRule, DeviceState, Gate

_SQL: Final = load("registry")
_OPTIONS: Final = "-c statement_timeout=20000 -c timezone=UTC"
_FOREVER_US: Final = np.iinfo(np.int64).max


class GateReader(OneConnection):
    """One connection that looks every `every_s` whether the registry changed. Use as an async context manager."""

    def __init__(self, url: str, *, strict: bool, every_s: float = 2.0, prepare_threshold: int | None = 5) -> None:
        super().__init__(url, options=_OPTIONS, prepare_threshold=prepare_threshold)
        self._strict = strict
        self._every_s = every_s
        self._gate = Gate(strict=strict)
        self._version = 0
        self._looked = -1e9

    async def current(self) -> Gate:
        """Return the registry as it stood at most `every_s` ago. Raises `StoreUnavailable`."""
        if time.monotonic() - self._looked >= self._every_s:
            try:
                with patiently():
                    await self._look()
            except BaseException:
                await self.close()
                raise
        return self._gate

    async def _look(self) -> None:
        began = time.monotonic()
        connection = await self._open()
        row = await (await connection.execute(_SQL["gate_version"])).fetchone()
        version = 0 if row is None else int(row[0])
        if version != self._version:
            rows = await (await connection.execute(_SQL["gate"])).fetchall()
            # What changes between the two statements is seen by the next look: the version was read first.
            self._gate, self._version = gate_of(rows, strict=self._strict), version
        self._looked = began


def gate_of(rows: Sequence[tuple[Any, ...]], *, strict: bool) -> Gate:
    """Return the gate that the rows of the query `gate` tell."""
    return Gate({row[0]: _rule(*row[1:]) for row in rows if row[3] or not strict}, strict)


def _rule(
    state: str, permitted: list[int] | None, _registered: bool, patients: list[str], froms: list[datetime],
    tos: list[datetime | None],
) -> DeviceRule:  # fmt: skip
    bindings = tuple(
        Binding(patient, from_datetime(start), _FOREVER_US if end is None else from_datetime(end))
        for patient, start, end in zip(patients, froms, tos, strict=True)
    )
    return DeviceRule(DeviceState(state), None if permitted is None else np.array(permitted, np.int16), bindings)
