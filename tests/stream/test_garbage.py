"""What has lived is not walked again and again, a cycle goes in the end, and nothing of it outlives the watch."""

import gc
import weakref

import pytest

from stream.garbage import tended
from tests.stream.watch.world import until


class Knot:
    """Holds itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def _only_when_asked() -> object:
    gc.collect()
    gc.disable()  # what goes in these tests goes because it was asked for
    yield
    gc.enable()


async def has(happened: bool) -> bool:
    return happened


async def test_what_has_lived_is_left_out_until_everything_is_looked_at() -> None:
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    knot = Knot()
    gone = weakref.ref(knot)
    async with tended(0.01, 0.5):
        await until(lambda: has(gc.get_freeze_count() > frozen))
        assert gc.get_threshold() != thresholds
        del knot
        assert gone() is not None
        await until(lambda: has(gone() is None))
    assert gc.get_threshold() == thresholds
    assert gc.get_freeze_count() == 0
