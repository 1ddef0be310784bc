"""What the supervisor and a worker say to one another, as data and as bytes. PURE.

A message is four octets of length, then a line of JSON that names it, then, for a snapshot, some of the policy's lines:
they are read by whoever compiles them, a few at a time, not by whoever takes messages apart. Each direction has
messages of its own and a cap on their size; a message that is unknown, too long or not of its form ends the channel. No
private key is ever in one. Not here: the channel (`channel`), what a policy's bytes say (`snapshot`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Union

from netfw.workers.plain import PlainError, from_plain, to_plain

LENGTH_OCTETS = 4
LIMIT_TO_WORKER = 256 * 1024 * 1024
"""A policy comes in pieces of 64 KiB, but a line of it may be as long as the values in it."""
LIMIT_FROM_WORKER = 8 * 1024 * 1024
"""Counters of a thousand rule groups take about 2 MB."""
# What a message that carries bytes carries them in.
_PAYLOAD = "payload"


class MessageError(ValueError):
    """These bytes are no message of this direction."""


@dataclass(frozen=True, slots=True)
class Start:
    """The first message to a worker. `configuration`: the plain form of `config.model.Configuration`; `listeners`: for
    each open port the place of its listener there, the port, and a descriptor; `files`: one for each file of
    certificates and keys, by path.
    """

    worker: int
    configuration: Any
    listeners: tuple[tuple[int, int, int], ...]
    files: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The next lines of a policy, whole ones; the last line says that it is the last. Then compile it, and say whether
    it can be used. `serial` numbers attempts, `generation` policies; rules that have ended `at` this time (seconds
    since the epoch) are left out.
    """

    serial: int
    generation: int
    at: float
    payload: bytes


@dataclass(frozen=True, slots=True)
class Swap:
    """The accepted snapshot of this serial is in force from now on."""

    serial: int


@dataclass(frozen=True, slots=True)
class Forget:
    """The snapshot of this serial will not be swapped in."""

    serial: int


@dataclass(frozen=True, slots=True)
class LeafIssued:
    """The answer to `IssueLeaf`: PEM certificates."""

    request: int
    certificate: str
    chain: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeafRefused:
    """The other answer to `IssueLeaf`."""

    request: int
    reason: str


@dataclass(frozen=True, slots=True)
class Status:
    """Say how things are."""

    serial: int


@dataclass(frozen=True, slots=True)
class Connections:
    """Say who is connected, up to so many."""

    serial: int
    most: int


@dataclass(frozen=True, slots=True)
class Drain:
    """No new connections; end when those under way have, or after so many seconds. A second one counts anew."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reopen:
    """Open the record file again."""


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """Go on with these settings, in the form that `Start` has them, and with the certificates, keys and lists in these
    files. Their descriptors come with the message, in order. Say when that is done.
    """

    serial: int
    configuration: Any
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listen:
    """Have the listener at this place of the configuration accept on another port too. The socket's descriptor comes
    with the message.
    """

    position: int
    port: int


@dataclass(frozen=True, slots=True)
class StopListening:
    """Accept nothing more on this port; who came in there may finish, for as long as at a stop."""

    position: int
    port: int


@dataclass(frozen=True, slots=True)
class Intercept:
    """Open TLS as configured, or leave it alone, in tunnels that begin from now on."""

    on: bool


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there?"""

    serial: int


@dataclass(frozen=True, slots=True)
class SnapshotAccepted:
    """Compiled, not yet in force."""

    serial: int


@dataclass(frozen=True, slots=True)
class SnapshotRefused:
    """It cannot be used; what was in force stays."""

    serial: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Swapped:
    """New exchanges are decided by it; the first one also says that connections are accepted."""

    serial: int


@dataclass(frozen=True, slots=True)
class IssueLeaf:
    """Sign a leaf for this host and this P-256 public key (PEM), valid at no time outside `within`: seconds since the
    epoch, first and last, of the origin's certificate where that is known.
    """

    request: int
    host: str
    public_key: str
    within: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class StatusReply:
    """`families`: the counters as `telemetry.metrics_merge` exports them; `pins`: the rows of `telemetry.pins`.

    `serial` 0: the last words of a worker.
    """

    serial: int
    connections: int
    tunnels: int
    upstream_idle: int
    refused: Mapping[str, int]
    records: Mapping[str, int]
    families: Any
    pins: Any


