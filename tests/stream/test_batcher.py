"""Batches are bounded, in order, and one at a time; what breaks the sink is told."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.batcher import Batcher


class Sink:
    def __init__(self, pause_s: float = 0.0) -> None:
        self.batches: list[list[int]] = []
        self.broken: list[BaseException] = []
        self.at_work = 0
        self._pause_s = pause_s

    async def take(self, batch: list[int]) -> None:
        self.at_work += 1
        assert self.at_work == 1, "two batches at once"
        await asyncio.sleep(self._pause_s)
        self.batches.append(batch)
        self.at_work -= 1

    async def tell(self, error: BaseException) -> None:
        self.broken.append(error)


def batcher(sink: Sink, max_records: int = 3, max_bytes: int = 100, within_s: float = 0.02) -> Batcher[int]:
    return Batcher(sink.take, sink.tell, max_records=max_records, max_bytes=max_bytes, within_s=within_s)


@pytest.mark.alone
async def test_a_full_batch_goes_at_once_and_a_small_one_after_its_time() -> None:
    sink = Sink()
    gathering = batcher(sink)
    for number in range(4):
        await gathering.add(number, 1, 1)
    assert sink.batches == [[0, 1, 2]]
    await asyncio.sleep(0.1)
    assert sink.batches == [[0, 1, 2], [3]]


async def test_bytes_make_a_batch_full() -> None:
    sink = Sink()
    gathering = batcher(sink, max_records=100)
    await gathering.add(0, 1, 60)
    await gathering.add(1, 1, 60)
    assert sink.batches == [[0, 1]]


@pytest.mark.alone
async def test_a_busy_sink_holds_up_whoever_adds_once_a_batch_is_full() -> None:
    sink = Sink(pause_s=0.2)
    gathering = batcher(sink)
    begun = asyncio.get_running_loop().time()
    first = asyncio.create_task(_add(gathering, [0, 1, 2]))
    await asyncio.sleep(0.01)
    await _add(gathering, [3, 4])
    assert asyncio.get_running_loop().time() - begun < 0.15
    await gathering.add(5, 1, 1)
    assert asyncio.get_running_loop().time() - begun > 0.35
    await first
    assert sink.batches == [[0, 1, 2], [3, 4, 5]]


async def _add(gathering: Batcher[int], numbers: list[int]) -> None:
    for number in numbers:
        await gathering.add(number, 1, 1)


@pytest.mark.alone
async def test_what_breaks_the_sink_is_told_though_nobody_waits() -> None:
    class Broken(Sink):
        async def take(self, batch: list[int]) -> None:
            raise RuntimeError("broken")

    sink = Broken()
    await batcher(sink).add(0, 1, 1)
    await asyncio.sleep(0.1)
    assert [str(error) for error in sink.broken] == ["broken"]
    with pytest.raises(RuntimeError, match="broken"):
        await _add(batcher(sink), [0, 1, 2])


@given(st.lists(st.integers(0, 60), max_size=40), st.integers(1, 5))
def test_nothing_is_lost_and_order_stays(sizes: list[int], max_records: int) -> None:
    async def run() -> list[list[int]]:
        sink = Sink()
        gathering = batcher(sink, max_records=max_records, within_s=10.0)
        for number, size in enumerate(sizes):
            await gathering.add(number, 1, size)
        await gathering.flush()
        return sink.batches

    batches = asyncio.run(run())
    assert [number for batch in batches for number in batch] == list(range(len(sizes)))
    assert all(0 < len(batch) <= max_records for batch in batches)
    assert all(sum(sizes[number] for number in batch[:-1]) < 100 for batch in batches)
