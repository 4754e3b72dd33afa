"""A short run of the fuzzer (`python -m tests.devices.fuzz` makes long ones); the seed is new each time and told."""

import random

from tests.devices.fuzz import UUIDS, fuzz


def test_fuzz() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    figures = fuzz(20_000, seed)
    # Every decoder was reached, by frames that it reads and, but for strings, by frames that it does not.
    assert set(figures.decoded) == set(UUIDS)
    assert set(UUIDS) - set(figures.malformed) <= {"2A29", "2A24", "2A25", "2A26", "2A27", "2A28"}
    assert figures.samples > 10_000
    assert figures.waveforms > 100
