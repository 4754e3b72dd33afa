"""Which adapters read exports: files that tell a person's whole history again each time they are made."""

from __future__ import annotations

from typing import Final

SUFFIX: Final = "-export"
"""The one rule that says so: how such an adapter's name ends. A replay on the backfill lane is no export for that."""


def is_export(adapter: str) -> bool:
    """Tell whether `adapter` reads exports, so that what it tells twice is an overlap and no fault of a device."""
    return adapter.endswith(SUFFIX)
