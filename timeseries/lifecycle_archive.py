"""Edge: the archive of Parquet files with all that the lifecycle asks of one."""

from __future__ import annotations

from datetime import date
from typing import Any

from timeseries.archive import ParquetArchive
from timeseries.archive_erase import expire


class LifecycleArchive(ParquetArchive):
    """`ParquetArchive`, which also lets go of files whose own time is over."""

    def expire(self, connection: Any, retention_class: str, before: date) -> int:
        """See `archive_erase.expire`; the chain says that it was the policy."""
        why = f"policy of tier archive: before {before.isoformat()}"
        _files, rows = expire(connection, self.storage, retention_class, before, "vigil-lifecycle", why)
        return rows
