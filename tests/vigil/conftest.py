"""A database with the schema in it, copied for each test; `vigil` is told of it."""

from collections.abc import Iterator

import pytest

from tests.services.databases import copied_database
from vigil.embedded.postgres import EmbeddedPostgres
from vigil.settings import settings


@pytest.fixture(scope="module")
def migrated(schema: str) -> str:
    """The name of the database that is copied; a module may fill one of its own."""
    return schema


@pytest.fixture
def url(postgres: EmbeddedPostgres, migrated: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a copy of its own, which is also DATABASE_URL."""
    with copied_database(postgres.url, migrated) as database:
        monkeypatch.setenv("DATABASE_URL", database)
        settings.cache_clear()
        yield database
        settings.cache_clear()
