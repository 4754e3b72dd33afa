"""Loads SQL from the .sql files beside this module: `-- name: x` starts a query, its comment lines document it."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def parse(text: str) -> dict[str, str]:
    """Return the named queries of a .sql text. Raises ValueError for a name given twice or a query without text."""
    parts = _NAME.split(text)[1:]
    queries = dict(zip(parts[::2], (body.strip() for body in parts[1::2]), strict=True))
    if len(queries) != len(parts) // 2 or not all(queries.values()):
        raise ValueError("a query's name is given twice, or a query has no text")
    return queries


@cache
def load(file: str) -> dict[str, str]:
    """Return the queries of `sql/queries/<file>.sql`: our own text, never built from anything that came in."""
    text = resources.files("timeseries").joinpath("sql", "queries", f"{file}.sql").read_text("utf-8")
    return parse(text)
