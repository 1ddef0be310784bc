"""A new policy to all workers in two steps: all compile it, then all swap. It is in force everywhere, or nowhere.

A worker that refuses it, ends or does not answer in time while it compiles stops the whole: a policy that kills who
compiles it must not become the one that replacements start with. After that it is in force, and a worker that does not
swap at once is ended: it would go on deciding by rules that are no more. Not here: workers that start meanwhile
(`supervisor` brings them up afterwards).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from netfw.policy.compile import CompiledPolicy
from netfw.transport.deadlines import Deadlines
from netfw.workers.child import Child
from netfw.workers.messages import Forget, Swap
from netfw.workers.snapshot import print_snapshot

COMPILE = 300.0
SWAP = 10.0
_MOST_PROBLEMS = 20
_log = Logger()


@dataclass(frozen=True, slots=True)
class Published:
    """A policy as it goes to workers: `messages` are those of `snapshot.print_snapshot`, printed once for all."""

    serial: int
    generation: int
    messages: tuple[bytes, ...]


def print_policy(policy: CompiledPolicy, serial: int, at: float) -> Generator[None, None, Published]:
    """Print it, yielding often. Raises MessageError when a part of it is larger than workers read."""
    printed = yield from print_snapshot(policy.configuration, serial, policy.generation, at)
    return Published(serial, policy.generation, printed)


def send_snapshot(child: Child, published: Published) -> None:
    """Send it, and note that."""
    child.sent = published.serial
    child.prepared = None  # a worker keeps one prepared policy, the newest
    for message in published.messages:
        child.send_bytes(message)


def send_swap(child: Child, published: Published) -> None:
    """Send it, and note that."""
    child.told_to_swap = published.serial
    child.send(Swap(published.serial))


class Distribution:
    """One policy on its way. `done` fires with the problems, () when it is in force; `commit` is called in between, at
    the moment from which on it is the policy of the proxy.
    """

    def __init__(
        self, published: Published, children: Iterable[Child], deadlines: Deadlines, commit: Callable[[], None]
    ) -> None:
        self.published = published
        self.done: Deferred[tuple[str, ...]] = Deferred()
        self._children = list(children)
        self._waiting = set(self._children)
        self._commit = commit
        self._deadlines = deadlines
        self._problems: list[str] = []
        self._committed = False
        self._deadline = deadlines.start(COMPILE, self._too_slow)

    def start(self) -> None:
        """Send it to everybody."""
        for child in self._children:
            send_snapshot(child, self.published)
        self._look()

    def accepted(self, child: Child, serial: int) -> None:
        """This one has compiled it."""
        if serial == self.published.serial and not self._committed:
            self._waiting.discard(child)
            self._look()

    def refused(self, child: Child, serial: int, problems: tuple[str, ...]) -> None:
        """This one cannot use it."""
        if serial == self.published.serial and not self._committed:
            self._problems += [f"worker {child.number}: {problem}" for problem in problems[:_MOST_PROBLEMS]]
            self._waiting.discard(child)
            self._look()

    def swapped(self, child: Child, serial: int) -> None:
        """This one decides by it."""
        if serial == self.published.serial and self._committed:
            self._waiting.discard(child)
            self._look()

    def gone(self, child: Child) -> None:
        """This one has ended."""
        if child not in self._children:
            return
        self._children.remove(child)
        if not self._committed:
            self._problems.append(f"worker {child.number} ended while it compiled the policy")
        self._waiting.discard(child)
        self._look()

    def _look(self) -> None:
        if self._waiting or self.done.called:
            return
        if self._committed or self._problems:
            self._finish()
            return
        self._committed = True
        self._commit()
        self._waiting = set(self._children)
        self._deadline.cancel()
        self._deadline = self._deadlines.start(SWAP, self._too_slow)
        for child in list(self._children):
            send_swap(child, self.published)
        self._look()

    def _finish(self) -> None:
        self._deadline.cancel()
        if self._problems:
            for child in self._children:
                child.send(Forget(self.published.serial))
        self.done.callback(tuple(self._problems))

    def _too_slow(self) -> None:
        for child in sorted(self._waiting, key=lambda child: child.number):
            if self._committed:
                _log.error("{child!r} did not take the policy in time and is ended", child=child)
                child.kill()
            else:
                self._problems.append(f"worker {child.number} did not compile the policy in time")
        self._waiting.clear()
        self._look()
