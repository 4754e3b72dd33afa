"""Layers laid over one another, rule by rule, and what comes of them: the frozen dataclasses of the watch. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, replace
from typing import Any, Final

from stream.detectors.behaviour import ChangePolicy
from stream.detectors.policy import WatchPolicy
from stream.detectors.registry import Section
from stream.policy_file.document import OF_PATH, RULES, engine_fields
from stream.policy_file.faults import Fault, Path
from stream.policy_file.reading import Layer, unit_of
from stream.policy_file.shape import Plain, default_of, flat, made, nested, plain, stated
from stream.policy_file.staffed import Staffed
from stream.watch.plan import Plan
from vitals.catalogue import BY_CODE

_WORD: Final = re.compile(r"[a-z][a-z0-9_]*")
ENGINE: Final = ("engine",)
REVIEW: Final = ("review",)
_LEVELS: Final = frozenset({"threshold", "clear"})
_BOUNDS: Final[Mapping[str, tuple[float, float, str]]] = {
    "max_age_s": (60, 14_400, "older is not now, younger would never page"),
    "delay_s": (0, 86_400, "later nobody would be told"),
    "clear_delay_s": (0, 86_400, "later nothing would end"),
    "settle_every_s": (1, 300, "detectors look so often"),
    "lateness_s": (0, 300, "detectors wait so long"),
    "silence_s": (1, 600, "detectors wait so long"),
    "max_waiting": (16, 4_096, "it is memory of each device"),
    "max_recent": (8, 1_024, "it is memory of each series"),
}
"""What numbers of these names may be, wherever they stand: beyond it a rule is off unsaid, or nothing is bounded."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value and where it comes from: `source` names the layer, `prefix` is where that stands in the file."""

    value: Plain
    source: str
    prefix: Path | None = None  # None: not of the file


Unit = Path
Stack = Mapping[Unit, Mapping[Path, Leaf]]
"""By rule or section: the leaves that hold, by their path within it."""


def base_of(rules: tuple[Any, ...], engine: Mapping[str, Plain], sections: tuple[Section, ...]) -> Stack:
    """Return the built-in defaults as a stack."""
    classes = {cls: name for name, cls in RULES.items()}
    held: dict[Unit, Plain] = {}
    for rule in rules:
        told = plain(rule)
        unit = (classes[type(rule)], told.pop("name"), told.pop("metric"))
        held[unit] = told
    held |= {("detectors", one.name): plain(one.policy()) for one in sections}
    held |= {ENGINE: engine, ("staffed",): plain(Staffed()), REVIEW: plain(ChangePolicy())}
    return {unit: {path: Leaf(value, "default") for path, value in flat(told).items()} for unit, told in held.items()}


def laid_over(below: Stack, layer: Layer) -> tuple[Stack, list[Unit]]:
    """Return the stack with a layer's leaves over it, and the units that the layer touches."""
    touched: dict[Unit, dict[Path, Leaf]] = {}
    for path, value in layer.leaves.items():
        unit = unit_of(path)
        held = touched.setdefault(unit, dict(below.get(unit, {})))
        held[path[len(unit) :]] = Leaf(value, layer.name, layer.prefix)
    return {**below, **touched}, list(touched)


def kind_of(unit: Unit, sections: Mapping[str, Section]) -> type[Any]:
    """Return the dataclass that a unit states (of `engine` two have parts)."""
    if unit[0] in RULES:
        return RULES[unit[0]]
    if unit[0] == "detectors":
        return sections[unit[1]].policy
    return ChangePolicy if unit == REVIEW else Staffed


def is_enabled(leaves: Mapping[Path, Leaf]) -> bool:
    """Tell whether a rule or detector takes part."""
    leaf = leaves.get(("enabled",))
    return leaf is None or bool(leaf.value)


def values(unit: Unit, leaves: Mapping[Path, Leaf]) -> dict[str, Any]:
    """Return the constructor's plain values of a unit."""
    told = nested({path: leaf.value for path, leaf in leaves.items() if path != ("enabled",)})
    if unit[0] in RULES:
        told = {"version": 1} | told | {"name": unit[1], "metric": unit[2]}
    return told


def built(unit: Unit, leaves: Mapping[Path, Leaf], sections: Mapping[str, Section]) -> Any:
    """Return the frozen dataclass of a rule, a detector's or the review's policy, or the staffed hours.

    Raises ValueError, TypeError.
    """
    if unit == ENGINE:
        limits = WatchPolicy(label="", rules=(), **engine_of(WatchPolicy, leaves))
        return Plan(label="", version="", limits=limits, **engine_of(Plan, leaves))
    found = made(kind_of(unit, sections), values(unit, leaves))
    if unit[0] == "detectors":
        sections[unit[1]].make(found)  # what a detector's own construction refuses
    return found


