"""One policy in force: which plan a person is watched by, and where each of its values comes from. Pure.

Layers, the nearer wins, field by field: the program's defaults, the file's deployment part, the ward, the patient; then
the care profile, a clinician's own word, over all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from stream.detectors.behaviour_review import ReviewPolicy
from stream.detectors.policy import WatchPolicy, for_profile, hastened
from stream.detectors.registry import SECTIONS, Section
from stream.policy_file.building import (
    ENGINE,
    REVIEW,
    Judge,
    Stack,
    Unit,
    alike,
    base_of,
    engine_of,
    is_enabled,
    laid_over,
)  # fmt: skip
from stream.policy_file.document import OF_PATH, RULES, engine_fields
from stream.policy_file.faults import Fault, Path
from stream.policy_file.reading import Document, read, refuse
from stream.policy_file.shape import Plain, flat, plain
from stream.policy_file.staffed import Staffed
from stream.watch.plan import Plan, default_plan
from vitals.care_profile import UNKNOWN, CareProfile


@dataclass(frozen=True, slots=True)
class Effective:
    """One value that holds for somebody, and where it comes from: default, deployment, ward, patient or profile."""

    path: Path
    value: Plain
    source: str


@dataclass(frozen=True, slots=True)
class Hurry:
    """No delay longer than these seconds: to show it, not to care by it."""

    delay_s: float
    clear_delay_s: float


@dataclass(frozen=True, eq=False)
class _Built:
    """A stack and what its units make."""

    stack: Stack
    things: Mapping[Unit, Any]


class Policies:
    """What `compiled` makes of a document. Plans are made once a layer and kept: who shares it has the same object."""

    def __init__(
        self, label: str, version: str, text: str, builds: Mapping[tuple[str, str], _Built],
        members: Mapping[str, str], sections: tuple[Section, ...], hurry: Hurry | None = None,
    ) -> None:  # fmt: skip
        self.label = label
        self.version = version
        self.text = text
        self._builds = builds
        self._members = members
        self._sections = {one.name: one for one in sections}
        self._hurry = hurry
        self._plans: dict[tuple[str, str], Plan] = {}
        self._made: dict[int, tuple[Any, Any]] = {}  # detectors by the id of their policy, kept beside: who shares it

    @property
    def told(self) -> str:
        """How alerts call it: LABEL v3 sha256:12 digits."""
        return f"{self.label} {self.version}"

    def hastened(self, delay_s: float, clear_delay_s: float) -> Policies:
        """Return the same with no limit's delay longer than these seconds."""
        return Policies(
            self.label, self.version, self.text, self._builds, self._members, tuple(self._sections.values()),
            Hurry(delay_s, clear_delay_s),
        )  # fmt: skip

    def ward_of(self, patient_id: str) -> str | None:
        """Return the ward that lists a patient, None where none does."""
        return self._members.get(patient_id)

    def named(self) -> set[str]:
        """Return every patient whom the file names."""
        return {*self._members, *(patient for _, patient in self._builds if patient)}

    def taken_out(self) -> dict[str, list[Path]]:
        """Return the rules and detectors that do not take part, by the layer that takes them out, deployment first."""
        found: dict[str, list[Path]] = {}
        for built in self._builds.values():
            for unit, leaves in built.stack.items():
                if not is_enabled(leaves):
                    units = found.setdefault(leaves["enabled",].source, [])
                    units += [unit] if unit not in units else []
        return found

    def is_blind(self) -> bool:
        """Tell whether anybody is watched for nothing at all."""
        watched = {"detectors", *RULES}
        return any(
            not any(unit[0] in watched and is_enabled(leaves) for unit, leaves in built.stack.items())
            for built in self._builds.values()
        )

    def plan_of(self, patient_id: str) -> Plan:
        """Return what a person is watched by, before their care profile: the engine lays that over the limits, and
        detectors read it (`stream.detectors.policy.for_profile`)."""
        which = self._which(patient_id)
        plan = self._plans.get(which)
        if plan is None:
            plan = self._plans[which] = self._planned(self._builds[which])
        return plan

    def prepared(self) -> Policies:
        """Return the same, with every plan made: whoever asks later does not wait for it."""
        for which, built in self._builds.items():
            self._plans[which] = self._planned(built)
        return self

    def staffed_of(self, patient_id: str) -> Staffed:
        """Return when somebody looks at what is told of a person."""
        staffed: Staffed = self._builds[self._which(patient_id)].things["staffed",]
        return staffed

    def review_of(self, patient_id: str) -> ReviewPolicy:
        """Return by what changes of behaviour are found in a person under a plan."""
        return ReviewPolicy(self._builds[self._which(patient_id)].things[REVIEW])

    def effective(self, patient_id: str, profile: CareProfile = UNKNOWN) -> list[Effective]:
        """Return every value that holds for a person, with where it comes from."""
        stack = self._builds[self._which(patient_id)].stack
        found = {
            (*unit, *path): Effective((*unit, *path), leaf.value, leaf.source)
            for unit, leaves in stack.items()
            for path, leaf in leaves.items()
            if unit[0] not in RULES or path[0] not in OF_PATH
        }
        for path, value, source in self._of_profile(patient_id, profile):
            found[path] = Effective(path, value, source)
        return [one for one in found.values() if one.value is not None]

    def _of_profile(self, patient_id: str, profile: CareProfile) -> Iterator[tuple[Path, Plain, str]]:
        """Tell what the care profile makes otherwise than the layers below."""
        source, limits = f"profile version {profile.version}", self.plan_of(patient_id).limits
        below, above = _leaves(limits), _leaves(for_profile(limits, profile))
        for unit in below.keys() - above.keys():
            yield (*unit, "enabled"), False, source
        for unit, told in above.items():
            before = below.get(unit, {})
            for path in before.keys() | told.keys():
                if told.get(path) != before.get(path) and path[0] not in OF_PATH:
                    yield (*unit, *path), told.get(path), source

    def _which(self, patient_id: str) -> tuple[str, str]:
        ward = self._members.get(patient_id, "")
        return (ward, patient_id) if (ward, patient_id) in self._builds else (ward, "")

    def _detector(self, name: str, policy: Any) -> Any:
        held = self._made.get(id(policy))
        if held is None:
            held = self._made[id(policy)] = (policy, self._sections[name].make(policy))
        return held[1]

    def _planned(self, built: _Built) -> Plan:
        things, stack = built.things, built.stack
        rules = tuple(one for unit, one in things.items() if unit[0] in RULES and is_enabled(stack[unit]))
        label = self.label if self.text else default_plan().limits.label
        limits = WatchPolicy(label=label, rules=rules, **engine_of(WatchPolicy, stack[ENGINE]))
        if self._hurry is not None:
            limits = hastened(limits, self._hurry.delay_s, self._hurry.clear_delay_s)
        detectors: list[tuple[bool, Any]] = [
            (self._sections[unit[1]].technical, self._detector(unit[1], one))
            for unit, one in things.items()
            if unit[0] == "detectors" and is_enabled(stack[unit])
        ]
        return Plan(
            label=self.label,
            version=self.version,
            limits=limits,
            technical=tuple(one for is_technical, one in detectors if is_technical),
            detectors=tuple(one for is_technical, one in detectors if not is_technical),
            **engine_of(Plan, stack[ENGINE]),
        )


