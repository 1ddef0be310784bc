"""Looking after parent proxies: each is connected to again and again, and may be asked for a tunnel.

In this room: when, and what is done. Not here: what a failure means (`parent_health`). Connections that exchanges make
tell as much, so a parent that dies is found between two checks; only a check finds that it is back.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from netfw.config.way_model import HealthSection
from netfw.errors import NetfwError, Overloaded
from netfw.names.authority import Authority
from netfw.names.host import host_from_text
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.parent_dialing import dial_parent
from netfw.proxy.parent_tunnel import ask_for_tunnel, connect_head
from netfw.proxy.parents import Parent
from netfw.proxy.ways import Ways
from netfw.transport.closing import close
from netfw.transport.relay import hand_over

_log = Logger()


class ParentChecks:
    """Checks every parent from `start` to `stop`; nothing with an interval of 0."""

    def __init__(self, plane: DataPlane, ways: Ways) -> None:
        self._checks = [_Check(plane, parent, ways.upstream.health) for parent in ways]
        self._runs = bool(ways.upstream.health.interval)

    def start(self) -> None:
        """Check all at once, then each in its interval."""
        if self._runs:
            for check in self._checks:
                check.begin()

    def stop(self) -> None:
        """No more of it."""
        for check in self._checks:
            check.stop()


class _Check:
    """One parent's."""

    def __init__(self, plane: DataPlane, parent: Parent, section: HealthSection) -> None:
        self._plane = plane
        self._parent = parent
        self._section = section
        self._deadline: Any = None
        self._under_way: Deferred[Any] | None = None
        self._stopped = False

    def begin(self) -> None:
        """Look now; the next look is an interval later than this one."""
        plane, section = self._plane, self._section
        self._deadline = plane.deadlines.start(section.timeout, self._timed_out)
        self._under_way = looking = dial_parent(plane, self._parent, None)
        if section.probe is not None:
            looking.addCallback(self._ask, section.probe)
        looking.addCallbacks(self._found, self._failed)
        looking.addErrback(lambda failure: _log.failure("a check of a parent proxy broke", failure=failure))

    def _ask(self, transport: Any, probe: tuple[str, int]) -> Deferred[Any]:
        plane, parent = self._plane, self._parent
        target = Authority(host_from_text(probe[0]), probe[1]).to_bytes()
        asked = ask_for_tunnel(
            transport,
            parent,
            target,
            connect_head(parent, target, plane.via, []),
            limits=plane.head_limits,
            deadlines=plane.deadlines,
            timeout=self._section.timeout,
        )
        return asked.addCallback(lambda _: transport)

    def _found(self, transport: Any) -> None:
        hand_over(transport, Protocol())
        close(transport, self._plane.deadlines, self._plane.configuration.timeouts.abort)
        self._parent.health.worked()
        self._wait()

    def _failed(self, failure: Failure) -> None:
        problem = failure.value
        if self._stopped:
            return
        if isinstance(problem, CancelledError):
            why = f"no answer within {self._section.timeout:g} s"
        elif isinstance(problem, Overloaded):
            self._wait()  # we could not look
            return
        elif isinstance(problem, NetfwError):
            why = problem.detail.removeprefix(f"{self._parent.name}: ") or problem.message
        else:
            self._wait()
            failure.raiseException()
        self._parent.health.failed(why)
        self._wait()

    def _timed_out(self) -> None:
        if self._under_way is not None:
            self._under_way.cancel()

    def _wait(self) -> None:
        self._under_way = None
        self._deadline.cancel()
        if not self._stopped:
            self._deadline = self._plane.deadlines.start(self._section.interval, self.begin)

    def stop(self) -> None:
        """Look no more, and let go of a look that is under way."""
        self._stopped = True
        if self._deadline is not None:
            self._deadline.cancel()
        if self._under_way is not None:
            self._under_way.cancel()
