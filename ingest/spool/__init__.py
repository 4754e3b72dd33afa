"""Records that are safe before the broker has them: the disk spool, and the way in that uses it."""

from ingest.spool.arrival import Arrival, Place, Sink
from ingest.spool.store import Spool, Spooled, SpoolError, SpoolFull, SpoolPolicy, SpoolState, SpoolUnusable

__all__ = [
    "Arrival",
    "Place",
    "Sink",
    "Spool",
    "SpoolError",
    "SpoolFull",
    "SpoolPolicy",
    "SpoolState",
    "SpoolUnusable",
    "Spooled",
]
