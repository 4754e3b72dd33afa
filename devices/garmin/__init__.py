"""Garmin: the archive that an account's owner may ask for, FIT files and JSON summaries."""

from devices.garmin.adapter import ADAPTER

__all__ = ["ADAPTER"]
