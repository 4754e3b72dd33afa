"""Bodies as they were before the sender compressed them: bounded in bytes, in ratio and in members. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, Protocol

from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

from ingest.gateway.problems import Code, Refused

ENCODINGS: Final = ("gzip", "zstd")
_FREE: Final = 1 << 20
_PIECE: Final = 1 << 18
_MEMBERS: Final = 256
# 8 MiB, the most that RFC 9659 allows over HTTP: a frame's header can ask for a window of gigabytes.
_WINDOW_LOG: Final = 23


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's object with the interface of the others: it keeps what it was given and did not come to."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self._tail = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._inner.decompress(self._tail + data, max_length)
        self._tail = self._inner.unconsumed_tail
        return out


def _zstd() -> _Decompressor:
    return ZstdDecompressor(options={DecompressionParameter.window_log_max: _WINDOW_LOG})


_MAKERS: Final[dict[str, Callable[[], _Decompressor]]] = {"gzip": _Gzip, "zstd": _zstd}


def encoding_of(given: str | None) -> str:
    """Return `identity`, `gzip` or `zstd`. Raises `Refused` (415) for any other and for more than one."""
    name = (given or "").strip().lower()
    name = {"": "identity", "x-gzip": "gzip"}.get(name, name)
    if name != "identity" and name not in ENCODINGS:
        raise Refused(
            415, Code.CONTENT_ENCODING, "Content-Encoding is one of gzip, zstd and identity, and only one of them",
            headers={"accept-encoding": ", ".join(ENCODINGS)},
        )  # fmt: skip
    return name


def unpack(raw: bytes, encoding: str, *, most_bytes: int, ratio: int) -> bytes:
    """Return what was compressed. Raises `Refused`: 413 beyond `most_bytes` or the ratio, 400 for a broken stream.

    The ratio counts beyond the first MiB. Several members or frames, one after the other, are one body.
    """
    if encoding == "identity":
        return raw
    by_ratio = _FREE + ratio * len(raw)
    bound = min(most_bytes, by_ratio)
    out: list[bytes] = []
    size = 0
    try:
        for _ in range(_MEMBERS):
            one = _MAKERS[encoding]()
            size, raw = _member(one, raw, out, size, bound)
            if size > bound:
                raise _too_much(by_ratio < most_bytes, most_bytes, ratio)
            if not raw:
                return b"".join(out)
    except (zlib.error, ZstdError, EOFError) as error:
        raise _broken() from error
    raise _broken()


def _member(one: _Decompressor, raw: bytes, out: list[bytes], size: int, bound: int) -> tuple[int, bytes]:
    """Append one member's bytes to `out`, a little more than `bound` at most; return the size and what follows."""
    given = raw
    while not one.eof and size <= bound:
        piece = one.decompress(given, min(_PIECE, bound + 1 - size))
        if not piece and not one.eof:  # all that was given is read, and the end has not come
            raise _broken()
        out.append(piece)
        size += len(piece)
        given = b""
    return size, one.unused_data


def _broken() -> Refused:
    return Refused(400, Code.BODY_NOT_READABLE, "the body is not what Content-Encoding says, or is cut off")


def _too_much(ratio_counts: bool, most_bytes: int, ratio: int) -> Refused:
    if ratio_counts:
        return Refused(
            413, Code.COMPRESSED_TOO_MUCH, f"a body may unpack to {ratio} times its size beyond the first MiB"
        )
    return Refused(413, Code.TOO_LARGE, f"a body has at most {most_bytes} bytes when unpacked")
