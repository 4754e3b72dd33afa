"""Topics of a test's own."""

from uuid import uuid4

import pytest

from tests.stream.watch.world import make_topics
from vigil.embedded.broker import EmbeddedBroker


@pytest.fixture
async def name(broker: EmbeddedBroker) -> str:
    made = f"t{uuid4().hex[:8]}"
    await make_topics(broker.bootstrap, made)
    return made
