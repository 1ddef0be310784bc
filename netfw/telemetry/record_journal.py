"""Records for the index where they go elsewhere than into a file of their own form: to standard output.

The journal is a file beside the index with the same lines, which only the index reads. Who reads it turns it over when
it is large (`record_follower`); the writers follow, as they do after any rotation.
"""

from __future__ import annotations

from zope.interface import implementer

from netfw.interfaces import IRecordSink
from netfw.telemetry.record_log import RecordLog


@implementer(IRecordSink)
class JournalledLog:
    """A `RecordLog` and its journal. The counters are those of the log: the journal is watched by itself."""

    def __init__(self, log: RecordLog, journal: RecordLog) -> None:
        self._log = log
        self._journal = journal

    @property
    def written(self) -> int:
        """See `RecordLog`."""
        return self._log.written

    @property
    def dropped(self) -> int:
        """See `RecordLog`."""
        return self._log.dropped

    @property
    def errors(self) -> int:
        """See `RecordLog`."""
        return self._log.errors

    @property
    def queue_length(self) -> int:
        """See `RecordLog`."""
        return self._log.queue_length

    def start(self) -> None:
        """Open both. Raises OSError."""
        self._log.start()
        self._journal.start()

    def write(self, record: bytes) -> None:
        """Take one line."""
        self._log.write(record)
        self._journal.write(record)

    def reopen(self) -> None:
        """Open both again."""
        self._log.reopen()
        self._journal.reopen()

    def close(self, timeout: float = 5.0) -> bool:
        """Write what waits. True when all of it is written."""
        done = self._log.close(timeout)
        return self._journal.close(timeout) and done
