"""Policies as TOML again, and what differs between two. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import time
from typing import Final

from stream.policy_file.building import Stack
from stream.policy_file.document import OF_PATH, RULES
from stream.policy_file.faults import Path, dotted, quoted
from stream.policy_file.reading import Document, Layer
from stream.policy_file.shape import Plain, flat

SCHEMA: Final = "policy.schema.json"
_HEAD: Final = "#:schema {schema}\n\nversion = {version}\nlabel = {label}\n"


def default_text(stack: Stack, *, version: int, label: str, schema: str = SCHEMA) -> str:
    """Return a whole file that says what `stack` says, every value of it."""
    head = _HEAD.format(schema=schema, version=version, label=written(label))
    leaves = {
        (*unit, *path): leaf.value
        for unit, leaves in stack.items()
        for path, leaf in leaves.items()
        if unit[0] not in RULES or path[0] not in OF_PATH
    }
    order = ["engine", "staffed", "review", *RULES, "detectors"]
    return head + "".join(_tables({path: leaves[path] for path in sorted(leaves, key=lambda one: order.index(one[0]))}))


def tables_of(table: Mapping[str, Plain]) -> str:
    """Return nested tables as TOML."""
    return "".join(_tables(flat(table))).lstrip("\n")


def _tables(leaves: Mapping[Path, Plain]) -> Iterator[str]:
    """Write leaves, those of one table together."""
    tables: dict[Path, dict[str, Plain]] = {}
    for path, value in leaves.items():
        tables.setdefault(path[:-1], {})[path[-1]] = value
    for path, held in sorted(tables.items(), key=lambda one: bool(one[0])):  # keys before the first table
        yield f"\n[{dotted(path)}]\n" if path else "\n"
        for key, value in held.items():
            yield f"{dotted((key,))} = {written(value)}\n"


def written(value: Plain) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{dotted((key,))} = {written(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(written(one) for one in value)}]"
    return repr(value)


def differences(before: Document | None, after: Document) -> list[tuple[str, str | None, str | None]]:
    """Return (field, before, after) of each value that two files state otherwise, None where one says nothing of it."""
    old, new = ({} if one is None else _stated(one) for one in (before, after))
    paths = [*old, *(path for path in new if path not in old)]
    changed = [path for path in paths if old.get(path) != new.get(path)]
    return [(dotted(path), _told(old, path), _told(new, path)) for path in changed]


def _told(leaves: Mapping[Path, Plain], path: Path) -> str | None:
    return written(leaves[path]) if path in leaves else None


def _stated(document: Document) -> dict[Path, Plain]:
    layers: Iterable[Layer] = (document.deployment, *document.wards.values(), *document.patients.values())
    leaves: dict[Path, Plain] = {("version",): document.version, ("label",): document.label}
    for layer in layers:
        leaves |= {(*layer.prefix, *path): value for path, value in layer.leaves.items()}
    for patient, ward in document.members.items():
        leaves["ward", ward, "members", patient] = True
    return leaves
