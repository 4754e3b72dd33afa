"""The real services as fixtures. A machine without Java, Maven or Node.js skips what needs them; CI fails instead."""

import gc
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
from psycopg import sql

from tests import parallel
from tests.services import Unavailable
from tests.services.databases import copied_database, migrated_database
from tests.services.kafka import ApacheKafka, ensure_jars
from tests.services.timescale import TimescaleWasm, ensure_packages
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.postgres import EmbeddedPostgres

REPO = Path(__file__).resolve().parent.parent


_FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()
"""What the workers of a run share, where there are several: tests/parallel.py."""


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # until all tests are there: of what they import nothing is garbage, and looking took long
    if worker := getattr(config, "workerinput", None):
        parallel.draw_ports_apart(int(worker["workerid"].removeprefix("gw")), worker["workercount"])


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_configure_node(node: Any) -> None:
    if _FOLDER not in node.config.stash:
        node.config.stash[_FOLDER] = tempfile.TemporaryDirectory(prefix="vigil-tests-")
    node.workerinput["folder"] = node.config.stash[_FOLDER].name


def pytest_unconfigure(config: pytest.Config) -> None:
    if _FOLDER in config.stash:
        config.stash[_FOLDER].cleanup()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> parallel.Groups | None:
    if config.getoption("dist") != "loadgroup":
        return None
    return parallel.Groups(config, log, Path(config.stash[_FOLDER].name))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    parallel.tell_apart(items)
    if worker := getattr(config, "workerinput", None):
        parallel.tell(parallel.arrange(items), Path(worker["folder"]))


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes are told by their number: a file or a record may hold the time or an id, and workers must agree."""
    return f"{len(val)} bytes" if isinstance(val, bytes) and len(val) >= 16 else None


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of the test's timeout: waiting is not its own
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    worker = getattr(item.config, "workerinput", None)
    if worker is None:
        return (yield)
    with parallel.turn(Path(worker["folder"]), alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """PostgreSQL 18 with fsync on; shared, so a test that kills it starts one of its own."""
    # Not below pytest's folder: another pytest run takes away the right to pass through that.
    with (
        tempfile.TemporaryDirectory(prefix="vigil-postgres-") as folder,
        EmbeddedPostgres(Path(folder) / "data") as server,
    ):
        _make_connecting_cheap(server.url)
        yield server


def _make_connecting_cheap(url: str) -> None:
    """A password's 4096 rounds are most of what a connection costs its client, and tests make tens of thousands."""
    password = unquote(urlsplit(url).password or "")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("SET scram_iterations = 1")
        admin.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(sql.Literal(password)))


@pytest.fixture(scope="session")
def schema(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The name of a database with the whole schema, to be copied: that takes a sixth of what migrating takes."""
    with migrated_database(postgres.url) as name:
        yield name


@pytest.fixture
def database(postgres: EmbeddedPostgres, schema: str) -> Iterator[str]:
    """The URL of a new database with the schema and no rows, dropped after the test."""
    with copied_database(postgres.url, schema) as url:
        yield url


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a new database with nothing in it, dropped after the test."""
    with copied_database(postgres.url, "template1") as url:
        yield url


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
