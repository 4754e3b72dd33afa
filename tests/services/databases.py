"""Databases of one's own on a shared PostgreSQL: with the schema, or as copies of another."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg import sql

from timeseries.migrate import migrate


@contextmanager
def migrated_database(server: str) -> Iterator[str]:
    """The name of a database to copy, migrated once for many tests."""
    name = f"migrated_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        migrate(f"{server.rpartition('/')[0]}/{name}")
        yield name
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def copied_database(server: str, of: str) -> Iterator[str]:
    """The URL of a copy of a database, dropped afterwards."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(of)))
        yield f"{server.rpartition('/')[0]}/{name}"
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