def _leaves(limits: WatchPolicy) -> dict[Unit, dict[Path, Plain]]:
    classes = {cls: name for name, cls in RULES.items()}
    return {(classes[type(rule)], rule.name, rule.metric): flat(plain(rule)) for rule in limits.rules}


def default_stack(sections: tuple[Section, ...] = SECTIONS) -> Stack:
    """Return the program's own defaults, by rule and section."""
    plan = default_plan()
    parts = {Plan: plan, WatchPolicy: plan.limits}
    engine = {name: plain(getattr(part, name)) for cls, part in parts.items() for name in engine_fields(cls)}
    return base_of(plan.limits.rules, engine, sections)


def compiled(document: Document, sections: tuple[Section, ...] = SECTIONS, base: Stack | None = None) -> Policies:
    """Return the policy that a document states. Raises `FileRefused` with all that is wrong, of shape and of sense."""
    work = _Compiler(document, sections)
    lowest = work.lowest(default_stack(sections) if base is None else base)
    deployment = work.over(lowest, document.deployment.name)
    builds = {("", ""): deployment}
    builds |= {(name, ""): work.over(deployment, layer.name) for name, layer in document.wards.items()}
    for patient, layer in document.patients.items():
        ward = document.members.get(patient, "")
        builds[ward, patient] = work.over(builds.get((ward, ""), deployment), layer.name)
    refuse(document, (*document.faults, *work.faults))
    version = f"v{document.version} sha256:{document.sha256[:12]}"
    return Policies(document.label, version, document.text, builds, document.members, sections)


class _Compiler:
    def __init__(self, document: Document, sections: tuple[Section, ...]) -> None:
        self.faults: list[Fault] = []
        self._judge = Judge(document.lines, {one.name: one for one in sections})
        self._sections = {one.name: one for one in sections}
        layers = (document.deployment, *document.wards.values(), *document.patients.values())
        self._layers = {layer.name: layer for layer in layers}

    def lowest(self, base: Stack) -> _Built:
        return _Built(base, {unit: self._judge.unit(unit, leaves)[0] for unit, leaves in base.items()})

    def over(self, below: _Built, name: str) -> _Built:
        """Lay a layer over what is below; of a unit that is wrong what was below stays, to look at the rest."""
        stack, touched = laid_over(below.stack, self._layers[name])
        things, held = dict(below.things), dict(stack)
        for unit in touched:
            is_bad = unit in self._layers[name].bad  # what it would make is not what was meant
            thing, faults = (
                (None, self._judge.beyond(unit, stack[unit])) if is_bad else self._judge.unit(unit, stack[unit])
            )
            self.faults += faults
            if not faults and not is_bad:
                things[unit] = thing
            elif unit in below.stack:
                held[unit] = below.stack[unit]
            else:
                del held[unit]
        built = _Built(held, things)
        self._look_alike(built, touched)
        return built

    def _look_alike(self, built: _Built, touched: list[Unit]) -> None:
        rules = {unit: one for unit, one in built.things.items() if unit[0] in RULES and is_enabled(built.stack[unit])}
        later = [unit for unit in rules if unit in touched]
        for unit in list(later):
            later.remove(unit)  # of two that are new the second is one too many
            says = alike({one: rule for one, rule in rules.items() if one not in later}, unit)
            if says is not None:
                fault = self._judge.blamed(unit, built.stack[unit], says)
                self.faults.append(replace(fault, kind="alike"))


def policies_of(data: bytes | str, file: str = "policy", sections: tuple[Section, ...] = SECTIONS) -> Policies:
    """Read and compile a text. Raises `FileRefused`."""
    return compiled(read(data, file, sections), sections)


@cache
def built_in() -> Policies:
    """Return the program's own defaults as a policy: no file, nobody's wards."""
    plan = default_plan()
    stack = default_stack()
    judge = Judge(None, {one.name: one for one in SECTIONS})
    things = {unit: judge.unit(unit, leaves)[0] for unit, leaves in stack.items()}
    return Policies(plan.label, plan.version, "", {("", ""): _Built(stack, things)}, {}, SECTIONS)
