"""Edge: the Faust app that records waveforms, in a group of its own, so that a raw ECG never delays a heart rate."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ingest.topics import WAVEFORMS
from stream.batcher import Batcher
from stream.faust_app import build_app
from stream.log_access import FaustLog
from stream.recorder import Partition
from stream.recorder_app import RecorderPolicy, _Pipeline, has_lag
from stream.watchdog import Watchdog
from stream.waveform_recorder import SignalStore, WaveformRecorder
from stream.waveform_signal import WaveformPolicy

GROUP: Final = "vigil-recorder-waveforms"
POLICY: Final = RecorderPolicy(max_records=200, within_s=0.5)
"""Records are larger than those of samples, and nobody waits for them at the bedside."""
_BUFFER: Final = 64


def waveform_app(
    bootstrap_servers: str,
    store: SignalStore,
    *,
    topic: str = WAVEFORMS,
    group: str = GROUP,
    policy: RecorderPolicy = POLICY,
    signals: WaveformPolicy | None = None,
) -> Any:
    """Return the Faust app that records `topic`."""

    async def where_to_read(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return await recorder.assigned(partitions)

    app, raw = build_app(group, bootstrap_servers, topic, where_to_read, buffer=_BUFFER, session_s=policy.session_s)
    watchdog = Watchdog(policy.patience, lambda: pipeline.is_busy or has_lag(app, recorder))
    log_access = FaustLog(bootstrap_servers, app)
    recorder = WaveformRecorder(store, log_access, policy=signals, sign_of_life=watchdog.progress)
    pipeline = _Pipeline(recorder, app)

    @app.agent(raw, name="waveform_recorder")  # type: ignore[untyped-decorator]
    async def record(stream: Any) -> None:
        batcher: Batcher[Any] = Batcher(
            pipeline.feed, app.crash,
            max_records=policy.max_records, max_bytes=policy.max_bytes, within_s=policy.within_s,
        )  # fmt: skip
        async for event in stream.noack().events():
            await batcher.add(event, len(event.message.value or b""))

    @app.task  # type: ignore[untyped-decorator]
    async def keep_beating() -> None:
        watchdog.start()
        while not app.should_stop:
            watchdog.beat()
            await asyncio.sleep(1.0)
        watchdog.stop()

    return app
