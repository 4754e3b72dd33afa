"""What is asked of the gateway, without asking: each call, and how one `send` becomes several. Pure.

`sending` is a generator that yields calls and is sent their answers; both clients drive it, one that waits and one that
awaits.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import quote
from uuid import UUID, uuid4

import numpy as np

from ingest.client.results import Reply, Sent, sent_of
from ingest.client.samples import Sample, Samples, arrow_body, columns_of, json_body
from vitals.batch import SampleColumns

JSON: Final = "application/json"
ARROW: Final = "application/vnd.apache.arrow.stream"


class Wire(StrEnum):
    """In which form samples travel."""

    JSON = "json"
    ARROW = "arrow"


BATCH: Final = {Wire.JSON: 500, Wire.ARROW: 10_000}
"""Samples in a request: few enough that one is soon sent again, many enough that asking costs little."""
MAX_DELETIONS: Final = 5_000


class Again(StrEnum):
    """When a call may be made a second time."""

    ALWAYS = "always"  # doing it twice is doing it once
    UNHEARD = "unheard"  # only where the gateway cannot have done it
    NEVER = "never"  # the first answer is what is wanted


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `again`: how far it may be made again.

    A `Path` is a file that is sent as it is. `headers` hold one Idempotency-Key for all tries.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | Path = b""
    again: Again = Again.ALWAYS


def samples_call(content: bytes, content_type: str, who: Mapping[str, str] | None = None) -> Call:
    """Return the call of one batch."""
    key = {"content-type": content_type, "idempotency-key": uuid4().hex}
    return Call("POST", "/v1/samples", {**key, **(who or {})}, content)


def sending(
    samples: Samples,
    *,
    device: str | None,
    source_app: str | None,
    deletions: Sequence[UUID],
    anchors: Mapping[str, str],
    wire: Wire | None,
    now_us: int,
) -> Generator[Call, Reply, Sent]:
    """Yield the batches in order, deletions and anchors last, and return what became of all.

    Anchors are sent only where nothing before was refused for now: the samples they stand for shall come again.
    """
    given = samples if isinstance(samples, SampleColumns) else list(samples)
    form = wire or (Wire.ARROW if isinstance(given, SampleColumns) else Wire.JSON)
    total = Sent()
    for at in range(0, len(given), BATCH[form]):
        part = _part(given, at, BATCH[form])
        total = total.and_then(sent_of((yield _batch(part, form, device, source_app, now_us))), first=at)
    rest = [deletions[at : at + MAX_DELETIONS] for at in range(0, len(deletions), MAX_DELETIONS)]
    for ids in rest:
        body = json_body([], device=device, source_app=source_app, deletions=ids)
        total = total.and_then(sent_of((yield samples_call(body, JSON))), first=len(given))
    if anchors and not total.later and not total.more_outcomes:
        body = json_body([], device=device, source_app=source_app, anchors=anchors)
        total = total.and_then(sent_of((yield samples_call(body, JSON))), first=len(given))
    return total


def _batch(
    part: SampleColumns | list[Sample], form: Wire, device: str | None, source_app: str | None, now_us: int
) -> Call:
    if form is Wire.JSON:
        return samples_call(json_body(part, device=device, source_app=source_app), JSON)
    columns = part if isinstance(part, SampleColumns) else columns_of(part, now_us)
    return samples_call(arrow_body(columns), ARROW, who(device, source_app))


def _part(given: SampleColumns | list[Sample], at: int, size: int) -> SampleColumns | list[Sample]:
    if isinstance(given, SampleColumns):
        return given.take(np.arange(at, min(at + size, len(given))))
    return given[at : at + size]


def who(device: str | None, source_app: str | None) -> dict[str, str]:
    """Return the headers that say, beside an Arrow body, whose samples these are."""
    named = {"vigil-device": device, "vigil-source-app": source_app}
    return {name: value for name, value in named.items() if value is not None}


def upload(file: Path) -> Call:
    """Return the call that uploads an export: zip, or the xml alone."""
    kind = "application/zip" if file.suffix.lower() == ".zip" else "application/xml"
    return Call("POST", "/v1/healthkit/export", {"content-type": kind}, file, Again.UNHEARD)


def job(job_id: str) -> Call:
    """Return the call that asks how far a job is."""
    return Call("GET", f"/v1/jobs/{quote(job_id, safe='')}")


ME: Final = Call("GET", "/v1/devices/me")
ROTATE: Final = Call("POST", "/v1/tokens/rotate", again=Again.UNHEARD)  # each makes another token
ALIVE: Final = Call("GET", "/healthz", again=Again.NEVER)
READY: Final = Call("GET", "/readyz", again=Again.NEVER)
