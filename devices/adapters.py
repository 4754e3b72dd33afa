"""Finds the adapters that are installed, by the entry points of the group `vigil.adapters` (docs/adapters.md)."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from devices.adapter import ENTRY_POINTS, Adapter
from vitals.errors import VigilError
from vitals.ids import is_opaque


class BrokenAdapter(VigilError):
    """An entry point gives no adapter; the message names the entry point and where it points."""

    def __init__(self, entry: EntryPoint, why: str) -> None:
        super().__init__(f"entry point {entry.name} = {entry.value} of {ENTRY_POINTS}: {why}")


class UnknownAdapter(VigilError):
    """No adapter has this name; the message lists those that are installed."""

    def __init__(self, known: Iterable[str]) -> None:
        super().__init__(f"no such adapter; installed are {', '.join(sorted(known)) or 'none'}")


def installed() -> dict[str, EntryPoint]:
    """Return the entry points by name. Raises `BrokenAdapter` where two packages claim one name."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        if found.setdefault(entry.name, entry).value != entry.value:
            raise BrokenAdapter(entry, f"another package has an adapter of this name, {found[entry.name].value}")
    return found


def load(name: str) -> Adapter:
    """Return the adapter `name`; no other package's code is loaded. Raises `UnknownAdapter`, `BrokenAdapter`."""
    entries = installed()
    if name not in entries:
        raise UnknownAdapter(entries)
    return _loaded(entries[name])


def load_all() -> tuple[list[Adapter], list[BrokenAdapter]]:
    """Return all adapters by name, and what is wrong with those that cannot be loaded."""
    adapters, broken = [], []
    for _, entry in sorted(installed().items()):
        try:
            adapters.append(_loaded(entry))
        except BrokenAdapter as error:
            broken.append(error)
    return adapters, broken


def _loaded(entry: EntryPoint) -> Adapter:
    try:
        adapter = entry.load()
    except Exception as error:
        raise BrokenAdapter(entry, f"it cannot be imported ({type(error).__name__})") from error
    if isinstance(adapter, type) or not isinstance(adapter, Adapter):
        raise BrokenAdapter(entry, "it is no object with name, about and read")
    name: object = adapter.name
    about: object = adapter.about
    if not isinstance(name, str) or not is_opaque(name):
        raise BrokenAdapter(entry, "its name must be 1 to 64 letters, digits, '.', '_', ':' or '-'")
    if name != entry.name:
        raise BrokenAdapter(entry, "its name is not the entry point's")
    if not isinstance(about, str) or not callable(adapter.read):
        raise BrokenAdapter(entry, "about must be text, and read a function")
    return adapter
