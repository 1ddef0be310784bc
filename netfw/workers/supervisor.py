"""The supervisor: so many workers, each in its place, replaced when they end or hang, and one policy for all.

In this room: the pool. Each place has listening sockets of its own, which stay open here: what waits in the queue of a
worker that died is accepted by its replacement. Not here: one process (`child`), the two steps of a policy
(`distribution`), sockets (`sockets`), signals and the admin surface (`service`).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from netfw.telemetry.metrics_merge import ExportError, Families
from netfw.transport.deadlines import Deadlines, later
from netfw.workers import messages
from netfw.workers.asking import Asking
from netfw.workers.back_off import BackOff
from netfw.workers.child import Child, ChildOwner, ChildState
from netfw.workers.distribution import Distribution, Published, send_snapshot, send_swap
from netfw.workers.gathering import Gathering
from netfw.workers.leaf_signer import LeafSigner
from netfw.workers.tally import Figures, Tally

TICK = 1.0
HUNG = 10
"""Ticks without a word. Counted, not measured: a machine that slept would find every worker silent."""
HUNG_AT_START = 60
"""The same until the first word: a cold start on a busy machine imports for seconds."""
ROWS_PATIENCE = 2.0
SETTINGS_PATIENCE = 10.0
"""It may have modules to import, and files to read."""
_GRACE = 5.0
# Besides: records that wait for a server are sent once more when a worker has drained.
_LAST_DELIVERIES = 3.0
_log = Logger()


class Spawn(Protocol):
    """What starts a process for this place: gives a `Child` that runs, or raises OSError."""

    def __call__(self, number: int, owner: ChildOwner) -> Child:
        """Called whenever a place is empty, and once more for each when all are replaced."""


class _Place:
    """One place in the pool. `leaving` are former workers that still drain; while its worker is being replaced by
    request, `former` still serves and `awaited` fires with whether the new one does.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.child: Child | None = None
        self.leaving: set[Child] = set()
        self.back_off = BackOff()
        self.spawned = 0
        self.call: Any = None
        self.former: Child | None = None
        self.awaited: Deferred[bool] | None = None


