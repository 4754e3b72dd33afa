"""The doubts about a waveform chunk. Which ones are accepted at all is `vitals.waveform_validity`'s to say."""

from __future__ import annotations

from typing import Final

from vitals.clock import US_PER_S
from vitals.quality import TRUSTWORTHY, Context, Flag
from vitals.waveform import WaveformChunk
from vitals.waveform_validity import fault

__all__ = ["fault", "flags_of"]

_AHEAD_US: Final = 5 * US_PER_S


def flags_of(chunk: WaveformChunk) -> int:
    """Return the doubts about an accepted chunk, as bits of `Flag`."""
    marks = 0
    if chunk.quality < TRUSTWORTHY:
        marks |= Flag.LOW_QUALITY
    if chunk.context & Context.NO_CONTACT:
        marks |= Flag.NO_CONTACT
    if chunk.start_us > chunk.received_us + _AHEAD_US:
        marks |= Flag.CLOCK_AHEAD
    return int(marks)
