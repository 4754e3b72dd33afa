"""What each refusal means for the sender: is it worth sending again, and which field is at fault. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.gateway.parsed import Fault, Outcome, Retry, Status
from vitals.gate import DeviceRule
from vitals.quality import Reason


class Refusal(StrEnum):
    """The codes of `BodyRefused` that reading and judging a request raise."""

    BAD_JSON = "bad_json"  # 400: no JSON in UTF-8
    TOO_DEEP = "too_deep"  # 400: objects and lists within each other beyond the limit
    BAD_ARROW = "bad_arrow"  # 400: no Arrow IPC stream
    BAD_COLUMNS = "bad_columns"  # 422: a stream of other columns or types
    TOO_MANY = "too_many"  # 413: more samples, deletions or anchors than a request may hold
    BAD_FIELD = "bad_field"  # 422: a field of the request itself; `pointer` tells which
    EMPTY = "empty"  # 422: no sample, no deletion, no anchor
    DEVICE_MISSING = "device_missing"  # 422: none named, and the credential has not exactly one
    OTHER_DEVICE = "other_device"  # 403: not the credential's
    NOT_FOR_THIS_TOKEN = "not_for_this_token"  # 403: deletions of a credential without a patient  # noqa: S105
    DEVICE_NOT_ADMITTED = "device_not_admitted"  # 403: deletions through a device unknown or suspended


_LATER: Final = frozenset({Reason.UNKNOWN_DEVICE, Reason.DEVICE_SUSPENDED, Reason.OTHER_WEARER})

FIELDS: Final = MappingProxyType(
    {
        Reason.UNKNOWN_METRIC: "metric",
        Reason.NOT_PERMITTED: "metric",
        Reason.NOT_FINITE: "value",
        Reason.OUT_OF_RANGE: "value",
        Reason.CONFLICT: "value",
        Reason.QUALITY: "quality",
        Reason.TOO_OLD: "start",
        Reason.FUTURE: "start",
        Reason.DURATION: "duration_ms",
    }
)
"""The field that a reason is about; the others are about no single one."""


def retry_of(reason: Reason | Fault) -> Retry:
    """Return whether the same sample may pass later: where the registry, and not the sample, stands against it.

    What a device is not permitted to tell nobody waits for; another wearer's may be `settled`.
    """
    return Retry.LATER if reason in _LATER else Retry.NEVER


def settled(rule: DeviceRule | None, start_us: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell at which moments who wore a device is settled: some binding holds them, or one begins after them.

    Years of history from before a watch had its wearer would otherwise be sent again for ever, and no anchor get by.
    """
    known = np.zeros(len(start_us), np.bool_)
    for one in () if rule is None else rule.bindings:
        known |= start_us < one.to_us  # it holds them, or begins after them
    return known


def rejected(index: int, reason: Reason | Fault, field: str | None = None) -> Outcome:
    """Return the outcome of a refused sample; `field` where the reason alone does not tell."""
    return all_rejected([index], reason, field)[0]


def all_rejected(index: Iterable[int], reason: Reason | Fault, field: str | None = None) -> list[Outcome]:
    """Return the outcomes of samples that are refused alike."""
    named = FIELDS.get(reason, "") if field is None and isinstance(reason, Reason) else field or ""
    status, word, retry = Status.REJECTED, str(reason), retry_of(reason)
    return [Outcome(one, status, word, retry, named) for one in index]
