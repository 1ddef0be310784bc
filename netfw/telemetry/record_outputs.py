"""All outputs of records: each has every record, a queue and a thread of its own, and none waits for another.

Not here: one output (`record_log`), and which there are (`service.record_assembly`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic

from zope.interface import implementer

from netfw.interfaces import IRecordSink
from netfw.telemetry.record_log import RecordLog


@implementer(IRecordSink)
class RecordOutputs:
    """`logs` by the names of the outputs. The counters are sums over them; the journal, which feeds the index alone, is
    none of them and is watched by itself.
    """

    write: Callable[[bytes], None]
    """See `IRecordSink`."""

    def __init__(self, logs: Mapping[str, RecordLog], journal: RecordLog | None = None) -> None:
        self.logs = dict(logs)
        self.journal = journal
        self._all = [*self.logs.values(), *([] if journal is None else [journal])]
        # With one output nothing is added to what every record costs.
        self.write = self._all[0].write if len(self._all) == 1 else self._write_to_all

    @property
    def written(self) -> int:
        """See `RecordLog`."""
        return sum(log.written for log in self.logs.values())

    @property
    def dropped(self) -> int:
        """See `RecordLog`."""
        return sum(log.dropped for log in self.logs.values())

    @property
    def errors(self) -> int:
        """See `RecordLog`."""
        return sum(log.errors for log in self.logs.values())

    def start(self) -> None:
        """Open all. Raises OSError."""
        for log in self._all:
            log.start()

    def _write_to_all(self, record: bytes) -> None:
        for log in self._all:
            log.write(record)

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
