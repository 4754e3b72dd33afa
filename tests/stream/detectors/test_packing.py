"""A state goes to the snapshot and comes back the same; what is damaged says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.detectors.observation import OBSERVATION, Observations
from stream.detectors.packing import Unpackable, pack, unpack
from stream.detectors.sustain import Run, Sustained


@dataclass(frozen=True, slots=True)
class Inner:
    at_us: int
    level: float


@dataclass(frozen=True, slots=True)
class State:
    buffer: NDArray[np.float32]
    rows: Observations
    held: Sustained
    parts: tuple[Inner, ...]
    by_name: Mapping[str, float]
    pair: tuple[int, float] = (1, 2.0)
    word: str | None = None
    inner: Inner | None = None
    far: float = float("-inf")


STATE = State(
    np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(2, OBSERVATION),
    Sustained(5, 1, 2, Run(1, 2, 3, 4, ((1, 2.0, 0.5),))), (Inner(1, 0.5), Inner(2, float("nan"))), {"a": 1.0},
    word="x", inner=Inner(3, 4.0),
)  # fmt: skip


def there_and_back(state: State) -> State:
    return unpack(State, json.loads(json.dumps(pack(state), allow_nan=False)))


def test_a_state_comes_back_the_same() -> None:
    back = there_and_back(STATE)
    assert back.buffer.dtype == np.float32
    np.testing.assert_array_equal(back.buffer, STATE.buffer)
    assert back.rows.dtype == OBSERVATION
    assert (back.held, back.pair, back.word, back.inner) == (STATE.held, STATE.pair, STATE.word, STATE.inner)
    assert back.parts[0] == STATE.parts[0]
    assert np.isnan(back.parts[1].level)
    assert back.far == float("-inf")
    assert dict(back.by_name) == {"a": 1.0}
    back.buffer[0, 0] = 9  # its own memory, not the message's


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {"buffer": 1},
        {**pack(STATE), "extra": 1},
        {**pack(STATE), "buffer": ["<f4", [2, 2], "AAAA"]},
        {**pack(STATE), "buffer": ["|O", [1], "AAAAAAAAAAA="]},
        {**pack(STATE), "held": {"at_us": "x"}},
    ],
)
def test_what_is_damaged_says_so(broken: Any) -> None:
    with pytest.raises(Unpackable):
        unpack(State, broken)


def test_what_no_state_may_hold_is_refused() -> None:
    with pytest.raises(TypeError):
        pack({1, 2})
