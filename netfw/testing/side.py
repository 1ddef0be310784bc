"""One end of a conversation, played by the test, and the certificates that both ends need.

In this room: `Side`, over a real socket, plain or with TLS (the standard library's, not ours) over it; `world`, made
once a process. Not here: the play itself (`conversation`). For tests.
"""

from __future__ import annotations

import gc
import re
import ssl
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from netfw.testing.pki import TestAuthority
from netfw.testing.streams import Peer

PATIENCE = 30.0
"""Real seconds that something expected may take."""


class Side:
    """One end of a connection, played by the test. It takes in what comes unless it `stops_reading`."""

    def __init__(self, play: Any, peer: Peer) -> None:
        self.play = play
        self.peer = peer
        self.reads = True
        self.left = False
        self.clean_end = False
        """Whether TLS was ended by close_notify."""
        self._data = bytearray()
        self._tls: ssl.SSLObject | None = None
        self._below: Side | None = None
        self._saw_end = False
        self.sent = 0
        """Bytes of the wire."""
        self._cut_at: int | None = None
        self._cut: Callable[[], object] | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.alert: str | None = None
        """What the TLS library calls the failure that it saw."""

    # -- speaking

    def says(self, data: bytes) -> None:
        """Send all of it, however long it takes the proxy to read it."""
        if self._tls is not None:
            try:
                self._tls.write(data)
            except ssl.SSLError as error:  # the other end has gone
                self.alert = self.alert or error.reason
            self._flush()
        else:
            self._send(data)

    def offers(self, data: bytes) -> int:
        """Send what is taken without anybody waiting; returns how much that was. Plain only."""
        sent = 0
        while sent < len(data):
            now = self.peer.send(data[sent : sent + (1 << 18)])
            sent += now
            self.play.turn()
            if not now:
                self.play.settle()
                now = self.peer.send(data[sent : sent + (1 << 18)])
                sent += now
                if not now:
                    break
        return sent

    def _send(self, data: bytes) -> None:
        if self._below is not None:
            self._below.says(data)
            return
        rest = memoryview(data)
        if self._cut_at is not None:
            rest = rest[: max(0, self._cut_at - self.sent)]
        self.sent += len(rest)
        end = time.monotonic() + PATIENCE
        while rest:
            try:
                sent = self.peer.send(rest)  # type: ignore[arg-type]  # any bytes will do
            except OSError:  # the proxy has closed, or this side has left
                break
            rest = rest[sent:]
            if not sent:
                assert time.monotonic() < end, "nobody reads what this side says"
                self.play.turn()
        if self._cut_at is not None and self.sent >= self._cut_at and self._cut is not None:
            cut, self._cut = self._cut, None
            cut()

    def cuts_after(self, count: int, cut: Callable[[], object]) -> None:
        """Say no more than so many bytes (of the wire), and then do this, once."""
        self._cut_at = count
        self._cut = cut
        self._send(b"")

    def ends(self) -> None:
        """End this side's output alone."""
        self.peer.end()

    def says_goodbye(self) -> None:
        """Send close_notify and nothing after it."""
        assert self._tls is not None
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass
        self._flush()

    def leaves(self) -> None:
        """Close, without a TLS goodbye."""
        if not self.left:
            self.left = True
            if self._below is not None:
                self._below.leaves()
            else:
                self.peer.close()

    def resets(self) -> None:
        """Close with a reset."""
        if not self.left:
            self.left = True
            self.peer.reset()

    def stops_reading(self) -> None:
        """Take nothing more in, until `reads_again`."""
        self.reads = False

    def reads_again(self) -> None:
        """Take in what has waited."""
        self.reads = True

    # -- hearing

    def pump(self) -> None:
        """Take in what has come."""
        if self._below is not None:
            self._below.pump()
            data = bytes(self._below._data)
            self._below._data.clear()
        else:
            if not self.reads or self.left:
                return
            data = self.peer.read()
            self.peer.forget()  # it is kept here
        if self._tls is None:
            self._data += data
            return
        if self._saw_end:
            return
        self._incoming.write(data)
        if self.ended:
            self._saw_end = True
            self._incoming.write_eof()
        self._read_tls()

    def _read_tls(self) -> None:
        tls = self._tls
        assert tls is not None
        try:
            if not self.is_secure:
                tls.do_handshake()
                self.is_secure = True
            while data := tls.read(1 << 16):
                self._data += data
            self.clean_end = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.clean_end = True
        except ssl.SSLError as error:
            self.alert = self.alert or error.reason or type(error).__name__
        self._flush()

    def _flush(self) -> None:
        sealed = self._outgoing.read()
        if sealed and not self.left:
            self._send(sealed)

    is_secure = False

    @property
    def ended(self) -> bool:
        """Whether the other end has closed its side, orderly or not."""
        return self._below.ended if self._below is not None else self.peer.ended

    @property
    def was_reset(self) -> bool:
        """Whether the connection was reset."""
        return self._below.was_reset if self._below is not None else self.peer.was_reset

    @property
    def unheard(self) -> bytes:
        """What has come and was not expected yet."""
        return bytes(self._data)

    def take(self) -> bytes:
        """All that has come by now."""
        self.play.settle()
        data, self._data = bytes(self._data), bytearray()
        return data

    def hears(self, data: bytes) -> None:
        """Exactly these bytes come next."""
        self.play.until(lambda: len(self._data) >= len(data) or self.ended, f"{data[:80]!r}", lambda: self.unheard)
        heard = bytes(self._data[: len(data)])
        assert heard == data
        del self._data[: len(data)]

    def hears_until(self, marker: bytes) -> bytes:
        """Everything up to and with the marker."""
        self.play.until(lambda: marker in self._data or self.ended, f"{marker!r}", lambda: self.unheard)
        at = self._data.find(marker)
        assert at >= 0, f"ended after {self.unheard!r}"
        heard = bytes(self._data[: at + len(marker)])
        del self._data[: len(heard)]
        return heard

    def hears_head(self) -> bytes:
        """A head, up to its empty line."""
        return self.hears_until(b"\r\n\r\n")

    def hears_answer(self) -> tuple[bytes, bytes]:
        """A whole answer whose length its head tells: (head, body)."""
        head = self.hears_head()
        found = re.search(rb"\r\nContent-Length: ([0-9]+)\r\n", head)
        return head, self.hears_exactly(int(found[1])) if found is not None else b""

    def hears_exactly(self, count: int) -> bytes:
        """The next `count` bytes."""
        self.play.until(lambda: len(self._data) >= count or self.ended, f"{count} bytes", lambda: len(self._data))
        assert len(self._data) >= count, f"ended after {len(self._data)} of {count} bytes"
        heard = bytes(self._data[:count])
        del self._data[:count]
        return heard

    def hears_nothing(self) -> None:
        """Nothing comes, not even an end."""
        self.play.settle()
        assert self.unheard == b""
        assert not self.ended

    def hears_end(self) -> None:
        """The other end closed orderly, and nothing is left that was not expected."""
        self.play.until(lambda: self.ended or self.clean_end, "an end", lambda: self.unheard)
        assert self.unheard == b""
        assert not self.was_reset, "reset"

    def hears_reset(self) -> bytes:
        """The connection is broken: returns what came before that."""
        self.play.until(lambda: self.ended, "a reset", lambda: self.unheard)
        assert self.was_reset, f"ended orderly after {self.unheard!r}"
        return self.take()

    def is_told_an_end(self) -> bool:
        """Whether the other end was seen to be closed, in a turn or two."""
        self.play.settle()
        return self.ended

    # -- TLS

    def starts_tls(
        self, server_name: str | None = "origin.test", *, alpn: Sequence[str] = ("http/1.1",), trust: bool = True
    ) -> None:
        """Begin TLS as the client; `trust` False knows no authority and so refuses."""
        context = _tells_truncation(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if trust:
            context.load_verify_locations(world().directory / "interception.pem")
            context.load_verify_locations(world().directory / "roots.pem")
        if server_name is None:
            context.check_hostname = False
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=False, server_hostname=server_name)
        self._begin()

    def serves_tls(self, *names: str, **how: Any) -> None:
        """Begin TLS as a server with a certificate for these names (see `pki.TestAuthority.issue`)."""
        context = _tells_truncation(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        context.load_cert_chain(*world().certificate(*(names or ("origin.test",)), **how))
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._begin()

    def _begin(self) -> None:
        self._incoming.write(bytes(self._data))
        self._data.clear()
        self._read_tls()

    def over(self) -> Side:
        """Another layer over this one: for TLS inside TLS."""
        side = Side(self.play, self.peer)
        side._below = self
        self.play.sides.remove(self)
        self.play.sides.append(side)
        return side

    def is_shaken(self) -> None:
        """The TLS handshake completes."""
        self.play.until(lambda: self.is_secure, "a handshake", lambda: (self.alert, self.ended))

    def certificate(self) -> dict[str, Any]:
        """What the server showed."""
        assert self._tls is not None
        return dict(self._tls.getpeercert() or {})


def _tells_truncation(context: ssl.SSLContext) -> ssl.SSLContext:
    """The library takes an end without close_notify for a clean one unless this is taken away."""
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


@dataclass(frozen=True)
class World:
    """Authorities for conversations: the origins' and the interception one. Files in a directory of their own."""

    directory: Path
    roots: TestAuthority
    interception: TestAuthority
    _kept: Any

    def certificate(self, *names: str, **how: Any) -> tuple[Path, Path]:
        """Files of a server certificate and its key, signed by `by` (default: the origins' authority)."""
        return _certificate(names, tuple(sorted(how.items())))


@cache
def world() -> World:
    """Made once a process."""
    directory = tempfile.TemporaryDirectory(prefix="netfw-conversation-")
    path = Path(directory.name)
    made = World(path, TestAuthority("Origins' CA"), TestAuthority("Interception CA"), directory)
    (path / "roots.pem").write_bytes(made.roots.certificate_pem)
    (path / "interception.pem").write_bytes(made.interception.certificate_pem)
    # What is alive now is not looked at again, so that each conversation can afford a whole collection at its end.
    gc.collect()
    gc.freeze()
    return made


@cache
def _certificate(names: tuple[str, ...], how: tuple[tuple[str, Any], ...]) -> tuple[Path, Path]:
    certificate, key = world().roots.issue(*names, **dict(how))
    directory = Path(tempfile.mkdtemp(dir=world().directory))
    (directory / "certificate.pem").write_bytes(certificate)
    (directory / "key.pem").write_bytes(key)
    return directory / "certificate.pem", directory / "key.pem"
