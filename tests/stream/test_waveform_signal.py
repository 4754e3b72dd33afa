"""One signal chunk by chunk: nothing lost, nothing twice, the same whatever the cuts, gaps seen for what they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.features.decimate import decimation
from stream.features.memory import UnreadableState
from stream.waveform_memory import from_bytes, to_bytes
from stream.waveform_signal import Outcome, SignalState, WaveformPolicy, advance
from tests.stream.features.recordings import Signal, made_ecg, made_ppg, read_212, regular_beats
from tests.stream.making import T0, S
from tests.stream.waveforms import chunks, every
from vitals.waveform import WaveformChunk

POLICY = WaveformPolicy()
TRUTH = regular_beats(30.0)
ECG = made_ecg(500.0, TRUTH, 30.0)[np.newaxis]


def run(told: list[WaveformChunk], state: SignalState | None = None) -> list[Outcome]:
    outcomes = []
    for chunk in told:
        if state is not None:
            state = from_bytes(chunk.metric, chunk.channel, to_bytes(state))
        outcomes.append(advance(POLICY, state, chunk))
        state = outcomes[-1].state
    return outcomes


def stored(outcomes: list[Outcome]) -> Signal:
    return np.concatenate([piece.values for one in outcomes for piece in one.pieces], axis=1)


def samples(outcomes: list[Outcome]) -> tuple[list[int], list[float]]:
    derived = [one for outcome in outcomes for one in outcome.derived]
    return (
        [int(time) for one in derived for time in one.start_us],
        [float(value) for one in derived for value in one.value],
    )


def test_an_ecg_is_stored_at_half_its_rate_and_gives_its_intervals() -> None:
    outcomes = run(chunks("ecg", 500.0, ECG, every(500.0, 1.0, ECG)))
    assert {piece.rate_hz for one in outcomes for piece in one.pieces} == {250.0}
    times, values = samples(outcomes)
    assert np.abs(np.array(times) - (T0 + TRUTH[1:] * S)).max() < 0.025 * S
    assert np.abs(np.array(values) - np.diff(TRUTH) * 1_000).max() < 3
    assert {one.metric for outcome in outcomes for one in outcome.derived} == {"rr_interval"}


def test_every_stored_value_stands_at_its_time() -> None:
    """A slow sine, so that the filter changes nothing: value against time, to the resolution of the scale."""
    time = np.arange(5_000) / 500
    outcomes = run(chunks("ecg", 500.0, np.sin(2 * np.pi * time)[np.newaxis], [700, 1_900, 2_000, 4_444]))
    for piece in (piece for one in outcomes[1:] for piece in one.pieces):
        at = (piece.start_us - T0) / S + np.arange(piece.values.shape[1]) / piece.rate_hz
        assert np.abs(piece.values[0] * 0.001 - np.sin(2 * np.pi * at)).max() < 0.002


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(["ecg", "ppg", "acceleration"]), st.lists(st.integers(1, 5_999), max_size=12, unique=True))
def test_cuts_change_nothing(metric: str, cuts: list[int]) -> None:
    rate = {"ecg": 500.0, "ppg": 200.0, "acceleration": 200.0}[metric]
    seconds = 6_000 / rate
    signal = {
        "ecg": lambda: made_ecg(rate, regular_beats(seconds), seconds)[np.newaxis],
        "ppg": lambda: made_ppg(rate, regular_beats(seconds), seconds)[np.newaxis],
        "acceleration": lambda: np.random.default_rng(1).normal(0, 1, (3, 6_000)),
    }[metric]()
    whole, cut = run(chunks(metric, rate, signal)), run(chunks(metric, rate, signal, sorted(cuts)))
    assert np.array_equal(stored(whole), stored(cut))
    assert np.allclose(samples(whole)[0], samples(cut)[0], atol=1, rtol=0)
    assert samples(whole)[1] == samples(cut)[1]
    if not any(outcome.late for outcome in cut):
        assert whole[-1].state.timeline.seen == cut[-1].state.timeline.seen == 6_000


def test_a_gap_begins_anew_and_loses_nothing() -> None:
    first, second = chunks("ecg", 500.0, ECG, [7_501])
    later = replace(second, start_us=second.start_us + 3 * S)
    outcomes = run([first, later])
    tail, fresh = outcomes[1].pieces
    assert (tail.is_tail, fresh.is_tail) == (True, False)
    assert fresh.start_us == later.start_us
    assert tail.time_us == first.end_us - 1
    assert tail.start_us == outcomes[0].pieces[0].start_us + outcomes[0].pieces[0].values.shape[1] * 4_000
    before = outcomes[0].pieces[0].values.shape[1] + tail.values.shape[1]
    assert before == -(-7_501 // 2), "all that was there before the gap"
    times, values = samples(outcomes)
    assert max(values) < 1_000, "no interval over the gap"
    assert len(times) == len(TRUTH) - 1 - 1, "the interval over the gap is none"


@pytest.mark.parametrize("change", [{"rate_hz": 400.0}, {"scale": 0.002}])
def test_another_rate_or_scale_begins_anew(change: dict[str, float]) -> None:
    first, second = chunks("ecg", 500.0, ECG, [7_500])
    outcomes = run([first, replace(second, **change)])  # type: ignore[arg-type]
    assert [piece.is_tail for piece in outcomes[1].pieces] == [True, False]
    assert outcomes[1].state.timeline.seen == second.samples


def test_a_little_jitter_is_no_gap() -> None:
    told = chunks("ecg", 500.0, ECG, every(500.0, 1.0, ECG))
    shifts = np.random.default_rng(3).integers(-20_000, 20_000, len(told))
    jittered = [replace(one, start_us=one.start_us + int(by)) for one, by in zip(told, shifts, strict=True)]
    plain, moved = run(told), run(jittered)
    assert np.array_equal(stored(plain), stored(moved))
    assert samples(plain)[1] == samples(moved)[1], "intervals are counted in samples"
    assert np.abs(np.array(samples(plain)[0]) - samples(moved)[0]).max() < 25_000


def test_a_chunk_told_again_or_late_is_stored_by_itself_and_derives_nothing() -> None:
    told = chunks("ecg", 500.0, ECG, every(500.0, 5.0, ECG))
    outcomes = run([*told, told[2]])
    again = outcomes[-1]
    assert (again.late, again.derived) == (True, [])
    assert again.state is not None
    assert to_bytes(again.state) == to_bytes(outcomes[-2].state)
    (piece,) = again.pieces
    assert (piece.start_us, piece.values.shape[1]) == (told[2].start_us, told[2].samples // 2)


def test_acceleration_gives_epochs_of_the_clock_also_over_a_gap() -> None:
    still = np.zeros((3, 50 * 20))
    still[2] = 1.5
    told = chunks("acceleration", 50.0, still, [50 * 3, 50 * 12])
    told[2] = replace(told[2], start_us=told[2].start_us + S)
    outcomes = run(told)
    derived = [one for outcome in outcomes for one in outcome.derived]
    times, values = samples(outcomes)
    assert times == [T0, T0 + 5 * S, T0 + 10 * S, T0 + 15 * S]
    assert values == pytest.approx([500.0] * 4)
    assert [float(quality) for one in derived for quality in one.quality] == pytest.approx([1, 1, 0.8, 1])
    assert {(one.metric, one.duration_ms) for one in derived} == {("enmo", 5_000)}


@pytest.mark.parametrize(("metric", "rate"), [("ecg", 50.0), ("ppg", 10.0)])
def test_a_rate_too_low_for_beats_is_stored_only(metric: str, rate: float) -> None:
    outcomes = run(chunks(metric, rate, np.zeros((1, 100)), [50]))
    assert stored(outcomes).shape == (1, 100)
    assert samples(outcomes) == ([], [])


def test_a_rate_too_high_for_beats_is_stored_only() -> None:
    outcomes = run(chunks("ecg", 4_000.0, np.zeros((1, 40_000)), [20_000]))
    assert samples(outcomes) == ([], [])
    assert len(to_bytes(outcomes[-1].state)) < 20_000


def test_a_changed_policy_begins_anew() -> None:
    first, second = chunks("ecg", 500.0, ECG, [7_500])
    state = advance(POLICY, None, first).state
    after = advance(WaveformPolicy({"ecg": 125.0}), state, second)
    assert [piece.rate_hz for piece in after.pieces] == [125.0]


def test_latency_of_what_is_stored() -> None:
    plan = decimation(500.0, 250.0)
    first, _ = chunks("ecg", 500.0, ECG, [7_500])
    assert advance(POLICY, None, first).pieces[0].values.shape[1] == (7_500 - plan.delay) // 2


@pytest.mark.realdata
def test_mit_bih_record_100_as_a_strap_would_send_it(realdata: Path) -> None:
    """Half an hour in chunks of 73 samples, the memory through bytes each time: the same beats as at once."""
    signal = read_212(realdata / "mitdb100" / "100.dat")[:1]
    told = chunks("ecg", 360.0, signal, range(73, signal.shape[1], 73), scale=0.005, start_us=T0)
    told = [replace(one, values=np.round(one.values * 0.001 / 0.005).astype(np.int32)) for one in told]
    times, values = samples(run(told))
    rr = np.array(values)
    assert len(rr) == 2_271, "2272 beats"
    assert (rr.mean(), rr.std()) == pytest.approx((794.6, 48.8), abs=0.5)
    assert np.sqrt(np.mean(np.diff(rr) ** 2)) == pytest.approx(63.23, abs=0.5)
    assert (np.diff(times) > 0).all()


@given(st.binary(max_size=100))
def test_foreign_memory_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableState):
        from_bytes("ecg", "main", data)


def test_damaged_memory_is_refused_or_whole() -> None:
    whole = to_bytes(run(chunks("ecg", 500.0, ECG))[0].state)
    assert len(whole) < 20_000
    for at in range(0, len(whole), 97):
        damaged = whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
        try:
            from_bytes("ecg", "main", damaged)
        except UnreadableState:
            continue
