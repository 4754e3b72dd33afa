"""The real services as fixtures. A machine without Java, Maven or Node.js skips what needs them; CI fails instead."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tests.services import Unavailable
from tests.services.kafka import ApacheKafka, ensure_jars
from tests.services.timescale import TimescaleWasm, ensure_packages
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.postgres import EmbeddedPostgres

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """PostgreSQL 18 with fsync on; shared, so a test that kills it starts one of its own."""
    # Not below pytest's folder: another pytest run takes away the right to pass through that.
    with (
        tempfile.TemporaryDirectory(prefix="vigil-postgres-") as folder,
        EmbeddedPostgres(Path(folder) / "data") as server,
    ):
        yield server


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a new, empty database, dropped after the test."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield f"{postgres.url.rpartition('/')[0]}/{name}"
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def broker() -> Iterator[EmbeddedBroker]:
    """Tansu; shared, so each test names topics of its own."""
    with EmbeddedBroker() as server:
        yield server


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """Apache Kafka; a test that kills it starts it again."""
    _need(ensure_jars)
    with ApacheKafka(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture(scope="session")
def timescale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimescaleWasm]:
    """TimescaleDB; one session for all, so each test works in a schema of its own and drops it."""
    _need(ensure_packages)
    with TimescaleWasm(tmp_path_factory.mktemp("timescale") / "node.log") as server:
        yield server


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Recordings that are not part of the project."""
    folder = REPO.parent / "shared" / "realdata"
    if not folder.is_dir():
        pytest.skip("the recordings are not here: they are looked for in ../shared/realdata beside the repository")
    return folder


def _need(ensure: Callable[[], None]) -> None:
    try:
        ensure()
    except Unavailable as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
