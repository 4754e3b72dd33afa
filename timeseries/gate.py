"""Edge: the gate as registry and consents have it, read again within seconds of a change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

import numpy as np

from timeseries.answers import patiently
from timeseries.one_connection import OneConnection
from timeseries.queries import load
from vitals.clock import from_datetime
from vitals.gate import CATEGORIES, Binding, DeviceRule, DeviceState, Gate, Permissions

_SQL: Final = load("registry")
_OPTIONS: Final = "-c statement_timeout=20000 -c timezone=UTC"
_FOREVER_US: Final = np.iinfo(np.int64).max
CONSENTS: Final = _SQL["consents"].format(
    categories=", ".join(f"'{one.value}'" for one in CATEGORIES), forever=_FOREVER_US
)
"""Reads all consents to care that were ever noted."""


class GateReader(OneConnection):
    """One connection that looks every `every_s` whether the registry changed. Use as an async context manager."""

    def __init__(
        self,
        url: str,
        *,
        strict: bool,
        require_consent: bool = False,
        every_s: float = 2.0,
        prepare_threshold: int | None = 5,
    ) -> None:
        super().__init__(url, options=_OPTIONS, prepare_threshold=prepare_threshold)
        self._every_s = every_s
        self._gate = Gate(strict=strict, require_consent=require_consent)
        self._version = 0
        self._looked = -1e9
        self._turn = asyncio.Lock()

    async def current(self) -> Gate:
        """Return the gate as it stood at most `every_s` ago, the same object until it changes.

        Raises `StoreUnavailable`.
        """
        if self._is_due():
            async with self._turn:  # one batch is prepared while another is stored, and both ask
                if self._is_due():
                    await self._look_patiently()
        return self._gate

    def _is_due(self) -> bool:
        return time.monotonic() - self._looked >= self._every_s

    async def _look_patiently(self) -> None:
        try:
            with patiently():
                await self._look()
        except BaseException:
            await self.close()
            raise

    async def _look(self) -> None:
        began = time.monotonic()
        connection = await self._open()
        row = await (await connection.execute(_SQL["gate_version"])).fetchone()
        version = 0 if row is None else int(row[0])
        if version != self._version:
            devices = await (await connection.execute(_SQL["gate"])).fetchall()
            consents = await (await connection.execute(CONSENTS)).fetchone()
            # What changes between the statements is seen by the next look: the version was read first.
            rules = devices_of(devices, strict=self._gate.strict)
            people = {} if consents is None else await asyncio.to_thread(people_of, *consents)
            self._gate, self._version = replace(self._gate, devices=rules, people=people), version
        self._looked = began


def devices_of(rows: Sequence[tuple[Any, ...]], *, strict: bool) -> dict[str, DeviceRule]:
    """Return the rules that the rows of the query `gate` tell."""
    return {row[0]: _rule(*row[1:]) for row in rows if row[3] or not strict}


def people_of(patients: Sequence[str], *columns: Sequence[int]) -> dict[str, Permissions]:
    """Return what the columns of `CONSENTS` let in, by patient id."""
    category, from_us, to_us = (np.array(column, np.int64) for column in columns)
    starts = [at for at in range(len(patients)) if at == 0 or patients[at] != patients[at - 1]]
    standing = category >= 0
    found = {}
    for start, end in pairwise([*starts, len(patients)]):
        stands = np.flatnonzero(standing[start:end]) + start
        found[patients[start]] = Permissions(category[stands].astype(np.int8), from_us[stands], to_us[stands])
    return found


def _rule(
    state: str, permitted: list[int] | None, _registered: bool, patients: list[str], froms: list[datetime],
    tos: list[datetime | None],
) -> DeviceRule:  # fmt: skip
    bindings = tuple(
        Binding(patient, from_datetime(start), _FOREVER_US if end is None else from_datetime(end))
        for patient, start, end in zip(patients, froms, tos, strict=True)
    )
    return DeviceRule(DeviceState(state), None if permitted is None else np.array(permitted, np.int16), bindings)
