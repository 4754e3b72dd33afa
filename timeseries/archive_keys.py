"""Edge: this database's keys for the words of archived rows, whatever keys they had when they were archived."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from timeseries.archive_chain import ArchiveDamaged
from timeseries.archive_format import Slice
from timeseries.queries import load
from timeseries.rows import Rows

_STORE: Final = load("store")
_SQL: Final = load("archive")


class KeysOfWords:
    """Looks words up once and remembers them, for as long as one call of the archive lasts."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._metrics = {code: key for key, code, _ in connection.execute(_SQL["metrics"])}
        self._patients: dict[str, int] = {}
        self._origins: dict[tuple[str, str], int] = {}

    def translated(self, part: Slice) -> Rows:
        """Return the rows with this database's keys; an origin that it lost is made again.

        Raises `ArchiveDamaged` for a patient or a metric that it does not have.
        """
        self._learn(part)
        lengths = np.diff(part.starts, append=len(part.rows))
        rows: Rows = part.rows.copy()
        try:
            keys = [
                (self._patients[patient], self._metrics[metric], self._origins[device, app])
                for patient, metric, _, device, app in part.words
            ]
        except KeyError:
            raise ArchiveDamaged("an archived file names a patient or a metric that this database lacks") from None
        for at, name in enumerate(("patient_key", "metric_key", "origin_key")):
            rows[name] = np.repeat(np.array([one[at] for one in keys], rows[name].dtype), lengths)
        return rows

    def _learn(self, part: Slice) -> None:
        patients = sorted({words[0] for words in part.words} - self._patients.keys())
        if patients:
            self._patients.update(self._connection.execute(_STORE["patient_keys"], {"ids": patients}))
        pairs = sorted({(words[3], words[4]) for words in part.words} - self._origins.keys())
        if pairs and not self._find(pairs):
            values = {"devices": [device for device, _ in pairs], "apps": [app for _, app in pairs]}
            with self._connection.transaction():
                self._connection.execute(_STORE["add_devices"], {"ids": values["devices"]})
                self._connection.execute(_STORE["add_origins"], values)
            self._find(pairs)

    def _find(self, pairs: list[tuple[str, str]]) -> bool:
        values = {"devices": [device for device, _ in pairs], "apps": [app for _, app in pairs]}
        for device, app, key in self._connection.execute(_STORE["origin_keys"], values):
            self._origins[device, app] = key
        return self._origins.keys() >= set(pairs)
