"""A Polar sensor's side, written from the published layouts and sharing nothing with the decoders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def header(kind: int, timestamp_ns: int, frame_type: int) -> bytes:
    return bytes((kind,)) + timestamp_ns.to_bytes(8, "little") + bytes((frame_type,))


def raw(samples: Sequence[Sequence[int]], octets: int) -> bytes:
    """Encode samples (each one number a channel) uncompressed."""
    return b"".join(one.to_bytes(octets, "little", signed=True) for sample in samples for one in sample)


def delta_block(differences: Sequence[Sequence[int]], width: int) -> bytes:
    """Encode a block of differences, bit by bit, lowest first."""
    bits = [(one & ((1 << width) - 1)) >> bit & 1 for sample in differences for one in sample for bit in range(width)]
    bits += [0] * (-len(bits) % 8)
    octets = [sum(bit << place for place, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8)]
    return bytes((width, len(differences), *octets))


def compressed(samples: Sequence[Sequence[int]], octets: int, block: int) -> bytes:
    """Encode samples as a reference and blocks of up to `block` differences, each as wide as it must be."""
    frame = raw(samples[:1], octets)
    steps = [[b - a for a, b in zip(one, two, strict=True)] for one, two in pairwise(samples)]
    for at in range(0, len(steps), block):
        part = steps[at : at + block]
        width = max(max(one, -1 - one).bit_length() + 1 for sample in part for one in sample)
        frame += delta_block(part, width)
    return frame


def beats(rows: Sequence[tuple[int, int, int, int]]) -> bytes:
    """Encode beat intervals of (heart rate, ms, error in ms, flags)."""
    return b"".join(
        bytes((hr,)) + ms.to_bytes(2, "little") + error.to_bytes(2, "little") + bytes((flags,))
        for hr, ms, error, flags in rows
    )
