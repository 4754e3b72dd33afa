"""The console over a world in memory and over the same world in PostgreSQL: one suite for both."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from psycopg import sql

from console.app import create_app
from tests.console.world import FakeReader, World, put
from tests.services.timescale import TimescaleWasm
from timeseries.console_reader import ConsoleReader
from timeseries.migrate import migrate
from vitals.clock import from_datetime

NOW = datetime(2026, 7, 24, 3, 12, 44, tzinfo=UTC)
Visit = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@asynccontextmanager
async def visiting(
    reader: FakeReader | ConsoleReader, *, now: datetime = NOW, base: str = "http://127.0.0.1", **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A browser without scripts in front of the console; its forms come from the console's own pages."""
    app = create_app(reader, reader, clock=lambda: from_datetime(now), **settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"accept": "text/html", "sec-fetch-site": "same-origin"}
    async with app.router.lifespan_context(app), httpx.AsyncClient(
        transport=transport, base_url=base, headers=headers
    ) as client:  # fmt: skip
        yield client


@pytest.fixture(params=["memory", "postgres"])
def visit(request: pytest.FixtureRequest) -> Visit:
    """`async with visit(world) as client`: the console over that world."""
    if request.param == "memory":
        return lambda world, **settings: visiting(FakeReader(world), **settings)
    url = request.getfixturevalue("database")

    def stored(world: World, **settings: Any) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        put(url, world)
        return visiting(ConsoleReader(url), **settings)

    return stored


@pytest.fixture
def wasm(timescale: TimescaleWasm) -> Iterator[str]:
    """The address of TimescaleDB, migrated, while its one session works in a schema of its own."""
    schema = sql.Identifier(f"vigil_{uuid4().hex[:12]}")
    with timescale.connect() as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        connection.execute(sql.SQL("SET search_path = {}, public").format(schema))
        connection.execute("SET timezone = 'UTC'")
        migrate(timescale.dsn, prepare_threshold=None)
        yield timescale.dsn
    with timescale.connect() as connection:
        connection.execute("RESET search_path")
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))
