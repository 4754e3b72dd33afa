"""A device's notifications in their order."""

from __future__ import annotations

import numpy as np
import pytest

from devices.errors import MalformedFrame
from devices.gatt.clock import DeviceClock
from devices.gatt.session import DeviceSession
from tests.devices.gatt import encoders
from tests.devices.gatt.encoders import Decimal
from vitals.batch import SampleColumns, metric_codes
from vitals.quality import Context
from vitals.waveform import WaveformChunk

NOW, SECOND, MINUTE = 1_772_366_400_000_000, 1_000_000, 60_000_000  # 2026-03-01 12:00:00 UTC
PMD = "FB005C82-02E7-F387-1CAD-8ACD2D8DF0C8"
POLAR_EPOCH_US = 946_684_800 * SECOND
NO = (None, None, None)


def values(samples: SampleColumns) -> dict[str, float]:
    return dict(zip(metric_codes(samples), samples.value.tolist(), strict=True))


def record(sequence: int, minute: int, *, context: bool = False) -> bytes:
    return encoders.glucose(sequence, (2026, 3, 1, 10, minute, 0), None, (Decimal(99, -5), 1, 1), False, None, context)


def test_stored_records_are_corrected_by_the_clock_that_was_read() -> None:
    session = DeviceSession()
    assert len(session.read("2A18", record(1, 30), NOW).samples) == 0  # whose clock is it?
    clock = encoders.date((2026, 3, 1, 10, 45, 0)) + b"\x07\x00\x00"
    assert "clock_offset" in values(session.read("2A2B", clock, NOW).samples)
    samples = session.read("2A18", record(1, 30), NOW + SECOND).samples
    assert values(samples) == pytest.approx({"glucose": 99.0})
    assert samples.start_us.tolist() == [NOW - 15 * MINUTE]


