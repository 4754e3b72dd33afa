"""Edge: lists of RR intervals as samples: text with one a line, or a WFDB annotation file beside its header.

Text: one number a line, or a time and then the interval (`time,rr`, `time rr label`), as `ann2rr` and most tools write
them; `#` begins a remark. Intervals whose median is below 20 are seconds, else milliseconds. A first column that rises
all the way is the time of the beat that ends the interval, in seconds or in milliseconds, as its steps agree with the
intervals; where they agree in neither it is no time. One column that rises all the way is the times of beats. Times
above 1e8 s are since 1970. The annotation format is MIT's (WFDB Programmer's Guide, annot(5)): 16-bit words, six bits
of code and ten of samples since the last annotation.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vigil.replay.recording import MAX_SAMPLES, RELATIVE_BASE_US, Recording, UnreadableRecording, recording
from vitals.catalogue import number_of
from vitals.clock import US_PER_S

MAX_BYTES: Final = 256 * 1024 * 1024
_SPLIT: Final = re.compile(r"[,;\s]+")
_HEADING: Final = re.compile(r"(?i)\b(rr|nn|ibi|interval)")
_SKIP, _NUM, _SUB, _CHN, _AUX = 59, 60, 61, 62, 63
# Codes that mark a beat (WFDB, ecgcodes.h: NORMAL to SVESC, and the rarer ones up to 41).
_BEATS: Final = frozenset({*range(1, 14), 25, 30, 31, 34, 35, 38, 41})
_SECONDS_BELOW: Final = 20.0
_SURELY: Final = 8
"""So many lines that only rise are no intervals, and show whether times and intervals agree."""
_AGREED: Final = 0.1
_SINCE_1970_S, _LATEST_S, _LARGEST = 1e8, 1e11, 1e15
_LONGEST_MS: Final = 86_400_000.0
_LONGEST_S: Final = 100 * 366 * 86_400.0
"""Of a whole recording: what times beyond it say cannot be counted in microseconds."""


def read_text(path: Path) -> Recording:
    """Return the RR intervals of a text file. Raises `UnreadableRecording`."""
    _bounded(path)
    rows, refused = [], Counter[str]()
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            found = _numbers(line)
            if found is None:
                refused["line"] += number > 1  # the first line may say what the columns are
            elif found:
                rows.append(found)
    if not rows or len(rows) > MAX_SAMPLES:
        raise UnreadableRecording(f"{path.name} holds no RR intervals: one a line, in ms or s, is expected")
    made = _timed(np.array([[row[0], row[1] if len(row) > 1 else np.nan] for row in rows]), refused)
    if not len(made.columns):
        raise UnreadableRecording(f"{path.name} holds no RR intervals between 0 and a day")
    made.refused += +refused
    return made


def read_annotations(path: Path) -> Recording:
    """Return the RR intervals between the beats of a WFDB annotation file. Raises `UnreadableRecording`."""
    _bounded(path)
    hz = _frequency(path)
    beats = _beats(np.fromfile(path, "<u2").astype(np.int64))
    if len(beats) < 2:
        raise UnreadableRecording(f"{path.name} marks no two beats: is it a WFDB annotation file?")
    return between(beats / hz, [f"{len(beats)} beats at {hz:g} Hz"])


def is_annotations(path: Path) -> bool:
    """Tell whether a WFDB header lies beside the file: then it is no text."""
    return path.with_suffix(".hea").is_file() and path.suffix not in {".hea", ".dat", ".csv", ".txt"}


def is_list(path: Path) -> bool:
    """Tell whether a text begins like a list of intervals: with a number, or with a heading that speaks of them."""
    with path.open("rb") as file:
        lines = file.read(65_536).decode("utf-8-sig", errors="replace").splitlines()
    first = next((line for line in lines if line.split("#", 1)[0].strip()), "")
    return bool(_numbers(first)) or _HEADING.search(first) is not None


def _numbers(line: str) -> list[float] | None:
    """Return the numbers that begin a line; [] for an empty one or a remark, None for what is neither."""
    text = line.split("#", 1)[0].strip()
    if not text:
        return []
    found = []
    for word in _SPLIT.split(text[:200])[:2]:
        try:
            found.append(float(word))
        except ValueError:
            break
    return found if found and all(np.isfinite(found)) else None


def _timed(table: NDArray[np.float64], refused: Counter[str]) -> Recording:
    """Return the recording of rows of two numbers, NaN for a second one that is missing."""
    first, second = table[:, 0], table[:, 1]
    does_rise = bool((first[1:] > first[:-1]).all())
    if np.isnan(second).any():
        return _beats_at(first) if does_rise and len(first) >= _SURELY else _lasting(first, refused)
    if not does_rise:
        return _lasting(first, refused)
    rr_ms, note = _milliseconds(second)
    times_s = _seconds(first, rr_ms)
    if times_s is None:
        return _lasting(second, refused, "the first column does not agree with the intervals: it is taken for no time")
    # Halved before they are subtracted: two times may be farther apart than a float can say.
    fine = _possible(rr_ms, refused) & (times_s / 2 - times_s[0] / 2 <= _LONGEST_S / 2)
    refused["time"] += len(fine) - int(fine.sum()) - refused["interval"]
    rr_ms, at_s = rr_ms[fine], times_s[fine]
    end_us = _absolute(at_s)
    return _recorded(end_us - np.round(rr_ms * 1_000).astype(np.int64), rr_ms, [note, "times are the first column's"])


def _seconds(times: NDArray[np.float64], rr_ms: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return times in seconds, None where their steps do not agree with the intervals in seconds or milliseconds."""
    if len(times) < _SURELY:
        return times
    step, typical = np.diff(np.clip(times, -_LARGEST, _LARGEST)), float(np.median(rr_ms))
    for per_s in (1.0, 1_000.0):
        apart = min(float(np.median(np.abs(step * 1_000 / per_s - rr))) for rr in (rr_ms[1:], rr_ms[:-1]))
        if apart <= _AGREED * typical:
            return times / per_s
    return None


