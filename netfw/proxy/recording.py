"""The end of every exchange: one record, the counters, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from netfw.telemetry.exchange_record import record_line

if TYPE_CHECKING:
    from netfw.proxy.exchange import Exchange
    from netfw.telemetry.metrics import Metrics

_log = Logger()


class Recording:
    """`sink` is an `IRecordSink`. A record that cannot be printed is counted and logged; traffic goes on."""

    def __init__(self, sink: Any, metrics: Metrics, now: Callable[[], float]) -> None:
        self._sink = sink
        self.metrics = metrics
        self._now = now
        self.failed = 0

    def finished(self, exchange: Exchange) -> None:
        """Write the exchange's record and count it."""
        now = self._now()
        # The clock on the wall may have been set back meanwhile; nothing took less than no time.
        exchange.finished = now if now > exchange.started else exchange.started
        try:
            self._sink.write(record_line(exchange))
        except Exception:
            self.failed += 1
            _log.failure("the record of exchange {id} could not be made", id=exchange.id)
        self.metrics.exchange_finished(exchange)
