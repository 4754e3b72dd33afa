"""Writes `timeseries/sql/schema.sql`: what all migrations come to on stock PostgreSQL, to be read as a page.

    python tools/schema.py --write

The file is made, never edited; a test runs it in an empty database and finds the same tables, columns, keys, indexes,
views, functions and triggers as the migrations leave. What TimescaleDB adds stands in the `.timescale.sql` migrations.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg

ROOT: Final = Path(__file__).resolve().parents[1]
TARGET: Final = ROOT / "timeseries" / "sql" / "schema.sql"

_TABLES: Final[LiteralString] = """
SELECT c.oid, c.oid::regclass::text AS name, obj_description(c.oid) AS comment, c.reloptions
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname IN ('public', 'data') ORDER BY c.oid"""
_COLUMNS: Final[LiteralString] = """
SELECT quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
       concat_ws(' ', CASE a.attidentity WHEN 'a' THEN 'GENERATED ALWAYS AS IDENTITY' END,
                 CASE WHEN a.attnotnull AND a.attidentity = '' THEN 'NOT NULL' END,
                 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)),
       col_description(a.attrelid, a.attnum)
FROM pg_attribute a LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""
_CONSTRAINTS: Final[LiteralString] = """
SELECT quote_ident(conname), pg_get_constraintdef(oid), contype = 'f' FROM pg_constraint
WHERE conrelid = %s AND contype IN ('p', 'u', 'c', 'x', 'f') ORDER BY array_position('{p,u,x,c,f}', contype), conname"""
_INDEXES: Final[LiteralString] = """
SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i
WHERE i.indrelid = %s AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid) ORDER BY 1"""
_VIEWS: Final[LiteralString] = """
SELECT c.oid, c.oid::regclass::text, obj_description(c.oid), pg_get_viewdef(c.oid), c.reloptions
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'v' AND n.nspname IN ('public', 'data') ORDER BY c.oid"""
_READ_BY: Final[LiteralString] = """
SELECT DISTINCT r.ev_class, d.refobjid FROM pg_rewrite r
JOIN pg_depend d ON d.objid = r.oid AND d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
JOIN pg_class c ON c.oid = d.refobjid AND c.relkind = 'v' WHERE d.refobjid <> r.ev_class"""
_FUNCTIONS: Final[LiteralString] = """
SELECT pg_get_functiondef(p.oid), p.oid::regprocedure::text, obj_description(p.oid), p.prokind FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.objid = p.oid AND x.deptype = 'e') ORDER BY p.oid"""
_TRIGGERS: Final[LiteralString] = """
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgrelid::regclass::text, tgname"""


def schema(connection: psycopg.Connection[Any]) -> str:
    """Return the schema of a migrated database as one SQL script."""
    parts = [
        "-- The whole schema on stock PostgreSQL, made from the migrations by tools/schema.py: read it, never edit it.",
        "SET check_function_bodies = off;\nCREATE SCHEMA IF NOT EXISTS data;",
        *_tables(connection),
        *_foreign_keys(connection),
        *(f"{text};" for text in _functions(connection)),
        *_views(connection),
        *(f"{text};" for (text,) in connection.execute(_TRIGGERS)),
    ]
    return "\n\n".join(parts) + "\n"


def _tables(connection: psycopg.Connection[Any]) -> Iterator[str]:
    for oid, name, comment, options in connection.execute(_TABLES).fetchall():
        lines = [
            (f"{column} {kind} {rest}".rstrip(), told) for column, kind, rest, told in _rows(connection, _COLUMNS, oid)
        ]
        lines += [
            (f"CONSTRAINT {key} {text}", None)
            for key, text, foreign in _rows(connection, _CONSTRAINTS, oid)
            if not foreign
        ]
        body = "\n".join(
            f"    {text}{',' if number < len(lines) else ''}{f'  -- {told}' if told else ''}"
            for number, (text, told) in enumerate(lines, 1)
        )
        storage = f" WITH ({', '.join(options)})" if options else ""
        indexes = "".join(f"\n{text};" for (text,) in _rows(connection, _INDEXES, oid))
        yield f"-- {comment or name}\nCREATE TABLE {name} (\n{body}\n){storage};{indexes}"


def _foreign_keys(connection: psycopg.Connection[Any]) -> Iterator[str]:
    for oid, name, _, _ in connection.execute(_TABLES).fetchall():
        for key, text, foreign in _rows(connection, _CONSTRAINTS, oid):
            if foreign:
                yield f"ALTER TABLE {name} ADD CONSTRAINT {key} {text};"


def _functions(connection: psycopg.Connection[Any]) -> Iterator[str]:
    for text, _, comment, _ in connection.execute(_FUNCTIONS).fetchall():
        yield f"-- {comment or 'A helper.'}\n{text.rstrip()}"


def _views(connection: psycopg.Connection[Any]) -> Iterator[str]:
    views = {row[0]: row[1:] for row in connection.execute(_VIEWS).fetchall()}
    # A view that was replaced is older than what it reads: what is read comes first, else the older one.
    order = TopologicalSorter({oid: set[int]() for oid in views})
    for reader, read in connection.execute(_READ_BY).fetchall():
        if reader in views:
            order.add(reader, read)
    for name, comment, text, options in (views[oid] for oid in _steadily(order) if oid in views):
        storage = f" WITH ({', '.join(options)})" if options else ""
        yield f"-- {comment or name}\nCREATE VIEW {name}{storage} AS\n{text}"


def _steadily(order: TopologicalSorter[int]) -> Iterator[int]:
    order.prepare()
    ready = list(order.get_ready())
    while ready:
        ready.sort(reverse=True)
        yield (one := ready.pop())
        order.done(one)
        ready += order.get_ready()


def _rows(connection: psycopg.Connection[Any], query: LiteralString, oid: int) -> list[tuple[Any, ...]]:
    return connection.execute(query, (oid,)).fetchall()


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the file; without it, print")
    write = parser.parse_args().write
    sys.path.insert(0, str(ROOT))
    from timeseries.migrate import migrate
    from vigil.embedded.postgres import EmbeddedPostgres

    with (
        tempfile.TemporaryDirectory(prefix="vigil-schema-") as folder,
        EmbeddedPostgres(Path(folder) / "data") as server,
    ):
        migrate(server.url)
        with psycopg.connect(server.url, autocommit=True) as connection:
            text = schema(connection)
    if write:
        TARGET.write_text(text, "utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
