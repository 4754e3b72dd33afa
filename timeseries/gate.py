"""Edge: the gate as registry and consents have it, read again within seconds of a change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

import numpy as np

from timeseries.queries import load
from timeseries.version_reader import VersionReader
from vitals.clock import from_datetime
from vitals.gate import CATEGORIES, Binding, DeviceRule, DeviceState, Gate, Permissions

_SQL: Final = load("registry")
_FOREVER_US: Final = np.iinfo(np.int64).max
CONSENTS: Final = _SQL["consents"].format(
    categories=", ".join(f"'{one.value}'" for one in CATEGORIES), forever=_FOREVER_US
)
"""Reads all consents to care that were ever noted."""


class GateReader(VersionReader[Gate]):
    """Reads registry and consents again within seconds of a change."""

    def __init__(
        self,
        url: str,
        *,
        strict: bool,
        require_consent: bool = False,
        every_s: float = 2.0,
        prepare_threshold: int | None = 5,
    ) -> None:
        closed = Gate(strict=strict, require_consent=require_consent)
        super().__init__(url, closed, 0, every_s=every_s, prepare_threshold=prepare_threshold)

    async def _counted(self) -> int:
        row = await (await (await self._open()).execute(_SQL["gate_version"])).fetchone()
        return 0 if row is None else int(row[0])

    async def _read(self, known: Gate) -> Gate:
        connection = await self._open()
        devices = await (await connection.execute(_SQL["gate"])).fetchall()
        consents = await (await connection.execute(CONSENTS)).fetchone()
        rules = devices_of(devices, strict=known.strict)
        people = {} if consents is None else await asyncio.to_thread(people_of, *consents)
        return replace(known, devices=rules, people=people)


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
