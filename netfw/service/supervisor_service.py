"""The proxy with worker processes as one Twisted service: what `twistd` runs is the supervisor.

Start: sockets are bound and keys are read (before privileges are dropped), and workers are started once the reactor
runs, as whom twistd has become. SIGHUP: records are reopened everywhere, configuration and policy are read again.
SIGUSR2: the workers are replaced one after the other. Stop (SIGTERM): all drain for at most `timeouts.drain` seconds; a
second SIGTERM cuts what is under way. Not here: the pool (`workers.supervisor`), and one process (`proxy_service`).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred

from netfw.admin.status import ProcessStatus, State
from netfw.config.model import Configuration
from netfw.service.data_path import log_listener
from netfw.service.output_changes import prepare_outputs
from netfw.service.policy_source import PolicyInForce, ReloadResult
from netfw.service.reading_anew import Found
from netfw.service.reloading import Commit, Reloading
from netfw.service.reopening import reopen_files
from netfw.service.signals import Signals
from netfw.service.systemd import Notifier
from netfw.telemetry.last_deliveries import LastDeliveries
from netfw.telemetry.metrics import Metrics
from netfw.telemetry.record_outputs import RecordOutputs
from netfw.transport.deadlines import Deadlines
from netfw.workers.plain import to_plain
from netfw.workers.sealed_files import close_files
from netfw.workers.sockets import Inheritance
from netfw.workers.supervisor import Supervisor


class SupervisorService(MultiService):
    """Runs the workers; the admin surface is a child service.

    `read` reads what a configuration names, and `renewed` hears when that is taken over. `records` takes what workers
    write to standard output, and what this process puts on record itself; everywhere else workers write by themselves.
    """

    def __init__(
        self,
        *,
        configuration: Configuration,
        reactor: Any,
        deadlines: Deadlines,
        now: Callable[[], float],
        inheritance: Inheritance,
        policies: PolicyInForce,
        records: RecordOutputs,
        metrics: Metrics,
        status: ProcessStatus,
        notifier: Notifier,
        read: Callable[[Configuration], Deferred[Found]],
        renewed: Callable[[Found], object],
    ) -> None:
        super().__init__()
        self._configuration = configuration
        self._reactor = reactor
        self._deadlines = deadlines
        self._now = now
        self.inheritance = inheritance
        self._policies = policies
        self._records = records
        self._metrics = metrics
        self._status = status
        self._notifier = notifier
        self._read = read
        self._unused: dict[Path, int] = {}
        self._renewed = renewed
        self._signals = Signals(reactor)
        self._last = LastDeliveries(lambda: records.logs.values(), reactor)
        self._reloading = Reloading(configuration, policies, self._prepare)
        self.supervisor: Supervisor

    @property
    def configuration(self) -> Configuration:
        """The settings in force."""
        return self._configuration

    def privilegedStartService(self) -> None:
        """Bind while privileges are there."""
        self._bind()
        super().privilegedStartService()

    def _bind(self) -> None:
        if self.inheritance.open():
            for section, port in self.inheritance.ports:
                log_listener(section, port)

    def opened(self) -> set[tuple[int, int]]:
        """See `Doors`."""
        return self.inheritance.opened

    def open_port(self, position: int, port: int) -> None:
        """See `Doors`."""
        self.supervisor.listen(position, port, self.inheritance.open_port(position, port))
        log_listener(self._configuration.listeners[position], port)

    def close_port(self, position: int, port: int) -> None:
        """See `Doors`."""
        self.inheritance.close_port(position, port)
        self.supervisor.stop_listening(position, port)

    def settled(self) -> Deferred[None]:
        """See `Doors`: what a worker answers now, it answers after what it was told before."""
        return self.supervisor.gather()

    def startService(self) -> None:
        """Begin to serve."""
        self._bind()
        self._records.start()
        super().startService()
        self._signals.take(signal.SIGHUP, self.reload)
        self._policies.start()
        self._signals.take(signal.SIGUSR2, self.supervisor.replace_all)
        # A process that ends is heard of by a signal that the reactor takes when it runs.
        self._reactor.callWhenRunning(self.supervisor.start)
        self._notifier.keep_alive(self._deadlines)

    def changed(self) -> None:
        """A worker began or ceased to serve."""
        if self._status.state is not State.DRAINING:
            ready = self.supervisor.complete and self.supervisor.serving
            was_ready = self._status.state is State.READY
            self._status.state = State.READY if ready else State.STARTING
            if ready and not was_ready:
                self._notifier.ready(self._policies.summary())
            elif was_ready and not ready:
                self._notifier.status("no worker serves")

    def printed(self, line: bytes) -> None:
        """A worker wrote a line to standard output."""
        self._records.relay(line)

    def reload(self) -> Deferred[dict[str, Any]]:
        """Reopen the records, and read configuration and policy again, everywhere; a Deferred of the result as a
        dict.
        """
        self.supervisor.reopen()
        self._records.reopen()
        reopen_files(self)
        self._notifier.reloading()
        return self._reloading.reload().addCallback(self.reloaded)

    def _prepare(self, new: Configuration) -> Deferred[Commit]:
        """Workers build what they need themselves; what they cannot use they log, and keep what they have."""

        def prepared(found: Found) -> Commit:
            # Those of a reload that was refused afterwards are nobody's.
            close_files(self._unused)
            self._unused = found.copies
            change_outputs = prepare_outputs(self._records, self._configuration.log, new.log, self._reactor)

            def commit() -> Deferred[Any]:
                self._unused = {}
                self._configuration = new
                self.inheritance.reconfigure(new, found.copies)
                # First the CA: a worker forgets its leaves when it hears of another one, and asks for new ones.
                self._renewed(found)
                change_outputs(found.credentials.records)
                plain = to_plain(self.inheritance.configuration)
                return self.supervisor.reconfigure(plain, found.copies, new.timeouts.drain)

            return commit

        return self._read(new).addCallback(prepared)

    def reloaded(self, result: ReloadResult) -> dict[str, Any]:
        """A policy was put in force, or refused: count it, and show it."""
        self._metrics.reload(result.ok, self._now())
        report = result.as_dict()
        self._status.reloaded(report)
        self._notifier.ready(self._policies.summary(result))
        return report

    def stopService(self) -> Deferred[None]:
        """Let all drain, then end."""
        self._status.state = State.DRAINING
        self._notifier.stopping(self._configuration.timeouts.drain)
        self._policies.stop()
        self.inheritance.stop_listening()
        self._signals.take(signal.SIGTERM, self._abort)
        self._signals.take(signal.SIGINT, self._abort)
        drained = self.supervisor.drain()
        # Its own: audits, and what workers that were killed have left.
        drained.addCallback(lambda _: self._last.make())
        drained.addCallback(lambda _: self._end())
        return drained

    def _abort(self) -> None:
        self._last.cut()
        self.supervisor.abort()

    def _end(self) -> Any:
        ended = super().stopService()
        self._signals.give_back()
        self._notifier.close()
        self.inheritance.close()
        self._records.close()
        self._deadlines.stop()
        return ended
