"""Short ways to make a patient's batches."""

import numpy as np
from numpy.typing import ArrayLike

from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.catalogue import number_of
from vitals.ids import device_id, patient_id

T0 = 1_800_000_000_000_000
S = 1_000_000
HEADER = BatchHeader(patient_id("p1"), device_id("d1"), "app", "ble")


def samples(
    metric: str,
    seconds: ArrayLike,
    values: ArrayLike,
    *,
    quality: ArrayLike = 1.0,
    context: ArrayLike = 0,
    received_s: float | None = None,
) -> SampleColumns:
    """One metric's samples at `seconds` after T0, received when measured unless `received_s` says otherwise."""
    at = np.asarray(seconds, np.float64)
    start = T0 + np.round(at * S).astype(np.int64)
    n = len(start)
    return sample_columns(
        start,
        np.full(n, number_of(metric), np.int16),
        np.broadcast_to(np.asarray(values, np.float64), (n,)),
        received_us=start if received_s is None else T0 + int(received_s * S),
        quality=np.broadcast_to(np.asarray(quality, np.float32), (n,)),
        context=np.broadcast_to(np.asarray(context, np.int16), (n,)),
    )
