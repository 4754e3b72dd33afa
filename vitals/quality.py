"""What is known about a sample beside its value: its context, the doubts about it, and why it may be refused."""

from __future__ import annotations

from enum import IntFlag, StrEnum
from typing import Final


class Context(IntFlag):
    """The circumstances in which a sample was taken, as its source states them (stored in a smallint)."""

    MOTION_SEDENTARY = 1
    MOTION_ACTIVE = 2
    USER_ENTERED = 4
    ASLEEP = 8
    WORKOUT = 16
    NO_CONTACT = 32  # the sensor says that it is not on the body
    LOW_PERFUSION = 64
    CHARGING = 128


class Flag(IntFlag):
    """What validation notes on an accepted sample (stored in a smallint). None of these rejects it."""

    LOW_QUALITY = 1  # quality below `TRUSTWORTHY`
    NO_CONTACT = 2
    CLOCK_AHEAD = 4  # measured after it was received, within the tolerance
    RATE_OF_CHANGE = 8
    OUT_OF_ORDER = 16
    UNLIKELY_SEQUENCE = 32
    TOMBSTONE = 128  # the source deleted this sample; the row stays to guard its identity


class Reason(StrEnum):
    """Why a sample or a record is quarantined; the value is what operators and tables see."""

    UNDECODABLE = "undecodable"  # the record's bytes are no Arrow IPC stream of ours
    SCHEMA_VERSION = "schema_version"  # a version of the wire schema that this build does not read
    SCHEMA_MISMATCH = "schema_mismatch"  # the columns are not those the version promises
    HEADERS = "headers"  # a header is missing or no opaque id
    OVERSIZED = "oversized"  # more samples than one record may hold
    UNKNOWN_METRIC = "unknown_metric"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"  # the channel cannot mean this value
    QUALITY = "quality"  # quality is not within 0 to 1
    FUTURE = "future"
    TOO_OLD = "too_old"
    DURATION = "duration"  # negative, zero for an interval metric, or too long
    CONFLICT = "conflict"  # the same identity and the same written time, but another value
    UNKNOWN_DEVICE = "unknown_device"  # nobody registered the device
    DEVICE_SUSPENDED = "device_suspended"
    DEVICE_RETIRED = "device_retired"
    NOT_PERMITTED = "metric_not_permitted"  # the registry does not let this device tell this metric
    OTHER_WEARER = "other_wearer"  # the device was not bound to this patient when it measured
    NO_CONSENT = "no_consent"  # no consent to care covers it: counted, neither stored nor quarantined
    WRITE_REFUSED = "write_refused"  # the database refuses this very record


TRUSTWORTHY: Final = 0.5
"""From this quality upwards a sample takes part in statistics and physiological rules."""
