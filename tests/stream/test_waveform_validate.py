"""Chunks that cannot be are refused whole, with the first reason; doubtful ones are flagged."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stream.waveform_validate import fault, flags_of
from tests.stream.making import T0, S
from tests.stream.waveforms import chunks
from vitals.quality import Context, Flag, Reason

GOOD = chunks("ecg", 130.0, np.zeros((1, 130)))[0]


def test_a_good_chunk_passes() -> None:
    assert fault(GOOD) is None
    assert flags_of(GOOD) == 0
    assert fault(chunks("acceleration", 50.0, np.ones((3, 5)))[0]) is None
    assert fault(chunks("ppg", 50.0, np.full((1, 5), 8e6))[0]) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metric": "heart_rate"}, Reason.UNKNOWN_METRIC),
        ({"metric": "eeg"}, Reason.UNKNOWN_METRIC),
        ({"channel": "Anna's lead"}, Reason.HEADERS),
        ({"channel": "x" * 17}, Reason.HEADERS),
        ({"values": np.zeros((2, 5), np.int32)}, Reason.SCHEMA_MISMATCH),
        ({"rate_hz": float("nan")}, Reason.NOT_FINITE),
        ({"scale": float("inf")}, Reason.NOT_FINITE),
        ({"scale": 0.0}, Reason.NOT_FINITE),
        ({"quality": float("nan")}, Reason.QUALITY),
        ({"quality": 1.1}, Reason.QUALITY),
        ({"values": np.full((1, 5), 60_000, np.int32)}, Reason.OUT_OF_RANGE),
        ({"values": np.full((1, 5), 60_000, np.int32), "scale": -0.001}, Reason.OUT_OF_RANGE),
        ({"rate_hz": 0.1}, Reason.DURATION),
        ({"rate_hz": 1e6}, Reason.DURATION),
        ({"rate_hz": 1.0, "values": np.zeros((1, 601), np.int32)}, Reason.DURATION),
        ({"start_us": 0}, Reason.TOO_OLD),
        ({"written_us": 0}, Reason.TOO_OLD),
        ({"start_us": T0 + 400 * S}, Reason.FUTURE),
        ({"received_us": 2**62}, Reason.FUTURE),
    ],
)
def test_what_cannot_be(changes: dict[str, Any], reason: Reason) -> None:
    assert fault(replace(GOOD, **changes)) is reason


def test_doubts() -> None:
    doubtful = replace(GOOD, quality=0.0, context=int(Context.NO_CONTACT), start_us=GOOD.received_us + 6 * S)
    assert flags_of(doubtful) == Flag.LOW_QUALITY | Flag.NO_CONTACT | Flag.CLOCK_AHEAD