class Supervisor:
    """`start_message` gives the first message to a worker, `first` is the policy that the start was checked with.

    `changed` is called when a worker begins or ceases to serve, `printed` for each line that one writes to standard
    output.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        deadlines: Deadlines,
        places: int,
        spawn: Spawn,
        start_message: Callable[[int], messages.Start],
        first: Published,
        signer: LeafSigner | None,
        drain_seconds: float,
        changed: Callable[[], object],
        printed: Callable[[bytes], object],
    ) -> None:
        self._reactor = reactor
        self._deadlines = deadlines
        self._places = [_Place(number) for number in range(1, places + 1)]
        self._spawn = spawn
        self._start_message = start_message
        self._signer = signer
        self._drain_seconds = drain_seconds
        self._changed = changed
        self._printed = printed
        self.current = first
        self.stopping = False
        self.intercepts = True
        self.complete = False
        self.tally = Tally()
        self._distribution: Distribution | None = None
        self._ticks = 0
        self._gathering = Gathering(deadlines)
        self._asking = Asking(deadlines)
        self._all_gone: Deferred[None] | None = None
        self._rolling = False

    # the pool

    def start(self) -> None:
        """Start every worker. The reactor must run already, to hear of their end."""
        if self.stopping:
            return
        for place in self._places:
            self._fill(place)
        self._deadlines.start(TICK, self._tick)

    @property
    def children(self) -> Iterator[Child]:
        """Every process there is."""
        for place in self._places:
            if place.child is not None:
                yield place.child
            yield from tuple(place.leaving)

    @property
    def serving(self) -> int:
        """How many accept connections."""
        return sum(child.state is ChildState.SERVING for child in self.children)

    @property
    def restarts(self) -> int:
        """How many processes were started beyond the first of each place."""
        return sum(max(place.spawned - 1, 0) for place in self._places)

    def living(self) -> list[Figures]:
        """The last words of those there are."""
        return [child.figures for child in self.children if child.figures is not None]

    def families(self) -> Iterator[Families]:
        """Every worker's counters, those of the dead included."""
        return self.tally.families(self.living())

    def rows(self) -> list[dict[str, Any]]:
        """One for each process, for the status."""
        now = self._deadlines.seconds()
        return [
            {
                "worker": child.number,
                "pid": child.pid,
                "state": child.state.value,
                "generation": child.generation,
                "connections": child.figures.connections if child.figures is not None else 0,
                "tunnels": child.figures.tunnels if child.figures is not None else 0,
                "uptime_seconds": int(now - child.started),
                "restarts": max(place.spawned - 1, 0),
            }
            for place in self._places
            for child in ((place.child,) if place.child is not None else ()) + tuple(place.leaving)
        ]

    def _fill(self, place: _Place) -> None:
        place.call = None
        if self.stopping:
            return
        place.spawned += 1
        try:
            child = place.child = self._spawn(place.number, self)
        except OSError as error:
            _log.error("worker {number} cannot be started: {error}", number=place.number, error=str(error))
            self._fill_later(place, 0.0)
            return
        _log.info("worker {number} starts, pid {pid}", number=place.number, pid=child.pid)
        child.send(self._start_message(place.number))
        if not self.intercepts:
            child.send(messages.Intercept(False))
        send_snapshot(child, self.current)

    def _fill_later(self, place: _Place, lived: float) -> None:
        place.child = None
        if not self.stopping:
            place.call = later(self._reactor, place.back_off.after(lived), self._fill, place)

    def ended(self, child: Child, reason: str) -> None:
        """See `ChildOwner`."""
        place = self._places[child.number - 1]
        lived = self._deadlines.seconds() - child.started
        tell = _log.info if self.stopping or child in place.leaving else _log.error
        tell("worker {number}, pid {pid}, ended: {reason}", number=child.number, pid=child.pid, reason=reason)
        if child.figures is not None:
            self.tally.keep(child.figures)
        place.leaving.discard(child)
        if place.child is child:
            if place.former is not None and place.former in place.leaving:
                # The new one does not come up: the old one stays.
                place.leaving.discard(place.former)
                place.child = place.former
            else:
                self._fill_later(place, lived)
            self._tell_awaiting(place, False)
        if self._distribution is not None:
            self._distribution.gone(child)
        self._gathering.gone(child)
        self._asking.gone(child)
        self._changed()
        if self._all_gone is not None and not any(True for _ in self.children):
            gone, self._all_gone = self._all_gone, None
            gone.callback(None)

    def printed(self, line: bytes) -> None:
        """See `ChildOwner`."""
        self._printed(line)

    def _tick(self) -> None:
        self._ticks += 1
        for child in list(self.children):
            child.silent += 1
            if child.silent > (HUNG if child.heard else HUNG_AT_START):
                _log.error("{child!r} does not answer any more and is ended", child=child)
                child.kill()
            else:
                child.send(messages.Ping(self._ticks))
                # What it has counted since is lost when it is killed, and its counters cost it a millisecond.
                self._gathering.ask(child)
        self._deadlines.start(TICK, self._tick)

    # what workers say

    def received(self, child: Child, message: messages.FromWorker) -> None:
        """See `ChildOwner`."""
        if isinstance(message, messages.IssueLeaf):
            child.send(self._leaf(message))
        elif isinstance(message, messages.StatusReply):
            self._figures(child, message)
        elif isinstance(message, messages.ConnectionsReply):
            self._asking.answered(child, message.serial, message.rows)
        elif isinstance(message, messages.Reconfigured):
            self._asking.answered(child, message.serial)
        elif isinstance(message, messages.SnapshotAccepted):
            if message.serial == child.sent:  # an answer that crossed a newer snapshot says nothing any more
                child.prepared = message.serial
            if self._distribution is not None:
                self._distribution.accepted(child, message.serial)
            self._bring_up(child)
        elif isinstance(message, messages.SnapshotRefused):
            self._refused(child, message)
        elif isinstance(message, messages.Swapped):
            self._swapped(child, message)
        elif isinstance(message, messages.Leaving):
            self._leaves(child)

    def _leaf(self, question: messages.IssueLeaf) -> messages.LeafIssued | messages.LeafRefused:
        if self._signer is None:
            return messages.LeafRefused(question.request, "nothing is intercepted here")
        return self._signer.answer(question)

    def _figures(self, child: Child, reply: messages.StatusReply) -> None:
        try:
            child.figures = Figures(reply)
        except (ExportError, ValueError) as error:
            _log.error("{child!r} has counters that cannot be read: {error}", child=child, error=str(error))
        self._gathering.answered(child, reply.serial)

    def _refused(self, child: Child, message: messages.SnapshotRefused) -> None:
        if self._distribution is not None and message.serial == self._distribution.published.serial:
            self._distribution.refused(child, message.serial, message.problems)
        elif message.serial == self.current.serial:
            # What others have in force this one cannot compile: it is no use, and its replacement may be luckier.
            _log.error("{child!r} refuses the policy: {problems}", child=child, problems="; ".join(message.problems))
            child.kill()

    def _swapped(self, child: Child, message: messages.Swapped) -> None:
        child.swapped = message.serial
        if self._distribution is not None:
            self._distribution.swapped(child, message.serial)
        if child.state is ChildState.STARTING:
            child.state = ChildState.SERVING
            _log.info("worker {number}, pid {pid}, serves", number=child.number, pid=child.pid)
            self.complete = self.complete or all(
                place.child is not None and place.child.state is ChildState.SERVING for place in self._places
            )
            place = self._places[child.number - 1]
            if place.child is child:
                self._tell_awaiting(place, True)
        if message.serial == self.current.serial:
            child.generation = self.current.generation
        self._bring_up(child)
        self._changed()

    def _leaves(self, child: Child) -> None:
        """Somebody else asked it to end: it drains, and another one takes its place at once."""
        place = self._places[child.number - 1]
        if child.state is ChildState.SERVING:
            child.state = ChildState.DRAINING
        if place.child is child and not self.stopping:
            place.leaving.add(child)
            self._fill(place)
        self._changed()

    # the policy

    def publish(self, published: Published) -> Deferred[tuple[str, ...]]:
        """Put this policy in force in every worker, or in none. A Deferred of the problems."""
        assert self._distribution is None, "one policy at a time"

        def commit() -> None:
            self.current = published

        children = [child for child in self.children if child.stays]
        distribution = self._distribution = Distribution(published, children, self._deadlines, commit)

        def finish(problems: tuple[str, ...]) -> tuple[str, ...]:
            self._distribution = None
            for child in list(self.children):
                self._bring_up(child)
            return problems

        distribution.done.addCallback(finish)
        distribution.start()
        return distribution.done

    def _bring_up(self, child: Child) -> None:
        """Give the policy in force to one that does not decide by it yet: it has just started."""
        current = self.current
        if self._distribution is not None or not child.stays or child.swapped == current.serial:
            return
        if child.prepared == current.serial:
            if child.told_to_swap != current.serial:
                send_swap(child, current)
        elif child.sent != current.serial:
            send_snapshot(child, current)

    # asking and telling all

    def gather(self) -> Deferred[None]:
        """Ask every worker how it is; fires when all have answered, or when that takes too long."""
        return self._gathering.ask_all(child for child in self.children if child.heard)

    def switch_interception(self, on: bool) -> Deferred[None]:
        """Let every worker, and those to come, intercept as configured, or not at all; fires when they do."""
        self.intercepts = on
        for child in list(self.children):
            child.send(messages.Intercept(on))
        return self.gather()  # what a worker answers now, it answers after that

    def listen(self, position: int, port: int, sockets: Sequence[socket.socket]) -> None:
        """Let every worker accept on this port too, each from its own socket; those to come are told at their start."""
        for child in list(self.children):
            if child.stays:
                child.send_with_files(messages.Listen(position, port), [sockets[child.number - 1].fileno()])

    def stop_listening(self, position: int, port: int) -> None:
        """Let every worker accept nothing more there."""
        for child in list(self.children):
            child.send(messages.StopListening(position, port))

    def connections(self, most: int) -> Deferred[list[dict[str, Any]]]:
        """A Deferred of who is connected to any worker, as rows."""
        asked = self._asking.ask(
            self._heard(), lambda child, serial: child.send(messages.Connections(serial, most)), ROWS_PATIENCE
        )
        return asked.addCallback(lambda rows: rows[:most])

    def _heard(self) -> list[Child]:
        """Those that can answer."""
        return [child for child in self.children if child.heard]

    def reopen(self) -> None:
        """Let every worker open its record file again."""
        for child in list(self.children):
            child.send(messages.Reopen())

    def reconfigure(self, configuration: Any, files: Mapping[Path, int], drain_seconds: float) -> Deferred[Any]:
        """Let every worker go on with these settings (in plain form) and copies of files. A Deferred of when all do, or
        are not waited for any longer.
        """
        self._drain_seconds = drain_seconds

        def say(child: Child, serial: int) -> None:
            message = messages.Reconfigure(serial, configuration, tuple(map(str, files)))
            child.send_with_files(message, list(files.values()))

        for child in [child for child in self.children if not child.heard]:
            say(child, 0)
        return self._asking.ask(self._heard(), say, SETTINGS_PATIENCE)

    # replacing and ending

    def replace_all(self) -> Deferred[bool]:
        """Replace the workers one after the other: a new one serves before the old one drains. A Deferred of whether
        all were; it stops at the first new one that does not come up.
        """
        if self._rolling or self.stopping:
            return succeed(False)
        self._rolling = True
        done: Deferred[bool] = Deferred()
        self._replace(list(self._places), done)
        return done

    def replace(self, number: int) -> Deferred[bool]:
        """The same for one worker (from 1 on)."""
        if self._rolling or self.stopping:
            return succeed(False)
        self._rolling = True
        done: Deferred[bool] = Deferred()
        self._replace([self._places[number - 1]], done)
        return done

    def _replace(self, places: Sequence[_Place], done: Deferred[bool]) -> None:
        if not places or self.stopping:
            self._rolling = False
            done.callback(not places)
            return
        place, rest = places[0], places[1:]
        former = place.child
        if former is None or former.state is not ChildState.SERVING:
            self._replace(rest, done)  # it is being replaced anyway
            return
        place.leaving.add(former)
        place.former = former
        place.awaited = Deferred()
        place.awaited.addCallback(self._replaced, place, former, rest, done)
        self._fill(place)

    def _replaced(
        self, serves: bool, place: _Place, former: Child, rest: Sequence[_Place], done: Deferred[bool]
    ) -> None:
        if serves:
            former.drain(self._drain_seconds)
            self._replace(rest, done)
            return
        _log.error("worker {number} is not replaced: the new one does not serve", number=place.number)
        self._rolling = False
        done.callback(False)

    def _tell_awaiting(self, place: _Place, serves: bool) -> None:
        awaited, place.awaited = place.awaited, None
        place.former = None
        if awaited is not None:
            awaited.callback(serves)

    def drain(self, grace: float = _GRACE + _LAST_DELIVERIES) -> Deferred[None]:
        """Let all finish what they have, and end; those that do not are ended. Fires when no process is left."""
        self.stopping = True
        for place in self._places:
            if place.call is not None:
                place.call.cancel()
                place.call = None
        children = list(self.children)
        if not children:
            return succeed(None)
        self._all_gone = Deferred()
        self._deadlines.start(self._drain_seconds + grace, self.kill)
        for child in children:
            child.drain(self._drain_seconds)
        return self._all_gone

    def abort(self) -> None:
        """While it drains: the time is over. Those that do not end by themselves now are ended."""
        for child in list(self.children):
            child.drain(0.0)
        self._deadlines.start(_GRACE, self.kill)

    def kill(self) -> None:
        """End every process now."""
        for child in list(self.children):
            _log.error("{child!r} did not end in time and is ended", child=child)
            child.kill()
