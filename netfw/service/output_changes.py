"""Other servers for records while the proxy runs: those that differ are built, started and put in place by a reload.

A former one takes nothing more, sends what it has for a few seconds, and leaves the rest in its spool to whoever has
the same directory. A new one that cannot start is told in the log, and the former one of its name stays. Not here:
which outputs may change (`config.changes`), and building one (`record_assembly`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from netfw.config.log_model import LogSection, OutputSection
from netfw.telemetry.last_deliveries import LastDeliveries
from netfw.telemetry.record_log import RecordLog
from netfw.telemetry.record_outputs import RecordOutputs
from netfw.telemetry.record_secrets import RecordSecrets
from netfw.telemetry.spooled_destination import SpooledLog

_CLOSE = 5.0
_log = Logger()


def prepare_outputs(
    records: RecordOutputs, old: LogSection, new: LogSection, reactor: Any
) -> Callable[[RecordSecrets], None]:
    """What puts the outputs of `new` in the place of those of `old`, with these secrets. Raises OSError for a spool
    that cannot be written.
    """
    former = {output.name: output for output in old.outputs}
    differing = [output for output in new.outputs if former.get(output.name) != output]
    for output in differing:
        _check_spool(output)

    def change(secrets: RecordSecrets) -> None:
        if old.outputs == new.outputs:
            return
        records.renew(secrets)
        logs = {output.name: records.logs[output.name] for output in new.outputs if output.name in records.logs}
        logs |= _started(records, differing)
        leaving = {name: log for name, log in records.logs.items() if logs.get(name) is not log}
        for name in leaving:
            records.servers.metrics.forget_record_log(name)
        for name, log in logs.items():
            if records.logs.get(name) is not log:
                records.servers.watch(name, log)
        records.change(logs, new.takes_dns)
        for log in leaving.values():
            _let_go(records, log, reactor)

    return change


def _started(records: RecordOutputs, outputs: Iterable[OutputSection]) -> dict[str, RecordLog]:
    found = {}
    for output in outputs:
        log = records.servers.build(output)
        try:
            log.start()
        except OSError as error:
            _log.error("records cannot go to {shown}: {error}", shown=output.shown, error=str(error))
        else:
            found[output.name] = log
    return found


def _let_go(records: RecordOutputs, log: RecordLog, reactor: Any) -> None:
    closed: Deferred[Any] = LastDeliveries(lambda: [log], reactor).make()
    closed.addCallback(lambda _: deferToThreadPool(reactor, reactor.getThreadPool(), log.close, _CLOSE))

    def gone(_: object) -> None:
        records.count_former(log)
        if not isinstance(log, SpooledLog):
            return
        for other in records.logs.values():
            if isinstance(other, SpooledLog) and other.destination.spool.root == log.destination.spool.root:
                other.destination.adopt_soon()

    closed.addCallback(gone)
    closed.addErrback(lambda failure: _log.failure("a former output of records did not end", failure=failure))


def _check_spool(output: OutputSection) -> None:
    if output.delivery is None:
        return
    path = output.delivery.spool.path
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "no right to write in it", str(path))
