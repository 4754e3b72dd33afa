"""POST /v1/waveforms: one chunk, taken or refused whole, by the rules of the recorder and of the registry."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest

from ingest.topics import MAX_MESSAGE_BYTES, WAVEFORMS
from ingest.waveform_record import decode_chunk, encode_chunk
from tests.ingest.gateway.edge import Running, World, request, running
from tests.stream.waveforms import chunks
from vitals.access import Kind
from vitals.batch import BatchHeader
from vitals.clock import US_PER_S, system_clock
from vitals.gate import Binding, DeviceRule, DeviceState, Gate, Permissions
from vitals.ids import DeviceId, PatientId
from vitals.waveform import WaveformChunk

ARROW = "application/vnd.apache.arrow.stream"
HEADER = BatchHeader(PatientId("p"), DeviceId("d"), "app", "ble")


def chunk(**changes: object) -> WaveformChunk:
    now_us = system_clock()
    one = chunks("ecg", 130.0, np.zeros((1, 130)))[0]
    times = {"start_us": now_us - 2 * US_PER_S, "written_us": now_us - US_PER_S, "received_us": 1}
    return replace(one, **{**times, **changes})  # type: ignore[arg-type]


def body(one: WaveformChunk) -> bytes:
    return encode_chunk(HEADER, one).value


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def gateway(world: World) -> Iterator[Running]:
    with running(world) as one:
        yield one


def post(gateway: Running, token: str, content: bytes, **headers: str) -> httpx.Response:
    sent = {"content-type": ARROW, "vigil-adapter": "ble", "vigil-source-app": "vigil-bridge", **headers}
    with gateway.client(token) as client:
        return client.post("/v1/waveforms", content=content, headers=sent)


def test_a_chunk_is_the_wearers_whatever_the_bridge_calls_itself(gateway: Running, world: World) -> None:
    sent = chunk()
    answer = post(gateway, world.token(), body(sent))
    assert answer.status_code == 202
    told = answer.json()
    assert (told["received"], told["accepted"], told["safe"], told["outcomes"]) == (1, 1, "broker", [])
    ((record, topic, later),) = world.accepted
    assert (topic, later) == (WAVEFORMS, WAVEFORMS)
    header, found = decode_chunk(record.key, record.value, record.headers)
    assert (header.patient_id, header.device_id, header.source_app, header.adapter) == (
        "p-1", "watch-1", "vigil-bridge", "ble",
    )  # fmt: skip
    assert header.request_id == told["request_id"]
    assert header.traceparent is not None
    assert abs(found.received_us - system_clock()) < 60 * US_PER_S, "when it was received the gateway says"
    np.testing.assert_array_equal(found.values, sent.values)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metric": "ecg", "values": np.full((1, 130), 2**30, np.int32)}, "out_of_range"),
        ({"quality": 2.0}, "quality"),
        ({"rate_hz": 0.5}, "duration"),
        ({"channel": "Anna's lead"}, "headers"),
        ({"start_us": 1}, "too_old"),
        ({"start_us": system_clock() + 10**13}, "future"),
    ],
)
def test_what_the_recorder_would_refuse_is_refused_here(
    gateway: Running, world: World, changes: dict[str, object], reason: str
) -> None:
    answer = post(gateway, world.token(), body(chunk(**changes)))
    assert answer.status_code == 422
    assert answer.json()["reasons"] == {reason: 1}
    assert answer.json()["outcomes"][0]["retry"] == "never"
    assert world.accepted == []
    assert "Anna" not in answer.text


def test_the_registry_and_consents_decide_as_for_samples(gateway: Running, world: World) -> None:
    token = world.token()
    nothing = Permissions(np.empty(0, np.int8), np.empty(0, np.int64), np.empty(0, np.int64))
    for gate, reason, retry in (
        (Gate({"watch-1": DeviceRule(DeviceState.SUSPENDED)}), "device_suspended", "later"),
        (Gate({"watch-1": DeviceRule(permitted=np.array([1], np.int16))}), "metric_not_permitted", "never"),
        (Gate(people={"p-1": nothing}), "no_consent", "never"),
    ):
        world.gate = gate
        _seen(gateway, token, reason, retry)
    assert world.accepted == []


def _seen(gateway: Running, token: str, reason: str, retry: str) -> None:
    """The registry is looked at a few times a second: ask until it is seen."""
    for _ in range(20):
        answer = post(gateway, token, body(chunk()))
        if answer.json()["reasons"] == {reason: 1}:
            assert answer.json()["outcomes"][0]["retry"] == retry
            return
    raise AssertionError(answer.text)


def test_a_wards_bridge_sends_for_whoever_wore_it_when_it_began(gateway: Running, world: World) -> None:
    now_us = system_clock()
    wore = (Binding("p-7", now_us - 10**9, now_us - 10**7), Binding("p-8", now_us - 10**7, now_us + 10**9))
    world.gate = Gate({"strap-1": DeviceRule(bindings=wore)})
    token = world.token(None, ("strap-1", "strap-2"), Kind.BRIDGE)
    for ago_s in (100, 2):
        one = chunk(start_us=now_us - ago_s * US_PER_S)
        assert post(gateway, token, body(one), **{"vigil-device": "strap-1"}).status_code == 202
    assert [record.key for record, _, _ in world.accepted] == [b"p-7", b"p-8"]
    assert post(gateway, token, body(chunk()), **{"vigil-device": "strap-3"}).json()["code"] == "other_device"
    assert post(gateway, token, body(chunk())).json()["code"] == "device_missing"


def test_what_is_no_chunk(gateway: Running, world: World) -> None:
    token = world.token()
    other = pa.record_batch({"a": [1]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, other.schema) as writer:
        writer.write_batch(other)
    for content, status, code in (
        (b"no arrow", 400, "bad_arrow"),
        (sink.getvalue().to_pybytes(), 422, "bad_columns"),
        (bytes(MAX_MESSAGE_BYTES + 1), 413, "too_large"),
    ):
        answer = post(gateway, token, content)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    with gateway.client(token) as client:
        assert client.post("/v1/waveforms", json=request()).status_code == 415
    assert post(gateway, "vgl_aaaaaaaaaaaaaaaa_" + "x" * 43, body(chunk())).status_code == 401
