"""The schema file, the migrations and both modes say the same."""

from typing import LiteralString

import psycopg

from tests.timeseries.making import query
from timeseries.migrate import migrate
from tools.schema import TARGET, schema

# What a migration's author may have told in one mode only: TimescaleDB's views in the place of tables.
_COLUMNS: LiteralString = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0
  AND NOT a.attisdropped
ORDER BY 1, 2"""


def read(url: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        return schema(connection)


def without_comments(text: str) -> list[str]:
    return [bare for line in text.splitlines() if (bare := line.split("  -- ")[0]) and not bare.startswith("-- ")]


def test_the_schema_file_is_what_the_migrations_leave(database: str) -> None:
    assert read(database) == TARGET.read_text("utf-8"), "run: python tools/schema.py --write"


def test_the_schema_file_makes_the_same_database_as_the_migrations(empty_database: str) -> None:
    written = TARGET.read_text("utf-8")
    query(empty_database, written)
    assert without_comments(read(empty_database)) == without_comments(written)


def test_both_modes_have_the_same_tables_and_columns(database: str, wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    stock, timescale = set(query(database, _COLUMNS)), set(query(wasm, _COLUMNS))
    assert stock - timescale == set()
    assert {name for name, _, _ in timescale - stock} <= {"chunks"}
