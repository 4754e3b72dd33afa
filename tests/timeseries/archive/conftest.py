"""An archive to work with."""

from pathlib import Path

import pytest

from tests.timeseries.archive.making import Vault


@pytest.fixture
def vault(database: str, tmp_path: Path) -> Vault:
    """Two days of three people, not archived yet."""
    return Vault(database, tmp_path / "archive").fill()
