"""The adapter of FIT files."""

from __future__ import annotations

from collections.abc import Iterator
from os import SEEK_END
from typing import Final

from devices.adapter import Piece, Reading, Source
from devices.archive import opened
from devices.errors import MalformedExport
from devices.fit.framing import frames
from devices.fit.messages import messages
from devices.fit.reader import FitFile
from devices.local_time import Zone
from devices.rows import Rows, drained

MAX_FIT_BYTES: Final = 32 << 20
"""Two weeks of a watch that tells ten fields a second."""
_EVERY: Final = 1_000


def read_fit(data: bytes, rows: Rows, reading: Reading, zone: Zone) -> Iterator[int]:
    """Read FIT bytes into `rows`; yield now and then how many bytes are done, so that `rows` can be emptied.

    Raises `MalformedExport` where they cannot be read to their end; what stood before is in `rows`.
    """
    done = 0
    for frame in frames(data):
        file = FitFile(rows, reading, zone)
        try:
            for count, (name, fields) in enumerate(messages(frame.data)):
                file.take(name, fields)
                if count % _EVERY == 0:
                    yield done
        finally:
            file.finish()
        done += len(frame.data)
        yield done
        if not frame.whole:
            raise MalformedExport("the FIT file is cut short", offset=done)


class FitAdapter:
    """Reads a FIT file: heart rate, RR intervals, SpO2, breathing, steps, cadence, speed, sleep stages, workouts."""

    name = "fit-file"
    about = "A FIT file of a watch or bike computer: an activity, a day's monitoring or a night's sleep."

    def read(self, source: Source, reading: Reading) -> Iterator[Piece]:
        """Yield what the file tells (see `devices.adapter.Adapter.read`)."""
        rows, zone = Rows(reading), Zone(reading.zone)
        with opened(source) as file:
            total = file.seek(0, SEEK_END)
            if total > MAX_FIT_BYTES:
                raise MalformedExport(f"larger than {MAX_FIT_BYTES} bytes, which no FIT file is")
            file.seek(0)
            data = file.read(MAX_FIT_BYTES)
        yield from drained(rows, self._steps(data, rows, reading, zone))

    @staticmethod
    def _steps(data: bytes, rows: Rows, reading: Reading, zone: Zone) -> Iterator[None]:
        for done in read_fit(data, rows, reading, zone):
            reading.on_progress(done, len(data))
            yield


ADAPTER: Final = FitAdapter()