def test_a_record_that_is_asked_for_again_comes_to_the_same_time() -> None:
    """Each connection reads the clock anew: whole seconds, late by more or less, and it drifts a little."""
    session, starts = DeviceSession(), set()
    for day, late_us in enumerate((0, 340_000, 920_000, 15_000)):
        at = NOW + day * MINUTE
        clock = encoders.date((2026, 3, 1, 10, 45 + day, 41 + day // 2)) + b"\x07\x00\x00"
        session.read("2A2B", clock, at + late_us)
        starts |= set(session.read("2A18", record(1, 30), at + SECOND).samples.start_us.tolist())
    assert starts == {NOW - 15 * MINUTE - 40 * SECOND}


def test_the_zone_that_a_device_knows_is_used() -> None:
    session = DeviceSession()
    session.read("2A0F", b"\xf8\x00", NOW)  # two hours behind UTC
    assert session.read("2A18", record(1, 0), NOW).samples.start_us.tolist() == [NOW]
    session.read("2A0F", b"\x80\xff", NOW)  # it does not know: what was known stays
    assert session.clock.zone_offset_min == -120


def test_a_context_finds_its_record_once() -> None:
    session = DeviceSession(DeviceClock(zone_offset_min=0))
    note = encoders.glucose_context(7, None, (2, Decimal(45, -3)), None, None, None, None, False, None)
    assert len(session.read("2A34", note, NOW).samples) == 0
    session.read("2A18", record(7, 30, context=True), NOW)
    samples = session.read("2A34", note, NOW).samples
    assert values(samples) == {"carbohydrates": 45.0}
    assert samples.start_us.tolist() == [NOW - 90 * MINUTE]
    assert samples.context.tolist() == [Context.USER_ENTERED]
    assert len(session.read("2A34", note, NOW).samples) == 0


def test_minutes_of_a_cgm_count_from_the_session_start_that_was_read() -> None:
    session = DeviceSession()
    payload = encoders.cgm_record(Decimal(110), 90, NO, None, None, secured=True)
    assert len(session.read("2AA7", payload, NOW, stored=True).samples) == 0
    start = encoders.date((2026, 3, 1, 11, 0, 0)) + b"\x04\x00"  # an hour ahead of UTC: ten o'clock
    session.read("2AAA", start + encoders.crc(start), NOW)
    assert session.read("2AA7", payload, NOW, stored=True).samples.start_us.tolist() == [NOW - 30 * MINUTE]
    session.read("2AAA", start + b"\0\0", NOW)  # a wrong checksum: nothing is known
    assert len(session.read("2AA7", payload, NOW, stored=True).samples) == 0


def test_a_start_without_a_zone_uses_the_clock_that_was_read() -> None:
    session = DeviceSession(DeviceClock(offset_us=3 * 60 * MINUTE))
    session.read("2AAA", encoders.date((2026, 3, 1, 11, 0, 0)) + b"\x80\xff", NOW)
    assert session.clock.session_start_us == NOW - 4 * 60 * MINUTE


def test_running_and_cycling_count_on() -> None:
    session = DeviceSession(circumference_m=2.0)
    session.read("2A53", encoders.running(768, 160, None, 1_000, True), NOW)
    ran = session.read("2A53", encoders.running(768, 160, None, 1_030, True), NOW + SECOND).samples
    assert values(ran) == {"speed": 3.0, "cadence": 160.0, "activity_class": 3.0, "distance": 3.0}
    session.read("2A5B", encoders.cycling((1, 0), None), NOW)
    cycled = session.read("2A5B", encoders.cycling((4, 1_024), None), NOW + SECOND).samples
    assert values(cycled) == {"speed": 6.0, "distance": 6.0}


def test_how_long_it_is_quiet() -> None:
    session = DeviceSession()
    assert session.quiet_us(NOW) is None
    session.read("2A38", b"\x01", NOW)  # where it sits is no sample
    assert session.quiet_us(NOW) is None
    session.read("2A37", b"\x00\x48", NOW)
    assert session.quiet_us(NOW + 5 * SECOND) == 5 * SECOND


def test_a_malformed_notification_changes_nothing() -> None:
    session = DeviceSession()
    with pytest.raises(MalformedFrame):
        session.read("2A37", b"\x01\x48", NOW)
    assert session.last_sample_us is None


def ecg(index: int, samples: int, clock_us: int) -> bytes:
    """A frame whose last sample is taken at `clock_us` on the strap's clock."""
    body = b"".join((index * samples + n).to_bytes(3, "little") for n in range(samples))
    return b"\x00" + ((clock_us - POLAR_EPOCH_US) * 1_000).to_bytes(8, "little") + b"\x00" + body


def test_polars_frames_become_waveforms_on_the_bridges_clock_without_gaps() -> None:
    """An unset strap counts from 2019-01-01; frames of 65 samples at 130 Hz arrive 30 to 200 ms late."""
    session, strap = DeviceSession(), 1_546_300_800 * SECOND
    rng = np.random.default_rng(3)
    chunks: list[WaveformChunk] = []
    for index in range(120):
        taken = NOW + index * SECOND // 2
        late = 30_000 + int(rng.integers(170_000))
        chunks += session.read(PMD, ecg(index, 65, strap + taken - NOW), taken + late).waveforms
    assert len(chunks) == 119  # the first says no rate
    assert {(chunk.metric, chunk.rate_hz, chunk.scale) for chunk in chunks} == {("ecg", 130.0, 1e-3)}
    assert np.concatenate([chunk.values[0] for chunk in chunks]).tolist() == list(range(65, 120 * 65))
    ends = np.array([chunk.end_us for chunk in chunks])
    starts = np.array([chunk.start_us for chunk in chunks])
    assert np.abs(starts[1:] - ends[:-1]).max() <= 5_001  # a sample takes 7,692 us
    taken = NOW + 119 * SECOND // 2
    assert abs(chunks[-1].end_us - (taken + SECOND // 130)) < 60_000


def test_a_stream_whose_start_was_noted_is_told_from_its_first_frame() -> None:
    session = DeviceSession()
    session.started(0, 130.0)
    (chunk,) = session.read(PMD, ecg(0, 73, NOW), NOW).waveforms
    assert (chunk.samples, chunk.rate_hz) == (73, 130.0)
    assert NOW - chunk.start_us == round(72 / 130 * SECOND)
