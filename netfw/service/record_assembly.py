"""The outputs of records, made from the configuration.

Not here: what an output does (`telemetry.record_log`), and the index (`indexing`).
"""

from __future__ import annotations

from netfw.config.model import LogSection
from netfw.telemetry.file_destination import file_log
from netfw.telemetry.metrics import Metrics
from netfw.telemetry.record_outputs import RecordOutputs


def build_outputs(section: LogSection, metrics: Metrics) -> RecordOutputs:
    """Where records go, and what feeds their index where that is no file that it could read."""
    log = file_log(section.path)
    metrics.watch_record_log("file" if section.path else "stdout", log)
    journal = None
    if section.journal is not None:
        journal = file_log(section.journal)
        metrics.watch_record_log("journal", journal)
    return RecordOutputs({"file" if section.path else "stdout": log}, journal)
