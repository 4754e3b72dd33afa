"""Apple Health: the export that an iPhone makes (`export.zip`), streamed into sample batches."""

from devices.apple.collect import Batch
from devices.apple.reader import read_export
from devices.apple.summary import ExportSummary, Rejected

__all__ = ["Batch", "ExportSummary", "Rejected", "read_export"]
