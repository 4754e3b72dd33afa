"""From a text to layers: what TOML says, whether it has the format's shape, and every error by line. Pure."""

from __future__ import annotations

import hashlib
import pathlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stream.detectors.registry import SECTIONS, Section
from stream.policy_file.document import MAX_BYTES, MAX_DEPTH, MAX_LINE, OF_PATH, root_model
from stream.policy_file.faults import Fault, FaultKind, FileRefused, Path, no_such
from stream.policy_file.locate import Lines
from stream.policy_file.shape import Plain, flat
from vitals.synthetic import PATIENT as SYNTHETIC

_AT: Final = re.compile(
    r"^(?P<says>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$", re.DOTALL
)
_HEAD: Final = frozenset({"version", "label", "ward", "patient"})
Leaves = Mapping[Path, Plain]


@dataclass(frozen=True, slots=True)
class Layer:
    """What one part of a file states: its leaves by path, without those that are wrong in shape; `bad` are the rules
    and sections that have such. `prefix` is the path of that part."""

    name: str
    prefix: Path
    leaves: Leaves
    bad: frozenset[Path] = frozenset()


@dataclass(frozen=True, eq=False)
class Document:
    """A file that was read. `faults`: what is wrong so far; what they concern is in no layer."""

    file: str
    text: str
    sha256: str
    version: int
    label: str
    deployment: Layer
    wards: Mapping[str, Layer]
    members: Mapping[str, str]
    patients: Mapping[str, Layer]
    lines: Lines
    faults: tuple[Fault, ...] = ()


def read_bounded(path: pathlib.Path) -> bytes:
    """Return what a file holds, or so much of it that `parsed` sees that it is too large. Raises OSError."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def parsed(data: bytes | str, file: str) -> tuple[str, dict[str, Any], Lines]:
    """Return a TOML file's text, its tables and where they stand. Raises `FileRefused`."""
    raw = data.encode() if isinstance(data, str) else data
    if len(raw) > MAX_BYTES:
        raise FileRefused(file, [Fault(1, (), "size", f"the file is larger than {MAX_BYTES >> 10} KiB")])
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise FileRefused(file, [Fault(line, (), "syntax", "the file is no UTF-8 text")]) from None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")  # as Windows begins and ends lines
    long = [number for number, line in enumerate(text.split("\n"), 1) if len(line) > MAX_LINE]
    if long:
        says = f"the line is longer than {MAX_LINE} characters"
        raise FileRefused(file, [Fault(number, (), "size", says) for number in long])
    tables = _tables(text, file)
    lines = Lines(text)
    deep = _too_deep(tables)
    if deep is not None:
        raise FileRefused(file, [Fault(lines[deep], deep, "size", f"tables lie at most {MAX_DEPTH} deep")])
    return text, tables, lines


