"""A policy from its files to its compiled form, without stalling the connections of this process.

Reading and checking happen in a child process; what it prints is taken over and compiled here in slices of a few
milliseconds.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from netfw.config.model import PolicySection
from netfw.config.policy_lines import PolicyLines
from netfw.policy.compile import CompiledPolicy, compile_in_slices
from netfw.policy.slices import Building
from netfw.transport.slices import run_in_slices

_TIME = 300.0
_COMPLAINTS = 64 * 1024


class PolicyUnreadable(Exception):
    """The files cannot be used. `problems` are for the operator, one text each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read_and_compile(reactor: Any, section: PolicySection, generation: int, now: float) -> Deferred[CompiledPolicy]:
    """A Deferred of the policy that the files say now. Fails with `PolicyUnreadable`."""
    child = _Child()
    kind, path = ("file", section.file) if section.file is not None else ("directory", section.directory)
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "TZ")}
    environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
    arguments = [sys.executable, "-m", "netfw.config.policy_child", kind, str(path)]
    transport = reactor.spawnProcess(child, sys.executable, arguments, env=environment)
    timer = reactor.callLater(_TIME, child.give_up, transport)

    def ended(result: Any) -> Any:
        if timer.active():
            timer.cancel()
        return result

    def compiled(lines: list[bytes]) -> Deferred[CompiledPolicy]:
        return run_in_slices(reactor, take_over(lines, generation, now))

    return child.printed.addBoth(ended).addCallback(compiled)


def take_over(lines: list[bytes], generation: int, now: float) -> Building[CompiledPolicy]:
    """The policy of these lines, compiled. Empties the list as it goes."""
    reader = PolicyLines()
    lines.reverse()
    while lines:
        reader.take(lines.pop())
        yield
    if not reader.is_complete:
        raise PolicyUnreadable(("the process that reads the policy ended in the middle of it",))
    policy = reader.policy()
    yield
    del reader
    yield
    return (yield from compile_in_slices(policy, generation, now))


class _Child(ProcessProtocol):
    """Collects what the child prints; fires with the lines of a policy."""

    def __init__(self) -> None:
        self.printed: Deferred[list[bytes]] = Deferred()
        self._lines: list[bytes] = []
        self._rest = b""
        self._complaints = b""

    def outReceived(self, data: bytes) -> None:
        # Lines at once: to cut megabytes into them in the end takes ten milliseconds.
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines += lines

    def errReceived(self, data: bytes) -> None:
        self._complaints = (self._complaints + data)[-_COMPLAINTS:]

    def give_up(self, transport: Any) -> None:
        transport.signalProcess("KILL")

    def childConnectionLost(self, childFD: int) -> None:
        if childFD != 1 or self.printed.called:
            return
        lines, self._lines = self._lines, []
        if lines and lines[-1] == b'"end"':
            self.printed.callback(lines)
            return
        self.printed.errback(Failure(PolicyUnreadable(self._problems(lines))))

    def _problems(self, lines: list[bytes]) -> tuple[str, ...]:
        if len(lines) == 1 and lines[0].startswith(b"["):
            return tuple(str(problem) for problem in json.loads(lines[0]))
        last_words = self._complaints.decode("utf-8", "replace").strip().splitlines()[-1:]
        return ("the process that reads the policy failed", *last_words)
