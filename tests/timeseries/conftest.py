"""TimescaleDB for one test."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from psycopg import sql

from tests.services.timescale import TimescaleWasm


@pytest.fixture
def wasm(timescale: TimescaleWasm) -> Iterator[str]:
    """The address of TimescaleDB while its one session works in a schema of its own."""
    schema = sql.Identifier(f"vigil_{uuid4().hex[:12]}")
    with timescale.connect() as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        connection.execute(sql.SQL("SET search_path = {}, public").format(schema))
        connection.execute("SET timezone = 'UTC'")
        yield timescale.dsn
    with timescale.connect() as connection:
        connection.execute("RESET search_path")
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))