class Judge:
    """Finds what is wrong with the values of one document's units, and says on which line."""

    def __init__(self, lines: Any, sections: Mapping[str, Section]) -> None:
        self._lines = lines
        self._sections = sections

    def unit(self, unit: Unit, leaves: Mapping[Path, Leaf]) -> tuple[Any, list[Fault]]:
        """Return what a unit makes (None with faults) and what is wrong with it."""
        faults = [*self._missing(unit, leaves), *self.beyond(unit, leaves)]
        if faults:
            return None, faults
        try:
            return built(unit, leaves, self._sections), []
        except (ValueError, TypeError) as error:
            return None, [self.blamed(unit, leaves, str(error))]

    def blamed(self, unit: Unit, leaves: Mapping[Path, Leaf], says: str) -> Fault:
        """Return the fault at the leaf that an error's words name; else where the nearest layer states the unit."""
        said = set(_WORD.findall(says))
        stated_here = {path: leaf for path, leaf in leaves.items() if leaf.prefix is not None}
        near = max((len(leaf.prefix or ()) for leaf in stated_here.values()), default=0)
        named = [path for path in stated_here if path[-1] in said]
        nearest = [path for path in named or stated_here if len(stated_here[path].prefix or ()) == near] or named
        path = nearest[0] if named or len(nearest) == 1 else ()
        leaf = stated_here.get(path) or next(iter(stated_here.values()), None)
        if leaf is None:
            return Fault(1, unit, "value", says)
        if not path:
            leaf = next(one for one in stated_here.values() if len(one.prefix or ()) == near)
        return self.at((*(leaf.prefix or ()), *unit, *path), says)

    def at(self, path: Path, says: str) -> Fault:
        """Return a fault of a value."""
        return Fault(self._lines[path], path, "value", says)

    def _missing(self, unit: Unit, leaves: Mapping[Path, Leaf]) -> Iterator[Fault]:
        if unit[0] not in RULES:
            return
        held = {path[0] for path in leaves}
        needed = [one.name for one in stated(RULES[unit[0]], OF_PATH) if default_of(one) is MISSING]
        lacking = [name for name in needed if name not in held]
        if lacking:
            prefix = next((leaf.prefix for leaf in leaves.values() if leaf.prefix is not None), ())
            path = (*(prefix or ()), *unit)
            says = f"a rule that is no default needs {', '.join(lacking)} too"
            yield Fault(self._lines[path], path, "missing", says)

    def beyond(self, unit: Unit, leaves: Mapping[Path, Leaf]) -> list[Fault]:
        """Return the faults of numbers that are none to go by, each for itself."""
        return [*self._levels(unit, leaves), *self._bounds(unit, leaves)]

    def _bounds(self, unit: Unit, leaves: Mapping[Path, Leaf]) -> Iterator[Fault]:
        for path, leaf in leaves.items():
            low, high, why = _BOUNDS.get(path[-1], (0.0, 0.0, ""))
            if why and leaf.prefix is not None and not low <= leaf.value <= high:
                yield self.at((*leaf.prefix, *unit, *path), f"{path[-1]} lies within {low:g} to {high:g}: {why}")

    def _levels(self, unit: Unit, leaves: Mapping[Path, Leaf]) -> list[Fault]:
        """Return the faults of limits beyond what the metric can mean: they would never be crossed, or always."""
        metric = BY_CODE.get(unit[2]) if unit[0] in RULES else None
        if metric is None:
            return []
        says = f"{metric.code} lies within {metric.low:g} to {metric.high:g} {metric.unit}"
        return [
            self.at((*leaf.prefix, *unit, *path), says)
            for path, leaf in leaves.items()
            if leaf.prefix is not None and _is_level(path) and not metric.low <= leaf.value <= metric.high
        ]


def _is_level(path: Path) -> bool:
    """Tell whether a key of a rule holds a value of the metric itself: `threshold`, `asleep_clear`."""
    return len(path) == 1 and path[0].rpartition("_")[2] in _LEVELS


def alike(rules: Mapping[Unit, Any], unit: Unit) -> str | None:
    """Return what to say where another rule is the same as this one, None where it is like no other."""
    mine = rules[unit]
    for other, rule in rules.items():
        if other == unit or other[2] != unit[2]:
            continue
        if other[1] == unit[1]:
            return f"{other[0]} has a rule of this name on {unit[2]} already"
        if type(rule) is type(mine) and replace(rule, name=mine.name, version=mine.version) == mine:
            return f"two rules alike: {other[1]} watches {unit[2]} in the same way"
    return None


def engine_of(cls: type[Any], leaves: Mapping[Path, Leaf]) -> dict[str, Any]:
    """Return the constructor's arguments that `[engine]` states for WatchPolicy or Plan."""
    told = values(ENGINE, leaves)
    return {name: made(hint, told[name]) for name, hint in engine_fields(cls).items() if name in told}
