"""One question to one DNS server: over UDP, over TCP when the answer was cut, without EDNS when the server has none.

In this room: `ask`, the socket of a query. Not here: which server is asked and what a failure means for the
name (`dns_lookup`), the messages' bytes (`dns_message`), a connection
over TCP (`dns_tcp`).

RFC 5452 (what makes an answer hard to forge): each query has a socket of its own, with a port that the kernel chose at
random, connected to the server, and a random id; what does not match is dropped and the wait goes on. RFC 7766 (TCP).
The socket is ours rather than Twisted's UDP port, which writes two log lines a query, stays open for a turn after it
was stopped, and takes an ICMP "no route" for a bug of the protocol.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import classImplements

from netfw.transport.deadlines import Deadline, Deadlines
from netfw.transport.dns_codes import ResponseCode
from netfw.transport.dns_message import Answer, Question, print_query, read_answer
from netfw.transport.dns_servers import NoAnswer, Server
from netfw.transport.dns_tcp import TcpAttempt

# Larger than EDNS_PAYLOAD, for servers that do not keep to it. A datagram beyond this arrives cut and does not parse.
_MAX_DATAGRAM = 4096
# What a server from before EDNS answers to it (RFC 6891, section 7).
_WITHOUT_EDNS = (int(ResponseCode.FORMERR), int(ResponseCode.NOTIMP))
# Bounded work a turn: a flood at one socket must not keep the others waiting.
_DATAGRAMS_A_TURN = 64


def ask(reactor: Any, deadlines: Deadlines, server: Server, question: Question, timeout: float) -> Deferred[Answer]:
    """Ask one server one question. `timeout` is for each message that is sent: two or three in the worst case.

    Fails with NoAnswer. Cancelling it closes its socket at once.
    """
    return _Query(reactor, deadlines, server, question, timeout).start()


class _Query:
    """The state of one `ask`: UDP with EDNS, then perhaps UDP without, then perhaps TCP."""

    def __init__(self, reactor: Any, deadlines: Deadlines, server: Server, question: Question, timeout: float) -> None:
        self._reactor = reactor
        self._deadlines = deadlines
        self._server = server
        self._question = question
        self._timeout = timeout
        self._edns = True
        self._result: Deferred[Answer] = Deferred(self._cancelled)
        self._deadline: Deadline | None = None
        self._attempt: _UdpSocket | TcpAttempt | None = None

    def start(self) -> Deferred[Answer]:
        self._deadline = self._deadlines.start(self._timeout, self._timed_out)
        self._send_datagram()
        return self._result

    def _send_datagram(self) -> None:
        identity = secrets.randbits(16)

        def received(data: bytes) -> None:
            answer = read_answer(data, identity, self._question)
            if answer is not None:
                self._answered(answer)

        query = print_query(identity, self._question, edns=self._edns)
        try:
            self._attempt = _UdpSocket(self._reactor, self._server, query, received, self._failed)
        except OSError as error:
            # No route, no descriptor left, a full buffer: the next server may do better.
            self._failed(f"cannot send: {_words_of(error)}")

    def _answered(self, answer: Answer) -> None:
        self._close_attempt()
        if self._edns and answer.code in _WITHOUT_EDNS:
            # Without it, it may know the answer.
            self._edns = False
            self._again(self._send_datagram)
        elif answer.truncated:
            self._again(self._connect)
        else:
            self._end()
            self._result.callback(answer)

    def _again(self, send: Callable[[], None]) -> None:
        if self._deadline is not None:
            self._deadline.restart(self._timeout)
        send()

    def _connect(self) -> None:
        identity = secrets.randbits(16)

        def received(data: bytes) -> None:
            answer = read_answer(data, identity, self._question)
            if answer is None or answer.truncated:
                self._failed("an answer over TCP that does not count")
            else:
                self._answered(answer)

        query = print_query(identity, self._question, edns=self._edns)
        self._attempt = attempt = TcpAttempt(query, received, self._failed)
        # The deadline above covers connecting, so the connector needs no delayed call of its own.
        attempt.connector = self._reactor.connectTCP(
            str(self._server.address), self._server.port, attempt, timeout=None
        )

    def _timed_out(self) -> None:
        self._end()
        self._result.errback(NoAnswer("no answer in time", timed_out=True))

    def _failed(self, reason: str) -> None:
        self._end()
        self._result.errback(NoAnswer(reason))

    def _cancelled(self, _: Deferred[Answer]) -> None:
        self._end()

    def _end(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._close_attempt()

    def _close_attempt(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.close()


class _UdpSocket:
    """A connected UDP socket that sent one query. `received` gets datagrams, `failed` a reason, until it is closed."""

    def __init__(
        self,
        reactor: Any,
        server: Server,
        query: bytes,
        received: Callable[[bytes], None],
        failed: Callable[[str], None],
    ) -> None:
        self._reactor = reactor
        self._received = received
        self._failed = failed
        family = socket.AF_INET6 if server.address.version == 6 else socket.AF_INET
        self._socket = sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            # Connecting binds in the same step, so that there is no moment in which anybody else's datagram gets in.
            sock.connect(_socket_address(server))
            sock.send(query)
        except OSError:
            sock.close()
            raise
        self._open = True
        self._fileno = sock.fileno()
        reactor.addReader(self)

    def fileno(self) -> int:
        # Still the number after close(): a socket that closes itself in doRead and then has -1 makes the reactor search
        # through all its descriptors for it.
        return self._fileno

    def logPrefix(self) -> str:
        return "dns"

    def doRead(self) -> None:
        for _ in range(_DATAGRAMS_A_TURN):
            if not self._open:
                return
            try:
                data = self._socket.recv(_MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._fail(_words_of(error))
                return
            self._received(data)

    def connectionLost(self, reason: Failure) -> None:
        # The reactor saw an error on the socket, which is an ICMP message: nobody listens there, or there is no way.
        if self._open:
            number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._fail(_reason_of(number))

    def _fail(self, reason: str) -> None:
        self.close()
        self._failed(reason)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._reactor.removeReader(self)
            self._socket.close()


classImplements(_UdpSocket, IReadDescriptor)


def _socket_address(server: Server) -> tuple[Any, ...]:
    if isinstance(server.address, IPv4Address):
        return (str(server.address), server.port)
    zone = server.address.scope_id or "0"
    index = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    return (str(server.address).partition("%")[0], server.port, 0, index)


def _words_of(error: OSError) -> str:
    # `strerror` is None where the standard library raises by itself, which older type stubs do not know.
    return str(getattr(error, "strerror", None) or error)


def _reason_of(number: int) -> str:
    return os.strerror(number) if number else "the socket failed"
