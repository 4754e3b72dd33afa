"""Polar's streams: raw and compressed frames against an encoder, beat intervals, time and waveforms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import MalformedFrame
from devices.gatt import decode_json, decode_samples
from devices.gatt.clock import DeviceClock
from devices.polar.data import EPOCH_US, LAYOUTS, UUID, decode, to_samples, to_waveforms
from tests.devices.polar import encoders
from vitals.batch import SampleColumns, metric_codes
from vitals.quality import Context
from vitals.waveform import chunk_from_arrow, chunk_to_arrow

NOW = 1_772_366_400_000_000
NS = (NOW - EPOCH_US) * 1_000


def signed(octets: int) -> st.SearchStrategy[int]:
    return st.integers(-(1 << 8 * octets - 1), (1 << 8 * octets - 1) - 1)


def frames(channels: int, octets: int) -> st.SearchStrategy[list[list[int]]]:
    return st.lists(st.lists(signed(octets), min_size=channels, max_size=channels), min_size=1, max_size=20)


@pytest.mark.parametrize(("kind", "frame_type"), [key for key in LAYOUTS if not key[1] & 0x80])
@given(data=st.data(), timestamp=st.integers(0, (1 << 64) - 1))
def test_raw_frames(kind: int, frame_type: int, data: st.DataObject, timestamp: int) -> None:
    channels, octets = {0: (1, 3), 1: (4, 3), 2: (3, frame_type + 1)}[kind]
    samples = data.draw(frames(channels, octets))
    told = decode(encoders.header(kind, timestamp, frame_type) + encoders.raw(samples, octets))
    assert told.values.T.tolist() == samples
    assert (told.kind, told.timestamp_ns, told.frame_type) == (kind, timestamp, frame_type)


@pytest.mark.parametrize(("kind", "frame_type"), [key for key in LAYOUTS if key[1] & 0x80])
@given(data=st.data(), block=st.integers(1, 20))
def test_compressed_frames(kind: int, frame_type: int, data: st.DataObject, block: int) -> None:
    channels, octets = {1: (4, 3), 2: (3, 2)}[kind]
    samples = data.draw(frames(channels, octets))
    payload = encoders.header(kind, NS, frame_type) + encoders.compressed(samples, octets, block)
    assert decode(payload[:512]).values.T.tolist() == samples if len(payload) <= 512 else True


@given(st.integers(1, 32), st.data())
def test_differences_of_every_width(width: int, data: st.DataObject) -> None:
    low, high = -(1 << width - 1), (1 << width - 1) - 1
    steps = data.draw(st.lists(st.lists(st.integers(low, high), min_size=3, max_size=3), min_size=1, max_size=5))
    payload = encoders.header(2, NS, 0x81) + encoders.raw([[5, -6, 7]], 2) + encoders.delta_block(steps, width)
    expect = np.cumsum([[5, -6, 7], *steps], axis=0)
    if np.abs(expect).max() < 1 << 31:
        assert decode(payload).values.T.tolist() == expect.tolist()
    else:
        with pytest.raises(MalformedFrame, match="32 bits"):
            decode(payload)


def test_differences_of_no_bits_repeat_the_sample() -> None:
    payload = encoders.header(2, NS, 0x81) + encoders.raw([[5, -6, 7]], 2) + b"\x00\x02"
    assert decode(payload).values.T.tolist() == [[5, -6, 7]] * 3


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"", "a measurement type, 1 octet(s) at offset 0"),
        (encoders.header(0, NS, 0)[:-1], "the frame type, 1 octet(s) at offset 9"),
        (encoders.header(0, NS, 0), "samples of 3 octets each from offset 10, got 0 octets"),
        (encoders.header(0, NS, 0) + b"\0\0\0\0", "samples of 3 octets each from offset 10, got 4 octets"),
        (encoders.header(2, NS, 0x81) + b"\0\0\0", "the reference sample, 6 octet(s) at offset 10"),
        (encoders.header(2, NS, 0x81) + bytes(6) + b"\x06", "the number of differences, 1 octet(s) at offset 17"),
        (encoders.header(2, NS, 0x81) + bytes(6) + b"\x06\x02\0", "a block of differences, 5 octet(s) at offset 18"),
        (encoders.header(2, NS, 0x81) + bytes(6) + b"\x21\x01" + bytes(13), "at most 32 bits at offset 16"),
        (encoders.header(3, NS, 0) + bytes(5), "intervals of 6 octets each from offset 10, got 5 octets"),
    ],
)
def test_malformed_frames_say_what_was_expected_and_where(payload: bytes, says: str) -> None:
    with pytest.raises(MalformedFrame) as caught:
        decode(payload)
    assert str(caught.value).startswith("Polar Measurement Data (FB005C82): expected ")
    assert says in str(caught.value)
    assert caught.value.payload == payload


@pytest.mark.parametrize(
    "payload", [encoders.header(5, NS, 0x80), encoders.header(0, NS, 3), encoders.header(63, 0, 9)]
)
def test_a_frame_of_another_type_is_no_error_and_gives_nothing(payload: bytes) -> None:
    frame = decode(payload + b"\1\2\3\4")
    assert decode_json(UUID, payload)["decoded"] is False
    assert len(to_samples(frame, NOW)) == 0
    assert to_waveforms(frame, NOW, rate_hz=52.0) == ()


def test_an_ecg_is_a_waveform_in_millivolts_that_ends_with_its_time_stamp() -> None:
    payload = encoders.header(0, NS, 0) + encoders.raw([[-1_000], [0], [250]], 3)
    frame = decode(payload)
    (chunk,) = to_waveforms(frame, NOW, DeviceClock(offset_us=-3_000_000), rate_hz=130.0)
    assert chunk.physical().tolist() == [[-1.0, 0.0, 0.25]]
    assert (chunk.metric, chunk.channel, chunk.rate_hz) == ("ecg", "main", 130.0)
    assert chunk.start_us == NOW + 2_000_000 - round(2 / 130 * 1e6)  # three seconds after arrival: two at most
    (early,) = to_waveforms(frame, NOW, DeviceClock(offset_us=3_000_000), rate_hz=130.0)
    assert early.start_us == NOW - 3_000_000 - round(2 / 130 * 1e6)
    (arrived,) = to_waveforms(frame, NOW, rate_hz=130.0)
    assert arrived.start_us == NOW - round(2 / 130 * 1e6)
    assert chunk_from_arrow(chunk_to_arrow(chunk)).values.tolist() == chunk.values.tolist()


def test_acceleration_is_in_g_with_its_factor() -> None:
    milli_g = decode(encoders.header(2, NS, 0x81) + encoders.raw([[-15, 20, 1_008]], 2))
    (chunk,) = to_waveforms(milli_g, NOW, rate_hz=52.0)
    assert chunk.physical()[:, 0].tolist() == [-0.015, 0.02, 1.008]
    (with_factor,) = to_waveforms(milli_g, NOW, rate_hz=52.0, factor=2.0)
    assert with_factor.physical()[2, 0] == 2.016
    in_g = decode(encoders.header(2, NS, 0x80) + encoders.raw([[0, 0, 4_096]], 2))
    (chunk,) = to_waveforms(in_g, NOW, rate_hz=52.0, factor=1 / 4_096)
    assert chunk.physical()[2, 0] == 1.0
    assert decode_json(UUID, encoders.header(2, NS, 0x80) + encoders.raw([[0, 0, 4_096]], 2))["acceleration_steps"] == [
        [0, 0, 4_096]
    ]


def test_a_ppg_has_a_channel_for_each_diode_and_one_for_the_light_around() -> None:
    payload = encoders.header(1, NS, 0) + encoders.raw([[197_121, 394_500, 8_388_607, 0], [-1, -2, -3, -4]], 3)
    told = decode_json(UUID, payload)
    assert (told["ppg"], told["ambient"]) == ([[197_121, 394_500, 8_388_607], [-1, -2, -3]], [0, -4])
    chunks = to_waveforms(decode(payload), NOW, rate_hz=55.0)
    assert [chunk.channel for chunk in chunks] == ["photodiode-0", "photodiode-1", "photodiode-2", "ambient"]
    assert [chunk.values.tolist() for chunk in chunks] == [
        [[197_121, -1]],
        [[394_500, -2]],
        [[8_388_607, -3]],
        [[0, -4]],
    ]


def beats(*rows: tuple[int, int, int, int], timestamp_ns: int = 0) -> bytes:
    return encoders.header(3, timestamp_ns, 0) + encoders.beats(rows)


def values(samples: SampleColumns) -> list[tuple[str, float]]:
    return list(zip(metric_codes(samples), samples.value.tolist(), strict=True))


def test_beat_intervals_count_backwards_from_the_frames_end() -> None:
    payload = beats((60, 1_000, 10, 0b110), (75, 800, 10, 0b110))
    samples = decode_samples(UUID, payload, NOW)
    assert values(samples) == [
        ("rr_interval", 1_000), ("rr_interval", 800), ("heart_rate", 60), ("heart_rate", 75), ("wear_state", 1),
    ]  # fmt: skip
    assert (NOW - samples.start_us).tolist() == [1_800_000, 800_000, 800_000, 0, 0]
    assert samples.quality.tolist() == [1.0] * 5
    timed = decode_samples(UUID, beats((60, 1_000, 10, 0b110), timestamp_ns=NS), NOW, DeviceClock(offset_us=2_000_000))
    assert (NOW - timed.start_us).tolist() == [3_000_000, 2_000_000, 2_000_000]


@pytest.mark.parametrize(
    ("flags", "error", "quality", "context", "wear"),
    [
        (0b110, 10, 1.0, 0, 1.0),
        (0b111, 10, 0.0, 0, 1.0),  # blocker: movement
        (0b100, 10, 0.0, Context.NO_CONTACT, 0.0),
        (0b000, 10, 0.0, 0, None),  # no contact told, nor that it could be: quality 0, and nothing about wear
        (0b010, 10, 1.0, 0, None),
        (0b110, 101, 0.25, 0, 1.0),  # more than a tenth of a second in a second
    ],
)
def test_each_flag_of_a_beat(flags: int, error: int, quality: float, context: int, wear: float | None) -> None:
    samples = decode_samples(UUID, beats((60, 1_000, error, flags)), NOW)
    told = dict(values(samples))
    assert told.get("wear_state") == wear
    assert samples.quality.tolist()[:2] == [quality] * 2
    assert set(samples.context.tolist()) == {context}


def test_a_heart_rate_of_0_is_none() -> None:
    assert values(decode_samples(UUID, beats((0, 1_000, 10, 0b010)), NOW)) == [("rr_interval", 1_000)]
    told: Any = decode_json(UUID, beats((0, 1_000, 10, 0b010)))
    assert (told["measurement"], told["device_time"], told["beats"][0]["heart_rate_bpm"]) == ("beat_intervals", None, 0)


def test_time_counts_from_2000() -> None:
    assert decode_json(UUID, beats((0, 1, 0, 0), timestamp_ns=NS))["device_time"] == "2026-03-01T12:00:00+00:00"
    latest = decode_json(UUID, beats((0, 1, 0, 0), timestamp_ns=(1 << 64) - 1))
    assert str(latest["device_time"]).startswith("2584-")
