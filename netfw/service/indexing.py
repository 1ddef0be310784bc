"""The index of records as a service: the process that keeps it, and how it stands for status, metrics and the log.

One for the whole proxy: all workers write the same file. Not here: what is in the index (`telemetry.record_index`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

from netfw.admin.status import ProcessStatus
from netfw.config.model import IndexSection
from netfw.service.following import FollowerProcess
from netfw.telemetry.metrics import Metrics

_log = Logger()

MODULE = "netfw.telemetry.index_process"
LAGGING = 10.0
"""Seconds of lag from which the log says so."""
_SILENT = 7.5
"""It says something each second, and every five while it waits."""


class Indexing(Service):
    """`is_journal`: the file is the index's own, and it turns it over.

    `seconds` is a steady clock: a process that says nothing lags by as long as it has been silent.
    """

    def __init__(
        self,
        records: Path,
        section: IndexSection,
        reactor: Any,
        *,
        is_journal: bool,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._section = section
        self._reactor = reactor
        self._seconds = seconds
        about = {
            "records": str(records),
            "index": str(section.path),
            "keep": section.keep,
            "size": section.size,
            "is_journal": is_journal,
        }
        self._process = FollowerProcess(reactor, about, self.heard, lambda: None, module=MODULE, what="the records")
        self._heard_at = seconds()
        self._figures: dict[str, Any] = {"records": None, "lag_bytes": None, "lag_seconds": 0.0}
        self._error: str | None = None
        self._is_lagging = False
        self._waits = False

    def startService(self) -> None:
        """Start the process once the reactor runs: its end is told by a signal."""
        super().startService()
        self._reactor.callWhenRunning(self._process.start)

    def stopService(self) -> None:
        """End it; what it has not read it reads at the next start."""
        super().stopService()
        self._process.stop()

    def watch(self, status: ProcessStatus, metrics: Metrics) -> None:
        """Show how it stands."""
        status.part("index", self.describe)
        metrics.watch("netfw_record_index_records", lambda: self._figures["records"])
        metrics.watch("netfw_record_index_lag_bytes", lambda: self._figures["lag_bytes"])
        metrics.watch("netfw_record_index_lag_seconds", self.lag)

    def lag(self) -> float:
        """Seconds."""
        silent = self._seconds() - self._heard_at
        return max(float(self._figures["lag_seconds"]), silent if silent > _SILENT else 0.0)

    def describe(self) -> dict[str, Any]:
        """For `netfw status`."""
        lag = self.lag()
        state = "fails" if self._error else "lags" if lag > LAGGING else "keeps up"
        if self._waits:
            state = "kept by another proxy"
        shown = {"path": str(self._section.path), "state": state, **self._figures, "lag_seconds": round(lag, 1)}
        return shown if self._error is None else {**shown, "error": self._error}

    def heard(self, line: bytes) -> None:
        """A line of the process: how it stands, or what keeps it from its work."""
        report = json.loads(line)
        path = str(self._section.path)
        self._waits = report.get("kept_by_another", False)
        if self._waits:
            self._heard_at, self._error = self._seconds(), None
            return
        error = report.get("error")
        if error is not None:
            if error != self._error:
                _log.error("the index {path} cannot be kept: {error}", path=path, error=error)
            self._error = error
            return
        self._heard_at = self._seconds()
        self._error = None
        if report.get("rebuilt"):
            _log.error(
                "the index {path} was unusable ({reason}) and is built anew from the records that are still there",
                path=path,
                reason=report["rebuilt"],
            )
        self._figures = {name: report[name] for name in ("records", "lag_bytes", "lag_seconds")}
        is_lagging = float(report["lag_seconds"]) > LAGGING
        if is_lagging and not self._is_lagging:
            _log.warn(
                "the index {path} lags by {seconds} s and {bytes} bytes of records",
                path=path,
                seconds=report["lag_seconds"],
                bytes=report["lag_bytes"],
            )
        elif self._is_lagging and not is_lagging:
            _log.info("the index {path} keeps up again", path=path)
        self._is_lagging = is_lagging
