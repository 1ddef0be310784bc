"""The manhole: SSH for operators, on a Unix socket or on loopback, with public keys only.

In this room: SSH, its limits before somebody has logged in, sessions, and the audit of logins and commands. Not here:
the keys (`host_keys`, `operator_keys`), the terminal (`manhole_shell`), the commands (`manhole_commands`).

Before a login a connection has seconds, not hours, may send no more than a handshake takes, and there are few of them
at a time (CVE-2022-21716: a banner without an end filled the memory). There is no forwarding, no subsystem, no
password, and no Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.conch.avatar import ConchUser
from twisted.conch.insults import insults
from twisted.conch.interfaces import IConchUser, ISession
from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.connection import MSG_CHANNEL_OPEN_FAILURE, SSHConnection
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.session import SSHSession
from twisted.conch.ssh.transport import SSHServerTransport
from twisted.conch.ssh.userauth import SSHUserAuthServer
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.components import registerAdapter
from twisted.python.failure import Failure
from zope.interface import implementer

from netfw.admin.manhole_commands import CommandError, CommandLine
from netfw.admin.manhole_shell import Shell
from netfw.admin.operator_keys import Operator
from netfw.transport.deadlines import later

MOST_CONNECTIONS = 16
LOGIN_SECONDS = 30.0
MOST_BEFORE_LOGIN = 64 * 1024
_MOST_ATTEMPTS = 6
_MOST_CHANNELS = 10
_PROHIBITED = (1).to_bytes(4, "big")

# (what happened, who or None, further facts): told for logins, refusals, commands and the end.
Audit = Callable[..., None]


class ManholeTransport(SSHServerTransport):
    """A connection with a bound on what comes before the login."""

    ourVersionString = b"SSH-2.0-netfw"
    factory: Any
    _received = 0
    _deadline: Any = None

    def connectionMade(self) -> None:
        """Somebody has come."""
        self._deadline = later(self.factory.reactor, LOGIN_SECONDS, self._too_late)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Read on, but not for ever."""
        if not hasattr(self, "avatar"):
            self._received += len(data)
            if self._received > MOST_BEFORE_LOGIN:
                self.factory.audit("refused", None, reason="too much was sent before a login")
                self.transport.abortConnection()
                return
        super().dataReceived(data)

    def _too_late(self) -> None:
        self._deadline = None
        if not hasattr(self, "avatar"):
            self.factory.audit("refused", None, reason="no login in time")
            self.transport.abortConnection()

    def connectionLost(self, reason: Any) -> None:
        """They are gone."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.factory.connection_ended()
        super().connectionLost(reason)


class ManholeLogin(SSHUserAuthServer):
    """Public keys; every other attempt is noted."""

    attemptsBeforeDisconnect = _MOST_ATTEMPTS

    def tryAuth(self, kind: bytes, user: bytes, data: bytes) -> Any:
        """See `SSHUserAuthServer`."""
        if kind not in (b"publickey", b"none"):
            name = user.decode("utf-8", "replace")
            method = kind.decode("ascii", "replace")
            self.transport.factory.audit("refused", None, name=name, reason=f"{method} is not accepted, only keys are")
        return super().tryAuth(kind, user, data)


class OperatorAvatar(ConchUser):
    """Somebody who is let in: sessions, and nothing else."""

    def __init__(self, operator: Operator, factory: ManholeFactory) -> None:
        super().__init__()
        self.operator = operator
        self.factory = factory
        self.channelLookup[b"session"] = ManholeSession


class ManholeConnection(SSHConnection):
    """Sessions, a few at a time. What else a client asks for is refused here: Twisted would log each as a failure."""

    def ssh_CHANNEL_OPEN(self, packet: bytes) -> None:
        """Somebody wants a session, or to forward something (RFC 4254, section 5.1)."""
        kind, rest = getNS(packet)
        if kind == b"session" and len(self.channels) < _MOST_CHANNELS:
            super().ssh_CHANNEL_OPEN(packet)
            return
        transport = self.transport
        shown = kind.decode("ascii", "replace")
        transport.factory.audit("refused", transport.avatar.operator, reason=f"no channel for {shown}")
        answer = rest[:4] + _PROHIBITED + NS(b"sessions only, and a few at a time") + NS(b"")
        transport.sendPacket(MSG_CHANNEL_OPEN_FAILURE, answer)


class ManholeSession(SSHSession):
    """A session that takes no environment; Twisted would warn of every variable that a client offers."""

    def request_env(self, data: bytes) -> int:
        """Refused."""
        return 0


@implementer(ISession)
class Session:
    """What one session asks for: a shell, or one command."""

    def __init__(self, avatar: OperatorAvatar) -> None:
        self._avatar = avatar
        self._factory = avatar.factory
        self._size = (24, 80)
        self._running: Deferred[Any] | None = None
        self._terminal: Any = None

    def _commands(self) -> CommandLine:
        operator, audit = self._avatar.operator, self._factory.audit
        return CommandLine(
            self._factory.operations(operator), operator.access, lambda event, **facts: audit(event, operator, **facts)
        )

    def getPty(self, term: bytes, windowSize: Any, modes: Any) -> None:
        """See `ISession`."""
        self._size = tuple(windowSize[:2])

    def openShell(self, proto: Any) -> None:
        """See `ISession`."""
        commands = self._commands()
        greeting = f"{self._factory.name}: help lists what can be asked; this key is for: {commands.access.value}."
        terminal = self._terminal = insults.ServerProtocol(Shell, commands, greeting)
        proto.makeConnection(_Keyboard(terminal))
        terminal.makeConnection(_Screen(proto))
        terminal.terminalProtocol.terminalSize(self._size[1], self._size[0])

    def execCommand(self, proto: Any, command: bytes) -> None:
        """See `ISession`."""
        line = command.decode("utf-8", "replace")
        proto.makeConnection(_Keyboard(None))

        def show(text: str) -> None:
            if text:
                proto.outReceived(text.encode("utf-8", "replace") + b"\n")

        def failed(failure: Failure) -> None:
            if not failure.check(CancelledError):
                text = failure.getErrorMessage()
                if not failure.check(CommandError):
                    text = f"the command failed: {text}"
                proto.errReceived(text.encode("utf-8", "replace") + b"\n")
            proto.processEnded(Failure(ProcessTerminated(exitCode=1)))

        def done(text: str) -> None:
            show(text)
            proto.processEnded(Failure(ProcessDone(None)))

        self._running = self._commands().run(line, show)
        self._running.addCallback(done).addErrback(failed)

    def windowChanged(self, newWindowSize: Any) -> None:
        """See `ISession`."""

    def eofReceived(self) -> None:
        """See `ISession`. Who has no more to type has seen enough of a shell; a command goes on."""
        if self._terminal is not None:
            self._terminal.loseConnection()

    def closed(self) -> None:
        """See `ISession`."""
        if self._running is not None:
            self._running.cancel()
        terminal, self._terminal = self._terminal, None
        if terminal is not None:
            terminal.connectionLost(Failure(ProcessDone(None)))


registerAdapter(Session, OperatorAvatar, ISession)


class _Keyboard:
    """Where what the client types goes."""

    def __init__(self, terminal: Any) -> None:
        self._terminal = terminal

    def write(self, data: bytes) -> None:
        if self._terminal is not None:
            self._terminal.dataReceived(data)

    def loseConnection(self) -> None:
        """The channel's end comes as `closed`."""


