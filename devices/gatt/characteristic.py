"""What the registry knows of a characteristic: where it is offered, how its value is had, how its octets are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from devices.gatt.clock import UNKNOWN_CLOCK, DeviceClock
from vitals.batch import SampleColumns, sample_columns
from vitals.waveform import WaveformChunk

How = Literal["notify", "indicate", "read", "control"]
"""`notify` and `indicate`: subscribe; `read`: ask once after connecting (and subscribe where the device offers that as
well); `control`: a control point, which is written and answers by indication."""

NO_SAMPLES: Final[SampleColumns] = sample_columns(
    np.empty(0, np.int64), np.empty(0, np.int16), np.empty(0, np.float64), received_us=0
)


def no_samples(_measurement: object, _received_us: int) -> SampleColumns:
    """Return no samples: what this characteristic says is no measurement by itself."""
    return NO_SAMPLES


@dataclass(frozen=True, slots=True)
class Characteristic:
    """How one characteristic's bytes are read: bytes -> measurement -> JSON for people, or samples for the stream.

    `service_uuid16` is the service that defines it, `also_in` others that hold it too. `uuid16` is four hexadecimal
    digits, or a whole UUID where a maker's own characteristic has no short one. `has_clock` tells that `to_samples`
    takes a `DeviceClock` as its third argument, because the measurement carries a time of the device's own.
    """

    uuid16: str
    name: str
    decode: Callable[[bytes], Any]
    to_json: Callable[[Any], dict[str, object]]
    to_samples: Callable[..., SampleColumns] = no_samples
    service_uuid16: str = ""
    how: How = "notify"
    also_in: tuple[str, ...] = ()
    has_clock: bool = False
    to_waveforms: Callable[..., tuple[WaveformChunk, ...]] | None = None

    @property
    def label(self) -> str:
        """Its name and number, as errors say it."""
        return f"{self.name} ({self.uuid16})"

    def samples(self, measurement: object, received_us: int, clock: DeviceClock = UNKNOWN_CLOCK) -> SampleColumns:
        """Return the measurement as samples, timed by `clock` where it carries a time."""
        if self.has_clock:
            return self.to_samples(measurement, received_us, clock)
        return self.to_samples(measurement, received_us)


@dataclass(frozen=True, slots=True)
class Service:
    """A GATT service and those of its characteristics that are decoded, in the order in which to ask for them."""

    uuid16: str
    name: str
    characteristics: tuple[Characteristic, ...]
