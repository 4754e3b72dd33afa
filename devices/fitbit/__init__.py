"""Fitbit: the account archive, as fitbit.com or Google Takeout hand it out."""

from devices.fitbit.adapter import ADAPTER

__all__ = ["ADAPTER"]
