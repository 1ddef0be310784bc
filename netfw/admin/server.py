"""The admin surface's sockets: a Unix socket, a loopback port, or both, as services.

A Unix socket is made with its final mode in force from the first moment on, and a left-over file is removed only when
nobody listens behind it. Not here: what is answered (`resource`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, Service
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from twisted.web.server import Request, Site

from netfw.admin.adopted_port import adopt_port
from netfw.admin.resource import AdminResource
from netfw.telemetry.event_names import ADMIN_LISTENING
from netfw.telemetry.log import tell
from netfw.tls.serving import tls_factory

if TYPE_CHECKING:
    from netfw.admin.status import StatusSource
    from netfw.config.model import AdminSection
    from netfw.telemetry.metrics import Metrics

CONTENT_LIMIT = 4096
# Fifty editors at once, each with a connection that is over but not yet seen to be, and room for the curious.
CONNECTION_LIMIT = 256
IDLE_TIMEOUT = 30.0
SOCKET_MODE = 0o660
_log = Logger()


class AdminRequest(Request):
    """A request whose content has a cap: none of ours needs any, but calls of the control API do."""

    _received = 0
    _refused = False
    _limit = CONTENT_LIMIT

    def gotLength(self, length: int | None) -> None:
        """Make room for what may come, not for what is announced: twisted.web opens a temporary file for more."""
        channel: Any = self.channel  # this object's own `site` is set when the content is there
        self._limit = channel.site.content_limit(self)
        super().gotLength(self._limit if length is None else min(length, self._limit))

    def handleContentChunk(self, data: bytes) -> None:
        """Take some content, or end the connection."""
        if self._refused:
            return
        self._received += len(data)
        if self._received <= self._limit:
            super().handleContentChunk(data)
            return
        # twisted.web asks a resource only when all of the content is there: too late.
        self._refused = True
        self.transport.write(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.transport.loseConnection()

    def process(self) -> None:
        """Answer, unless that has happened already."""
        if not self._refused:
            super().process()


class AdminSite(Site):
    """The site over an `AdminResource`. `control` answers at `/`, where there is one."""

    displayTracebacks = False

    def __init__(
        self,
        status_source: StatusSource,
        reload: Callable[[], Deferred[dict[str, Any]]],
        metrics: Metrics,
        *,
        reactor: Any,
        control: Any = None,
    ) -> None:
        self._control = control
        self.pages = AdminResource(status_source, reload, metrics, control)
        super().__init__(
            self.pages,
            requestFactory=AdminRequest,
            timeout=IDLE_TIMEOUT,
            reactor=reactor,
        )

    def content_limit(self, request: Request) -> int:
        """The most octets of content that this request may have."""
        if self._control is None or not request.requestHeaders.hasHeader(b"x-amz-target"):
            return CONTENT_LIMIT
        local = isinstance(request.getHost(), UNIXAddress)
        return int(self._control.content_limit(request.requestHeaders, local))

    def startFactory(self) -> None:
        """Nothing: there is no access log, so no clock for its lines has to tick every second."""

    def stopFactory(self) -> None:
        """Nothing, likewise."""


class LimitedFactory(WrappingFactory):
    """At `CONNECTION_LIMIT` connections its port accepts no more: others wait in the socket's queue until one ends.

    They are not refused, for a client that is refused cannot know whether its call was carried out. What was accepted
    in one go with the last is served as well; a queue is shorter than the limit, so twice the limit is not exceeded.
    """

    noisy = False
    _port: Any = None
    _held = False

    def pace(self, port: Any) -> None:
        """From now on this port is held back; None: none is."""
        self._port, self._held = port, False

    def buildProtocol(self, addr: IAddress) -> Any:
        """None refuses."""
        if len(self.protocols) >= 2 * CONNECTION_LIMIT:
            return None
        return super().buildProtocol(addr)

    def registerProtocol(self, p: Any) -> None:
        """One more is open."""
        super().registerProtocol(p)
        if len(self.protocols) >= CONNECTION_LIMIT and self._port is not None and not self._held:
            self._held = True
            self._port.stopReading()

    def unregisterProtocol(self, p: Any) -> None:
        """One has ended."""
        super().unregisterProtocol(p)
        if self._held and len(self.protocols) < CONNECTION_LIMIT:
            self._held = False
            self._port.startReading()


class AdminPort(Service):
    """One listening socket. `address` is where, once it runs. `pace` is told the port, and None before it closes."""

    def __init__(self, listen: Callable[[], IListeningPort], pace: Callable[[Any], None] | None = None) -> None:
        self._listen = listen
        self._pace = pace
        self._port: IListeningPort | None = None

    @property
    def address(self) -> IAddress | None:
        """The bound address."""
        return None if self._port is None else self._port.getHost()

    def startService(self) -> None:
        """Listen; raises CannotListenError."""
        super().startService()
        self._port = self._listen()
        if self._pace is not None:
            self._pace(self._port)
        tell(_log, ADMIN_LISTENING, address=self._port.getHost())

    def stopService(self) -> Deferred[None]:
        """Stop listening; the Deferred fires when the socket is closed."""
        super().stopService()
        port, self._port = self._port, None
        if self._pace is not None:
            self._pace(None)
        return maybeDeferred(port.stopListening) if port is not None else maybeDeferred(lambda: None)


@contextmanager
def _directory_lock(directory: Path) -> Iterator[None]:
    """Two starting processes must not both take the other's fresh socket for a left-over."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove_stale(path: Path) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "exists and is no socket", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # its backlog is full: somebody listens
    raise OSError(errno.EADDRINUSE, "somebody listens there", str(path))


def listen_unix(reactor: Any, path: Path, factory: Any) -> IListeningPort:
    """Listen on a Unix socket of mode 0660. Raises CannotListenError."""
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        with _directory_lock(path.parent):
            _remove_stale(path)
            # Between bind and chmod the umask decides who may connect.
            before = os.umask(0o777 & ~SOCKET_MODE)
            try:
                return reactor.listenUNIX(str(path), factory, mode=SOCKET_MODE)
            finally:
                os.umask(before)
    except OSError as error:
        raise CannotListenError(None, str(path), error) from error


def admin_services(
    section: AdminSection,
    site: Site,
    reactor: Any,
    *,
    given_socket: socket.socket | None = None,
    given_port: socket.socket | None = None,
) -> list[IService]:
    """The services for what the configuration asks for, none for nothing; what is given listens already."""
    services: list[IService] = []
    # One each: who fills the port must not keep root from the socket.
    local, remote = LimitedFactory(site), LimitedFactory(site)
    over_tls: Any = remote
    if section.certificate is not None and section.private_key is not None:
        over_tls = tls_factory(remote, section.certificate, section.private_key)
    if given_socket is not None:
        services.append(AdminPort(lambda: adopt_port(reactor, given_socket, local), local.pace))
    elif section.socket is not None:
        path = section.socket
        services.append(AdminPort(lambda: listen_unix(reactor, path, local), local.pace))
    if given_port is not None:
        services.append(AdminPort(lambda: adopt_port(reactor, given_port, over_tls), remote.pace))
    elif section.address is not None and section.port is not None:
        address, port = section.address, section.port
        if not address.is_loopback and section.certificate is None:
            raise ValueError(f"admin.address: {address} is not a loopback address")
        services.append(AdminPort(lambda: reactor.listenTCP(port, over_tls, interface=str(address)), remote.pace))
    return services
