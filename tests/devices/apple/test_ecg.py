"""ECG files of an export: recordings in whatever language, and nothing of who recorded them."""

from itertools import pairwise

import numpy as np
import pytest

from devices.apple.summary import Rejected
from ingest.waveform_record import decode_chunk, encode_chunk
from stream.waveform_validate import fault
from tests.devices.apple.exports import NOW_US, document, element, read, sessions, zipped
from vitals.batch import BatchHeader
from vitals.ids import patient_id
from vitals.waveform import WaveformChunk

ENGLISH = """Name,Petronella Quackenbush
Date of Birth,"23 Nov 1971"
Recorded Date,2024-03-31 03:00:00 +0200
Classification,Sinus Rhythm
Symptoms,
Software Version,1.90
Device,"Watch6,7"
Sample Rate,512 hertz


Lead,Lead I
Unit,µV

"""
GERMAN = """Name,Petronella Quackenbush
Geburtsdatum,23.11.1971
Aufgezeichnet am,2024-03-31 03:00:00 +0200
Klassifizierung,Vorhofflimmern
Symptome,
Softwareversion,1.90
Gerät,"Watch6,7"
Messrate,"511,422\u00a0Hertz"

Ableitung,Ableitung I
Einheit,µV

"""


def _read(*files: str) -> tuple[list[WaveformChunk], list[tuple[str, str]], dict[str, int]]:
    members = {f"apple_health_export/electrocardiograms/ecg_{i}.csv": text.encode() for i, text in enumerate(files)}
    pieces, summary = read(zipped(**{"apple_health_export/export.xml": document(element()), **members}))
    told = [(one.kind, one.label) for one in sessions(pieces)]
    assert summary.ecgs == len(files)
    return [chunk for piece in pieces for chunk in piece.waveforms], told, dict(summary.rejected_ecgs)


def test_a_recording_is_a_waveform_and_a_session() -> None:
    microvolts = np.round(300 * np.sin(np.arange(512 * 30) / 40), 3)
    (chunk,), told, _ = _read(ENGLISH + "\n".join(f"{v:.3f}" for v in microvolts) + "\n")
    assert (chunk.metric, chunk.channel, chunk.rate_hz, chunk.zone_offset_min) == ("ecg", "lead_i", 512.0, 120)
    assert chunk.start_us == 1_711_846_800_000_000  # 2024-03-31T01:00:00Z
    assert chunk.end_us - chunk.start_us == 30_000_000
    assert chunk.written_us == chunk.end_us, "the same in every import"
    np.testing.assert_allclose(chunk.physical()[0], microvolts / 1_000, atol=1e-9)
    assert told == [("ecg", "sinus_rhythm")]
    assert fault(chunk) is None
    header = BatchHeader(patient_id("p"), "hk-1", "app-1", "apple-export")  # type: ignore[arg-type]
    record = encode_chunk(header, chunk)
    assert decode_chunk(record.key, record.value, record.headers)[1].samples == chunk.samples


def test_the_same_recording_has_the_same_session_and_device_in_every_import() -> None:
    packed = zipped(**{"export.xml": document(element()), "electrocardiograms/e.csv": (ENGLISH + "1\n2\n").encode()})
    one, two = (read(packed)[0] for _ in range(2))
    assert sessions(one) == sessions(two)
    assert [piece.device_id for piece in one] == [piece.device_id for piece in two]


def test_decimal_commas_and_another_language() -> None:
    (chunk,), told, _ = _read(GERMAN + "-265,868\n-271,819\n12\n0,5\n")
    assert chunk.rate_hz == 511.422
    assert chunk.values.tolist() == [[-265_868, -271_819, 12_000, 500]]
    assert told == [("ecg", "atrial_fibrillation")]


@pytest.mark.parametrize(
    ("lines", "microvolts"),
    [
        ("1,234.5\n-3.5\n", [1_234.5, -3.5]),
        ("1.234,5\n-3,5\n", [1_234.5, -3.5]),
        ('"12,5"\n"-3,25"\n', [12.5, -3.25]),
        ("12.5,\n-3.25,\n", [12.5, -3.25]),
        ("1\r\n2\r\n", [1, 2]),
    ],
)
def test_numbers_as_locales_write_them(lines: str, microvolts: list[float]) -> None:
    (chunk,), _, _ = _read(ENGLISH + lines)
    assert chunk.values[0].tolist() == [round(value * 1_000) for value in microvolts]


def test_a_decimal_comma_that_is_not_quoted_is_one_sample_rate() -> None:
    (chunk,), _, _ = _read(GERMAN.replace('"511,422\u00a0Hertz"', "511,422 hertz") + "1\n")
    assert chunk.rate_hz == 511.422


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (ENGLISH, Rejected.VALUE),
        (ENGLISH + "1.5\nlead off\n2.5\n", Rejected.VALUE),
        (ENGLISH + "1.5\n2,5\n", Rejected.VALUE),
        (ENGLISH + "1" * 400 + "\n", Rejected.NOT_FINITE),
        (ENGLISH + "12345678.9\n", Rejected.VALUE),
        (ENGLISH.replace("2024-03-31 03:00:00 +0200", "yesterday") + "1\n", Rejected.DATE),
        (ENGLISH.replace("2024-03-31 03", "2024-02-31 03") + "1\n", Rejected.DATE),
        (ENGLISH.replace("512 hertz", "fast") + "1\n", Rejected.UNIT),
        ("a spreadsheet,of something\nelse,entirely\n", Rejected.VALUE),
        (ENGLISH.replace("µV", "\udcff") + "1\n", Rejected.NOT_WELL_FORMED),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_counted_and_the_rest_goes_on(file: str, reason: Rejected) -> None:
    members = {
        f"electrocardiograms/ecg_{i}.csv": text.encode("utf-8", "surrogateescape")
        for i, text in enumerate((file, ENGLISH + "1\n"))
    }
    _, summary = read(zipped(**{"export.xml": document(element()), **members}))
    assert (summary.accepted_ecgs, dict(summary.rejected_ecgs)) == (1, {reason.value: 1})
    assert summary.accepted == 1


def test_a_file_larger_than_any_ecg_is_left_alone() -> None:
    _, _, rejected = _read(ENGLISH + "1\n" * (9 << 20))
    assert rejected == {"oversized": 1}


def test_a_long_recording_is_cut_into_chunks_that_join() -> None:
    chunks, _, _ = _read(ENGLISH + "1\n" * (512 * 75))
    assert [chunk.samples for chunk in chunks] == [512 * 30, 512 * 30, 512 * 15]
    assert [two.start_us - one.end_us for one, two in pairwise(chunks)] == [0, 0]


def test_a_watch_has_its_own_device_whatever_its_recordings_say_else() -> None:
    other = ENGLISH.replace("Watch6,7", "Watch7,1")
    members = {f"{i}.csv": (text + "1\n").encode() for i, text in enumerate((ENGLISH, GERMAN, other))}
    pieces, _ = read(zipped(**{"export.xml": document(element()), **members}))
    devices = [piece.device_id for piece in pieces if piece.waveforms]
    assert devices[0] == devices[1] != devices[2]


def test_routes_are_never_opened() -> None:
    gpx = b"<gpx><trkpt lat='52.3675' lon='4.9041'/></gpx>"
    pieces, summary = read(zipped(**{"export.xml": document(element()), "workout-routes/r.gpx": gpx}))
    assert summary.ecgs == 0
    assert {piece.samples.received_us[0] for piece in pieces if piece.samples} == {NOW_US}
