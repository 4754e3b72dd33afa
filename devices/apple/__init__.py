"""Apple Health: the export that an iPhone makes (`export.zip`), streamed into pieces of samples, sessions and ECGs."""

from devices.apple.adapter import ADAPTER
from devices.apple.reader import read_export
from devices.apple.summary import ExportSummary, Rejected

__all__ = ["ADAPTER", "ExportSummary", "Rejected", "read_export"]
