"""A migrated database of one's own, and a way to it that can be broken."""

from collections.abc import AsyncIterator

import pytest

from tests.faults.proxy import Proxy


@pytest.fixture
def url(database: str) -> str:
    return database


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[Proxy]:
    async with Proxy(url) as made:
        yield made
