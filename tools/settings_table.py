"""The table of settings in docs/operations.md, made from vigil.settings: `python tools/settings_table.py --write`.

Without `--write` it prints the table. tests/test_docs.py fails where the page lags behind the code.
"""

from __future__ import annotations

import argparse
import types
import typing
from collections.abc import Iterator
from pathlib import Path

from annotated_types import Ge, Gt, Le
from pydantic import AliasChoices, HttpUrl, SecretStr
from pydantic.fields import FieldInfo

from vigil.settings import Settings, variable

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operations.md"
BEGIN = "<!-- settings: begin (made by tools/settings_table.py) -->\n"
END = "<!-- settings: end -->\n"


def variables() -> dict[str, FieldInfo]:
    """Return the settings by the environment variable that documents them, in the order of the class."""
    return {_names(name, field)[0]: field for name, field in Settings.model_fields.items()}


def every_variable() -> set[str]:
    """Return all names that a setting answers to, second ones too."""
    return {one for name, field in Settings.model_fields.items() for one in _names(name, field)}


def _names(name: str, field: FieldInfo) -> list[str]:
    if isinstance(field.validation_alias, AliasChoices):
        return [str(choice) for choice in field.validation_alias.choices]
    return [variable(name)]


def table() -> str:
    """Return the table as Markdown."""
    rows = [
        f"| `{name}` | {_takes(field)} | {_default(field)} | {field.description or ''} |"
        for name, field in variables().items()
    ]
    return "\n".join(["| variable | takes | default | what it is |", "|---|---|---|---|", *rows, ""])


def _takes(field: FieldInfo) -> str:
    return ", ".join([_words(field.annotation), *_bounds(field)])


def _words(kind: object) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in {types.UnionType, typing.Union}:
        return " or ".join(_words(one) for one in inner if one is not type(None))
    if origin is typing.Annotated:
        return _words(inner[0])
    if origin is typing.Literal:
        return ", ".join(f"`{one}`" for one in inner)
    known = {
        bool: "`true` or `false`",
        int: "whole number",
        float: "number",
        str: "text",
        Path: "path",
        SecretStr: "secret",
        HttpUrl: "URL",
    }
    return known[typing.cast(type, kind)]


def _bounds(field: FieldInfo) -> Iterator[str]:
    for bound in [*field.metadata, *_inner_metadata(field.annotation)]:
        parts = getattr(bound, "metadata", [bound])
        for one in parts:
            match one:
                case Ge(ge=least):
                    yield f"at least {least}"
                case Gt(gt=below):
                    yield f"above {below}"
                case Le(le=most):
                    yield f"at most {most}"
                case _:
                    pass


def _inner_metadata(kind: object) -> list[object]:
    found = list(getattr(kind, "__metadata__", ()))
    return found + [one for inner in typing.get_args(kind) for one in getattr(inner, "__metadata__", ())]


def _default(field: FieldInfo) -> str:
    if field.default is None:
        return ""
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def refreshed(page: str) -> str:
    """Return the page with a fresh table between its markers. Raises ValueError where it has none."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no markers for the table of settings")
    return f"{head}{BEGIN}{table()}{END}{tail}"


def main() -> None:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="bring docs/operations.md up to date")
    if parser.parse_args().write:
        PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table())


if __name__ == "__main__":
    main()