@dataclass(frozen=True, slots=True)
class ConnectionsReply:
    """The answer to `Connections`: rows for people."""

    serial: int
    rows: Any


@dataclass(frozen=True, slots=True)
class Reconfigured:
    """The answer to `Reconfigure`: new connections meet the new settings, or the former ones where new ones cannot be
    used here.
    """

    serial: int


@dataclass(frozen=True, slots=True)
class Leaving:
    """This worker was asked by somebody else to end, and drains: another one should take its place."""


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to `Ping`."""

    serial: int


ToWorker = Union[
    Start,
    Snapshot,
    Swap,
    Forget,
    LeafIssued,
    LeafRefused,
    Status,
    Connections,
    Drain,
    Reopen,
    Reconfigure,
    Listen,
    StopListening,
    Intercept,
    Ping,
]
FromWorker = Union[
    SnapshotAccepted,
    SnapshotRefused,
    Swapped,
    IssueLeaf,
    StatusReply,
    ConnectionsReply,
    Reconfigured,
    Leaving,
    Pong,
]
Message = Union[ToWorker, FromWorker]

TO_WORKER: tuple[type[Any], ...] = ToWorker.__args__  # type: ignore[attr-defined]
FROM_WORKER: tuple[type[Any], ...] = FromWorker.__args__  # type: ignore[attr-defined]


def to_bytes(message: Message) -> bytes:
    """The message as it goes over the channel."""
    members = {field.name: getattr(message, field.name) for field in fields(message)}
    payload: bytes = members.pop(_PAYLOAD, b"")
    members = to_plain(members)
    head = json.dumps([type(message).__name__, members], separators=(",", ":"), allow_nan=False).encode("ascii")
    return b"".join(((len(head) + 1 + len(payload)).to_bytes(LENGTH_OCTETS, "big"), head, b"\n", payload))


class MessageReader:
    """Bytes in, messages out. `known`: the messages of this direction; `limit`: the longest one, in octets."""

    def __init__(self, known: Iterable[type[Any]], limit: int) -> None:
        self._known = {kind.__name__: kind for kind in known}
        self._limit = limit
        self._parts: list[bytes] = []
        self._have = 0
        self._wanted = LENGTH_OCTETS

    def feed(self, data: bytes) -> list[Any]:
        """The messages that are complete with these bytes. Raises MessageError; nothing can be read after that."""
        self._parts.append(data)
        self._have += len(data)
        messages: list[Any] = []
        # A large message comes in many pieces: they are joined once, when all of it is there.
        while self._have >= self._wanted:
            joined = b"".join(self._parts)
            length = int.from_bytes(joined[:LENGTH_OCTETS], "big")
            if length > self._limit:
                raise MessageError(f"a message of {length} octets is longer than {self._limit}")
            end = LENGTH_OCTETS + length
            if len(joined) >= end:
                messages.append(self._read(joined[LENGTH_OCTETS:end]))
                joined = joined[end:]
                end = LENGTH_OCTETS
            self._parts = [joined]
            self._have = len(joined)
            self._wanted = end
        return messages

    def _read(self, body: bytes) -> Any:
        head, newline, payload = body.partition(b"\n")
        try:
            if not newline:
                raise MessageError("a message without a line of its own")
            named = json.loads(head, parse_constant=_refuse_constant)
            if type(named) is not list or len(named) != 2 or type(named[0]) is not str:
                raise MessageError("a message names its kind and its members")
            kind = self._known.get(named[0])
            if kind is None:
                raise MessageError("an unknown kind of message")
            members = named[1]
            if type(members) is not dict or _PAYLOAD in members:
                raise MessageError("a message names its members")
            if _PAYLOAD in kind.__slots__:
                members[_PAYLOAD] = payload
            elif payload:
                raise MessageError(f"a {named[0]} carries nothing")
            return from_plain(kind, members)
        except MessageError:
            raise
        except (PlainError, ValueError, RecursionError) as error:
            raise MessageError(f"not a message: {error}") from None


def _refuse_constant(name: str) -> float:
    raise MessageError(f"{name} is no number")
