"""Edge: the short keys that stand for opaque ids in the tables, looked up once and remembered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg

from timeseries.queries import load

_SQL: Final = load("store")
_MAX_KNOWN: Final = 200_000
"""Keys remembered of each kind, about 40 MB; past that the memory is cleared and filled anew."""

Origin = tuple[str, str]
"""(device id, source app)."""


class KeyRing:
    """Patient and origin keys. A key, once given, never changes, so remembering is safe."""

    def __init__(self) -> None:
        self.patients: dict[str, int] = {}
        self.origins: dict[Origin, int] = {}

    def knows(self, patients: Sequence[str], origins: Sequence[Origin]) -> bool:
        """Tell whether every one of these has its key here."""
        return self.patients.keys() >= set(patients) and self.origins.keys() >= set(origins)

    async def learn(
        self, connection: psycopg.AsyncConnection[Any], patients: Sequence[str], origins: Sequence[Origin]
    ) -> None:
        """Fetch the keys that are missing, creating those that the tables lack, in a transaction of its own."""
        if max(len(self.patients), len(self.origins)) > _MAX_KNOWN:
            self.patients.clear()
            self.origins.clear()
        ids = sorted(set(patients) - self.patients.keys())
        pairs = sorted(set(origins) - self.origins.keys())
        values = {"devices": [device for device, _ in pairs], "apps": [app for _, app in pairs]}
        async with connection.transaction():
            await connection.execute(_SQL["add_patients"], {"ids": ids})
            await connection.execute(_SQL["add_devices"], {"ids": values["devices"]})
            await connection.execute(_SQL["add_origins"], values)
            known = await (await connection.execute(_SQL["patient_keys"], {"ids": ids})).fetchall()
            found = await (await connection.execute(_SQL["origin_keys"], values)).fetchall()
        # Only what is committed: a key of a transaction that broke off belongs to nobody.
        self.patients.update(known)
        self.origins.update({(device, app): key for device, app, key in found})
