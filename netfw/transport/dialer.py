"""Dialer: TCP connections to addresses that were judged, and to nothing else.

In this room: RFC 8305, section 5 (attempts that start one after another and race), the local address, the deadline,
and what a failure is called. Not here: names. The dialer takes addresses, so that nothing is connected to that policy
has not seen (an address looked up a second time may be another one).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import cycle
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import classImplements

from netfw import errors
from netfw.interfaces import IDialer
from netfw.transport.deadlines import Deadline, Deadlines, later
from netfw.transport.stream import Stream

ATTEMPT_DELAY: Final = 0.25
"""Seconds before the next address is tried beside one that has not answered (RFC 8305, section 5)."""

IPAddress = IPv4Address | IPv6Address

_IP_BIND_ADDRESS_NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)
_CONNECTED: Final = frozenset({0, errno.EISCONN})
# Printing an address is Python code, and few are dialled again and again.
_text_of: Final = lru_cache(maxsize=4096)(str)
_UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EALREADY})
_REFUSED: Final = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED})
_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# Where the type can say it, the system call that would make the socket non-blocking afterwards is saved.
_NONBLOCK: Final = getattr(socket, "SOCK_NONBLOCK", 0)
# Numbers: or-ing and comparing members of an Enum is Python code.
_STREAM: Final = int(socket.SOCK_STREAM) | int(_NONBLOCK)
_AF_INET: Final = int(socket.AF_INET)
_AF_INET6: Final = int(socket.AF_INET6)

# The most informative failure of several is reported: the later in this order.
_RANK: tuple[type[errors.NetfwError], ...] = (
    errors.OriginUnroutable,
    errors.Overloaded,
    errors.OriginRefused,
    errors.OriginConnectTimeout,
)


def failure_for(code: int, where: str) -> errors.NetfwError:
    """The error of our tree for what connect(2) and its kin said about `where`."""
    detail = errno.errorcode.get(code, str(code))
    if code in _REFUSED:
        return errors.OriginRefused(f"{where} refused the connection", detail=detail)
    if code == errno.ETIMEDOUT:
        return errors.OriginConnectTimeout(f"{where} did not answer in time", detail=detail)
    if code in _OUT_OF_RESOURCES:
        return errors.Overloaded("the proxy has no room for another connection", detail=detail)
    # ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT, and a local firewall's EPERM and EACCES.
    return errors.OriginUnroutable(f"{where} cannot be reached from here", detail=detail)


class _Attempt:
    """One connect(2) under way."""

    __slots__ = ("dial", "sock", "fd", "target", "__weakref__")

    def __init__(self, dial: _Dial, sock: socket.socket, target: tuple[Any, ...]) -> None:
        self.dial: _Dial | None = dial
        self.sock: Any = sock
        self.fd = sock.fileno()
        self.target = target

    def doWrite(self) -> None:
        """The kernel has an outcome: connect(2) a second time tells which."""
        dial = self.dial
        if dial is None:
            return
        code = self.sock.connect_ex(self.target)
        if code in _CONNECTED:
            dial.connected(self)
        elif code not in _UNDER_WAY:
            dial.failed(self, code)

    def doRead(self) -> None:
        """Never asked for."""

    def connectionLost(self, reason: Failure) -> None:
        """A refused connection arrives as a hang-up; so may an old event of another socket with this descriptor."""
        if self.dial is not None:
            self.dial.reactor.addWriter(self)  # the reactor has taken it out
            self.doWrite()

    def fileno(self) -> int:
        return self.fd

    def logPrefix(self) -> str:
        return "dialing"


class _Dial:
    """One call of `Dialer.dial`."""

    __slots__ = ("reactor", "deferred", "deadline", "waiting", "attempts", "next_call", "worst", "bind", "port", "won")

    def __init__(
        self, reactor: Any, addresses: Sequence[IPAddress], port: int, bind: Callable[[socket.socket, int], None] | None
    ) -> None:
        self.reactor: Any = reactor
        self.port = port
        self.bind = bind
        self.deferred: Any = None  # made when there is something to wait for
        self.won: Stream | None = None
        self.deadline: Deadline | None = None
        self.waiting = list(reversed(addresses))
        self.attempts: list[_Attempt] = []
        self.next_call: Any = None
        self.worst: errors.NetfwError | None = None

    def attempt_next(self) -> None:
        """Start attempts until one is under way, or none is left."""
        self.next_call = None
        while self.waiting:
            address = self.waiting.pop()
            family = _AF_INET if address.version == 4 else _AF_INET6
            target = (_text_of(address), self.port)
            sock = None
            try:
                sock = socket.socket(family, _STREAM)
                if not _NONBLOCK:
                    sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.bind is not None:
                    self.bind(sock, address.version)
                code = sock.connect_ex(target)
                if code == errno.EINPROGRESS:
                    # The kernel never waits for the answer, but on this very host it has come by now: asking again
                    # costs less than two epoll_ctl and a turn, and makes no difference to any other origin.
                    code = sock.connect_ex(target)
            except OSError as problem:
                code = problem.errno or errno.EIO
            if sock is not None and code in _CONNECTED:
                self.win(sock, target)
                return
            if sock is None or code not in _UNDER_WAY:
                if sock is not None:
                    sock.close()
                self.note(code, target)
                continue
            attempt = _Attempt(self, sock, target)
            self.attempts.append(attempt)
            self.reactor.addWriter(attempt)
            if self.waiting:
                self.next_call = later(self.reactor, ATTEMPT_DELAY, self.attempt_next)
            return
        if not self.attempts:
            self.give_up(self.worst or errors.OriginUnroutable("the origin has no address that may be dialled"))

    def note(self, code: int, target: tuple[Any, ...]) -> None:
        """Keep the most informative failure."""
        host = f"[{target[0]}]" if ":" in target[0] else target[0]
        problem = failure_for(code, f"{host}:{target[1]}")
        if self.worst is None or _RANK.index(type(problem)) > _RANK.index(type(self.worst)):
            self.worst = problem

    def connected(self, attempt: _Attempt) -> None:
        """This one has won."""
        self.attempts.remove(attempt)
        self.reactor.removeWriter(attempt)
        attempt.dial = None
        self.win(attempt.sock, attempt.target)

    def win(self, sock: socket.socket, target: tuple[Any, ...]) -> None:
        """Hand out the socket that is connected; the others are closed."""
        stream = Stream(sock, self.reactor, peer=target)
        deferred = self.finish()
        if deferred is not None:
            deferred.callback(stream)
        else:
            self.won = stream

    def failed(self, attempt: _Attempt, code: int) -> None:
        """This one has lost: the next starts at once."""
        self.attempts.remove(attempt)
        self.drop(attempt)
        self.note(code, attempt.target)
        if self.next_call is not None:
            self.next_call.cancel()
            self.next_call = None
        if self.waiting or not self.attempts:
            self.attempt_next()

    def timed_out(self, seconds: float) -> None:
        """The whole dial took too long."""
        target = self.attempts[-1].target if self.attempts else ("the origin", self.port)
        self.give_up(errors.OriginConnectTimeout(f"no connection to {target[0]} port {target[1]} within {seconds:g} s"))

    def give_up(self, problem: errors.NetfwError) -> None:
        deferred = self.finish()
        if deferred is None:
            raise problem
        deferred.errback(Failure(problem))

    def cancelled(self, deferred: Deferred[Stream]) -> None:
        self.finish()

    def finish(self) -> Any:
        """Leave nothing behind: no timer, no attempt, and no cycle through the Deferred, which is returned if there is
        one.
        """
        self.waiting.clear()
        if self.deadline is not None:
            self.deadline.cancel()
        if self.next_call is not None:
            self.next_call.cancel()
            self.next_call = None
        attempts, self.attempts = self.attempts, []
        for attempt in attempts:
            self.drop(attempt)
        deferred, self.deferred = self.deferred, None
        return deferred

    def drop(self, attempt: _Attempt) -> None:
        attempt.dial = None
        self.reactor.removeWriter(attempt)
        attempt.fd = -1
        attempt.sock.close()


class Dialer:
    """Connects to addresses.

    `source_addresses` are local addresses (text or `ipaddress`): each connection is bound to the next one of its
    family. If some are given and none is of a family, that family is not dialled.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        deadlines: Deadlines,
        *,
        connect_timeout: float,
        source_addresses: Sequence[str | IPAddress] = (),
    ) -> None:
        self._reactor: Any = reactor
        self._deadlines = deadlines
        self._connect_timeout = connect_timeout
        self._sources: dict[int, Any] = {}
        for version in (4, 6):
            own = [str(source) for source in map(ip_address, map(str, source_addresses)) if source.version == version]
            if own:
                self._sources[version] = cycle(own)

    def dial(
        self, addresses: Sequence[IPAddress], port: int, sources: Mapping[int, str] | None = None
    ) -> Stream | Deferred[Stream]:
        """Connect to the first of `addresses` that answers, tried in this order.

        `sources`: what to leave from instead of `source_addresses`, by the version of IP; another version is not
        dialled. A Deferred where that has to be waited for. The Stream is connected and does not read before it is
        started; who gets it closes it. Raises or fails with `errors.OriginRefused`, `OriginUnroutable`,
        `OriginConnectTimeout`, or `Overloaded` when the process is out of descriptors. Cancelling closes every attempt.
        """
        bind: Callable[[socket.socket, int], None] | None = self._bind_next if self._sources else None
        if sources is not None:
            bind = partial(_bind_to, sources)
        dial = _Dial(self._reactor, addresses, port, bind)
        dial.attempt_next()
        if dial.won is not None:
            return dial.won
        dial.deferred = deferred = Deferred(dial.cancelled)
        dial.deadline = self._deadlines.start(self._connect_timeout, dial.timed_out, self._connect_timeout)
        return deferred

    def _bind_next(self, sock: socket.socket, version: int) -> None:
        sources = self._sources.get(version)
        _bind(sock, next(sources) if sources is not None else None)


def _bind_to(sources: Mapping[int, str], sock: socket.socket, version: int) -> None:
    _bind(sock, sources.get(version))


def _bind(sock: socket.socket, source: str | None) -> None:
    """Let it leave from this address. Raises OSError, also where there is none."""
    if source is None:
        raise OSError(errno.EADDRNOTAVAIL, "no source address of this family")
    try:
        # The port is chosen at connect(2), so that one local port serves for many origins.
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
    except OSError:
        pass  # an old kernel, or IPv6 on some
    sock.bind((source, 0))


# Not by decorators: compiled, decorated classes would be ordinary ones.
classImplements(_Attempt, IReadWriteDescriptor)
classImplements(Dialer, IDialer)
