"""Edge: the Faust app that records waveforms, in a group of its own, so that a raw ECG never delays a heart rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ingest.topics import WAVEFORMS
from stream.log_access import FaustLog
from stream.recorder import GateSource, open_gate
from stream.recorder_app import RecorderPolicy, recording_app
from stream.waveform_recorder import SignalStore, WaveformRecorder
from stream.waveform_signal import WaveformPolicy

GROUP: Final = "vigil-recorder-waveforms"
POLICY: Final = RecorderPolicy(max_records=200, within_s=0.5)
"""Records are larger than those of samples, and nobody waits for them at the bedside."""


def waveform_app(
    bootstrap_servers: str,
    store: SignalStore,
    *,
    topic: str = WAVEFORMS,
    group: str = GROUP,
    policy: RecorderPolicy = POLICY,
    signals: WaveformPolicy | None = None,
    gate: GateSource = open_gate,
) -> Any:
    """Return the Faust app that records `topic`."""

    def make(log_access: FaustLog, sign_of_life: Callable[[], None]) -> WaveformRecorder:
        return WaveformRecorder(store, log_access, policy=signals, gate=gate, sign_of_life=sign_of_life)

    return recording_app(bootstrap_servers, make, topic=topic, group=group, policy=policy)