def _tables(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT.match(str(error))
        says, line = (str(error), None) if found is None else found.group("says", "line")
        number = int(line) if line else max(1, len(text.rstrip("\n").split("\n")))
        raise FileRefused(file, [Fault(number, (), "syntax", f"no TOML: {says}")]) from None
    except (RecursionError, ValueError):  # ValueError: a number of more digits than Python reads
        raise FileRefused(
            file, [Fault(1, (), "syntax", "no TOML that can be read: tables too deep, or a number too long")]
        ) from None


def _too_deep(tables: Any) -> Path | None:
    """Return a path that lies too deep; without recursion, for the text may be anybody's."""
    left: list[tuple[Path, Any]] = [((), tables)]
    while left:
        path, value = left.pop()
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        if inner and len(path) >= MAX_DEPTH:
            return path
        left += [((*path, str(key)), one) for key, one in inner]
    return None


def read(data: bytes | str, file: str = "policy", sections: tuple[Section, ...] = SECTIONS) -> Document:
    """Return the document, with what is wrong of its shape noted. Raises `FileRefused` for what is no TOML at all."""
    text, tables, lines = parsed(data, file)
    model = root_model(sections)
    faults = list(shape_faults(model, tables, lines))
    faults += _memberships(tables, lines)
    bad = {fault.path for fault in faults}
    wards, patients = _named(tables, "ward", bad), _named(tables, "patient", bad)
    members = {
        one: name for name in wards for one in _list(tables["ward"][name].get("members")) if isinstance(one, str)
    }
    version, label = tables.get("version"), tables.get("label")
    return Document(
        file=file,
        text=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        version=version if type(version) is int else 0,
        label=label if isinstance(label, str) else "",
        deployment=_layer("deployment", (), {key: one for key, one in tables.items() if key not in _HEAD}, bad),
        wards=wards,
        members=members,
        patients=patients,
        lines=lines,
        faults=tuple(faults),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _named(tables: Mapping[str, Any], kind: str, bad: set[Path]) -> dict[str, Layer]:
    held = tables.get(kind)
    if not isinstance(held, dict):
        return {}
    return {
        name: _layer(f"{kind} {name}", (kind, name), {key: part for key, part in one.items() if key != "members"}, bad)
        for name, one in held.items()
        if isinstance(one, dict)
    }


def _layer(name: str, prefix: Path, tables: Mapping[str, Any], bad: set[Path]) -> Layer:
    wrong = [path[len(prefix) :] for path in bad if path[: len(prefix)] == prefix and len(path) > len(prefix)]
    leaves = {path: one for path, one in flat(tables).items() if not any(_covers(one, path) for one in wrong)}
    return Layer(name, prefix, leaves, frozenset(unit_of(path) for path in wrong))


def unit_of(path: Path) -> Path:
    """Return which rule or section a path is of: what is built as one."""
    return path[: {"engine": 1, "staffed": 1, "review": 1, "detectors": 2}.get(path[0], 3)] if path else ()


def _covers(wrong: Path, path: Path) -> bool:
    return path[: len(wrong)] == wrong


def shape_faults(model: type[BaseModel], tables: Mapping[str, Any], lines: Lines) -> Iterator[Fault]:
    """Tell where tables have not the shape of a model: each field, all at once."""
    try:
        model.model_validate(tables)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_context=True, include_input=False):
            yield fault_of(model, one, lines)


def fault_of(model: type[BaseModel], told: ErrorDetails, lines: Lines) -> Fault:
    """Return one of pydantic's errors as a fault."""
    path = tuple(str(one) for one in told["loc"] if one != "[key]")
    kind, says = _SAYS.get(told["type"], "type"), told["msg"]
    is_key = told["loc"][-1:] == ("[key]",)
    if told["type"] == "extra_forbidden":
        says = no_such(path[-1], allowed_at(model, path[:-1]))
        if path[-1] in OF_PATH and path[:1] != ("detectors",):
            says = f"{path[-1]} follows from where the rule stands, or from the program: it is no key"
    elif is_key and told["type"] == "literal_error":
        kind, says = (
            "unknown_key",
            no_such(path[-1], _expected(told)).replace("unknown key", "no metric of the catalogue"),
        )
    elif is_key:
        kind, says = "unknown_key", f"no name that is allowed here: {says}"
    elif told["type"] == "missing":
        says = f"{path[-1]} is missing"
        path = path[:-1]
    says = says.removeprefix("Value error, ")
    return Fault(lines[path], path, kind, says[:1].lower() + says[1:])


_SAYS: Final[dict[str, FaultKind]] = {
    "extra_forbidden": "unknown_key", "missing": "missing", "literal_error": "value", "greater_than_equal": "value",
    "less_than_equal": "value", "string_pattern_mismatch": "value", "finite_number": "value", "too_long": "size",
    "value_error": "value",
}  # fmt: skip


def _expected(told: ErrorDetails) -> list[str]:
    return re.findall(r"'([^']+)'", str(told.get("ctx", {}).get("expected", "")))


def allowed_at(model: type[BaseModel], path: Path) -> list[str]:
    """Return the keys that the table at a path may have."""
    held: Any = model
    for key in path:
        if isinstance(held, type) and issubclass(held, BaseModel):
            known = held.model_fields.get(key)
            held = None if known is None else known.annotation
        else:
            held = getattr(held, "__args__", (None,))[-1]
        if held is not None and hasattr(held, "__metadata__"):
            held = held.__origin__
    return sorted(held.model_fields) if isinstance(held, type) and issubclass(held, BaseModel) else []


def _memberships(tables: Mapping[str, Any], lines: Lines) -> Iterator[Fault]:
    """Tell who is a member twice: then nobody could say which ward's limits hold. And who is nobody."""
    for kind in ("ward", "patient"):
        yield from _synthetic(tables.get(kind), (kind,), lines)
    held = tables.get("ward")
    seen: dict[str, int] = {}
    for name, ward in held.items() if isinstance(held, dict) else ():
        for index, one in enumerate(_list(ward.get("members") if isinstance(ward, dict) else None)):
            path = ("ward", name, "members", str(index))
            if isinstance(one, str) and one in seen:
                says = f"this patient is a member already, in line {seen[one]}: a patient is in one ward"
                yield Fault(lines[path], path, "member", says)
            elif isinstance(one, str):
                seen[one] = lines[path]


def _synthetic(held: Any, path: Path, lines: Lines) -> Iterator[Fault]:
    """Tell where the synthetic patient stands: what a policy says of it holds for nobody."""
    says = f"{SYNTHETIC} is the synthetic patient, which no policy changes"
    for name, one in held.items() if isinstance(held, dict) else ():
        if path == ("patient",) and name == SYNTHETIC:
            yield Fault(lines[(*path, name)], (*path, name), "member", says)
        for index, member in enumerate(_list(one.get("members") if isinstance(one, dict) else None)):
            if path == ("ward",) and member == SYNTHETIC:
                where = (*path, name, "members", str(index))
                yield Fault(lines[where], where, "member", says)


def refuse(document: Document, faults: tuple[Fault, ...]) -> None:
    """Raise `FileRefused` where there is any fault."""
    if faults:
        raise FileRefused(document.file, faults)
