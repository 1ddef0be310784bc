"""The outputs of records, made from the configuration: a destination, a printer and a queue each.

Not here: what an output does (`telemetry.record_log`), and the index (`indexing`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from netfw.config.log_model import EXCHANGE_TYPES, LogSection, OutputSection, RecordForm
from netfw.service.delivery_assembly import build_delivery
from netfw.telemetry.file_destination import FileDestination
from netfw.telemetry.metrics import Metrics
from netfw.telemetry.record_log import Printer, RecordLog
from netfw.telemetry.record_outputs import RecordOutputs
from netfw.telemetry.record_printer import Finish, RecordPrinter, as_line
from netfw.telemetry.record_secrets import CurrentSecrets, RecordSecrets
from netfw.telemetry.spooled_destination import SpooledDestination
from netfw.telemetry.syslog_destination import SyslogDestination
from netfw.telemetry.syslog_message import syslog_finish

JOURNAL = "journal"


def build_outputs(
    section: LogSection,
    metrics: Metrics,
    secrets: RecordSecrets,
    *,
    reactor: Any,
    workers: int = 0,
    relays: bool = False,
) -> RecordOutputs:
    """Where records go, and what feeds their index where no output is a file that it could read.

    `workers`: how many there are; each of them, and the supervisor, has a spool of its own. `relays`: workers print to
    this process's standard output through it, lines that are finished already; the journal is theirs, too.
    """
    current = CurrentSecrets(secrets)
    servers = ServerOutputs(metrics, current, reactor, workers + 1 if workers else 1)
    logs: dict[str, RecordLog] = {}
    printed_first: dict[str, Printer] = {}
    for output in section.outputs:
        if output.is_server:
            logs[output.name] = servers.build(output)
            servers.watch(output.name, logs[output.name])
            continue
        destination, finish = FileDestination(output.path), as_line
        printer = _printer(output, current, finish)
        if relays and output.is_stdout:
            if printer is not None:
                printed_first[output.name] = printer
            printer = None
        log = RecordLog(destination, printer=printer, queued_records=output.queue)
        metrics.watch_record_log(output.name, Relayed(log) if relays and output.is_stdout else log)
        logs[output.name] = log
    journal = None
    if section.journal is not None and not relays:
        # What is hidden from everybody is hidden there too.
        form = RecordForm(treatments=section.treatments)
        feeds = OutputSection(JOURNAL, section.journal, forms=dict.fromkeys(EXCHANGE_TYPES, form))
        journal = RecordLog(FileDestination(section.journal), printer=_printer(feeds, current, as_line))
        metrics.watch_record_log(JOURNAL, journal)
    return RecordOutputs(
        logs,
        journal,
        current=current,
        printed_first=printed_first,
        takes_dns=section.takes_dns,
        servers=servers,
    )


@dataclass(frozen=True, slots=True)
class ServerOutputs:
    """Builds outputs to servers, now and for a reload; `processes`: how many share the size of a spool."""

    metrics: Metrics
    current: CurrentSecrets
    reactor: Any
    processes: int

    def build(self, output: OutputSection) -> RecordLog:
        """One that has not started. A new kind of output has its line here."""
        if output.delivery is not None:
            return build_delivery(
                output,
                self.current.delivery_of(output.name),
                lambda wanted, finish: _printer(wanted, self.current, finish),
                reactor=self.reactor,
                processes=self.processes,
            )
        destination, finish = _syslog(output, self.current.context_of(output.name))
        return RecordLog(destination, printer=_printer(output, self.current, finish), queued_records=output.queue)

    def watch(self, name: str, log: RecordLog) -> None:
        """Metrics show it under its name."""
        self.metrics.watch_record_log(name, log)
        if isinstance(log.destination, SpooledDestination):
            self.metrics.watch_delivery(name, log.destination)


class Relayed:
    """The log that workers' standard output goes through, as metrics see it: what workers have written is counted by
    them, what is lost here is counted here.
    """

    written = 0
    left_out = 0

    def __init__(self, log: RecordLog) -> None:
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def _printer(output: OutputSection, current: CurrentSecrets, finish: Finish) -> Printer | None:
    """None where lines go out as they are: nobody has to read them."""
    if output.is_untouched and finish is as_line:
        return None
    return RecordPrinter(output, current.tokens, finish)


def _syslog(output: OutputSection, context: Callable[[], Any]) -> tuple[Any, Finish]:
    section = output.syslog
    assert section is not None
    destination = SyslogDestination(section, context)
    finish = syslog_finish(
        facility=section.facility,
        hostname=socket.gethostname(),
        app_name=section.app_name,
        process=os.getpid(),
        is_stream=destination.is_stream,
    )
    return destination, finish
