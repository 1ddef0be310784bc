"""Plaintext and records: pyOpenSSL's Connection over memory buffers, with as few calls and copies as that allows.

In here: bytes in and out of one Connection, and how the peer ended it. Not in here: transports, protocols, closing
(`stream`). RFC 8446, section 5, rules the records, section 6 what ends them.
"""

from __future__ import annotations

from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.error import ConnectionLost

from netfw.tls.failures import TlsAlertReceived, TlsRecordsBroken, peer_alert, text_of
from netfw.tls.records import RecordBoundary

RECORD: Final = 1 << 14
"""The most plaintext that one record holds, and so the most that one call of OpenSSL takes or gives."""
FEED: Final = 1 << 16
"""How much goes into OpenSSL's memory buffers at once: they never shrink while the connection lives."""
# By name of the module: pyOpenSSL's Connection looks attributes up in Python, so finding a method costs a third of a
# call.
_send: Final = SSL.Connection.send
_recv: Final = SSL.Connection.recv
_bio_read: Final = SSL.Connection.bio_read
_bio_write: Final = SSL.Connection.bio_write
_OVERHEAD: Final = 1 << 12
"""More than the heads and tags of the records that `FEED` bytes become, so that one read empties the buffer."""


class RecordLayer:
    """One connection's records. After `ended` nothing more is opened; `fault` says why, when not by close_notify."""

    __slots__ = ("_boundary", "clean_end", "connection", "ended", "fault")

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection: Any = connection
        self.ended = False
        self.clean_end = False
        self.fault: ConnectionLost | None = None
        self._boundary = RecordBoundary()

    # -- opening

    def feed(self, data: bytes) -> None:
        """Take bytes of the handshake; OpenSSL is asked by `do_handshake`."""
        self._boundary.take(data)
        _bio_write(self.connection, data)

    def is_whole(self, data: bytes) -> bool:
        """Whether these next bytes are exactly one record. To be asked once for all bytes that are then opened."""
        return self._boundary.take(data)

    def open_record(self, data: bytes) -> bytes:
        """Open exactly one record: asking once is enough, and spares the exception that says there is no more.

        What is in it is never more than it is long itself.
        """
        try:
            _bio_write(self.connection, data)
            return _recv(self.connection, len(data))  # type: ignore[no-any-return]  # untyped in the oldest release
        except SSL.WantReadError:
            pass  # not data but a message: a session ticket, say
        except SSL.Error as error:
            self.note_end(error)
        return b""

    def open_records(self, data: Any) -> bytes:
        """Feed any bytes, and take the plaintext of every record that they complete.

        No bytes: the plaintext of what was fed before.
        """
        parts: list[bytes] = []
        if len(data) <= FEED:
            if data:
                _bio_write(self.connection, data)
            self._take_plaintext(parts)
        else:
            for position in range(0, len(data), FEED):
                _bio_write(self.connection, data[position : position + FEED])
                self._take_plaintext(parts)
                if self.ended:
                    break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take_plaintext(self, parts: list[bytes]) -> None:
        connection = self.connection
        try:
            while True:
                parts.append(_recv(connection, RECORD))
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.note_end(error)

    def note_end(self, error: SSL.Error) -> None:
        """The peer, or what came from it, ended the connection."""
        self.ended = True
        if isinstance(error, SSL.ZeroReturnError):
            self.clean_end = True
            return
        alert = peer_alert(error)
        self.fault = TlsAlertReceived(alert) if alert is not None else TlsRecordsBroken(text_of(error))

    # -- sealing

    def seal(self, data: Any) -> list[bytes]:
        """The records that these bytes become. Raises SSL.Error."""
        connection = self.connection
        if len(data) <= RECORD:
            sent = _send(connection, data)
            sealed = [self._sealed(sent)]
            if sent == len(data):
                return sealed
            view = memoryview(data)[sent:]  # the peer negotiated smaller records
        else:
            sealed = []
            view = memoryview(data)
        while view:
            piece, view = view[:FEED], view[FEED:]
            sent = 0
            while sent < len(piece):
                sent += _send(connection, piece[sent:])
            sealed.append(self._sealed(sent))
        return sealed

    def say_goodbye(self) -> None:
        """Make close_notify, if that can still be said; `waiting` has it then."""
        try:
            self.connection.shutdown()
        except SSL.Error:
            pass

    def waiting(self) -> bytes:
        """What OpenSSL made by itself: handshake messages and alerts. Often nothing."""
        try:
            return self._sealed(FEED)
        except SSL.WantReadError:
            return b""

    def _sealed(self, size: int) -> bytes:
        """The records that this much plaintext became, and whatever else waits to be sent."""
        room = size + _OVERHEAD
        data: bytes = _bio_read(self.connection, room)
        if len(data) < room:
            return data
        parts = [data]
        try:
            while True:
                parts.append(_bio_read(self.connection, room))
        except SSL.WantReadError:
            return b"".join(parts)
