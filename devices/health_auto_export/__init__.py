"""Health Auto Export: the JSON that this iOS app posts or saves, in every shape it is known to have."""

from devices.health_auto_export.adapter import ADAPTER, read_payload

__all__ = ["ADAPTER", "read_payload"]