def _absolute(at_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return microseconds UTC of seconds since 1970, or from the start."""
    if len(at_s) and _SINCE_1970_S <= at_s[0] <= _LATEST_S:
        return np.round(at_s * US_PER_S).astype(np.int64)
    return RELATIVE_BASE_US + np.round((at_s - at_s[:1]) * US_PER_S).astype(np.int64)


def _beats_at(times: NDArray[np.float64]) -> Recording:
    """Return the intervals between the times of beats."""
    beats_s = np.clip(times, -_LARGEST, _LARGEST)
    if float(np.median(np.diff(beats_s))) >= _SECONDS_BELOW:
        beats_s = beats_s / 1_000
    beats_s = beats_s[beats_s / 2 - beats_s[0] / 2 <= _LONGEST_S / 2]
    at_us = _absolute(beats_s)
    return _recorded(
        at_us[:-1], np.round(np.diff(at_us) / 1_000, 3), [f"the column rises: {len(at_us):,} times of beats"]
    )


def _lasting(rr: NDArray[np.float64], refused: Counter[str], *notes: str) -> Recording:
    rr_ms, note = _milliseconds(rr)
    rr_ms = rr_ms[_possible(rr_ms, refused)]
    ends_us = np.cumsum(np.round(rr_ms * 1_000).astype(np.int64))
    fine = ends_us <= round(_LONGEST_S * US_PER_S)
    refused["time"] += len(fine) - int(fine.sum())
    begins = RELATIVE_BASE_US + np.concatenate(([0], ends_us[:-1])).astype(np.int64)[: len(ends_us)]
    return _recorded(begins[fine], rr_ms[fine], [note, *notes])


def _possible(rr_ms: NDArray[np.float64], refused: Counter[str]) -> NDArray[np.bool_]:
    """Mark intervals of 0 to a day, and count the others: the times of all that follow would be nonsense."""
    fine: NDArray[np.bool_] = (rr_ms >= 0) & (rr_ms <= _LONGEST_MS)
    refused["interval"] += len(fine) - int(fine.sum())
    return fine


def between(beats_s: NDArray[np.float64], notes: list[str]) -> Recording:
    """Return the intervals between beats at these seconds of a recording."""
    begins = RELATIVE_BASE_US + np.round(beats_s[:-1] * US_PER_S).astype(np.int64)
    return _recorded(begins, np.round(np.diff(beats_s) * 1_000, 3), notes)


def _milliseconds(rr: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    if float(np.median(np.clip(rr, 0.0, _LONGEST_MS))) < _SECONDS_BELOW:
        return np.clip(rr, -1.0, _LONGEST_MS) * 1_000, "intervals are seconds"
    return rr, "intervals are milliseconds"


def _recorded(begins_us: NDArray[np.int64], rr_ms: NDArray[np.float64], notes: list[str]) -> Recording:
    """Return beats as samples: begun when the interval began, received when it ended."""
    metric = np.full(len(rr_ms), number_of("rr_interval"), np.int16)
    end_us = begins_us + np.round(np.maximum(rr_ms, 0.0) * 1_000).astype(np.int64)
    made = recording(begins_us, metric, rr_ms, end_us=end_us)
    made.notes = notes
    return made


def _beats(words: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return at which sample each beat is marked."""
    told, at, i = [], 0, 0
    values = words.tolist()
    while i < len(values) and values[i]:
        code, value = values[i] >> 10, values[i] & 0x3FF
        i += 1
        if code == _SKIP and i + 1 < len(values):
            distance = (values[i] << 16) + values[i + 1]  # high word first
            at += distance - (1 << 32) if distance >= 1 << 31 else distance
            i += 2
        elif code == _AUX:
            i += (value + 1) // 2
        elif code not in {_SKIP, _NUM, _SUB, _CHN}:
            at += value
            if code in _BEATS:
                told.append(at)
    return np.unique(np.array(told, np.int64))


def _frequency(path: Path) -> float:
    """Return the sampling frequency of the record's header: the third word of its first line, 250 Hz by default."""
    try:
        lines = path.with_suffix(".hea").read_text("ascii", errors="replace")[:65_536].splitlines()
        words = next(line for line in lines if line.strip() and not line.startswith("#")).split()
        hz = float(words[2].split("/")[0].split("(")[0]) if len(words) > 2 else 250.0
    except (OSError, StopIteration, ValueError):
        raise UnreadableRecording(f"{path.with_suffix('.hea').name} tells no sampling frequency") from None
    if not 1 <= hz <= 100_000:
        raise UnreadableRecording(f"{path.with_suffix('.hea').name} tells a sampling frequency beyond 1 to 100,000 Hz")
    return hz


def _bounded(path: Path) -> None:
    if path.stat().st_size > MAX_BYTES:
        raise UnreadableRecording(f"{path.name} is larger than {MAX_BYTES // 1024**2} MiB")