class _Screen:
    """Where what the terminal shows goes."""

    def __init__(self, proto: Any) -> None:
        self._proto = proto

    def write(self, data: bytes) -> None:
        self._proto.outReceived(data)

    def loseConnection(self) -> None:
        self._proto.processEnded(Failure(ProcessDone(None)))


@implementer(IRealm)
class ManholeFactory(SSHFactory):
    """`operations`: what the commands run, for an operator; `audit` is told of everything; `keys` checks logins."""

    noisy = False
    protocol = ManholeTransport
    services = {b"ssh-userauth": ManholeLogin, b"ssh-connection": ManholeConnection}

    def __init__(
        self, reactor: Any, *, name: str, host_keys: Sequence[bytes], keys: Any, operations: Any, audit: Audit
    ) -> None:
        self.reactor = reactor
        self.name = name
        self.operations = operations
        self.audit = audit
        private = [Key.fromString(key) for key in host_keys]
        self.privateKeys = {key.sshType(): key for key in private}
        self.publicKeys = {key.sshType(): key.public() for key in private}
        self.portal = Portal(self, [keys])
        self._open = 0

    def buildProtocol(self, addr: Any) -> Any:
        """None refuses: there are too many already."""
        if self._open >= MOST_CONNECTIONS:
            return None
        self._open += 1
        return super().buildProtocol(addr)

    def connection_ended(self) -> None:
        """One has gone."""
        self._open -= 1

    def requestAvatar(self, avatarId: Operator, mind: Any, *interfaces: Any) -> Any:
        """See `IRealm`."""
        self.audit("login", avatarId)
        return IConchUser, OperatorAvatar(avatarId, self), lambda: self.audit("logout", avatarId)
