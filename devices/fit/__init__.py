"""FIT files: what Garmin, Wahoo, Coros, Suunto, Polar and others write of an activity, a day or a night."""

from devices.fit.adapter import ADAPTER, read_fit

__all__ = ["ADAPTER", "read_fit"]
