"""How long record files are kept, as a service: the process that sees to it, and how it stands.

One for the whole proxy: all workers write the same files. Not here: the rules (`telemetry.record_retention`).
"""

from __future__ import annotations

import json
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

from netfw.admin.status import ProcessStatus
from netfw.config.log_model import LogSection, OutputSection, RetentionSection
from netfw.service.following import FollowerProcess

_log = Logger()

MODULE = "netfw.telemetry.retention_process"


class Retaining(Service):
    """`section.retention` is set."""

    def __init__(self, section: LogSection, reactor: Any) -> None:
        retention = section.retention
        assert retention is not None
        files = [_about(output, retention) for output in section.outputs if output.path is not None]
        self._reactor = reactor
        self._error: str | None = None
        about = {"files": files, "every": retention.every}
        self._process = FollowerProcess(reactor, about, self.heard, lambda: None, module=MODULE, what="record files")

    def startService(self) -> None:
        """Start the process once the reactor runs: its end is told by a signal."""
        super().startService()
        self._reactor.callWhenRunning(self._process.start)

    def stopService(self) -> None:
        """End it."""
        super().stopService()
        self._process.stop()

    def watch(self, status: ProcessStatus) -> None:
        """Show how it stands."""
        status.part("retention", self.describe)

    def describe(self) -> dict[str, Any]:
        """For `netfw status`."""
        return {"state": "works"} if self._error is None else {"state": "fails", "error": self._error}

    def heard(self, line: bytes) -> None:
        """A line of the process."""
        error = json.loads(line)["error"]
        if error is not None:
            _log.error("record files cannot be kept as log.retention says: {error}", error=error)
        elif self._error is not None:
            _log.info("record files are kept as log.retention says again")
        self._error = error


def _about(output: OutputSection, retention: RetentionSection) -> dict[str, Any]:
    return {
        "path": str(output.path),
        "types": list(output.types),
        "rotate": retention.rotate,
        "size": retention.size,
        "total": retention.total,
        "keep": {kind: seconds for kind in output.types if (seconds := retention.of(kind)) is not None},
    }
