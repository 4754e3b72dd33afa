"""What the tests of all file adapters share: how a file is read, and where planted names are looked for."""

import io
import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from devices.adapter import Adapter, Piece, Reading, Session
from devices.errors import MalformedExport
from vitals.batch import SampleColumns, to_arrow
from vitals.catalogue import BY_CODE
from vitals.ids import is_opaque

KEY = b"a key for tests"
NOW_US = 1_780_000_000_000_000
SECRETS = ("Petronella", "Quackenbush", "1971-11-23", "11/23/71", "52.3675", "Utrecht", "petra@mail.example")
NAME = "Petronella Quackenbush"


def us(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()) * 1_000_000


@dataclass
class Told:
    """All that came out of a file."""

    pieces: list[Piece]
    reading: Reading
    error: MalformedExport | None = None

    @property
    def samples(self) -> SampleColumns:
        return SampleColumns.concat([piece.samples for piece in self.pieces if piece.samples is not None])

    @property
    def sessions(self) -> list[Session]:
        return [session for piece in self.pieces for session in piece.sessions]

    def of(self, code: str) -> list[tuple[int, float]]:
        """(start, value) of one metric, by time."""
        return [(start, value) for start, _, value in self.spans(code)]

    def spans(self, code: str) -> list[tuple[int, int, float]]:
        """(start, duration in ms, value) of one metric, by time."""
        found = [
            (int(s.start_us[at]), int(s.duration_ms[at]), float(s.value[at]))
            for s in (piece.samples for piece in self.pieces)
            if s is not None
            for at in np.flatnonzero(s.metric == BY_CODE[code].number)
        ]
        return sorted(found)


def told(
    adapter: Adapter, data: bytes | Path, *, zone: str = "UTC", batch_size: int = 5_000, fails: bool = False
) -> Told:
    """Read a file; whatever it is, the counts add up."""
    reading = Reading(NOW_US, KEY, zone, batch_size)
    result = Told([], reading)
    try:
        for piece in adapter.read(io.BytesIO(data) if isinstance(data, bytes) else data, reading):
            check_piece(piece, batch_size)
            result.pieces.append(piece)
    except MalformedExport as error:
        if not fails:
            raise
        result.error = error
    check_tally(result)
    return result


def check_piece(piece: Piece, batch_size: int) -> None:
    assert is_opaque(piece.device_id)
    assert is_opaque(piece.source_app)
    assert piece.samples is None or 0 < len(piece.samples) <= batch_size
    if piece.samples is not None:
        assert np.isfinite(piece.samples.value).all()
        assert (piece.samples.duration_ms >= 0).all()
    for session in piece.sessions:
        assert is_opaque(session.session_id)
        assert session.start_us <= session.end_us


def check_tally(result: Told) -> None:
    tally = result.reading.tally
    assert tally.read == tally.accepted + tally.rejected.total() + tally.ignored.total()
    assert tally.by_metric.total() == sum(len(p.samples) for p in result.pieces if p.samples is not None)
    assert tally.sessions == len(result.sessions)
    assert tally.waveforms == sum(len(p.waveforms) for p in result.pieces)


def holds_no_secret(text: str | bytes) -> None:
    raw = text if isinstance(text, bytes) else text.encode()
    for secret in SECRETS:
        for form in (secret, secret.lower(), secret.upper()):
            assert form.encode() not in raw
            assert form.encode("utf-16-le") not in raw


def _errors(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def check_private(result: Told) -> None:
    """Search everything that came out, errors too, for what was planted."""
    tally = result.reading.tally
    holds_no_secret(repr(tally) + json.dumps(tally.to_json()))
    for piece in result.pieces:
        holds_no_secret(repr(piece))
        holds_no_secret(pickle.dumps(piece))
        if piece.samples is not None:
            holds_no_secret(to_arrow(piece.samples).serialize().to_pybytes())
    for error in _errors(result.error):
        holds_no_secret(repr(error) + str(error) + repr(error.args) + repr(vars(error)))
