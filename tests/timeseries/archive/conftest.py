"""An archive to work with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.timeseries.archive.making import Vault, copied_database, migrated_database
from vigil.embedded.postgres import EmbeddedPostgres


@pytest.fixture(scope="session")
def migrated(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The name of a migrated database, for all of these tests."""
    with migrated_database(postgres.url) as name:
        yield name


@pytest.fixture
def copied(postgres: EmbeddedPostgres, migrated: str) -> Iterator[str]:
    """The URL of a migrated database of this test's own."""
    with copied_database(postgres.url, migrated) as url:
        yield url


@pytest.fixture
def vault(copied: str, tmp_path: Path) -> Vault:
    """Two days of three people, not archived yet."""
    return Vault(copied, tmp_path / "archive").fill()
