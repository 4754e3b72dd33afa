"""What senders compressed: the same bytes back, and never more than the bounds."""

from __future__ import annotations

import contextlib
import gzip
import random
import zlib
from collections.abc import Callable

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from ingest.gateway.problems import Refused
from ingest.gateway.unpack import encoding_of, unpack

MIB = 1 << 20
PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}


def unpacked(raw: bytes, encoding: str, most_bytes: int = 8 * MIB) -> bytes:
    return unpack(raw, encoding, most_bytes=most_bytes, ratio=100)


def refusal(raw: bytes, encoding: str, most_bytes: int = 8 * MIB) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        unpacked(raw, encoding, most_bytes)
    return caught.value.status, str(caught.value.code)


@given(st.sampled_from(sorted(PACK)), st.lists(st.binary(max_size=2_000), min_size=1, max_size=5))
def test_members_one_after_the_other_are_one_body(encoding: str, parts: list[bytes]) -> None:
    assert unpacked(b"".join(PACK[encoding](part) for part in parts), encoding) == b"".join(parts)


@pytest.mark.parametrize("encoding", sorted(PACK))
def test_a_large_body_comes_back_whole(encoding: str) -> None:
    body = random.Random(7).randbytes(3 * MIB)
    assert unpacked(PACK[encoding](body), encoding) == body
    assert unpacked(PACK[encoding](body), encoding, len(body)) == body
    assert refusal(PACK[encoding](body), encoding, len(body) - 1) == (413, "too_large")


@pytest.mark.parametrize("encoding", sorted(PACK))
def test_a_bomb_is_refused_by_its_ratio(encoding: str) -> None:
    assert refusal(PACK[encoding](bytes(64 * MIB)), encoding, 512 * MIB)[1] == "compressed_too_much"
    assert refusal(PACK[encoding](bytes(64 * MIB)), encoding)[0] == 413
    assert unpacked(PACK[encoding](bytes(MIB)), encoding) == bytes(MIB)  # the first MiB may be anything


@pytest.mark.parametrize("encoding", sorted(PACK))
def test_bombs_in_a_row_count_together(encoding: str) -> None:
    assert refusal(PACK[encoding](bytes(MIB)) * 40, encoding)[0] == 413


@pytest.mark.parametrize("encoding", sorted(PACK))
def test_thousands_of_empty_members_are_no_body(encoding: str) -> None:
    assert refusal(PACK[encoding](b"") * 5_000, encoding) == (400, "body_not_readable")


@given(st.sampled_from(sorted(PACK)), st.binary(min_size=1, max_size=500), st.integers(0, 10_000))
def test_any_cut_is_refused(encoding: str, body: bytes, at: int) -> None:
    packed = PACK[encoding](body)
    assert refusal(packed[: at % len(packed)], encoding) == (400, "body_not_readable")


@given(st.sampled_from(sorted(PACK)), st.binary(max_size=500))
def test_any_bytes_are_read_or_refused(encoding: str, raw: bytes) -> None:
    with contextlib.suppress(Refused):
        assert len(unpacked(raw, encoding)) <= 8 * MIB


def test_what_follows_a_member_must_be_one() -> None:
    assert refusal(gzip.compress(b"{}") + b"\0\0\0", "gzip")[0] == 400
    assert refusal(zstd.compress(b"{}") + b"rubbish", "zstd")[0] == 400
    assert refusal(zlib.compress(b"{}"), "gzip")[0] == 400


def test_a_zstd_frame_may_not_ask_for_gigabytes_of_window() -> None:
    wide = zstd.compress(bytes(100), options={zstd.CompressionParameter.window_log: 27})
    parameters: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    packer = zstd.ZstdCompressor(options=parameters)
    stream = packer.compress(bytes(100), mode=packer.FLUSH_BLOCK) + packer.flush()
    assert refusal(stream, "zstd") == (400, "body_not_readable")
    assert unpacked(wide, "zstd") == bytes(100)  # the size is known, so no window is needed


def test_encodings() -> None:
    assert encoding_of(None) == encoding_of("") == encoding_of("Identity") == "identity"
    assert encoding_of("GZIP") == encoding_of("x-gzip") == "gzip"
    assert encoding_of(" zstd ") == "zstd"
    for bad in ("br", "deflate", "gzip, gzip", "gzip,zstd", "gzip;q=1", "\u017fstd"):
        with pytest.raises(Refused) as caught:
            encoding_of(bad)
        assert caught.value.status == 415
