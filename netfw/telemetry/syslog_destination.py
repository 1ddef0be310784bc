"""Records to a syslog server: over TCP (RFC 6587), TLS (RFC 5425), UDP (RFC 5426), or a socket of this machine.

Every wait has an end. A server that does not read is waited for over the same connection, where a message goes on that
was begun; over a new connection it is sent again whole. Syslog has no acknowledgements: what the kernel has taken
counts as delivered, whatever becomes of the server. Not here: what is sent (`syslog_message`), and when it is tried
again (`record_log`).
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from zope.interface import implementer

from netfw.config.log_model import SyslogSection, SyslogTransport
from netfw.interfaces import IRecordDestination

_CONNECT = 5.0
_SEND = 5.0
_UNACKNOWLEDGED = 30_000
"""Milliseconds until the kernel takes a peer for gone that acknowledges nothing (tcp(7), TCP_USER_TIMEOUT)."""
_GOODBYE = 1.0
_READ = 4096
_DATAGRAMS = frozenset([SyslogTransport.UDP, SyslogTransport.UNIX])


@implementer(IRecordDestination)
class SyslogDestination:
    """`context` gives the TLS settings in force whenever it connects; it is asked only where there is TLS."""

    longest_pause = 30.0

    def __init__(self, section: SyslogSection, context: Callable[[], ssl.SSLContext]) -> None:
        self.shown = section.shown
        self.lost = 0
        self._section = section
        self._context = context
        self._socket: Any = None
        # How much of the first record that waits has left over this connection.
        self._begun = 0

    @property
    def is_stream(self) -> bool:
        """Messages need frames."""
        return self._section.transport not in _DATAGRAMS

    def open(self) -> None:
        """See `IRecordDestination`. It connects when there is something to send."""

    def send(self, records: list[bytes]) -> int:
        """See `IRecordDestination`."""
        if self._socket is not None and self.is_stream and self._is_over():
            self.close()
        if self._socket is None:
            self._socket = self._connected()
        return self._stream(records) if self.is_stream else self._datagrams(records)

    def reopen(self) -> None:
        """See `IRecordDestination`."""
        self.close()

    def close(self) -> None:
        """See `IRecordDestination`. What the kernel still holds is delivered."""
        connection, self._socket = self._socket, None
        self._begun = 0
        if connection is None:
            return
        with suppress(OSError, ValueError):
            if self.is_stream:
                connection.settimeout(_GOODBYE)
                # What we have not read would make the kernel reset the connection, with what it has not sent yet.
                if isinstance(connection, ssl.SSLSocket):
                    connection = connection.unwrap()
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(_READ):
                    pass
        with suppress(OSError):
            connection.close()

    def _connected(self) -> Any:
        section = self._section
        if section.path is not None:
            kind = socket.SOCK_STREAM if self.is_stream else socket.SOCK_DGRAM
            connection = socket.socket(socket.AF_UNIX, kind)
            return self._prepared(connection, lambda: connection.connect(str(section.path)))
        assert section.host is not None and section.port is not None
        if section.transport is SyslogTransport.UDP:
            found = socket.getaddrinfo(section.host, section.port, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, address = found[0]
            datagrams = socket.socket(family, kind, protocol)
            return self._prepared(datagrams, lambda: datagrams.connect(address))
        stream = socket.create_connection((section.host, section.port), _CONNECT)
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED)
            if section.transport is not SyslogTransport.TLS:
                stream.settimeout(_SEND)
                return stream
            secured = self._context().wrap_socket(stream, server_hostname=section.server_name or section.host)
        except BaseException:
            stream.close()
            raise
        secured.settimeout(_SEND)
        return secured

    def _prepared(self, connection: socket.socket, connect: Callable[[], None]) -> socket.socket:
        try:
            connection.settimeout(_CONNECT)
            connect()
            connection.settimeout(_SEND)
            return connection
        except BaseException:
            connection.close()
            raise

    def _is_over(self) -> bool:
        """The server has closed: what is written now would be lost without a word. It has nothing to say otherwise."""
        connection = self._socket
        try:
            while select.select([connection], [], [], 0)[0]:
                connection.settimeout(0)
                if not connection.recv(_READ):
                    return True
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except (OSError, ValueError):
            return True
        finally:
            connection.settimeout(_SEND)
        return False

    def _stream(self, records: list[bytes]) -> int:
        data = memoryview(b"".join(records))
        sent = self._begun
        try:
            while sent < len(data):
                sent += self._socket.send(data[sent:])
        except OSError as error:
            whole = _whole(records, sent)
            self._begun = sent - sum(map(len, records[:whole]))
            if not isinstance(error, TimeoutError):
                self._abandon()
            if not whole:
                raise
            return whole
        self._begun = 0
        return len(records)

    def _datagrams(self, records: list[bytes]) -> int:
        done = 0
        for record in records:
            try:
                self._socket.send(record)
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    self.lost += 1  # and would be the next time
                else:
                    if error.errno == errno.ECONNREFUSED and self._section.transport is SyslogTransport.UDP:
                        self.lost += 1  # the one before: it takes a moment to be refused
                    self._abandon()
                    if not done:
                        raise
                    return done
            done += 1
        return done

    def _abandon(self) -> None:
        connection, self._socket = self._socket, None
        self._begun = 0
        with suppress(OSError):
            connection.close()


def _whole(records: list[bytes], sent: int) -> int:
    """How many of these records the first `sent` bytes hold."""
    for position, record in enumerate(records):
        sent -= len(record)
        if sent < 0:
            return position
    return len(records)
