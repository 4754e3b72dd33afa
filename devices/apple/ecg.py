"""An ECG of an export (`electrocardiograms/*.csv`): a header of `Key,Value` lines, then one voltage a line.

The header is in the phone's language and holds the wearer's name and birth date. So it is not read by its keys: a value
counts only if it has the form of a recording's date, a sample rate, a unit or a watch's model, or is one of the known
words for a classification. Everything else is dropped where it stands.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.apple.dates import BadDate, DateReader
from devices.apple.summary import Rejected
from vitals.clock import US_PER_S
from vitals.waveform import WaveformChunk

MAX_BYTES: Final = 16 << 20
"""Half a minute at 512 Hz is 130 kB."""
SCALE: Final = 1e-6
"""Counts are nanovolts: the files give microvolts with three decimals, the catalogue wants millivolts."""
CHANNEL: Final = "lead_i"
_CHUNK_S: Final = 30
_MAX_HEADER: Final = 64
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}", re.ASCII)
_RATE: Final = re.compile(
    r"(\d{1,5}(?:[.,]\d{1,6})?) ?(?:hertz|hz|hercios?|гц|герц|赫兹|赫茲|ヘルツ|헤르츠)", re.IGNORECASE
)
_MODEL: Final = re.compile(r"Watch\d{1,2},\d{1,2}", re.ASCII)
_NUMBER: Final = re.compile(r"[-+]?\d[\d.,]*", re.ASCII)
NANOVOLT: Final = {
    "µv": 1e3, "μv": 1e3, "uv": 1e3, "mcv": 1e3, "microvolt": 1e3, "microvolts": 1e3, "mv": 1e6, "v": 1e9,
}  # fmt: skip
"""Folded unit -> nanovolts."""
_LABELS: Final = {
    "sinus_rhythm": "sinus rhythm|sinusrhythmus|rythme sinusal|ritmo sinusal|ritmo sinusale|sinusritme|sinusrytm|"
    "sinusrytme|sinusrytmi|rytm zatokowy|синусовый ритм|窦性心律|竇性心律|洞調律",
    "atrial_fibrillation": "atrial fibrillation|vorhofflimmern|fibrillation auriculaire|fibrillation atriale|"
    "fibrilación auricular|fibrillazione atriale|atriumfibrilleren|boezemfibrilleren|fibrilação atrial|"
    "fibrilação auricular|förmaksflimmer|atrieflimmer|atrieflimren|心房颤动|心房顫動|心房細動",
    "high_heart_rate": "high heart rate|inconclusive high heart rate|hohe herzfrequenz|fréquence cardiaque élevée",
    "low_heart_rate": "low heart rate|inconclusive low heart rate|niedrige herzfrequenz|fréquence cardiaque faible",
    "poor_recording": "poor recording|inconclusive poor recording|inconclusive poor reading|schlechte aufzeichnung",
    "inconclusive": "inconclusive|inconclusive other|nicht eindeutig|uneindeutig|non concluant|no concluyente|"
    "non conclusivo|inconcludente|geen uitsluitsel|inconclusivo|不确定|不確定|判定不能",
}  # fmt: skip
_WORDS: Final = {phrase: label for label, phrases in _LABELS.items() for phrase in phrases.split("|")}


class BadRecording(Exception):
    """A recording cannot be used; `reason` says why."""

    def __init__(self, reason: Rejected) -> None:
        super().__init__()
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Recording:
    """One ECG. `values`: int32 nanovolts of lead I; `model` of the watch and `label` are empty where not told."""

    start_us: int
    zone_offset_min: int
    rate_hz: float
    values: NDArray[np.int32]
    model: str
    label: str

    @property
    def end_us(self) -> int:
        """When the sample after the last was due."""
        return self.start_us + round(len(self.values) / self.rate_hz * US_PER_S)

    def chunks(self, received_us: int) -> tuple[WaveformChunk, ...]:
        """Return it in chunks of at most half a minute. They count as written when the recording ended."""
        size = max(1, round(_CHUNK_S * self.rate_hz))
        return tuple(self._chunk(at, size, received_us) for at in range(0, len(self.values), size))

    def _chunk(self, at: int, size: int, received_us: int) -> WaveformChunk:
        return WaveformChunk(
            metric="ecg",
            start_us=self.start_us + round(at / self.rate_hz * US_PER_S),
            rate_hz=self.rate_hz,
            values=self.values[at : at + size].reshape(1, -1),
            scale=SCALE,
            written_us=self.end_us,
            received_us=received_us,
            channel=CHANNEL,
            zone_offset_min=self.zone_offset_min,
        )


def read_ecg(data: bytes) -> Recording:
    """Read one csv file. Raises `BadRecording`."""
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise BadRecording(Rejected.NOT_WELL_FORMED) from None
    header = _header(lines)
    date, rate_hz = _find_date(header), _find_rate(header)
    values = _voltages(lines[len(header) :]) * _find_unit(header)
    if not len(values) or np.abs(values).max() > np.iinfo(np.int32).max:
        raise BadRecording(Rejected.VALUE)
    dates = DateReader()
    try:
        start_us = dates.time_us(date)
    except BadDate:
        raise BadRecording(Rejected.DATE) from None
    offset = dates.zone_offset_min(date, start_us, None)
    model = next((text for text in _values(header) if _MODEL.fullmatch(text)), "")
    label = next((found for text in _values(header) if (found := label_of(text))), "")
    return Recording(start_us, offset, rate_hz, np.rint(values).astype(np.int32), model, label)


def label_of(text: str) -> str:
    """Return the word for a classification in the languages known here, nothing for any other text."""
    return _WORDS.get(" ".join(text.casefold().replace("—", " ").replace("-", " ").split()), "")


def _header(lines: list[str]) -> list[str]:
    """Return the lines before the first voltage."""
    for at, line in enumerate(lines[: _MAX_HEADER + 1]):
        if _NUMBER.fullmatch(line.strip().strip('"')):
            return lines[:at]
    raise BadRecording(Rejected.VALUE)


def _values(header: list[str]) -> list[str]:
    return [_plain(field) for row in csv.reader(header) for field in row[1:]]


def _plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u202f", " ").strip(' "')


def _find_date(header: list[str]) -> str:
    found = next((text for text in _values(header) if _DATE.fullmatch(text)), None)
    if found is None:
        raise BadRecording(Rejected.DATE)
    return found


def _find_rate(header: list[str]) -> float:
    # Whole lines, because a decimal comma that is not quoted makes two fields of the rate.
    texts = [_plain(line.partition(",")[2]) for line in header]
    match = next((match for text in texts if (match := _RATE.fullmatch(text))), None)
    rate_hz = float(match[1].replace(",", ".")) if match else 0.0
    if not 1 <= rate_hz <= 20_000:
        raise BadRecording(Rejected.UNIT)
    return rate_hz


def _find_unit(header: list[str]) -> float:
    return next((NANOVOLT[text.casefold()] for text in _values(header) if text.casefold() in NANOVOLT), 1e3)


def _voltages(lines: list[str]) -> NDArray[np.float64]:
    """Return the numbers. Where both signs occur, the one that comes last on a line is the decimal one."""
    texts = [text for line in lines if (text := line.strip().strip('"').strip(" ,"))]
    both = next((text for text in texts if "," in text and "." in text), "")
    joined = "\n".join(texts)
    if both:
        grouping = "," if both.rfind(".") > both.rfind(",") else "."
        joined = joined.replace(grouping, "")
    elif "," in joined and "." in joined:
        raise BadRecording(Rejected.VALUE)
    try:
        values = np.array(joined.replace(",", ".").split("\n"), np.float64)
    except ValueError:
        raise BadRecording(Rejected.VALUE) from None
    if not np.isfinite(values).all():
        raise BadRecording(Rejected.NOT_FINITE)
    return values
