"""Polar's compressed frames: a reference sample, then blocks of differences packed bit by bit, lowest bit first.

The reference has one little-endian two's-complement number a channel. A block is the width of a difference in bits, how
many samples it holds, and their differences: channel after channel, sample after sample, padded to a whole octet.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.gatt.frame import Frame

MAX_WIDTH: Final = 32
_INT32: Final = np.iinfo(np.int32)


def raw_samples(frame: Frame, channels: int, octets: int) -> NDArray[np.int32]:
    """Return what is left as samples of `channels` integers of `octets` each, shape (channels, n). May raise."""
    rest = frame.left
    if rest == 0 or rest % (channels * octets):
        raise frame.malformed(
            f"samples of {channels * octets} octets each from offset {frame.offset}, got {rest} octets"
        )
    return _integers(frame.rest(), octets).reshape(-1, channels).T


def delta_samples(frame: Frame, channels: int, octets: int) -> NDArray[np.int32]:
    """Return a compressed frame's samples, shape (channels, n). Raises `MalformedFrame`."""
    parts = [_integers(frame.take(channels * octets, "the reference sample"), octets).astype(np.int64)[:, None]]
    while frame.left:
        width, samples = frame.uint(1, "the width of a difference"), frame.uint(1, "the number of differences")
        if width > MAX_WIDTH:
            raise frame.malformed(f"differences of at most {MAX_WIDTH} bits at offset {frame.offset - 2}")
        packed = frame.take(-(-width * samples * channels // 8), "a block of differences")
        parts.append(_differences(packed, channels, samples, width))
    values = np.cumsum(np.concatenate(parts, axis=1), axis=1)
    if values.min() < _INT32.min or values.max() > _INT32.max:
        raise frame.malformed("samples that 32 bits can hold")
    return values.astype(np.int32)


def _differences(packed: bytes, channels: int, samples: int, width: int) -> NDArray[np.int64]:
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little", count=width * samples * channels)
    places = np.left_shift(1, np.arange(width, dtype=np.int64))
    places[-1:] *= -1  # two's complement: the highest bit counts below zero
    return (bits.reshape(samples, channels, width) @ places).astype(np.int64).T


def _integers(octets: bytes, size: int) -> NDArray[np.int32]:
    """Read little-endian two's-complement integers of `size` octets (1 to 4)."""
    wide = np.zeros((len(octets) // size, 4), np.uint8)
    wide[:, 4 - size :] = np.frombuffer(octets, np.uint8).reshape(-1, size)
    return wide.view("<i4")[:, 0].astype(np.int32) >> 8 * (4 - size)
