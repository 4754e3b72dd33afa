"""Which adapters read exports: files that tell a person's whole history again each time they are made."""

from __future__ import annotations

from typing import Final

EXPORTS: Final = frozenset({"apple-export"})
"""The one place that says so. A backlog or a replay on the backfill lane is no export, whatever lane it shares."""


def is_export(adapter: str) -> bool:
    """Tell whether `adapter` reads exports, so that what it tells twice is an overlap and no fault of a device."""
    return adapter in EXPORTS
