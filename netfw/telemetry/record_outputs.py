"""All outputs of records: each has every record, a queue and a thread of its own, and none waits for another.

Not here: one output (`record_log`), and which there are (`service.record_assembly`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from zope.interface import implementer

from netfw.interfaces import IRecordSink
from netfw.telemetry.file_destination import STANDARD_OUTPUT
from netfw.telemetry.record_log import Printer, RecordLog
from netfw.telemetry.record_secrets import CurrentSecrets, RecordSecrets


@implementer(IRecordSink)
class RecordOutputs:
    """`logs` by the names of the outputs. The counters are sums over them; the journal, which feeds the index alone, is
    none of them and is watched by itself.

    `current`: the secrets in force. `printed_first`: printers of outputs whose log takes finished lines from others as
    well. `takes_dns`: which outputs get answers of the DNS. `servers`: what builds outputs to servers for a reload.
    """

    write: Callable[[bytes], None]
    """See `IRecordSink`."""

    def __init__(
        self,
        logs: Mapping[str, RecordLog],
        journal: RecordLog | None = None,
        *,
        current: CurrentSecrets | None = None,
        printed_first: Mapping[str, Printer] | None = None,
        takes_dns: frozenset[str] = frozenset(),
        servers: Any = None,
    ) -> None:
        self.servers = servers
        self._current = current
        self._journal = journal
        self._printed_first = printed_first or {}
        # What those have counted that are no outputs any more.
        self._former = Counter[str]()
        self.change(logs, takes_dns)

    def change(self, logs: Mapping[str, RecordLog], takes_dns: frozenset[str]) -> None:
        """From now on records go to these, which have started. What is none of them any more is the caller's to close.
        `write` is another function afterwards.
        """
        self.logs = dict(logs)
        self._all = [*self.logs.values(), *([] if self._journal is None else [self._journal])]
        self._dns = [log for name, log in self.logs.items() if name in takes_dns]
        if self._printed_first:
            self.write = self._write_printed
        else:
            # With one output nothing is added to what every record costs.
            self.write = self._all[0].write if len(self._all) == 1 else self._write_to_all

    @property
    def written(self) -> int:
        """See `RecordLog`."""
        return self._former["written"] + sum(log.written for log in self.logs.values())

    @property
    def dropped(self) -> int:
        """See `RecordLog`."""
        return self._former["dropped"] + sum(log.dropped for log in self.logs.values())

    @property
    def errors(self) -> int:
        """See `RecordLog`."""
        return self._former["errors"] + sum(log.errors for log in self.logs.values())

    def count_former(self, log: RecordLog) -> None:
        """It is closed and no output any more: what it has counted stays in the sums."""
        self._former += Counter(written=log.written, dropped=log.dropped, errors=log.errors)

    def start(self) -> None:
        """Open all. Raises OSError."""
        for log in self._all:
            log.start()

    def _write_to_all(self, record: bytes) -> None:
        for log in self._all:
            log.write(record)

    def _write_printed(self, record: bytes) -> None:
        for name, log in self.logs.items():
            printer = self._printed_first.get(name)
            printed = record if printer is None else printer(record)
            if printed is not None:
                log.write(printed)

    def write_dns(self, record: bytes) -> None:
        """Take the record of an answer of the DNS, for those outputs that want it."""
        for log in self._dns:
            log.write(record)

    def relay(self, line: bytes) -> None:
        """Take a line that a worker printed to standard output, as it is."""
        for log in self.logs.values():
            if log.destination.shown == STANDARD_OUTPUT:
                log.write(line)

    def renew(self, secrets: RecordSecrets) -> None:
        """Go on with these."""
        if self._current is not None:
            self._current.renew(secrets)

    def reopen(self) -> None:
        """Open all again."""
        for log in self._all:
            log.reopen()

    def close(self, timeout: float = 5.0) -> bool:
        """Write what waits, for at most `timeout` seconds in all. True when all of it is written."""
        end = monotonic() + timeout
        for log in self._all:
            log.begin_close(timeout)
        done = [log.close(max(0.0, end - monotonic())) for log in self._all]
        return all(done)
