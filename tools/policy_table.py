"""What docs/policies.md says of every key, the JSON schema and the default policy, made from the code: `--write`.

    .venv/bin/python tools/policy_table.py --write

Without `--write` it prints the tables. tests/vigil/test_policy.py fails where a file lags behind the code.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import MISSING
from pathlib import Path
from typing import Any, Final

from stream.detectors.behaviour import ChangePolicy
from stream.detectors.policy import WatchPolicy
from stream.detectors.registry import SECTIONS
from stream.policy_file.document import OF_PATH, RULES, engine_fields, json_schema
from stream.policy_file.policies import default_stack
from stream.policy_file.shape import default_of, hints, plain, shape_of, stated
from stream.policy_file.staffed import Staffed
from stream.policy_file.writing import default_text, written
from stream.watch.plan import Plan, default_plan

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "policies.md"
SCHEMA: Final = ROOT / "docs" / "policy.schema.json"
DEFAULT: Final = ROOT / "fixtures" / "policies" / "default.toml"
BEGIN: Final = "<!-- keys: begin (made by tools/policy_table.py) -->\n"
END: Final = "<!-- keys: end -->\n"
_WORDS: Final = {
    "float": "number", "int": "whole number", "bool": "true or false", "str": "text", "time": "local time"
}  # fmt: skip
_HEAD: Final = ["| key | takes | default |", "|---|---|---|"]


def tables() -> str:
    """Return the tables of every section as Markdown."""
    plan = default_plan()
    parts = {Plan: plan, WatchPolicy: plan.limits}
    engine = {
        name: (hint, plain(getattr(part, name)))
        for cls, part in parts.items()
        for name, hint in engine_fields(cls).items()
    }
    lines = ["### `[engine]`", "", *_HEAD]
    lines += [f"| `{name}` | {_takes(hint)} | {_default(value)} |" for name, (hint, value) in engine.items()]
    lines += ["", "### `[staffed]`", "", *_HEAD, *_rows(Staffed)]
    lines += ["", "### `[review]`", "", _first(ChangePolicy), "", *_HEAD, *_rows(ChangePolicy)]
    for name, rule in RULES.items():
        lines += ["", f"### `[{name}.NAME.METRIC]`", "", _first(rule), "", *_HEAD, *_rows(rule, OF_PATH)]
        lines.append("| `enabled` | true or false | `true` |")
    for one in SECTIONS:
        lines += ["", f"### `[detectors.{one.name}]`", "", _first(one.policy), "", *_HEAD, *_rows(one.policy)]
        lines.append("| `enabled` | true or false | `true` |")
    return "\n".join([*lines, ""])


def _first(cls: type[Any]) -> str:
    return " ".join((cls.__doc__ or "").partition("\n\n")[0].split())


def _rows(cls: type[Any], without: frozenset[str] = frozenset(), under: str = "") -> Iterator[str]:
    for one in stated(cls, without):
        hint, default = hints(cls)[one.name], default_of(one)
        if hasattr(hint, "__dataclass_fields__"):
            held = default if default is not MISSING else None
            yield from _rows_of(hint, held, f"{under}{one.name}.")
        else:
            shown = "needed in a new rule" if default is MISSING else _default(plain(default))
            yield f"| `{under}{one.name}` | {_takes(hint)} | {shown} |"


def _rows_of(cls: type[Any], held: Any, under: str) -> Iterator[str]:
    if held is None:
        yield from _rows(cls, under=under)
        return
    for one in stated(cls):
        hint, value = hints(cls)[one.name], getattr(held, one.name)
        if hasattr(hint, "__dataclass_fields__"):
            yield from _rows_of(hint, value, f"{under}{one.name}.")
        else:
            yield f"| `{under}{one.name}` | {_takes(hint)} | {_default(plain(value))} |"


def _default(value: Any) -> str:
    return "none" if value is None else f"`{written(value)}`"


def _takes(hint: Any) -> str:
    shape: Any = shape_of(hint)
    if getattr(shape, "__metadata__", None):
        shape = shape.__origin__
    name = getattr(shape, "__name__", "")
    args = getattr(shape, "__args__", ())
    if all(isinstance(one, str) for one in args) and args:
        return ", ".join(f"`{one}`" for one in args)
    if getattr(shape, "__origin__", None) in (list, tuple):
        return f"list of {' and '.join(_takes(one) for one in args)}"
    return _WORDS.get(name, name)


def refreshed(page: str) -> str:
    """Return the page with these tables in it."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}{END}{after}"


def schema_text() -> str:
    """Return the JSON schema as its file has it."""
    return json.dumps(json_schema(), indent=2) + "\n"


def default_file() -> str:
    """Return the default policy as its file has it."""
    return default_text(default_stack(), version=1, label="adult defaults", schema="../../docs/policy.schema.json")


def main() -> None:
    """Print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the page, the schema and the default policy")
    if not parser.parse_args().write:
        print(tables())
        return
    PAGE.write_text(refreshed(PAGE.read_text("utf-8")), "utf-8")
    SCHEMA.write_text(schema_text(), "utf-8")
    DEFAULT.write_text(default_file(), "utf-8")


if __name__ == "__main__":
    main()
