"""The dictionary in docs/data.md, made from catalogue and comments: `python tools/dictionary.py --write`.

Without `--write` it prints it. A test fails where the page lags behind.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "data.md"
BEGIN: Final = "<!-- dictionary: begin -->\n"
END: Final = "<!-- dictionary: end -->\n"

_VIEWS: Final[LiteralString] = """
SELECT c.oid, 'data.' || c.relname, obj_description(c.oid) FROM pg_class c
WHERE c.relnamespace = 'data'::regnamespace AND c.relkind = 'v' ORDER BY c.oid"""
# A view's column is told by the table that has a column of its name, among those that the view is made of.
_COLUMNS: Final[LiteralString] = """
SELECT a.attname, format_type(a.atttypid, NULL), coalesce(col_description(a.attrelid, a.attnum), (
    SELECT max(col_description(b.attrelid, b.attnum)) FROM pg_rewrite r
    JOIN pg_depend d ON d.objid = r.oid AND d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
    JOIN pg_attribute b ON b.attrelid = d.refobjid AND b.attname = a.attname
    WHERE r.ev_class = a.attrelid AND d.refobjid <> a.attrelid))
FROM pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""


def dictionary(connection: psycopg.Connection[Any]) -> str:
    """Return the dictionary of a migrated database as Markdown."""
    return "\n".join([*_metrics(), *_views(connection)]) + "\n"


def _metrics() -> Iterator[str]:
    from vitals.catalogue import METRICS

    yield "\n### Metrics\n"
    yield "| metric | LOINC | unit (UCUM) | kind | class | stored if within | expected every |"
    yield "|---|---|---|---|---|---|---|"
    for one in METRICS:
        every = "" if one.cadence_s is None else f"{one.cadence_s:g} s"
        means = f" ({', '.join(f'{key} {word}' for key, word in one.categories.items())})" if one.categories else ""
        yield (
            f"| `{one.code}` | {one.loinc or ''} | `{one.unit}` | {one.kind.value}{means} | {one.retention.value} "
            f"| {one.low:g} to {one.high:g} | {every} |"
        )


def _views(connection: psycopg.Connection[Any]) -> Iterator[str]:
    for oid, name, comment in connection.execute(_VIEWS).fetchall():
        yield f"\n### {name}\n\n{comment}\n\n| column | type | |\n|---|---|---|"
        for column, kind, told in connection.execute(_COLUMNS, (oid,)).fetchall():
            yield f"| `{column}` | {kind} | {(told or '').replace('|', '/')} |"


def refreshed(page: str, text: str) -> str:
    """Return the page with this dictionary in it."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{text}{END}{after}"


def main() -> None:
    """Print or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put it into docs/data.md")
    write = parser.parse_args().write
    sys.path.insert(0, str(ROOT))
    from timeseries.migrate import migrate
    from vigil.embedded.postgres import EmbeddedPostgres

    with (
        tempfile.TemporaryDirectory(prefix="vigil-words-") as folder,
        EmbeddedPostgres(Path(folder) / "data") as server,
    ):
        migrate(server.url)
        with psycopg.connect(server.url, autocommit=True) as connection:
            text = dictionary(connection)
    if write:
        PAGE.write_text(refreshed(PAGE.read_text("utf-8"), text), "utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
